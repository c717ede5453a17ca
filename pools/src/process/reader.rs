//! The right to read a worker's replies, and what makes frames of bytes that may be
//! anything.
//!
//! At most one thread has a [`ReplyReader`] at a time ([`super::role`]); whoever has it
//! calls [`pump`](super::shared::Shared::pump).
//!
//! Read before this: [`super::ring`] and [`super::frame`]. Read after it: [`super::link`].

use crate::process::codec::Bytes;
use crate::process::frame::{self, HEADER_LEN, Header, Parsed};
use crate::process::limits::BODY_MAX;
use crate::process::page::{RingBytes, Words, reply_counters};
use crate::process::ring::{Corrupt, Reader};
use crate::process::state::Delivery;

/// A frame that was copied out of the ring.
pub type Frame = (Header, Bytes);

/// The right to read a worker's replies.
#[derive(Debug)]
pub struct ReplyReader {
    ring: Reader<RingBytes>,
    /// Room for what is being read, and for what comes of it; empty between two pumps.
    pub(super) frames: Vec<Frame>,
    pub(super) deliveries: Vec<Delivery>,
}

/// The worker sent what no worker sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Garbage;

impl From<Corrupt> for Garbage {
    fn from(_: Corrupt) -> Garbage {
        Garbage
    }
}

impl ReplyReader {
    /// Begins to read.
    pub(super) fn new(ring: RingBytes) -> ReplyReader {
        ReplyReader {
            ring: Reader::new(ring),
            frames: Vec::new(),
            deliveries: Vec::new(),
        }
    }

    /// Copies out the next reply, if there is one.
    ///
    /// # Errors
    /// [`Garbage`] if the ring's counters or the frame can't be.
    pub fn next(&mut self, words: &Words) -> Result<Option<Frame>, Garbage> {
        let counters = reply_counters(words);
        let available = self.ring.available(&counters)?;
        if available == 0 {
            return Ok(None);
        }
        if available < HEADER_LEN {
            return Err(Garbage);
        }
        let (header, used) = self.header().ok_or(Garbage)?;
        // Workers publish whole frames.
        if used > available {
            return Err(Garbage);
        }
        Ok(Some((header, self.body(words, used))))
    }

    /// Copies out the reply of job `seq`, which is known to stand here, of a worker that
    /// is dead and whose counters can't be believed.
    pub fn salvage(&mut self, words: &Words, seq: u64) -> Option<Frame> {
        let (header, used) = self.header()?;
        (header.seq == seq).then(|| (header, self.body(words, used)))
    }

    /// The header that comes next, and the length of its frame.
    fn header(&self) -> Option<(Header, usize)> {
        let mut header = [0; HEADER_LEN];
        self.ring.peek(0, &mut header);
        match frame::parse(&header, BODY_MAX) {
            Ok(Parsed::Incomplete { need } | Parsed::Frame { used: need, .. }) => {
                Some((Header::from_bytes(header), need))
            }
            Err(_) => None,
        }
    }

    fn body(&mut self, words: &Words, used: usize) -> Bytes {
        let mut body = Bytes::from_elem(0, used - HEADER_LEN);
        self.ring.peek(HEADER_LEN, &mut body);
        self.ring.advance(&reply_counters(words), used);
        body
    }
}
