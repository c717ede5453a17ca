//! What a new process is told, so that it becomes a worker.
//!
//! Whichever way it was started, it holds one end of a socket and waits there for a
//! single message. The pool makes what the message names while the process comes up:
//!
//! ```text
//!   pool                                   the new process
//!   1 a socket, the process ─────────────▶ 1 exec, loader  (or: waits since long)
//!   2 memory, bells, outputs               2 receives
//!   3 message {nonce, name} + descriptors ▶ 3 maps the memory, says HELLO there
//! ```
//!
//! | bytes | descriptors, in this order |
//! |---|---|
//! | nonce u64, little-endian · name | its bell · the callers' bell · the supervisor's bell · its memory · the arena of arguments · and if it was forked: stdout, stderr |
//!
//! Later the same socket carries the descriptors of jobs and results
//! ([`super::passing`]). One that meets the end of it instead of a message isn't wanted,
//! and exits.
//!
//! Read before this: [`super::start`], which sends it. Read after it:
//! [`super::worker::begin`].
//!
//! Rejected: *all of it placed by the start itself* (memory and bells must then exist
//! before the process does, and two system calls in it place each of them).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use threeply_runtime::sys::scm;

/// What the kernel keeps of a thread's name.
const NAME_MAX: usize = 15;

/// What every worker gets.
#[derive(Debug)]
pub struct Equipment<Fd> {
    /// Read end of the pipe that the parent rings.
    pub bell: Fd,
    /// The eventfd that wakes a caller who waits for a reply itself.
    pub caller: Fd,
    /// The eventfd that wakes the pool's supervisor.
    pub supervisor: Fd,
    /// The memory that this worker shares with its parent.
    pub memory: Fd,
    /// The arena of arguments, shared by all workers.
    pub arguments: Fd,
}

/// A request as the worker receives it.
#[derive(Debug)]
pub struct Request {
    /// What it must say in the handshake.
    pub nonce: u64,
    /// Its name in lists of processes, if it was forked.
    pub name: Vec<u8>,
    /// Memory and bells.
    pub equipment: Equipment<OwnedFd>,
    /// Its stdout and stderr, if it was forked.
    pub outputs: Option<[OwnedFd; 2]>,
}

/// What a forked process must be told besides; one that was started by `exec` has it.
#[derive(Debug)]
pub struct Forked<'a> {
    /// Its name in lists of processes.
    pub name: &'a str,
    /// Its stdout and stderr.
    pub outputs: [BorrowedFd<'a>; 2],
}

/// Makes a worker of the process at the other end. Never waits.
///
/// # Errors
/// As [`scm::send`]: `BrokenPipe` if that process is gone, and then nobody has got any of
/// the descriptors.
pub fn send(
    socket: impl AsFd,
    nonce: u64,
    equipment: &Equipment<BorrowedFd<'_>>,
    forked: Option<&Forked<'_>>,
) -> io::Result<()> {
    let nonce = nonce.to_le_bytes();
    let name = forked.map_or("", |forked| forked.name).as_bytes();
    let parts = [
        IoSlice::new(&nonce),
        IoSlice::new(&name[..name.len().min(NAME_MAX)]),
    ];
    let &Equipment {
        bell,
        caller,
        supervisor,
        memory,
        arguments,
    } = equipment;
    let mut fds = vec![bell, caller, supervisor, memory, arguments];
    fds.extend(forked.iter().flat_map(|forked| forked.outputs));
    scm::send(socket, &parts, &fds, false)
}

/// Receives the request; `None` if there will be none. Blocks if `wait`, else fails with
/// `WouldBlock` while there is none.
///
/// # Errors
/// As [`scm::recv`], and `InvalidData` for what isn't a request.
pub fn receive(socket: impl AsFd, wait: bool) -> io::Result<Option<Request>> {
    let mut bytes = [0; 8 + NAME_MAX];
    let (len, fds) = scm::recv(socket, &mut bytes, wait)?;
    if len == 0 {
        return Ok(None);
    }
    let parse = || {
        let (nonce, name) = bytes[..len].split_first_chunk()?;
        let mut fds = fds.into_iter();
        let equipment = Equipment {
            bell: fds.next()?,
            caller: fds.next()?,
            supervisor: fds.next()?,
            memory: fds.next()?,
            arguments: fds.next()?,
        };
        let outputs = match (fds.next(), fds.next(), fds.next()) {
            (None, ..) => None,
            (Some(stdout), Some(stderr), None) => Some([stdout, stderr]),
            _ => return None,
        };
        Some(Request {
            nonce: u64::from_le_bytes(*nonce),
            name: name.to_vec(),
            equipment,
            outputs,
        })
    };
    Ok(Some(parse().ok_or(io::ErrorKind::InvalidData)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn equipment(fd: &OwnedFd) -> Equipment<BorrowedFd<'_>> {
        Equipment {
            bell: fd.as_fd(),
            caller: fd.as_fd(),
            supervisor: fd.as_fd(),
            memory: fd.as_fd(),
            arguments: fd.as_fd(),
        }
    }

    #[test]
    fn a_request_arrives_as_it_was_sent() {
        let (a, b) = scm::pair().unwrap();
        send(&a, u64::MAX, &equipment(&a), None).unwrap();
        let request = receive(&b, true).unwrap().unwrap();
        assert_eq!((request.nonce, &request.name[..]), (u64::MAX, &b""[..]));
        assert!(request.outputs.is_none());
        assert_ne!(request.equipment.bell.as_raw_fd(), a.as_raw_fd());

        let forked = Forked {
            name: "a name that is too long for it",
            outputs: [a.as_fd(), b.as_fd()],
        };
        send(&a, 7, &equipment(&a), Some(&forked)).unwrap();
        let request = receive(&b, true).unwrap().unwrap();
        assert_eq!(
            (request.nonce, &request.name[..]),
            (7, &b"a name that is "[..])
        );
        assert!(request.outputs.is_some());
    }

    #[test]
    fn what_is_no_request_is_an_error_and_the_end_is_none() {
        let (a, b) = scm::pair().unwrap();
        let none = receive(&b, false).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        for (bytes, fds) in [(&[1; 7][..], 5), (&[1; 8], 4), (&[1; 8], 6), (&[1; 8], 8)] {
            let fds = vec![a.as_fd(); fds];
            scm::send(&a, &[IoSlice::new(bytes)], &fds, true).unwrap();
            let error = receive(&b, true).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        drop(a);
        assert!(receive(&b, true).unwrap().is_none());
    }
}
