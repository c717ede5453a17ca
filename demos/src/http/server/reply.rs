//! What a client gets: status, headers, body.

use std::io::Write;
use std::time::SystemTime;

use futures_io::AsyncRead;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::Serialize;

/// A response in the making.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers; those that frame the body are added when it is sent.
    pub headers: HeaderMap,
    /// The body.
    pub body: Content,
}

/// A response's body.
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, which live for ever.
    Static(&'static [u8]),
    /// What this reader gives: with a length, exactly so much of it; without,
    /// in chunks (or until the connection closes, for HTTP/1.0).
    Reader {
        /// Where it comes from.
        reader: Box<dyn AsyncRead + Unpin>,
        /// How long it is, if that is known.
        length: Option<u64>,
    },
    /// No HTTP any more: the connection is given to this function, with the
    /// bytes that were received after the request.
    Upgrade(Box<dyn super::conversation::TakeOver>),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Content::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Content::Static(bytes) => write!(f, "Static({})", bytes.len()),
            Content::Reader { length, .. } => write!(f, "Reader({length:?})"),
            Content::Upgrade(_) => f.write_str("Upgrade"),
        }
    }
}

impl Reply {
    /// An empty response.
    pub fn status(status: StatusCode) -> Reply {
        Reply {
            status,
            headers: HeaderMap::new(),
            body: Content::Static(b""),
        }
    }

    /// A text that says what a status means, for people.
    pub fn refusal(status: StatusCode) -> Reply {
        Reply::text(format!("{status}\n")).with_status(status)
    }

    /// Plain text.
    pub fn text(text: impl Into<String>) -> Reply {
        Reply::bytes(text.into().into_bytes(), "text/plain; charset=utf-8")
    }

    /// A page.
    pub fn html(page: impl Into<String>) -> Reply {
        Reply::bytes(page.into().into_bytes(), "text/html; charset=utf-8")
    }

    /// JSON. A value that can't be written as JSON is a 500.
    pub fn json(value: &impl Serialize) -> Reply {
        match serde_json::to_vec(value) {
            Ok(bytes) => Reply::bytes(bytes, "application/json"),
            Err(_) => Reply::refusal(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// Bytes of a type.
    pub fn bytes(bytes: Vec<u8>, content_type: &'static str) -> Reply {
        Reply {
            body: Content::Bytes(bytes),
            ..Reply::status(StatusCode::OK)
        }
        .with(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// What `reader` gives; see [`Content::Reader`].
    pub fn reader(
        reader: impl AsyncRead + Unpin + 'static,
        length: Option<u64>,
        content_type: &'static str,
    ) -> Reply {
        Reply {
            body: Content::Reader {
                reader: Box::new(reader),
                length,
            },
            ..Reply::status(StatusCode::OK)
        }
        .with(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// Sends the client elsewhere.
    pub fn redirect(status: StatusCode, location: &str) -> Reply {
        match HeaderValue::try_from(location) {
            Ok(value) => Reply::status(status).with(header::LOCATION, value),
            Err(_) => Reply::refusal(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The same with another status.
    pub fn with_status(mut self, status: StatusCode) -> Reply {
        self.status = status;
        self
    }

    /// The same with one more header.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Reply {
        self.headers.insert(name, value);
        self
    }
}

/// How a body goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// Nothing follows the head.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunks,
    /// All that comes, until we close.
    UntilClose,
}

/// Decides how a reply's body goes out. `http11` clients understand chunks.
pub fn sending(reply: &Reply, method: &Method, http11: bool) -> Sending {
    let has_none = *method == Method::HEAD
        || reply.status.is_informational()
        || matches!(
            reply.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    match &reply.body {
        _ if has_none => Sending::Nothing,
        Content::Upgrade(_) => Sending::Nothing,
        Content::Bytes(bytes) => Sending::Length(bytes.len() as u64),
        Content::Static(bytes) => Sending::Length(bytes.len() as u64),
        Content::Reader {
            length: Some(n), ..
        } => Sending::Length(*n),
        Content::Reader { length: None, .. } if http11 => Sending::Chunks,
        Content::Reader { length: None, .. } => Sending::UntilClose,
    }
}

/// Appends a reply's head to `out`.
pub fn write_head(
    reply: &Reply,
    method: &Method,
    sending: Sending,
    keep_alive: bool,
    out: &mut Vec<u8>,
) {
    let status = reply.status;
    let reason = status.canonical_reason().unwrap_or("");
    // Writing to a Vec can't fail.
    let _ = write!(out, "HTTP/1.1 {} {reason}\r\n", status.as_str());
    for (name, value) in &reply.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let _ = match sending {
        Sending::Length(n) => write!(out, "content-length: {n}\r\n"),
        Sending::Chunks => out.write_all(b"transfer-encoding: chunked\r\n"),
        // A HEAD is told how long the GET's answer would be.
        Sending::Nothing if *method == Method::HEAD => match &reply.body {
            Content::Bytes(bytes) => write!(out, "content-length: {}\r\n", bytes.len()),
            Content::Static(bytes) => write!(out, "content-length: {}\r\n", bytes.len()),
            Content::Reader {
                length: Some(n), ..
            } => write!(out, "content-length: {n}\r\n"),
            _ => Ok(()),
        },
        _ => Ok(()),
    };
    if !matches!(reply.body, Content::Upgrade(_)) {
        let _ = out.write_all(if keep_alive {
            b""
        } else {
            b"connection: close\r\n"
        });
    }
    let _ = write!(
        out,
        "date: {}\r\n\r\n",
        httpdate::fmt_http_date(SystemTime::now())
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(reply: &Reply, method: Method, http11: bool) -> String {
        let sending = sending(reply, &method, http11);
        let mut out = Vec::new();
        write_head(reply, &method, sending, true, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_head_frames_the_body() {
        let text = head(&Reply::text("hello"), Method::GET, true);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(
            text.contains("content-length: 5\r\n") && text.ends_with("\r\n\r\n"),
            "{text}"
        );
        assert!(head(&Reply::text("hello"), Method::HEAD, true).contains("content-length: 5\r\n"));
        assert!(
            !head(&Reply::status(StatusCode::NO_CONTENT), Method::GET, true)
                .contains("content-length")
        );
        let stream = Reply::reader(futures_io_empty(), None, "text/plain");
        assert!(head(&stream, Method::GET, true).contains("transfer-encoding: chunked"));
        assert_eq!(sending(&stream, &Method::GET, false), Sending::UntilClose);
    }

    fn futures_io_empty() -> impl AsyncRead + Unpin {
        &b""[..]
    }
}
