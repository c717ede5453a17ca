//! Descriptors beside the frames: each worker's second way in and out.
//!
//! Rings are memory, and memory can't carry a descriptor. So a worker shares a socket
//! with its parent, on which nothing travels but descriptors, each message with the
//! number of the job that it belongs to:
//!
//! ```text
//!   parent                                   worker
//!   1 message {seq, descriptors} ──────────▶ 3 sees the frame's flag, claims job seq,
//!   2 frame of the job, flagged  ──────────▶   receives until it meets {seq}
//! ```
//!
//! and the same the other way round for results. The message goes first, so whoever
//! sees the frame finds it. A message with a smaller number belongs to a job that was
//! taken back, or sent twice because the ring was full: it is dropped, and its
//! descriptors are closed.
//!
//! A job with descriptors is only sent to a worker that has nothing else, so the socket
//! never fills up with what isn't claimed yet. In a chunk only the last element may
//! have some, and the message bears that element's number.
//!
//! Read after [`super::wire`] and [`crate::ipc::travel`], which is how values get
//! their descriptors aboard.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use threeply_runtime::sys::scm;

/// Sends the descriptors of job `seq`. Never waits.
///
/// # Errors
/// As [`scm::send`].
pub fn send(socket: impl AsFd, seq: u64, fds: &[impl AsFd]) -> io::Result<()> {
    scm::send(socket, &[IoSlice::new(&seq.to_le_bytes())], fds, false)
}

/// Why the descriptors of a job aren't there.
#[derive(Debug)]
pub enum Lost {
    /// They never were: the other side contradicts itself, or is gone.
    Never,
    /// They can't be received.
    Refused(io::Error),
}

/// Receives the descriptors of job `seq`, which were sent before its frame. Never waits.
///
/// # Errors
/// [`Lost`]
pub fn receive(socket: impl AsFd, seq: u64) -> Result<Vec<OwnedFd>, Lost> {
    loop {
        let mut number = [0; 8];
        match scm::recv(&socket, &mut number, false) {
            Ok((8, fds)) => match u64::from_le_bytes(number) {
                number if number < seq => drop(fds),
                number if number == seq => return Ok(fds),
                _ => return Err(Lost::Never),
            },
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                return Err(Lost::Refused(error));
            }
            _ => return Err(Lost::Never),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_job_gets_its_own_and_what_was_taken_back_is_dropped() {
        let (a, b) = scm::pair().unwrap();
        let null = File::open("/dev/null").unwrap();
        for (seq, count) in [(3, 1), (4, 2), (4, 2), (9, 3)] {
            send(&a, seq, &vec![&null; count]).unwrap();
        }
        assert_eq!(receive(&b, 4).unwrap().len(), 2);
        assert_eq!(receive(&b, 9).unwrap().len(), 3, "the second 4 is stale");
        assert!(matches!(receive(&b, 10), Err(Lost::Never)));
        send(&a, 12, &[&null]).unwrap();
        assert!(
            matches!(receive(&b, 11), Err(Lost::Never)),
            "of a later one"
        );
    }
}
