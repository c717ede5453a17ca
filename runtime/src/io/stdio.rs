//! Standard input, output and error, whatever they are connected to.
//!
//! The obvious way, making descriptor 0 nonblocking, isn't open to us: the flag
//! belongs to the open file, which we share with the shell that started us and
//! with every program of the same pipeline. They would suddenly see their own
//! reads fail. So it depends on what the descriptor is:
//!
//! | it is | how it is awaited |
//! |---|---|
//! | a pipe, FIFO or terminal | opened anew through `/proc/self/fd`, nonblocking: an open file of our own |
//! | a socket | as it is, each call with `MSG_DONTWAIT` |
//! | a file, `/dev/null`, anything else | by [`unblock`](crate::unblock()) |
//!
//! The first call finds out which. Rejected: a thread that reads ahead. It takes
//! input that nobody has asked for yet, and which the next program in the same
//! terminal should have got.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use socket2::SockRef;

use super::Async;
use super::blocking::BlockingFile;

/// This process's standard input.
///
/// Each value is on its own: bytes go to whichever reads first. Wrap one in a
/// [`BufReader`](super::BufReader) for lines.
pub fn stdin() -> Stdin {
    Stdin {
        stdio: Stdio::new(0, Side::Read),
    }
}

/// This process's standard output, unbuffered. What `print!` still buffers comes
/// later.
pub fn stdout() -> Stdout {
    Stdout {
        stdio: Stdio::new(1, Side::Write),
    }
}

/// This process's standard error, unbuffered.
pub fn stderr() -> Stderr {
    Stderr {
        stdio: Stdio::new(2, Side::Write),
    }
}

/// See [`stdin`].
///
/// A read that is dropped takes nothing, unless standard input is a file: what
/// was read by then goes to the next read of this value.
#[derive(Debug)]
pub struct Stdin {
    stdio: Stdio,
}

/// See [`stdout`].
#[derive(Debug)]
pub struct Stdout {
    stdio: Stdio,
}

/// See [`stderr`].
#[derive(Debug)]
pub struct Stderr {
    stdio: Stdio,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Read,
    Write,
}

#[derive(Debug)]
struct Stdio {
    number: i32,
    side: Side,
    kind: Kind,
}

/// How the descriptor is awaited, once that is known.
#[derive(Debug)]
enum Kind {
    Unknown,
    /// An open file of our own.
    Polled(Async<File>),
    /// A copy of the descriptor; the flag that it shares stays as it is.
    Socket(Async<OwnedFd>),
    /// Through the blocking pool.
    Blocking(BlockingFile),
}

impl Stdio {
    fn new(number: i32, side: Side) -> Stdio {
        Stdio {
            number,
            side,
            kind: Kind::Unknown,
        }
    }

    fn kind(&mut self) -> io::Result<&mut Kind> {
        if let Kind::Unknown = self.kind {
            self.kind = open(self.number, self.side)?;
        }
        Ok(&mut self.kind)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.kind()? {
            Kind::Polled(io) => io.poll_read_with(cx, |mut file| file.read(buf)),
            Kind::Socket(io) => io.poll_read_with(cx, |fd| {
                let flags = nix::sys::socket::MsgFlags::MSG_DONTWAIT;
                Ok(nix::sys::socket::recv(fd.as_raw_fd(), buf, flags)?)
            }),
            Kind::Blocking(blocking) => blocking.poll_read(cx, buf),
            Kind::Unknown => unreachable!("`kind` has just found out"),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.kind()? {
            Kind::Polled(io) => io.poll_write_with(cx, |mut file| file.write(buf)),
            Kind::Socket(io) => io.poll_write_with(cx, |fd| {
                let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
                SockRef::from(fd).send_with_flags(buf, flags)
            }),
            Kind::Blocking(blocking) => blocking.poll_write(cx, buf),
            Kind::Unknown => unreachable!("`kind` has just found out"),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Blocking(blocking) => blocking.poll_flush(cx),
            _ => Poll::Ready(Ok(())),
        }
    }
}

fn open(number: i32, side: Side) -> io::Result<Kind> {
    let copy = match number {
        0 => io::stdin().as_fd().try_clone_to_owned()?,
        1 => io::stdout().as_fd().try_clone_to_owned()?,
        _ => io::stderr().as_fd().try_clone_to_owned()?,
    };
    classify(copy, side)
}

fn classify(copy: OwnedFd, side: Side) -> io::Result<Kind> {
    let file = File::from(copy);
    let kind = file.metadata()?.file_type();
    if kind.is_socket() {
        return Ok(Kind::Socket(Async::shared(file.into())));
    }
    if kind.is_fifo() || kind.is_char_device() {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let own = OpenOptions::new()
            .read(side == Side::Read)
            .write(side == Side::Write)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path);
        // A device that can't be watched (/dev/null) or opened anew (another
        // user's terminal) is left to the blocking pool.
        if let Ok(own) = own
            && watchable(own.as_fd())
        {
            return Ok(Kind::Polled(Async::new(own)?));
        }
    }
    Ok(Kind::Blocking(BlockingFile::new(file)))
}

