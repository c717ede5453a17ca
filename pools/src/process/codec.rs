//! From values to bytes and back: postcard, straight into the frame's body.
//!
//! To bytes a value goes by [`super::sink`], the buffer that serde writes into; back it
//! comes by [`decode`], from wherever the bytes are.
//!
//! A blob: serde hands over a `Vec<u8>` element by element. `serde_bytes::ByteBuf`
//! (or `#[serde(with = "serde_bytes")]`) makes one copy of it.
//!
//! Read before this: [`super::sink`]. Read after it: [`super::wire`].

use crate::ipc::travel::{self, Baggage};
use crate::process::limits::SHORT;
use serde::de::DeserializeOwned;
use smallvec::SmallVec;
use threeply_runtime::sys::scm;

/// Encoded bytes on their way between threads.
pub type Bytes = SmallVec<[u8; SHORT]>;

/// Why a value has no bytes, or bytes no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodecError {
    /// The type's own `Serialize` or `Deserialize` refused.
    Serde(String),
    /// The bytes end too early or too late, or aren't what the type expects.
    Malformed(String),
    /// No room for so many bytes.
    TooLarge {
        /// How many bytes there were so far.
        len: usize,
        /// The most that there may be.
        max: usize,
    },
}

impl std::fmt::Display for CodecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CodecError::Serde(text) | CodecError::Malformed(text) => f.write_str(text),
            CodecError::TooLarge { len, max } => {
                write!(f, "more than {len} bytes encoded, the limit is {max}")
            }
        }
    }
}

impl std::error::Error for CodecError {}

/// Whether what a value has besides bytes can go in one message.
///
/// # Errors
/// [`CodecError::Serde`] if it has too many descriptors.
pub fn check_baggage(baggage: &Baggage) -> Result<(), CodecError> {
    if baggage.len() > scm::MAX_FDS {
        return Err(CodecError::Serde(format!(
            "it has {} descriptors (each shared object is one), and at most {} go in one message",
            baggage.len(),
            scm::MAX_FDS
        )));
    }
    Ok(())
}

/// Reads a value that takes up all of `bytes`.
///
/// # Errors
/// What the type's `Deserialize` says, or bytes that are missing or left over.
#[inline]
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    match postcard::take_from_bytes::<T>(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(CodecError::Malformed(format!(
            "{} of {} bytes are left over: the type reads less than it writes",
            rest.len(),
            bytes.len()
        ))),
        Err(error) => Err(CodecError::Malformed(describe(&error))),
    }
}

pub(crate) fn describe(error: &postcard::Error) -> String {
    match error {
        // postcard drops the text; ours is kept elsewhere.
        postcard::Error::SerdeSerCustom => travel::refusal()
            .unwrap_or_else(|| "its Serialize implementation returned an error".to_owned()),
        postcard::Error::SerdeDeCustom => travel::refusal()
            .unwrap_or_else(|| "its Deserialize implementation returned an error".to_owned()),
        postcard::Error::SerializeSeqLengthUnknown => {
            "a sequence whose length isn't known beforehand: collect it first".to_owned()
        }
        postcard::Error::WontImplement => {
            "the type needs a self-describing format (`deserialize_any`, untagged or \
             flattened serde attributes), which postcard isn't"
                .to_owned()
        }
        postcard::Error::DeserializeUnexpectedEnd => "the bytes end too early".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_over_and_missing_bytes_are_errors() {
        assert!(
            decode::<u8>(&[1, 2])
                .unwrap_err()
                .to_string()
                .contains("left over")
        );
        assert!(
            decode::<u32>(&[])
                .unwrap_err()
                .to_string()
                .contains("too early")
        );
    }
}
