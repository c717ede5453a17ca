//! Messages that carry descriptors: a pair of sockets, `SCM_RIGHTS` beside bytes.
//!
//! The sockets keep messages whole (`SOCK_SEQPACKET`), so a descriptor can't be
//! taken for that of another message, and the end of the other side is seen as
//! such. Every descriptor that is received is closed on `exec`; one that can't be
//! received costs the message, never a leak.
//!
//! A message without a byte couldn't be told from the end: [`send`] refuses it.
#![allow(unsafe_code)] // recvmsg: nix's own loses descriptors when some don't fit.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};

/// The most descriptors that one message carries: the kernel's limit.
pub const MAX_FDS: usize = 253;

/// Bytes of control data for so many; the header of one message is 16 bytes.
const CONTROL: usize = 16 + (MAX_FDS * size_of::<RawFd>()).next_multiple_of(8);

/// Control data, aligned as the kernel's headers want it.
#[repr(C, align(8))]
struct Control(MaybeUninit<[u8; CONTROL]>);

/// Two connected sockets whose messages stay whole; closed on `exec`.
///
/// # Errors
/// `EMFILE` or `ENFILE` when descriptors run out.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?)
}

/// Sends the bytes of `parts` and copies of `fds` as one message. Blocks while the
/// socket is full if `wait`, else fails with `WouldBlock`.
///
/// # Errors
/// `BrokenPipe` if the other end is closed (without a signal), `InvalidInput` for
/// no bytes or more than [`MAX_FDS`] descriptors, and the kernel's, such as
/// `ETOOMANYREFS` when very many descriptors are on their way.
pub fn send(
    socket: impl AsFd,
    parts: &[IoSlice<'_>],
    fds: &[impl AsFd],
    wait: bool,
) -> io::Result<()> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    if len == 0 || fds.len() > MAX_FDS {
        let text = format!(
            "a message has at least a byte and at most {MAX_FDS} descriptors; this one has {len} and {}",
            fds.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let numbers: Vec<RawFd> = fds.iter().map(|fd| fd.as_fd().as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if numbers.is_empty() { &[][..] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL | dont_wait(wait);
    let socket = socket.as_fd().as_raw_fd();
    loop {
        match sendmsg::<()>(socket, parts, control, flags, None) {
            Ok(_) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn dont_wait(wait: bool) -> MsgFlags {
    if wait {
        MsgFlags::empty()
    } else {
        MsgFlags::MSG_DONTWAIT
    }
}

/// Receives one message: how many bytes of `buffer` it fills, and its
/// descriptors. No bytes mean that the other end is closed. Blocks if `wait`, else
/// fails with `WouldBlock` while there is none.
///
/// # Errors
/// `InvalidData` if the message is longer than `buffer`; an error that says so if
/// not all its descriptors could be taken, since this process may open no more
/// (those that could are closed again); the kernel's.
pub fn recv(socket: impl AsFd, buffer: &mut [u8], wait: bool) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = Control(MaybeUninit::uninit());
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all zeros is a valid msghdr: no name, no parts, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control.0).cast();
    message.msg_controllen = CONTROL as _;
    let flags = libc::MSG_CMSG_CLOEXEC | dont_wait(wait).bits();
    let socket = socket.as_fd().as_raw_fd();
    let len = loop {
        // SAFETY: `message` refers to `buffer` and `control`, which outlive the call
        // and are ours to be written to for the lengths given.
        let len = unsafe { libc::recvmsg(socket, &raw mut message, flags) };
        match usize::try_from(len) {
            Ok(len) => break len,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    };
    let fds = received(&message);
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::other(
            "a message's descriptors couldn't be received: this process may open no more \
             (see `ulimit -n`)",
        ));
    }
    if message.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok((len, fds))
}

/// Takes over every descriptor that came with `message`.
fn received(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: recvmsg has filled in the control data and its length.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: null or a header within the control data, which is alive.
    while let Some(header) = unsafe { next.as_ref() } {
        if header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: of a header that is there.
            let data = unsafe { libc::CMSG_DATA(next) };
            #[allow(clippy::unnecessary_cast)] // The type differs between C libraries.
            let bytes = header.cmsg_len as usize - (data as usize - next as usize);
            for at in 0..bytes / size_of::<RawFd>() {
                // SAFETY: within this header's data.
                let place = unsafe { data.cast::<RawFd>().add(at) };
                // SAFETY: a whole number; no alignment is assumed.
                let number = unsafe { place.read_unaligned() };
                // SAFETY: the kernel has just opened it for us.
                fds.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
        // SAFETY: both are of this message, unchanged.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    fds
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::BorrowedFd;

    fn send(socket: &OwnedFd, bytes: &[u8], fds: &[BorrowedFd<'_>], wait: bool) -> io::Result<()> {
        super::send(socket, &[IoSlice::new(bytes)], fds, wait)
    }

    #[test]
    fn descriptors_arrive_with_their_message_and_close_on_exec() {
        let (a, b) = pair().unwrap();
        let (read, write) = crate::sys::pipe::pipe().unwrap();
        send(&a, b"one", &[write.as_fd()], true).unwrap();
        send(&a, b"none", &[], true).unwrap();
        drop(write);
        let mut buffer = [0; 8];
        let (len, mut fds) = recv(&b, &mut buffer, true).unwrap();
        assert_eq!((&buffer[..len], fds.len()), (&b"one"[..], 1));
        let flags = nix::fcntl::fcntl(&fds[0], nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        File::from(fds.pop().unwrap()).write_all(b"hi").unwrap();
        let mut text = String::new();
        File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hi", "the last write end is closed by now");
        let (len, fds) = recv(&b, &mut buffer, true).unwrap();
        assert_eq!((&buffer[..len], fds.len()), (&b"none"[..], 0));
        drop(a);
        assert_eq!(recv(&b, &mut buffer, true).unwrap().0, 0, "the end");
    }

    #[test]
    fn as_many_as_the_kernel_allows_go_at_once_and_one_more_is_refused() {
        let (a, b) = pair().unwrap();
        let many = vec![a.as_fd(); MAX_FDS + 1];
        send(&a, b"x", &many[..MAX_FDS], true).unwrap();
        let error = send(&a, b"x", &many, true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(recv(&b, &mut [0], true).unwrap().1.len(), MAX_FDS);
    }

    #[test]
    fn what_is_too_long_or_not_there_or_not_wanted_is_an_error() {
        let (a, b) = pair().unwrap();
        let none = recv(&b, &mut [0], false).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        send(&a, b"long", &[a.as_fd()], true).unwrap();
        let long = recv(&b, &mut [0; 2], true).unwrap_err();
        assert_eq!(long.kind(), io::ErrorKind::InvalidData);
        drop(b);
        let broken = send(&a, b"x", &[], true).unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);
    }
}
