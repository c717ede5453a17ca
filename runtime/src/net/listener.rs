//! Accepting connections, also when there are no descriptors left.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_core::Stream;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::resolve::{ToSocketAddrs, lookup_host};
use super::tcp::TcpStream;
use crate::io::Async;
use crate::limits::{ACCEPT_PAUSE, LISTEN_BACKLOG};
use crate::time::{Sleep, sleep_until};

/// A socket that accepts TCP connections. Any number of tasks may accept.
///
/// # When descriptors run out
/// [`accept`](TcpListener::accept) returns the error (`EMFILE`, `ENFILE`,
/// `ENOBUFS`, `ENOMEM`), and the next call waits [`ACCEPT_PAUSE`] before it
/// tries again. So the obvious loop, which logs errors and goes on, neither dies
/// nor spins, and serves again once descriptors come back; the waiting clients
/// are in the kernel's backlog meanwhile. Connections that the peer gave up
/// before they were accepted are skipped in silence.
///
/// ```
/// # use threeply_runtime::{block_on, net::{TcpListener, TcpStream}};
/// # use threeply_runtime::io::{AsyncReadExt, AsyncWriteExt};
/// block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     let (mut server, _peer) = listener.accept().await?;
///     client.write_all(b"hello").await?;
///     let mut buf = [0; 5];
///     server.read_exact(&mut buf).await?;
///     assert_eq!(&buf, b"hello");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpListener {
    /// mio's type, since its `accept` makes the connection nonblocking in the
    /// same system call.
    io: Async<mio::net::TcpListener>,
    pause: Pause,
}

impl TcpListener {
    /// Listens on `target`, or on the first of its addresses that can be had;
    /// port zero picks a free one. The address may have been in use until just
    /// now (`SO_REUSEADDR`).
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// `AddrInUse`, `PermissionDenied` (ports below 1024), `AddrNotAvailable`, …
    pub async fn bind(target: impl ToSocketAddrs) -> io::Result<TcpListener> {
        let mut failure = None;
        for address in lookup_host(target).await? {
            match TcpListener::bind_addr(address) {
                Ok(listener) => return Ok(listener),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| io::ErrorKind::InvalidInput.into()))
    }

    /// As [`bind`](TcpListener::bind), to this one address.
    ///
    /// # Errors
    /// As [`bind`](TcpListener::bind).
    pub fn bind_addr(address: SocketAddr) -> io::Result<TcpListener> {
        let kind = Type::STREAM.nonblocking();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        TcpListener::from_std(socket.into())
    }

    /// Takes a listener of the standard library, and makes it nonblocking.
    ///
    /// # Errors
    /// The kernel's.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        Ok(TcpListener {
            io: Async::owned(mio::net::TcpListener::from_std(listener)),
            pause: Pause::default(),
        })
    }

    /// The listener of the standard library, still nonblocking.
    pub fn into_std(self) -> std::net::TcpListener {
        OwnedFd::from(self.io.into_inner()).into()
    }

    /// Waits for the next connection; returns it and the peer's address.
    ///
    /// # Cancel safety
    /// Safe: a connection that wasn't returned is still in the backlog.
    ///
    /// # Errors
    /// See [`TcpListener`] for what happens when descriptors run out.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            self.pause.over().await;
            let accepted = self.io.read_with(mio::net::TcpListener::accept).await;
            if let Some(result) = self.pause.judge(accepted) {
                return result.map(stream);
            }
        }
    }

    /// Accepts a connection if one is waiting: `WouldBlock` if none is.
    ///
    /// # Errors
    /// As [`accept`](TcpListener::accept).
    pub fn try_accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.io.get_ref().accept().map(stream)
    }

    /// The connections as a stream that never ends, errors included.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming {
            listener: self,
            pause: None,
        }
    }

    /// Our address; tells the port that was picked for port zero.
    ///
    /// # Errors
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    /// Every option of the socket.
    pub fn options(&self) -> SockRef<'_> {
        SockRef::from(self.io.get_ref())
    }
}

fn stream((stream, peer): (mio::net::TcpStream, SocketAddr)) -> (TcpStream, SocketAddr) {
    let stream = std::net::TcpStream::from(OwnedFd::from(stream));
    (TcpStream::from_nonblocking(stream), peer)
}

/// Whether accepting makes sense yet.
#[derive(Default)]
pub(super) struct Pause {
    until: Cell<Option<Instant>>,
}

impl Pause {
    /// Waits until it does.
    pub(super) async fn over(&self) {
        if let Some(until) = self.until.get() {
            sleep_until(until).await;
            self.until.set(None);
        }
    }

    /// What to tell the caller; `None` is "try again".
    pub(super) fn judge<T>(&self, accepted: io::Result<T>) -> Option<io::Result<T>> {
        if let Err(error) = &accepted {
            match error.raw_os_error() {
                // The peer has gone, or its network: accept(2) says to treat
                // them as nothing.
                Some(
                    libc::ECONNABORTED
                    | libc::EPROTO
                    | libc::ENOPROTOOPT
                    | libc::ENETDOWN
                    | libc::EHOSTDOWN
                    | libc::ENONET
                    | libc::EHOSTUNREACH
                    | libc::ENETUNREACH,
                ) => return None,
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                    self.until.set(Some(crate::time::now() + ACCEPT_PAUSE));
                }
                _ => {}
            }
        }
        Some(accepted)
    }
}

/// See [`TcpListener::incoming`].
pub struct Incoming<'a> {
    listener: &'a TcpListener,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Stream for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let listener = self.listener;
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let accepted = listener
                .io
                .poll_read_with(cx, mio::net::TcpListener::accept);
            let accepted = std::task::ready!(accepted);
            let judged = listener.pause.judge(accepted);
            if let Some(until) = listener.pause.until.take() {
                self.pause = Some(Box::pin(sleep_until(until)));
            }
            if let Some(result) = judged {
                return Poll::Ready(Some(result.map(|accepted| stream(accepted).0)));
            }
        }
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.io.get_ref(), f)
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Incoming").field(self.listener).finish()
    }
}
