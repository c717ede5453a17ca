//! What the pool's process and the zygote say to each other.
//!
//! | direction | bytes | descriptors |
//! |---|---|---|
//! | → zygote | one, of no meaning: fork a spare | none |
//! | → pool | errno i32 (zero: forked) · pid u32 | if forked: the spare's pidfd, and the socket by which it is made a worker |
//!
//! Each order has one answer, in the same order. Numbers are little-endian. Read after
//! [`super`]; what goes to the spare itself stands in [`crate::process::request`].

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use threeply_runtime::sys::scm;

/// Orders a spare. Never waits.
///
/// # Errors
/// As [`scm::send`].
pub fn order(socket: impl AsFd) -> io::Result<()> {
    scm::send(socket, &[IoSlice::new(&[1])], &[] as &[OwnedFd], false)
}

/// Receives an order; `false` once the other end is closed.
///
/// # Errors
/// As [`scm::recv`].
pub fn hear(socket: impl AsFd) -> io::Result<bool> {
    let (len, _) = scm::recv(socket, &mut [0; 1], true)?;
    Ok(len > 0)
}

/// A child of the pool's that is no worker yet.
#[derive(Debug)]
pub struct Spare {
    /// Its process id.
    pub pid: u32,
    /// Its process.
    pub pidfd: OwnedFd,
    /// Our end of its socket.
    pub socket: OwnedFd,
}

/// Answers an order: the spare, or why there is none.
///
/// # Errors
/// As [`scm::send`].
pub fn answer(socket: impl AsFd, forked: &io::Result<Spare>) -> io::Result<()> {
    let (errno, pid) = match forked {
        Ok(spare) => (0, spare.pid),
        Err(error) => (error.raw_os_error().unwrap_or(libc::EIO), 0),
    };
    let fds = match forked {
        Ok(spare) => vec![spare.pidfd.as_fd(), spare.socket.as_fd()],
        Err(_) => Vec::new(),
    };
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&errno.to_le_bytes());
    bytes[4..].copy_from_slice(&pid.to_le_bytes());
    scm::send(socket, &[IoSlice::new(&bytes)], &fds, true)
}

/// What the zygote's answer says.
#[derive(Debug)]
pub enum Answer {
    /// A spare was forked.
    Forked(Spare),
    /// None could be; the zygote is well.
    Refused(io::Error),
}

/// Receives an answer. Fails with `WouldBlock` while there is none.
///
/// # Errors
/// As [`scm::recv`]; `UnexpectedEof` if the zygote has closed its end, and
/// `InvalidData` for what isn't an answer.
pub fn listen(socket: impl AsFd) -> io::Result<Answer> {
    let mut bytes = [0; 8];
    let (len, fds) = scm::recv(socket, &mut bytes, false)?;
    if len == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let [errno, pid] = [0, 4].map(|at| bytes[at..at + 4].try_into().expect("four bytes"));
    let pid = u32::from_le_bytes(pid);
    match (
        len,
        i32::from_le_bytes(errno),
        <[OwnedFd; 2]>::try_from(fds),
    ) {
        (8, 0, Ok([pidfd, socket])) => Ok(Answer::Forked(Spare { pid, pidfd, socket })),
        (8, errno, Err(fds)) if errno != 0 && fds.is_empty() => {
            Ok(Answer::Refused(io::Error::from_raw_os_error(errno)))
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_answers_arrive_as_they_were_sent() {
        let (a, b) = scm::pair().unwrap();
        order(&a).unwrap();
        assert!(hear(&b).unwrap());
        assert_eq!(
            listen(&a).unwrap_err().kind(),
            io::ErrorKind::WouldBlock,
            "not yet"
        );
        let spare = Spare {
            pid: 4711,
            pidfd: a.try_clone().unwrap(),
            socket: b.try_clone().unwrap(),
        };
        answer(&b, &Ok(spare)).unwrap();
        assert!(matches!(
            listen(&a).unwrap(),
            Answer::Forked(Spare { pid: 4711, .. })
        ));
        let refused = Err(io::Error::from_raw_os_error(libc::EAGAIN));
        answer(&b, &refused).unwrap();
        let Answer::Refused(error) = listen(&a).unwrap() else {
            panic!("refused");
        };
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
    }

    #[test]
    fn what_is_no_answer_is_an_error_and_the_end_is_told() {
        let (a, b) = scm::pair().unwrap();
        for (bytes, fds) in [(&[0; 7][..], 2), (&[0; 8], 1), (&[1; 8], 2)] {
            let fds = vec![b.as_fd(); fds];
            scm::send(&b, &[IoSlice::new(bytes)], &fds, true).unwrap();
            let error = listen(&a).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        drop(b);
        let error = listen(&a).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let (a, b) = scm::pair().unwrap();
        drop(a);
        assert!(!hear(&b).unwrap());
    }
}