/// Whether epoll takes it: asked of an epoll of its own.
fn watchable(fd: BorrowedFd<'_>) -> bool {
    use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
    Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
        .and_then(|epoll| epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0)))
        .is_ok()
}

impl AsyncRead for Stdin {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.stdio.poll_read(cx, buf)
    }
}

macro_rules! writes {
    ($($type:ty),*) => {$(
        impl AsyncWrite for $type {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.stdio.poll_write(cx, buf)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.stdio.poll_flush(cx)
            }

            /// Only flushes: others may still have something to say.
            fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.stdio.poll_flush(cx)
            }
        }
    )*};
}
writes!(Stdout, Stderr);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_on;
    use crate::io::{AsyncReadExt, AsyncWriteExt};
    use crate::sys::pipe;
    use std::future::Future;
    use std::io::Seek;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    fn run<F: Future>(test: F) -> F::Output {
        block_on(crate::time::timeout(Duration::from_secs(20), test)).expect("the test hangs")
    }

    fn stdin_of(fd: impl Into<OwnedFd>) -> Stdin {
        let kind = classify(fd.into(), Side::Read).unwrap();
        let (number, side) = (0, Side::Read);
        Stdin {
            stdio: Stdio { number, side, kind },
        }
    }

    fn stdout_of(fd: impl Into<OwnedFd>) -> Stdout {
        let kind = classify(fd.into(), Side::Write).unwrap();
        let (number, side) = (1, Side::Write);
        Stdout {
            stdio: Stdio { number, side, kind },
        }
    }

    #[test]
    fn pipes_are_awaited_and_stay_blocking_for_others() {
        run(async {
            let (reader, writer) = pipe::pipe().unwrap();
            let shared = writer.try_clone().unwrap();
            let mut input = stdin_of(reader);
            let mut output = stdout_of(writer);
            assert!(matches!(input.stdio.kind, Kind::Polled(_)));
            let mut buf = [0; 7];
            let nothing = crate::time::timeout(Duration::from_millis(1), input.read(&mut buf));
            assert!(nothing.await.is_err());
            output.write_all(b"through").await.unwrap();
            input.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"through");
            let flags = nix::fcntl::fcntl(&shared, nix::fcntl::FcntlArg::F_GETFL).unwrap();
            assert_eq!(flags & libc::O_NONBLOCK, 0);
        });
    }

    #[test]
    fn files_are_read_and_written_in_order() {
        run(async {
            let path = std::env::temp_dir().join(format!("threeply-stdio-{}", std::process::id()));
            let mut file = File::options()
                .create(true)
                .truncate(true)
                .read(true)
                .write(true)
                .open(&path)
                .unwrap();
            std::fs::remove_file(&path).unwrap();
            let mut output = stdout_of(file.try_clone().unwrap());
            assert!(matches!(output.stdio.kind, Kind::Blocking(_)));
            let text: String = (0..5000).map(|number| format!("{number}\n")).collect();
            output.write_all(text.as_bytes()).await.unwrap();
            output.flush().await.unwrap();
            file.rewind().unwrap();
            let mut back = String::new();
            stdin_of(file).read_to_string(&mut back).await.unwrap();
            assert_eq!(back, text);
        });
    }

    #[test]
    fn sockets_are_awaited_and_stay_blocking_for_others() {
        run(async {
            let (near, far) = UnixStream::pair().unwrap();
            let shared = near.try_clone().unwrap();
            let mut input = stdin_of(near);
            assert!(matches!(input.stdio.kind, Kind::Socket(_)));
            let reading = crate::spawn(async move {
                let mut text = String::new();
                input.read_to_string(&mut text).await.unwrap();
                text
            });
            crate::time::sleep(Duration::from_millis(1)).await;
            let mut output = stdout_of(far);
            output.write_all(b"by socket").await.unwrap();
            drop(output);
            assert_eq!(reading.await.unwrap(), "by socket");
            let flags = nix::fcntl::fcntl(&shared, nix::fcntl::FcntlArg::F_GETFL).unwrap();
            assert_eq!(flags & libc::O_NONBLOCK, 0);
        });
    }

    #[test]
    fn the_null_device_takes_everything_and_is_empty() {
        run(async {
            let null = || {
                File::options()
                    .read(true)
                    .write(true)
                    .open("/dev/null")
                    .unwrap()
            };
            stdout_of(null()).write_all(b"gone").await.unwrap();
            assert_eq!(stdin_of(null()).read(&mut [0; 8]).await.unwrap(), 0);
        });
    }
}
