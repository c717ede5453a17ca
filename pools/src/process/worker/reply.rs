//! How a worker's replies leave it.

use crate::process::arena::Extent;
use crate::process::bell::Wake;
use crate::process::codec::CodecError;
use crate::process::frame::HEADER_LEN;
use crate::process::limits::INLINE_MAX;
use crate::process::page::{RingBytes, Words, reply_counters};
use crate::process::passing;
use crate::process::ring::{Corrupt, Writer};
use crate::process::sink::Encoded;
use crate::process::wire;
use crate::process::worker::bells::Bells;
use crate::process::worker::end::Gone;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use threeply_runtime::trace::{Kind, emit};

/// The writing end of the ring of replies, and those who wait for them.
#[derive(Debug)]
pub struct Replies<'w> {
    ring: Writer<RingBytes>,
    words: &'w Words,
    bells: Bells,
    /// Our process id, for traces.
    pid: u64,
}

impl<'w> Replies<'w> {
    /// Begins to reply.
    pub fn new(ring: RingBytes, words: &'w Words, bells: Bells) -> Replies<'w> {
        Replies {
            ring: Writer::new(ring),
            words,
            bells,
            pid: u64::from(std::process::id()),
        }
    }

    /// The descriptors to wake and to be woken by.
    pub fn bells(&self) -> &Bells {
        &self.bells
    }

    /// Publishes one reply, waiting for room if there is none, and wakes those who
    /// asked for it.
    ///
    /// # Errors
    /// [`Gone`] if the parent can't be reached any more.
    pub fn publish(&mut self, kind: u8, flags: u8, seq: u64, body: &[u8]) -> Result<(), Gone> {
        debug_assert!(body.len() <= INLINE_MAX);
        let mut header = wire::header(kind, seq, 1, body.len());
        header.flags = flags;
        let header: [u8; HEADER_LEN] = header.to_bytes();
        if kind != wire::HELLO {
            emit(Kind::ReplyOut, line!(), self.pid, seq);
        }
        let counters = reply_counters(self.words);
        while !self.ring.write(&counters, &[&header, body]).map_err(lost)? {
            // The parent must read; then it rings.
            self.wake(u64::MAX - 1)?;
            self.words.stalled.announce();
            if !self
                .ring
                .has_room(&counters, HEADER_LEN + body.len())
                .map_err(lost)?
            {
                self.bells.sleep()?;
            }
            self.words.stalled.cancel();
        }
        Wake::published();
        self.wake(seq)
    }

    /// Rings for those who wait for reply `seq` or an earlier one.
    pub fn wake(&mut self, seq: u64) -> Result<(), Gone> {
        if self.words.wake_caller.must_ring(seq) {
            self.bells.ring_caller()?;
        }
        if self.words.wake_supervisor.must_ring(seq) {
            self.bells.ring_supervisor()?;
        }
        Ok(())
    }

    /// Sends the descriptors of result `seq`, which is published after this; waits for
    /// room if there is none.
    ///
    /// # Errors
    /// [`Gone`] if the parent can't be reached any more.
    pub fn pass(&mut self, seq: u64, fds: &[OwnedFd]) -> Result<(), Gone> {
        use nix::poll::{PollFd, PollFlags, PollTimeout};
        loop {
            match passing::send(self.bells.passing(), seq, fds) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Gone::Deaf),
            }
            // The parent receives them as it reads the replies that they belong to.
            self.wake(u64::MAX - 1)?;
            let mut waited = [PollFd::new(
                self.bells.passing().as_fd(),
                PollFlags::POLLOUT,
            )];
            let _ = nix::poll::poll(&mut waited, PollTimeout::NONE);
        }
    }

    /// Publishes a result, wherever it was encoded.
    /// Returns the buffer for the next result.
    pub fn value(&mut self, seq: u64, flags: u8, encoded: Encoded) -> Result<Vec<u8>, Gone> {
        match encoded {
            Encoded::Inline(bytes) => {
                self.publish(wire::VALUE, flags, seq, &bytes)?;
                Ok(bytes)
            }
            Encoded::Large { extent, len } => {
                self.large(seq, flags, extent, len)?;
                Ok(Vec::new())
            }
        }
    }

    fn large(&mut self, seq: u64, flags: u8, extent: Extent, len: usize) -> Result<(), Gone> {
        let Extent { offset, capacity } = extent;
        let body = wire::numbers([offset as u64, capacity as u64, len as u64]);
        self.publish(wire::VALUE_LARGE, flags, seq, &body)
    }

    /// Publishes why a job has no result.
    pub fn failure(&mut self, kind: u8, seq: u64, error: &CodecError) -> Result<(), Gone> {
        if let CodecError::TooLarge { len, max } = error {
            let body = wire::numbers([*len as u64, *max as u64]);
            return self.publish(wire::TOO_LARGE, 0, seq, &body);
        }
        let text = error.to_string();
        let cut = text.floor_char_boundary(INLINE_MAX);
        self.publish(kind, 0, seq, &text.as_bytes()[..cut])
    }
}

fn lost(_: Corrupt) -> Gone {
    Gone::Broken
}
