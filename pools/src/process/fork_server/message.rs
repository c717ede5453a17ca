//! What the pool's process and the zygote say to each other.
//!
//! | direction | bytes | descriptors |
//! |---|---|---|
//! | → zygote | nonce u64 · count u8 · for each descriptor its number in the worker u8 · name | the worker's, in the same order |
//! | → pool | errno i32 (zero: forked) · pid u32 | the worker's pidfd, if forked |
//!
//! Numbers are little-endian. Read after [`super`].

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use threeply_runtime::sys::scm;

/// The longest request: as much of a name as `/proc/<pid>/comm` shows.
const REQUEST_MAX: usize = 9 + scm::MAX_FDS + NAME_MAX;
/// What the kernel keeps of a thread's name.
const NAME_MAX: usize = 15;

/// A worker to be forked, as the zygote receives it.
#[derive(Debug)]
pub struct Request {
    /// What it must say in the handshake.
    pub nonce: u64,
    /// Its descriptors, each with the number that it is to have.
    pub fds: Vec<(OwnedFd, i32)>,
    /// Its name in lists of processes.
    pub name: Vec<u8>,
}

/// Asks for a worker.
///
/// # Errors
/// As [`scm::send`].
pub fn ask(
    socket: impl AsFd,
    nonce: u64,
    fds: &[(BorrowedFd<'_>, i32)],
    name: &str,
) -> io::Result<()> {
    let mut bytes = nonce.to_le_bytes().to_vec();
    bytes.push(u8::try_from(fds.len()).map_err(io::Error::other)?);
    for (_, number) in fds {
        bytes.push(u8::try_from(*number).map_err(io::Error::other)?);
    }
    bytes.extend(name.bytes().take(NAME_MAX));
    let fds: Vec<_> = fds.iter().map(|(fd, _)| *fd).collect();
    scm::send(socket, &[IoSlice::new(&bytes)], &fds, true)
}

/// Receives a request; `None` once the other end is closed.
///
/// # Errors
/// As [`scm::recv`], and `InvalidData` for what isn't a request.
pub fn hear(socket: impl AsFd) -> io::Result<Option<Request>> {
    let mut bytes = [0; REQUEST_MAX];
    let (len, fds) = scm::recv(socket, &mut bytes, true)?;
    if len == 0 {
        return Ok(None);
    }
    let parse = || {
        let (nonce, rest) = bytes[..len].split_first_chunk()?;
        let (count, rest) = rest.split_first()?;
        let (numbers, name) = rest.split_at_checked(usize::from(*count))?;
        (numbers.len() == fds.len()).then_some((u64::from_le_bytes(*nonce), numbers, name))
    };
    let (nonce, numbers, name) = parse().ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some(Request {
        nonce,
        fds: fds
            .into_iter()
            .zip(numbers.iter().map(|&n| n.into()))
            .collect(),
        name: name.to_vec(),
    }))
}

/// Answers a request: the worker, or why there is none.
///
/// # Errors
/// As [`scm::send`].
pub fn answer(socket: impl AsFd, forked: &io::Result<(u32, OwnedFd)>) -> io::Result<()> {
    let (errno, pid, pidfd) = match forked {
        Ok((pid, pidfd)) => (0, *pid, Some(pidfd.as_fd())),
        Err(error) => (error.raw_os_error().unwrap_or(libc::EIO), 0, None),
    };
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&errno.to_le_bytes());
    bytes[4..].copy_from_slice(&pid.to_le_bytes());
    scm::send(socket, &[IoSlice::new(&bytes)], pidfd.as_slice(), true)
}

/// What the zygote's answer says.
#[derive(Debug)]
pub enum Answer {
    /// A worker was forked.
    Forked {
        /// Its process id.
        pid: u32,
        /// The descriptor of its process.
        pidfd: OwnedFd,
    },
    /// None could be; the zygote is well.
    Refused(io::Error),
}

/// Receives the answer.
///
/// # Errors
/// As [`scm::recv`]; `UnexpectedEof` if the zygote has closed its end, and
/// `InvalidData` for what isn't an answer.
pub fn listen(socket: impl AsFd) -> io::Result<Answer> {
    let mut bytes = [0; 8];
    let (len, mut fds) = scm::recv(socket, &mut bytes, false)?;
    if len == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let [errno, pid] = [0, 4].map(|at| bytes[at..at + 4].try_into().expect("four bytes"));
    match (len, i32::from_le_bytes(errno), fds.pop()) {
        (8, 0, Some(pidfd)) => Ok(Answer::Forked {
            pid: u32::from_le_bytes(pid),
            pidfd,
        }),
        (8, errno, None) if errno != 0 => Ok(Answer::Refused(io::Error::from_raw_os_error(errno))),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_arrive_as_they_were_sent() {
        let (a, b) = scm::pair().unwrap();
        let fds = [(a.as_fd(), 7), (b.as_fd(), 0)];
        ask(&a, u64::MAX, &fds, "a name that is too long for it").unwrap();
        let request = hear(&b).unwrap().unwrap();
        assert_eq!(request.nonce, u64::MAX);
        assert_eq!(request.name, b"a name that is ");
        let numbers: Vec<_> = request.fds.iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers, [7, 0]);

        answer(&b, &Ok((4711, a.try_clone().unwrap()))).unwrap();
        assert!(matches!(
            listen(&a).unwrap(),
            Answer::Forked { pid: 4711, .. }
        ));
        let refused = Err(io::Error::from_raw_os_error(libc::EAGAIN));
        answer(&b, &refused).unwrap();
        let Answer::Refused(error) = listen(&a).unwrap() else {
            panic!("refused");
        };
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
    }

    #[test]
    fn what_is_no_request_is_an_error_and_the_end_is_none() {
        let (a, b) = scm::pair().unwrap();
        for wrong in [&[1u8; 8][..], &[1, 2, 3, 4, 5, 6, 7, 8, 2, 0, 1]] {
            scm::send(&a, &[IoSlice::new(wrong)], &[] as &[OwnedFd], true).unwrap();
            let error = hear(&b).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        drop(a);
        assert!(hear(&b).unwrap().is_none());
    }
}
