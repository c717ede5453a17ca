//! The life of one connection to the server.
//!
//! ```text
//!        1 first byte        2 end of head          3 whole body
//!  Quiet ────────────▶ Head ───────────────▶ Body ────────────────▶ Answer
//!    ▲ │ 5 idle, closed,  │ 6 too slow,         │ 7 refused            │
//!    │ │   shutdown       │   too long, refused │                      │
//!    │ ▼                  ▼                     ▼                      │
//!    │ (closed)        one last reply, then closed                     │
//!    └─────────────────────────── 4 keep-alive ────────────────────────┘
//! ```
//! 1, 5: `wait_for_first_bytes` (which mostly finds the whole head, and makes
//! transition 2 as well); 2, 6: `read_head`; 3, 7: `read_body`; 4: `run`.
//!
//! Every wait has a limit, so that a client that is slow on purpose (the "slow
//! loris") holds a connection for seconds, not for ever: the head as a whole,
//! the body as a whole, each write of 64 KiB, and the pause between requests.
//!
//! Replies to pipelined requests are collected and written together as long as
//! the next request is there already.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use http::{Method, StatusCode};
use threeply_runtime::cancel::CancellationToken;
use threeply_runtime::time;

use super::body::Chunks;
use super::head::{self, Framing, Head, Refusal};
use super::quiet::Quiet;
use super::reply::{self, Content, Reply, Sending};
use super::routes::{Request, Routes};
use super::serve::Limits;
use crate::http::stream;
use crate::limits;

/// What takes a connection over after an upgrade.
pub trait TakeOver {
    /// Speaks its own protocol on `stream` until that is over. The future may be
    /// dropped wherever it waits, when the server cuts its connections off.
    fn take_over(self: Box<Self>, stream: Box<dyn Duplex>) -> Pin<Box<dyn Future<Output = ()>>>;
}

/// A stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// One connection, and what was received on it and not yet used.
#[derive(Debug)]
pub struct Conversation<S> {
    stream: S,
    peer: Option<SocketAddr>,
    limits: Rc<Limits>,
    shutdown: CancellationToken,
    /// `buffer[start..end]` was received and is not yet used. Empty while the
    /// connection is quiet: ten thousand idle connections cost no buffers.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Replies that are not yet written.
    out: Vec<u8>,
}

thread_local! {
    /// Where the first bytes after a pause arrive, whichever connection they are of.
    static FIRST_BYTES: RefCell<Vec<u8>> = RefCell::new(vec![0; limits::HTTP_BUFFER_BYTES]);
}

/// Why a conversation is over.
enum End {
    /// The peer has closed, or was quiet for too long, or we shut down.
    Close,
    /// The request can't be served; nor can what follows it be understood.
    Refuse(StatusCode),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> End {
        End::Refuse(refusal.0)
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Close
    }
}

