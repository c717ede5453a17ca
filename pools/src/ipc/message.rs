//! From a value to a message's bytes and baggage, and back.
//!
//! postcard, as everywhere between our processes ([`crate::process::codec`]); the
//! bytes go into a plain `Vec`, since their way is a socket, a ring or a file.

use super::error::Error;
use super::travel::{self, Baggage};
use crate::process::codec::{self, CodecError};
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::os::fd::OwnedFd;

struct Bytes<'a>(&'a mut Vec<u8>);

impl Flavor for Bytes<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Appends the value to `bytes`, without baggage: a handle in it is refused.
///
/// # Errors
/// [`Error::Encode`]
pub(crate) fn encode_bytes<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<(), Error> {
    let _ = travel::refusal(); // one that nobody asked for
    postcard::serialize_with_flavor(value, Bytes(bytes)).map_err(|error| {
        Error::Encode(travel::refusal().unwrap_or_else(|| codec::describe(&error)))
    })
}

/// Appends the value to `bytes`; handles in it are put aside.
///
/// # Errors
/// [`Error::Encode`]
pub(crate) fn encode<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<Baggage, Error> {
    let (result, baggage) = travel::packing(|| encode_bytes(value, bytes));
    result.map(|()| baggage)
}

/// The value that all of `bytes`, with what came along, stands for.
///
/// # Errors
/// [`Error::Decode`]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], fds: Vec<OwnedFd>) -> Result<T, Error> {
    travel::unpacking(fds, || {
        codec::decode(bytes).map_err(|error| {
            let text = match error {
                CodecError::Malformed(_) => travel::refusal(),
                _ => None,
            };
            Error::Decode(text.unwrap_or_else(|| error.to_string()))
        })
    })
}
