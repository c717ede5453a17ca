//! A response: its head at once, its body as it comes.

use std::ops::Range;
use std::path::Path;

use http::{HeaderMap, StatusCode, Version, header};
use serde::de::DeserializeOwned;
use threeply_runtime::time;
use url::Url;

use super::connection::BodyState;
use super::decode::Decoder;
use super::request::Patience;
use super::session::Lease;
use crate::http::error::{Error, Phase};
use crate::limits;

/// A redirect that was followed.
#[derive(Debug, Clone)]
pub struct Hop {
    /// The redirect's status.
    pub status: StatusCode,
    /// Where it came from.
    pub url: Url,
}

/// A response whose head has come. Dropping it before the body's end closes
/// the connection; reading to the end gives it back for the next request.
#[derive(Debug)]
pub struct Response {
    url: Url,
    head: http::Response<()>,
    history: Vec<Hop>,
    body: Body,
}

impl Response {
    pub(super) fn new(url: Url, head: http::Response<()>, body: Body) -> Response {
        Response {
            url,
            head,
            history: Vec::new(),
            body,
        }
    }

    pub(super) fn set_history(&mut self, history: Vec<Hop>) {
        self.history = history;
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.head.status()
    }

    /// The protocol version.
    pub fn version(&self) -> Version {
        self.head.version()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.head.headers()
    }

    /// The URL that answered, after all redirects.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The redirects that led here, oldest first.
    pub fn history(&self) -> &[Hop] {
        &self.history
    }

    /// The body's length as the server announces it, compressed or not.
    pub fn content_length(&self) -> Option<u64> {
        self.headers()
            .get(header::CONTENT_LENGTH)?
            .to_str()
            .ok()?
            .parse()
            .ok()
    }

    /// The response, if its status is success.
    ///
    /// # Errors
    /// [`Error::Status`] for 400 and above; `requests`' `raise_for_status`.
    pub fn error_for_status(self) -> Result<Response, Error> {
        let status = self.status();
        if status.is_client_error() || status.is_server_error() {
            Err(Error::Status(status))
        } else {
            Ok(self)
        }
    }

    /// The body itself, to read block by block.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// The next block of the body, decoded; `None` at its end. Cancel-safe: what is
    /// dropped while it waits has taken nothing.
    ///
    /// # Errors
    /// [`Error::Lost`] when the connection ends too early, [`Error::Decode`],
    /// [`Error::Timeout`].
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.body.chunk().await
    }

    /// The whole body. Dropping the future closes the connection, and what has come
    /// is lost with it.
    ///
    /// # Errors
    /// As [`Response::chunk`]; [`Error::TooLarge`].
    pub async fn bytes(mut self) -> Result<Vec<u8>, Error> {
        self.body.all().await
    }

    /// The whole body as text, by the charset that the server names, else UTF-8.
    /// Bytes that make no character become U+FFFD. Dropped as [`Response::bytes`].
    ///
    /// # Errors
    /// As [`Response::bytes`].
    pub async fn text(self) -> Result<String, Error> {
        let charset = self.charset();
        let bytes = self.bytes().await?;
        let (text, _, _) = charset.decode(&bytes);
        Ok(text.into_owned())
    }

    /// The whole body, read as JSON. Dropped as [`Response::bytes`].
    ///
    /// # Errors
    /// As [`Response::bytes`]; [`Error::Decode`] when it isn't such JSON.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|e| Error::Decode(e.to_string()))
    }

    /// Reads the body to its end and throws it away; returns its decoded length.
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// As [`Response::chunk`].
    pub async fn drain(mut self) -> Result<u64, Error> {
        let mut length = 0;
        while let Some(block) = self.chunk().await? {
            length += block.len() as u64;
        }
        Ok(length)
    }

    /// Writes the body to a new file at `path`, reporting the bytes so far after
    /// each block. File calls run on the blocking pool: the loop never waits for
    /// a disk.
    ///
    /// Dropping the future closes the connection and leaves what was written: a file
    /// that is too short. [`download`](super::download) knows how to go on with one.
    ///
    /// # Errors
    /// As [`Response::chunk`]; [`Error::File`].
    pub async fn save(mut self, path: &Path, progress: impl FnMut(u64)) -> Result<u64, Error> {
        let file = super::file::create(path.to_owned()).await?;
        super::file::write_body(&mut self.body, file, path, progress).await
    }

    /// Reads a short rest of the body so that the connection can be kept; gives
    /// up on a long one.
    pub(super) async fn discard(mut self) {
        let mut left = limits::DISCARD_BYTES;
        while let Ok(Some(block)) = self.chunk().await {
            match left.checked_sub(block.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }

    fn charset(&self) -> &'static encoding_rs::Encoding {
        let named = self.headers().get(header::CONTENT_TYPE).and_then(|value| {
            let value = value.to_str().ok()?;
            let (_, charset) = value.split(';').find_map(|part| {
                part.trim()
                    .split_once('=')
                    .filter(|(name, _)| name.eq_ignore_ascii_case("charset"))
            })?;
            encoding_rs::Encoding::for_label(charset.trim_matches('"').as_bytes())
        });
        named.unwrap_or(encoding_rs::UTF_8)
    }
}