impl<S: Duplex + 'static> Conversation<S> {
    /// A conversation on an accepted connection.
    pub fn new(
        stream: S,
        peer: Option<SocketAddr>,
        limits: Rc<Limits>,
        shutdown: CancellationToken,
    ) -> Self {
        Conversation {
            stream,
            peer,
            limits,
            shutdown,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            out: Vec::new(),
        }
    }

    /// Answers requests until either side has enough. Dropping the future closes the
    /// connection at once, in the middle of a reply or not; the handler that ran is
    /// dropped where it waited.
    pub async fn run(mut self, routes: &Routes) {
        let shutdown = self.shutdown.clone();
        let mut quiet = Quiet::new(&shutdown, self.limits.idle_timeout);
        loop {
            match self.serve_one(routes, &mut quiet).await {
                Ok(Next::Again) => {}
                Ok(Next::Close) | Err(End::Close) => break,
                Ok(Next::Upgrade(then)) => {
                    let rest = self.buffer[self.start..self.end].to_vec();
                    return then
                        .take_over(Box::new(Rewound {
                            rest,
                            at: 0,
                            stream: self.stream,
                        }))
                        .await;
                }
                Err(End::Refuse(status)) => {
                    let reply = Reply::refusal(status);
                    if let Err(End::Close) = self.send(reply, &Method::GET, true, false).await {
                        return;
                    }
                    break;
                }
            }
        }
        let _ = self.flush().await;
        self.linger().await;
    }

    async fn serve_one(&mut self, routes: &Routes, quiet: &mut Quiet<'_>) -> Result<Next, End> {
        let head = self.read_head(quiet).await?;
        let body = self.read_body(&head).await?;
        let Head {
            method,
            target,
            headers,
            http11,
            keep_alive,
            ..
        } = head;
        let (path, query) = path_and_query(target)?;
        let request = Request {
            method: method.clone(),
            path,
            query,
            headers,
            params: Vec::new(),
            body,
            peer: self.peer,
        };
        let reply = match caught(|| routes.answer(request)).await {
            Some(reply) => reply,
            // The panic was reported by its hook; the client learns that much.
            None => Reply::refusal(StatusCode::INTERNAL_SERVER_ERROR),
        };
        let keep_alive = keep_alive && !self.shutdown.is_cancelled();
        self.send(reply, &method, http11, keep_alive).await
    }

    /// Transitions 1 and 5, and 2 if the whole head has come: it is understood where
    /// it arrived, and only what follows it is kept.
    async fn wait_for_first_bytes(&mut self, quiet: &mut Quiet<'_>) -> Result<Option<Head>, End> {
        self.flush().await?;
        // Nothing is kept for a connection that says nothing: what comes first, mostly
        // a whole request, arrives in a place that all share, and is as large here as
        // it is. So it takes one system call to receive it, and no waiting buffer.
        self.buffer = Vec::new();
        (self.start, self.end) = (0, 0);
        quiet.begin();
        poll_fn(|cx| {
            if self.shutdown.is_cancelled() {
                return Poll::Ready(Err(End::Close));
            }
            FIRST_BYTES.with_borrow_mut(|first| {
                match Pin::new(&mut self.stream).poll_read(cx, first) {
                    Poll::Ready(Ok(n @ 1..)) => {
                        let received = &first[..n];
                        let (head, rest) = match head::parse_first(received)? {
                            Some((head, length)) => (Some(head), &received[length..]),
                            None => (None, received),
                        };
                        if !rest.is_empty() {
                            self.buffer = rest.to_vec();
                            self.end = rest.len();
                        }
                        Poll::Ready(Ok(head))
                    }
                    Poll::Ready(_closed_or_failed) => Poll::Ready(Err(End::Close)),
                    Poll::Pending => quiet.poll_over(cx).map(|()| Err(End::Close)),
                }
            })
        })
        .await
    }

    /// Transitions 2 and 6.
    async fn read_head(&mut self, quiet: &mut Quiet<'_>) -> Result<Head, End> {
        let mut looked_at = 0;
        if self.start == self.end {
            if let Some(head) = self.wait_for_first_bytes(quiet).await? {
                return Ok(head);
            }
            looked_at = self.end;
        }
        // Most heads come whole, and need no look at the clock.
        let mut until = None;
        loop {
            let received = &self.buffer[self.start..self.end];
            // One that comes in pieces is parsed once: what a slow client sends byte by
            // byte must not be parsed byte by byte.
            let parsed = if looked_at == 0 {
                head::parse_first(received)?
            } else if looked_at == received.len() {
                None
            } else {
                match head::end(received, looked_at) {
                    Some(length) => Some((head::parse(&received[..length])?, length)),
                    None => None,
                }
            };
            if let Some((head, length)) = parsed {
                self.start += length;
                return Ok(head);
            }
            looked_at = received.len();
            if looked_at >= self.limits.head_bytes {
                return Err(End::Refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
            }
            // What is answered already must not wait for a slow next request.
            self.flush().await?;
            let limit = self.limits.head_timeout;
            let until = *until.get_or_insert_with(|| time::now() + limit);
            self.receive_until(until).await?;
        }
    }

    /// Transitions 3 and 7.
    async fn read_body(&mut self, head: &Head) -> Result<Vec<u8>, End> {
        let most = self.limits.body_bytes;
        match head.framing {
            Framing::Length(0) => return Ok(Vec::new()),
            Framing::Length(n) if n > most => {
                return Err(End::Refuse(StatusCode::PAYLOAD_TOO_LARGE));
            }
            _ => {}
        }
        if head.expects_continue && self.start == self.end {
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let until = time::now() + self.limits.body_timeout;
        let mut chunks = Chunks::new(most);
        loop {
            let received = &self.buffer[self.start..self.end];
            match head.framing {
                Framing::Length(n) => {
                    // Below the limit, so it fits in memory.
                    let left = n as usize - chunks.body.len();
                    let taken = left.min(received.len());
                    chunks.body.extend_from_slice(&received[..taken]);
                    self.start += taken;
                    if taken == left {
                        return Ok(chunks.body);
                    }
                }
                Framing::Chunked => {
                    self.start += chunks.feed(received)?;
                    if chunks.is_done() {
                        return Ok(chunks.body);
                    }
                }
            }
            self.flush().await?;
            self.receive_until(until).await?;
        }
    }

    async fn send(
        &mut self,
        reply: Reply,
        method: &Method,
        http11: bool,
        keep_alive: bool,
    ) -> Result<Next, End> {
        let sending = reply::sending(&reply, method, http11);
        let keep_alive = keep_alive && sending != Sending::UntilClose;
        reply::write_head(&reply, method, sending, keep_alive, &mut self.out);
        match reply.body {
            Content::Upgrade(then) => {
                self.flush().await?;
                return Ok(Next::Upgrade(then));
            }
            _ if sending == Sending::Nothing => {}
            Content::Bytes(bytes) => self.send_bytes(&bytes).await?,
            Content::Static(bytes) => self.send_bytes(bytes).await?,
            Content::Reader { reader, .. } => self.send_from(reader, sending).await?,
        }
        // Whoever waits for more than is here flushes before.
        if self.out.len() >= limits::HTTP_BUFFER_BYTES {
            self.flush().await?;
        }
        Ok(if keep_alive { Next::Again } else { Next::Close })
    }

    async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() <= limits::HTTP_BUFFER_BYTES {
            self.out.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush().await?;
        write(&mut self.stream, bytes, self.limits.write_timeout).await
    }

    async fn send_from(
        &mut self,
        mut reader: Box<dyn AsyncRead + Unpin>,
        sending: Sending,
    ) -> io::Result<()> {
        let mut block = vec![0; limits::HTTP_BUFFER_BYTES];
        let mut left = match sending {
            Sending::Length(n) => n,
            _ => u64::MAX,
        };
        while left > 0 {
            let most = left.min(block.len() as u64) as usize;
            let n = stream::read(&mut reader, &mut block[..most]).await?;
            if n == 0 {
                break;
            }
            left -= n as u64;
            if sending == Sending::Chunks {
                self.out.extend_from_slice(format!("{n:x}\r\n").as_bytes());
                self.out.extend_from_slice(&block[..n]);
                self.out.extend_from_slice(b"\r\n");
            } else {
                self.out.extend_from_slice(&block[..n]);
            }
            self.flush().await?;
        }
        match sending {
            Sending::Chunks => self.out.extend_from_slice(b"0\r\n\r\n"),
            // Less came than was promised. All we can do is to close early, so
            // that the client doesn't take it for whole.
            Sending::Length(_) if left > 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {}
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            write(&mut self.stream, &self.out, self.limits.write_timeout).await?;
            self.out.clear();
            self.out.shrink_to(limits::HTTP_BUFFER_BYTES);
        }
        Ok(())
    }

    /// Receives more, if it comes in time and the peer has not closed.
    async fn receive_until(&mut self, until: Instant) -> Result<(), End> {
        match time::timeout_at(until, self.receive()).await {
            Ok(Ok(1..)) => Ok(()),
            Ok(_closed_or_failed) => Err(End::Close),
            Err(_elapsed) => Err(End::Refuse(StatusCode::REQUEST_TIMEOUT)),
        }
    }

    /// Receives more into the buffer; 0 at the end of the stream.
    async fn receive(&mut self) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.buffer.len() < limits::HTTP_BUFFER_BYTES {
            self.buffer.resize(limits::HTTP_BUFFER_BYTES, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let n = stream::read(&mut self.stream, &mut self.buffer[self.end..]).await?;
        self.end += n;
        Ok(n)
    }

    /// Closes so that the peer reads our last reply: a socket that is closed
    /// with unread bytes in it sends a reset, which throws the reply away. A peer
    /// that goes on sending gets it in the end.
    async fn linger(mut self) {
        let closing = async {
            poll_fn(|cx| Pin::new(&mut self.stream).poll_close(cx)).await?;
            let mut nothing = [0; 1024];
            let mut left = limits::LINGER_BYTES;
            while left > 0 {
                match stream::read(&mut self.stream, &mut nothing).await? {
                    0 => break,
                    n => left = left.saturating_sub(n),
                }
            }
            Ok::<(), io::Error>(())
        };
        let _ = time::timeout(limits::LINGER, closing).await;
    }
}

/// What follows a reply.
enum Next {
    Again,
    Close,
    Upgrade(Box<dyn TakeOver>),
}

/// Writes all of `bytes`; each 64 KiB of them within `patience`. Mostly the kernel
/// takes them at once, and no timer is made.
async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    bytes: &[u8],
    patience: Duration,
) -> io::Result<()> {
    for mut piece in bytes.chunks(64 * 1024) {
        let mut late = None;
        poll_fn(|cx| {
            let mut stream = Pin::new(&mut *stream);
            let mut put = || {
                while !piece.is_empty() {
                    match ready!(stream.as_mut().poll_write(cx, piece))? {
                        0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        n => piece = &piece[n..],
                    }
                }
                stream.as_mut().poll_flush(cx)
            };
            match put() {
                Poll::Pending => Pin::new(late.get_or_insert_with(|| time::sleep(patience)))
                    .poll(cx)
                    .map(|()| Err(io::ErrorKind::TimedOut.into())),
                put => put,
            }
        })
        .await?;
    }
    Ok(())
}

/// Takes a target apart; the path is decoded, if there is anything to decode.
fn path_and_query(mut target: String) -> Result<(String, Option<String>), End> {
    let mut query = None;
    if let Some(mark) = memchr::memchr(b'?', target.as_bytes()) {
        query = Some(target.split_off(mark + 1));
        target.truncate(mark);
    }
    if memchr::memchr(b'%', target.as_bytes()).is_none() {
        return Ok((target, query));
    }
    match percent_encoding::percent_decode_str(&target).decode_utf8() {
        Ok(path) => Ok((path.into_owned(), query)),
        Err(_) => Err(End::Refuse(StatusCode::BAD_REQUEST)),
    }
}

/// Runs a handler; `None` if it panics. Its state is gone with it, so nobody
/// sees what the panic left half-done, but for what handlers share by `Rc`.
async fn caught<F: Future + Unpin>(make: impl FnOnce() -> F) -> Option<F::Output> {
    let mut future = catch_unwind(AssertUnwindSafe(make)).ok()?;
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut future).poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
            Err(_panic) => Poll::Ready(None),
        },
    )
    .await
}

/// A stream with some bytes put back in front of it.
struct Rewound<S> {
    rest: Vec<u8>,
    at: usize,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let rest = &this.rest[this.at..];
        if rest.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        this.at += n;
        Poll::Ready(Ok(n))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }
    fn poll_close(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(cx)
    }
}
