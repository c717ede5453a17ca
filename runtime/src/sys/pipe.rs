//! Anonymous pipes, never inherited by accident.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Opens a pipe whose ends block and are closed on `exec`: (read end, write end).
///
/// # Errors
/// The kernel's: `EMFILE` or `ENFILE` when descriptors run out.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

/// Opens a pipe whose ends never block and are closed on `exec`:
/// (read end, write end).
///
/// # Errors
/// As [`pipe`].
pub fn nonblocking() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?)
}

/// Makes reads and writes on `fd` block, or not.
///
/// The flag belongs to the *open file description*: it changes for every process
/// and every descriptor that shares it, which is why an end that a child
/// inherits should be left blocking and only our own end changed.
///
/// # Errors
/// The kernel's, for a descriptor that has no such flag.
pub fn set_nonblocking(fd: impl AsFd, nonblocking: bool) -> io::Result<()> {
    let fd = fd.as_fd();
    let mut flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    if flags.contains(OFlag::O_NONBLOCK) == nonblocking {
        return Ok(());
    }
    flags.set(OFlag::O_NONBLOCK, nonblocking);
    fcntl(fd, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

/// Asks for a pipe buffer of at least `bytes` and returns what the kernel gave.
///
/// The default is 64 KiB; unprivileged processes may ask for up to
/// `/proc/sys/fs/pipe-max-size` (1 MiB unless changed).
///
/// # Errors
/// `EPERM` above the limit, `EBADF` if `fd` is no pipe.
pub fn set_capacity(fd: impl AsFd, bytes: usize) -> io::Result<usize> {
    let bytes = i32::try_from(bytes).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "a pipe's buffer is below 2 GiB",
        )
    })?;
    let given = fcntl(fd.as_fd(), FcntlArg::F_SETPIPE_SZ(bytes))?;
    Ok(given.unsigned_abs() as usize)
}

/// How many descriptors this process has open: for tests that look for leaks.
///
/// # Errors
/// If `/proc` isn't mounted.
pub fn open_fds() -> io::Result<usize> {
    let dir = std::fs::File::open("/proc/self/fd")?;
    let own = dir.as_raw_fd().to_string();
    // `read_dir` opens the directory once more, hence two that aren't the
    // caller's: `own`, skipped by name, and the iterator's, subtracted.
    let all = std::fs::read_dir("/proc/self/fd")?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name() != own.as_str())
        .count();
    Ok(all.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};

    #[test]
    fn bytes_cross_and_closing_is_the_end() {
        let (reader, writer) = pipe().unwrap();
        let mut writer = File::from(writer);
        writer.write_all(b"across").unwrap();
        drop(writer);
        let mut got = String::new();
        File::from(reader).read_to_string(&mut got).unwrap();
        assert_eq!(got, "across");
    }

    #[test]
    fn an_empty_nonblocking_pipe_would_block() {
        let (reader, _writer) = nonblocking().unwrap();
        let mut reader = File::from(reader);
        let error = reader.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        set_nonblocking(&reader, false).unwrap();
        set_nonblocking(&reader, true).unwrap();
        assert!(reader.read(&mut [0; 1]).is_err());
    }

    #[test]
    fn a_larger_buffer_is_granted() {
        let (_reader, writer) = pipe().unwrap();
        assert!(set_capacity(&writer, 256 * 1024).unwrap() >= 256 * 1024);
    }
}
