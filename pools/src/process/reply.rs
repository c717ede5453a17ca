//! An encoded result on its way to whoever decodes it.
#![allow(unsafe_code)] // reads what a worker has written for us

use crate::ipc::travel;
use crate::process::codec::{Bytes, CodecError, decode};
use crate::process::link::Link;
use serde::de::DeserializeOwned;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A result: its bytes, and its descriptors if it has any.
#[derive(Debug)]
pub struct Reply {
    /// The bytes.
    pub body: Body,
    /// The descriptors, in the order in which the bytes name them.
    pub fds: Vec<OwnedFd>,
}

/// The bytes of a result.
#[derive(Debug)]
pub enum Body {
    /// Copied out of the ring.
    Inline(Bytes),
    /// Still where the worker wrote it.
    Large(LargeReply),
}

impl Reply {
    /// Decodes the result.
    ///
    /// # Errors
    /// As [`decode`].
    #[inline]
    pub fn decode<R: DeserializeOwned>(self) -> Result<R, CodecError> {
        travel::unpacking(self.fds, || match &self.body {
            Body::Inline(bytes) => decode(bytes),
            Body::Large(large) => decode(large.bytes()),
        })
    }
}

/// A result in the memory of the worker that wrote it; its room is given back on
/// drop. Outlives the worker: the mapping stays.
#[derive(Debug)]
pub struct LargeReply {
    link: Arc<Link>,
    offset: usize,
    capacity: usize,
    len: usize,
}

impl LargeReply {
    /// Takes over what a worker announced; `None` if that lies outside its memory.
    pub fn new(link: &Arc<Link>, [offset, capacity, len]: [u64; 3]) -> Option<LargeReply> {
        let (offset, capacity, len) = (offset as usize, capacity as usize, len as usize);
        link.memory().at(offset, len)?;
        Some(LargeReply {
            link: Arc::clone(link),
            offset,
            capacity,
            len,
        })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the worker published this extent after it had written it, and
        // leaves it alone until `drop` gives it back. (A worker that doesn't is
        // this very program, corrupted; the decoder may then see garbage.)
        let bytes = unsafe { self.link.memory().slice(self.offset, self.len) };
        bytes.expect("checked in new")
    }
}

impl Drop for LargeReply {
    fn drop(&mut self) {
        self.link
            .give_back([self.offset, self.capacity, self.len].map(|n| n as u64));
    }
}
