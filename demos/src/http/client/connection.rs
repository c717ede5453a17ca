//! One HTTP/1.1 exchange after another on one connection.
//!
//! `ureq-proto` knows the protocol and does no I/O; this file moves bytes
//! between it and a stream of the event loop. Read it beside the state graph in
//! the documentation of `ureq_proto::client`.
//!
//! What a connection may be used for next is decided here and nowhere else: a
//! response that was not read to its end, or after which the server sent more
//! than it announced, leaves a connection that can only be closed.

use std::io;

use futures_io::{AsyncRead, AsyncWrite};
use http::{Request, Response};
use ureq_proto::client::{
    Await100Result, Call, RecvBodyResult, RecvResponseResult, SendRequestResult, state,
};
use ureq_proto::{BodyMode, Error as ProtocolError};

use crate::http::error::Error;
use crate::http::stream;
use crate::limits;

/// What a request carries.
pub enum Payload {
    /// Nothing.
    Empty,
    /// These bytes; sent with their length, and again if need be.
    Bytes(Vec<u8>),
    /// Whatever this reader gives; sent in chunks, once.
    Reader(Box<dyn AsyncRead + Unpin>),
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Payload::Empty => f.write_str("Empty"),
            Payload::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Payload::Reader(_) => f.write_str("Reader"),
        }
    }
}

/// Where the reading of a response's body stands.
///
/// ```text
///            1 head received                   2 last byte read
///  (none) ───────────────────▶ Receiving ───────────────────────▶ Done
///      └───────────────────────────────────────────────────────────▲
///                         3 a response without body
/// ```
/// 1, 3: [`Connection::exchange`]; 2: [`Connection::read_body`].
#[derive(Debug)]
pub enum BodyState {
    /// More may come.
    Receiving(Box<Call<state::RecvBody>>),
    /// All of it was read.
    Done {
        /// Whether the connection may carry another exchange.
        reusable: bool,
    },
}

