//! What of a call crosses to a worker: where its function is, and its argument.
//!
//! Read before this: [`super::text`] and [`super::codec`].

use crate::ipc::travel::{self, Baggage};
use crate::process::arena::Arena;
use crate::process::codec::{Bytes, CodecError, check_baggage};
use crate::process::error::Error;
use crate::process::job::Arguments;
use crate::process::limits::SHORT;
use crate::process::sink::{Encoded, Sink};
use crate::process::text::Text;
use crate::process::trampoline::Call;
use serde::Serialize;
use std::cell::Cell;
use std::sync::Arc;

/// The offsets of a call, which a worker can turn back into addresses.
///
/// # Errors
/// [`Error::NotInExecutable`].
pub(crate) fn locate(call: Call) -> Result<[u64; 2], Error> {
    let text = Text::of_this_program();
    match (
        text.offset_of(call.trampoline),
        text.offset_of(call.function),
    ) {
        (Some(trampoline), Some(function)) => Ok([trampoline, function]),
        _ => Err(Error::NotInExecutable),
    }
}

thread_local! {
    /// Where this thread encodes: kept, since most of what is encoded is so short that it
    /// is copied out ([`SHORT`]).
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An encoded argument, and what it has besides bytes.
type EncodedArgument = (Arguments, Option<Arc<Baggage>>);

/// Encodes one argument as an element: its length, then its bytes.
pub(crate) fn encode<A: Serialize>(
    argument: &A,
    arena: &Arc<Arena>,
) -> Result<EncodedArgument, Error> {
    // Taken, not borrowed: a `Serialize` may come here again. (At the end of a thread
    // there is none.)
    let buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    let mut sink = Sink::reusing(buffer, arena, u32::MAX as usize);
    let baggage = append(&mut sink, argument).map_err(|error| match error {
        CodecError::TooLarge { len, max } => Error::TooLarge { len, max },
        other => Error::Argument {
            reason: other.to_string(),
        },
    })?;
    let arguments = match sink.finish() {
        Encoded::Inline(bytes) if bytes.len() <= SHORT => {
            let short = Bytes::from_slice(&bytes);
            let _ = BUFFER.try_with(|buffer| buffer.set(bytes));
            Arguments::Inline(short)
        }
        encoded => Arguments::new(encoded, arena),
    };
    Ok((arguments, baggage))
}

/// Appends one argument as an element. Returns what it has besides bytes.
pub(crate) fn append<A: Serialize>(
    sink: &mut Sink<'_>,
    argument: &A,
) -> Result<Option<Arc<Baggage>>, CodecError> {
    let start = sink.len();
    sink.put(&[0; 4])?;
    let (encoded, baggage) = travel::packing(|| sink.value(argument));
    encoded?;
    check_baggage(&baggage)?;
    let len = sink.len() - start - 4;
    let len = u32::try_from(len).map_err(|_| CodecError::TooLarge {
        len,
        max: u32::MAX as usize,
    })?;
    sink.patch_u32(start, len);
    Ok((!baggage.is_empty()).then(|| Arc::new(baggage)))
}
