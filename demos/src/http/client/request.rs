//! A request in the making.

use std::time::{Duration, Instant};

use futures_io::AsyncRead;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::Serialize;
use url::Url;

use super::connection::Payload;
use super::decode;
use super::multipart::Form;
use super::response::Response;
use super::retry::Retry;
use super::session::Client;
use crate::http::error::Error;
use crate::http::target;

/// What is to be sent, and how patiently.
#[derive(Debug)]
pub struct Draft {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    pub(super) total: Option<Duration>,
    pub(super) redirects: u32,
    pub(super) retry: Retry,
    pub(super) patience: Patience,
}

/// How long a request may take, and how much, and what becomes of its body.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub(super) connect: Duration,
    pub(super) read: Duration,
    /// When all must be over, and the limit that this comes from.
    pub(super) deadline: Option<(Instant, Duration)>,
    pub(super) body_bytes: u64,
    /// Whether the body's compression is undone.
    pub(super) decode: bool,
}

/// A request in the making; [`RequestBuilder::send`] sends it.
///
/// A mistake in what it is given (a bad URL, a header that can't be one) is
/// kept and reported by `send`.
#[derive(Debug)]
#[must_use = "nothing is sent until `send` is awaited"]
pub struct RequestBuilder {
    client: Client,
    draft: Result<Draft, Error>,
}

impl RequestBuilder {
    pub(super) fn new(client: Client, method: Method, url: &str) -> RequestBuilder {
        let config = client.config();
        let draft = target::parse(url).map(|url| {
            let mut headers = config.headers.clone();
            if config.compression {
                headers.insert(
                    header::ACCEPT_ENCODING,
                    HeaderValue::from_static(decode::ACCEPTED),
                );
            }
            if let Some(basic) = credentials_in(&url) {
                headers.insert(header::AUTHORIZATION, basic);
            }
            Draft {
                method,
                url,
                headers,
                payload: Payload::Empty,
                total: config.total_timeout,
                redirects: config.redirects,
                retry: config.retry.clone(),
                patience: Patience {
                    connect: config.connect_timeout,
                    read: config.read_timeout,
                    deadline: None,
                    body_bytes: config.body_bytes,
                    decode: config.compression,
                },
            }
        });
        RequestBuilder { client, draft }
    }

    fn with(mut self, change: impl FnOnce(&mut Draft) -> Result<(), Error>) -> Self {
        if let Ok(draft) = &mut self.draft
            && let Err(e) = change(draft)
        {
            self.draft = Err(e);
        }
        self
    }

    /// Adds a header; one of the same name is replaced.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.with(|draft| {
            let bad = |what: &str| Error::Protocol(format!("{what:?} can't be part of a header"));
            let name: HeaderName = name.parse().map_err(|_| bad(name))?;
            let value: HeaderValue = value.parse().map_err(|_| bad(value))?;
            draft.headers.insert(name, value);
            Ok(())
        })
    }

    /// Adds `name=value` to the URL's query, escaped.
    pub fn query(self, name: &str, value: &str) -> Self {
        self.with(|draft| {
            draft.url.query_pairs_mut().append_pair(name, value);
            Ok(())
        })
    }

    /// Sends user and password (basic authentication).
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        self.with(|draft| {
            draft
                .headers
                .insert(header::AUTHORIZATION, basic(user, password));
            Ok(())
        })
    }

    /// Sends a token (bearer authentication).
    pub fn bearer_auth(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Sends these bytes as the body.
    pub fn body(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.with(|draft| {
            draft.payload = Payload::Bytes(bytes.into());
            Ok(())
        })
    }

    /// Sends what `reader` gives as the body, in chunks, without holding it all
    /// in memory. Such a request is sent once: no retry, no redirect that keeps
    /// the body.
    pub fn body_reader(self, reader: impl AsyncRead + Unpin + 'static) -> Self {
        self.with(|draft| {
            draft.payload = Payload::Reader(Box::new(reader));
            Ok(())
        })
    }

    /// Sends `value` as JSON.
    pub fn json(self, value: &impl Serialize) -> Self {
        let json = serde_json::to_vec(value);
        self.with(|draft| {
            let bytes = json
                .map_err(|e| Error::Protocol(format!("the body can't be written as JSON: {e}")))?;
            draft.payload = Payload::Bytes(bytes);
            draft.headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
            Ok(())
        })
    }

    /// Sends `fields` as a form.
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        self.with(|draft| {
            let form = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(fields)
                .finish();
            draft.payload = Payload::Bytes(form.into_bytes());
            draft.headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            );
            Ok(())
        })
    }

    /// Sends `form`, with its files, as `multipart/form-data`.
    pub fn multipart(self, form: Form) -> Self {
        self.with(|draft| {
            let (body, content_type) = form.encode();
            draft.payload = Payload::Bytes(body);
            let content_type =
                HeaderValue::try_from(content_type).map_err(|e| Error::Protocol(e.to_string()))?;
            draft.headers.insert(header::CONTENT_TYPE, content_type);
            Ok(())
        })
    }

    /// Allows the whole request, its body included, this long.
    pub fn timeout(self, limit: Duration) -> Self {
        self.with(|draft| {
            draft.total = Some(limit);
            Ok(())
        })
    }

    /// Follows at most this many redirects; 0 returns the redirect itself.
    pub fn redirects(self, most: u32) -> Self {
        self.with(|draft| {
            draft.redirects = most;
            Ok(())
        })
    }

    /// Tries again as `retry` says.
    pub fn retry(self, retry: Retry) -> Self {
        self.with(|draft| {
            draft.retry = retry;
            Ok(())
        })
    }

    /// Reads at most this much of the body into memory.
    pub fn body_limit(self, bytes: u64) -> Self {
        self.with(|draft| {
            draft.patience.body_bytes = bytes;
            Ok(())
        })
    }

    /// Asks for the body as it is, and gives it as it comes, compressed or not:
    /// what parts of a file have to be asked for in.
    pub fn as_is(self) -> Self {
        self.with(|draft| {
            draft.patience.decode = false;
            draft.headers.insert(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            );
            Ok(())
        })
    }

    /// Sends the request; returns when the head of the response has come.
    ///
    /// A status like 404 is a response, not an error; see
    /// [`Response::error_for_status`]. Cancel-safe in that dropping the future
    /// closes the connection and frees its place; what the server has received
    /// by then it may have acted upon.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn send(self) -> Result<Response, Error> {
        self.client.send(self.draft?).await
    }
}

fn credentials_in(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    Some(basic(
        &decode(url.username()),
        &decode(url.password().unwrap_or_default()),
    ))
}

fn basic(user: &str, password: &str) -> HeaderValue {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let mut value =
        HeaderValue::try_from(format!("Basic {encoded}")).expect("base64 is valid in a header");
    value.set_sensitive(true);
    value
}