/// A connection to one server, with what was received and not yet used.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    /// Whom we talk to, for messages.
    host: String,
    /// `buffer[start..end]` was received and is not yet used.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether any byte of the current response has come: if not, and the
    /// connection is an old one, the server has merely closed it while it was idle.
    heard: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection over an open stream to `host`.
    pub fn new(stream: S, host: &str) -> Self {
        Connection {
            stream,
            host: host.to_owned(),
            buffer: Vec::new(),
            start: 0,
            end: 0,
            heard: false,
        }
    }

    /// Whether any byte of the response to the last request has come.
    pub fn heard_anything(&self) -> bool {
        self.heard
    }

    /// The stream beneath. What is read from it is lost to the connection.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Gives the stream back, with what was received beyond the last response:
    /// for a protocol that takes over, such as WebSocket.
    pub fn into_parts(mut self) -> (S, Vec<u8>) {
        self.buffer.truncate(self.end);
        self.buffer.drain(..self.start);
        (self.stream, self.buffer)
    }

    /// Sends a request and receives the head of its response.
    ///
    /// The body is then read by [`Connection::read_body`]. Not cancel-safe: a
    /// connection whose exchange was dropped half-way must be closed.
    ///
    /// # Errors
    /// Those of the connection and of a server that breaks the protocol.
    pub async fn exchange(
        &mut self,
        request: Request<()>,
        payload: &mut Payload,
    ) -> Result<(Response<()>, BodyState), Error> {
        self.heard = false;
        let mut call = Call::new(request).map_err(protocol)?;
        if !matches!(payload, Payload::Empty) {
            call.force_send_body();
        }
        let mut call = call.proceed();
        let mut out = vec![0; limits::FIRST_BUFFER_BYTES];
        while !call.can_proceed() {
            match call.write(&mut out) {
                Ok(0) => grow(&mut out)?,
                Ok(n) => self.send(&out[..n]).await?,
                Err(ProtocolError::OutputOverflow) => grow(&mut out)?,
                Err(e) => return Err(protocol(e)),
            }
        }
        let sent = match call
            .proceed()
            .map_err(protocol)?
            .expect("can_proceed was true")
        {
            SendRequestResult::RecvResponse(call) => call,
            SendRequestResult::SendBody(call) => self.send_body(call, payload, &mut out).await?,
            // We may wait for the server's consent, and need not.
            SendRequestResult::Await100(call) => match call.proceed().map_err(protocol)? {
                Await100Result::SendBody(call) => self.send_body(call, payload, &mut out).await?,
                Await100Result::RecvResponse(call) => call,
            },
        };
        self.receive_head(sent).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        stream::write_all(&mut self.stream, bytes)
            .await
            .map_err(|e| Error::on_connection(&self.host, e))
    }

    async fn send_body(
        &mut self,
        mut call: Call<state::SendBody>,
        payload: &mut Payload,
        out: &mut Vec<u8>,
    ) -> Result<Call<state::RecvResponse>, Error> {
        out.resize(out.len().max(limits::HTTP_BUFFER_BYTES), 0);
        let mut block = vec![0; call.calculate_max_input(out.len())];
        let mut sent = 0;
        // A server may refuse a body before it has all of it, and close. Then
        // writing fails, and its answer is there to be read.
        let mut refused = None;
        loop {
            let input: &[u8] = match payload {
                Payload::Empty => &[],
                Payload::Bytes(bytes) => {
                    let most = block.len().min(bytes.len() - sent);
                    &bytes[sent..sent + most]
                }
                Payload::Reader(reader) => {
                    let n = stream::read(reader, &mut block).await.map_err(Error::Io)?;
                    &block[..n]
                }
            };
            let (used, n) = call.write(input, out).map_err(protocol)?;
            if used != input.len() {
                return Err(Error::Protocol(
                    "a block of the request's body did not fit".into(),
                ));
            }
            sent += used;
            if refused.is_none() && n > 0 {
                match self.send(&out[..n]).await {
                    Err(e @ Error::Lost { .. }) => refused = Some(e),
                    other => other?,
                }
            }
            if input.is_empty() {
                break;
            }
        }
        call.proceed().ok_or_else(|| {
            refused.unwrap_or(Error::Protocol(
                "the request's body is shorter than its content-length".into(),
            ))
        })
    }

    async fn receive_head(
        &mut self,
        mut call: Call<state::RecvResponse>,
    ) -> Result<(Response<()>, BodyState), Error> {
        stream::flush(&mut self.stream)
            .await
            .map_err(|e| Error::on_connection(&self.host, e))?;
        let head = loop {
            let (used, head) = call
                .try_response(&self.buffer[self.start..self.end], false)
                .map_err(protocol)?;
            self.start += used;
            match head {
                Some(head) => break head,
                // An interim response was thrown away; look for the next.
                None if used > 0 => {}
                None if self.end - self.start >= limits::MAX_HEAD_BYTES => {
                    return Err(Error::TooLarge {
                        limit: limits::MAX_HEAD_BYTES as u64,
                        what: "head",
                    });
                }
                None => {
                    if self.receive().await? == 0 {
                        return Err(self.lost());
                    }
                }
            }
        };
        let state = match call.proceed().expect("the head is complete") {
            RecvResponseResult::RecvBody(call) => BodyState::Receiving(Box::new(call)),
            RecvResponseResult::Redirect(call) => self.done(call.must_close_connection()),
            RecvResponseResult::Cleanup(call) => self.done(call.must_close_connection()),
        };
        Ok((head, state))
    }

    /// Reads some of the body; 0 means that all of it was read.
    ///
    /// Cancel-safe: what was received stays in the connection's buffer.
    ///
    /// # Errors
    /// [`Error::Lost`] when the server closes before the announced end.
    pub async fn read_body(
        &mut self,
        body: &mut BodyState,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        loop {
            let BodyState::Receiving(call) = body else {
                return Ok(0);
            };
            let (used, n) = call
                .read(&self.buffer[self.start..self.end], out)
                .map_err(protocol)?;
            self.start += used;
            let until_close = matches!(call.body_mode(), BodyMode::CloseDelimited);
            if n > 0 {
                return Ok(n);
            }
            if call.can_proceed() && !until_close {
                self.finish(body);
            } else if used == 0 {
                if self.end - self.start >= limits::MAX_HEAD_BYTES {
                    return Err(Error::Protocol("a chunk's size line without end".into()));
                }
                if self.receive().await? == 0 {
                    let whole = match body {
                        BodyState::Receiving(call) => until_close || call.is_ended_chunked(),
                        BodyState::Done { .. } => true,
                    };
                    if !whole {
                        return Err(self.lost());
                    }
                    *body = BodyState::Done { reusable: false };
                }
            }
        }
    }

    fn finish(&mut self, body: &mut BodyState) {
        let BodyState::Receiving(call) =
            std::mem::replace(body, BodyState::Done { reusable: false })
        else {
            return;
        };
        *body = match call.proceed() {
            Some(RecvBodyResult::Redirect(call)) => self.done(call.must_close_connection()),
            Some(RecvBodyResult::Cleanup(call)) => self.done(call.must_close_connection()),
            None => BodyState::Done { reusable: false },
        };
    }

    /// The response is over. Bytes beyond it that nobody asked for make the
    /// next response untrustworthy.
    fn done(&self, must_close: bool) -> BodyState {
        BodyState::Done {
            reusable: !must_close && self.start == self.end,
        }
    }

    /// Receives more into the buffer; 0 at the end of the stream.
    async fn receive(&mut self) -> Result<usize, Error> {
        if self.start == self.end {
            // It was filled: there is more to come than a head.
            if self.end > 0 && self.end == self.buffer.len() {
                let most = self.buffer.len().max(limits::HTTP_BUFFER_BYTES);
                self.buffer.resize(most, 0);
            }
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 && self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            let larger = (self.buffer.len() * 2).max(limits::FIRST_BUFFER_BYTES);
            self.buffer.resize(larger, 0);
        }
        let n = stream::read(&mut self.stream, &mut self.buffer[self.end..])
            .await
            .map_err(|e| Error::on_connection(&self.host, e))?;
        self.end += n;
        self.heard |= n > 0;
        Ok(n)
    }

    fn lost(&self) -> Error {
        Error::Lost {
            source: io::ErrorKind::UnexpectedEof.into(),
        }
    }
}

fn protocol(e: ProtocolError) -> Error {
    Error::Protocol(e.to_string())
}

/// Makes room for a header line that didn't fit.
fn grow(out: &mut Vec<u8>) -> Result<(), Error> {
    if out.len() >= limits::MAX_REQUEST_LINE_BYTES {
        return Err(Error::TooLarge {
            limit: limits::MAX_REQUEST_LINE_BYTES as u64,
            what: "request line or header",
        });
    }
    out.resize(out.len() * 2, 0);
    Ok(())
}