/// A body that is being received.
#[derive(Debug)]
pub struct Body {
    /// The connection, until the body has ended.
    lease: Option<Lease>,
    state: BodyState,
    decoder: Decoder,
    block: Vec<u8>,
    /// What of `block` is not yet decoded.
    encoded: Range<usize>,
    /// How much is read at once: no more than is announced.
    block_bytes: usize,
    patience: Patience,
}

impl Body {
    pub(super) fn new(
        lease: Lease,
        state: BodyState,
        decoder: Decoder,
        patience: Patience,
        announced: Option<u64>,
    ) -> Body {
        let most = limits::HTTP_BUFFER_BYTES;
        let block_bytes = announced.map_or(most, |length| length.clamp(1, most as u64) as usize);
        let mut body = Body {
            lease: Some(lease),
            state,
            decoder,
            block: Vec::new(),
            encoded: 0..0,
            block_bytes,
            patience,
        };
        body.release_if_done();
        body
    }

    /// The next block, decoded; `None` at the end. Cancel-safe.
    ///
    /// A block is some tens of kilobytes at most, however well it was compressed.
    ///
    /// # Errors
    /// See [`Response::chunk`].
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut out = Vec::new();
        while let Some(lease) = &mut self.lease {
            if !self.encoded.is_empty() {
                let encoded = &self.block[self.encoded.clone()];
                self.encoded.start += self.decoder.feed(encoded, &mut out)?;
                if out.is_empty() {
                    continue;
                }
                return Ok(Some(out));
            }
            self.block.resize(self.block_bytes, 0);
            let next = time::now() + self.patience.read;
            let (until, phase, limit) = match self.patience.deadline {
                Some((at, limit)) if at < next => (at, Phase::Total, limit),
                _ => (next, Phase::Read, self.patience.read),
            };
            let read = lease.connection.read_body(&mut self.state, &mut self.block);
            let n = match time::timeout_at(until, read).await {
                Ok(read) => read?,
                Err(_elapsed) => return Err(Error::Timeout { phase, limit }),
            };
            if n == 0 {
                self.decoder.finish(&mut out)?;
                self.release_if_done();
            } else {
                self.encoded = 0..n;
            }
            if !out.is_empty() {
                return Ok(Some(out));
            }
        }
        Ok(None)
    }

    /// All of it, up to the limit. Not cancel-safe: what was read before the future
    /// was dropped is lost, and the next call gives the rest.
    ///
    /// # Errors
    /// See [`Response::bytes`].
    pub async fn all(&mut self) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        while let Some(block) = self.chunk().await? {
            if (all.len() + block.len()) as u64 > self.patience.body_bytes {
                self.lease = None;
                return Err(Error::TooLarge {
                    limit: self.patience.body_bytes,
                    what: "body",
                });
            }
            if all.is_empty() {
                all = block;
            } else {
                all.extend_from_slice(&block);
            }
        }
        Ok(all)
    }

    /// Gives the connection back once the body has ended, or closes it.
    fn release_if_done(&mut self) {
        if let BodyState::Done { reusable } = self.state
            && let Some(lease) = self.lease.take()
            && reusable
        {
            lease.give_back();
        }
    }
}
