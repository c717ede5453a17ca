//! The wire format on one page: what the frames between parent and worker say.
//!
//! Every frame has the header of [`super::frame`]; these are the bodies. Numbers
//! are little-endian, values and texts are postcard.
//!
//! | direction | kind | seq, count | body |
//! |---|---|---|---|
//! | → worker | [`JOB`] | first job, jobs | trampoline u64 · function u64 · skip u64 · for each job: len u32 · argument |
//! | → worker | [`JOB_LARGE`] | first job, jobs | trampoline u64 · function u64 · skip u64 · offset u64 · len u64 of the arguments in their arena |
//! | → worker | [`FREE`] | – | offset u64 · capacity u64 · used u64 of a large result that has been read |
//! | → worker | [`EXIT`] | – | empty: run no more, exit with 0 |
//! | → parent | [`HELLO`] | – | version u32 · nonce u64 · fingerprint u64 of the executable's code |
//! | → parent | [`VALUE`] | job | the result |
//! | → parent | [`VALUE_LARGE`] | job | offset u64 · capacity u64 · len u64 of the result in the worker's memory |
//! | → parent | [`PANIC`] | job | message · location · backtrace (three strings) |
//! | → parent | [`BAD_ARGUMENT`] | job | why the argument couldn't be decoded (text) |
//! | → parent | [`BAD_RESULT`] | job | why the result couldn't be encoded (text) |
//! | → parent | [`TOO_LARGE`] | job | len u64 · max u64 of a result for which there is no room |
//!
//! The flag [`DESCRIPTORS`] says that the last job of the frame, or the result, has
//! descriptors; they come by the socket ([`super::passing`]). The flag [`FIRST`] marks a
//! worker's initializer: if it fails, nothing else is run.
//!
//! `skip` says how many arguments to step over: the rest of a chunk whose beginning
//! was run elsewhere. Offsets of functions are explained in [`super::text`]; jobs are numbered from
//! zero for each worker, see [`super::claim`].

use crate::process::frame::Header;

/// Changes with every change to this page; compared in the handshake.
pub const VERSION: u32 = 3;

/// Flag: descriptors have been sent beside this frame.
pub const DESCRIPTORS: u8 = 1;

/// Flag: run this, and nothing else if it fails.
pub const FIRST: u8 = 2;

/// Parent to worker: run jobs.
pub const JOB: u8 = 1;
/// Parent to worker: run jobs whose arguments are in the arena.
pub const JOB_LARGE: u8 = 2;
/// Parent to worker: a large result's room is free again.
pub const FREE: u8 = 3;
/// Parent to worker: exit.
pub const EXIT: u8 = 4;
/// Worker to parent: ready.
pub const HELLO: u8 = 16;
/// Worker to parent: a result.
pub const VALUE: u8 = 17;
/// Worker to parent: a result in the worker's arena.
pub const VALUE_LARGE: u8 = 18;
/// Worker to parent: the function panicked.
pub const PANIC: u8 = 19;
/// Worker to parent: the argument couldn't be decoded.
pub const BAD_ARGUMENT: u8 = 20;
/// Worker to parent: the result couldn't be encoded.
pub const BAD_RESULT: u8 = 21;
/// Worker to parent: the result is too large.
pub const TOO_LARGE: u8 = 22;

/// The numbers of a body that consists of `N` numbers.
#[inline]
pub fn numbers<const N: usize>(values: [u64; N]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Reads `N` numbers from the start of a body.
#[inline]
pub fn read_numbers<const N: usize>(body: &[u8]) -> Option<[u64; N]> {
    let mut values = [0; N];
    for (i, value) in values.iter_mut().enumerate() {
        let bytes = body.get(8 * i..8 * i + 8)?;
        *value = u64::from_le_bytes(bytes.try_into().ok()?);
    }
    Some(values)
}

/// A header for a body of `len` bytes.
#[inline]
pub fn header(kind: u8, seq: u64, count: u16, len: usize) -> Header {
    Header {
        len: u32::try_from(len).expect("bodies are bounded far below 4 GiB"),
        kind,
        flags: 0,
        count,
        seq,
    }
}

/// Splits the first element, a length and so many bytes, off a job's body.
#[inline]
pub fn split_element(elements: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = elements.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}
