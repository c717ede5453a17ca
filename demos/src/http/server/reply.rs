//! What a client gets: status, headers, body.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use futures_io::AsyncRead;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

// Looked at by the compiler, and not for each reply.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A response in the making.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// What the body is. Apart from the headers, since most replies have no other.
    pub content_type: Option<HeaderValue>,
    /// The other headers, if any; those that frame the body are added when it is sent.
    /// Boxed: a map is large, empty or not, and a reply is moved some times.
    pub headers: Option<Box<HeaderMap>>,
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

impl Content {
    /// How many bytes it has, if that is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Content::Bytes(bytes) => Some(bytes.len() as u64),
            Content::Static(bytes) => Some(bytes.len() as u64),
            Content::Reader { length, .. } => *length,
            Content::Upgrade(_) => None,
        }
    }
}

impl Reply {
    /// An empty response.
    pub fn status(status: StatusCode) -> Reply {
        Reply {
            status,
            content_type: None,
            headers: None,
            body: Content::Static(b""),
        }
    }

    /// A text that says what a status means, for people.
    pub fn refusal(status: StatusCode) -> Reply {
        Reply::text(format!("{status}\n")).with_status(status)
    }

    /// Plain text.
    pub fn text(text: impl Into<String>) -> Reply {
        Reply::typed(text.into().into_bytes(), TEXT)
    }

    /// A page.
    pub fn html(page: impl Into<String>) -> Reply {
        Reply::typed(page.into().into_bytes(), HTML)
    }

    /// JSON. A value that can't be written as JSON is a 500.
    pub fn json(value: &impl Serialize) -> Reply {
        match serde_json::to_vec(value) {
            Ok(bytes) => Reply::typed(bytes, JSON),
            Err(_) => Reply::refusal(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// Bytes of a type.
    pub fn bytes(bytes: Vec<u8>, content_type: &'static str) -> Reply {
        Reply::typed(bytes, HeaderValue::from_static(content_type))
    }

    fn typed(bytes: Vec<u8>, content_type: HeaderValue) -> Reply {
        Reply {
            content_type: Some(content_type),
            body: Content::Bytes(bytes),
            ..Reply::status(StatusCode::OK)
        }
    }

    /// What `reader` gives; see [`Content::Reader`].
    pub fn reader(
        reader: impl AsyncRead + Unpin + 'static,
        length: Option<u64>,
        content_type: &'static str,
    ) -> Reply {
        Reply {
            content_type: Some(HeaderValue::from_static(content_type)),
            body: Content::Reader {
                reader: Box::new(reader),
                length,
            },
            ..Reply::status(StatusCode::OK)
        }
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

    /// The same with this header, in the place of another of that name.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Reply {
        if name == header::CONTENT_TYPE {
            self.content_type = Some(value);
        } else {
            self.headers.get_or_insert_default().insert(name, value);
        }
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
    match (&reply.body, reply.body.length()) {
        _ if has_none => Sending::Nothing,
        (Content::Upgrade(_), _) => Sending::Nothing,
        (_, Some(n)) => Sending::Length(n),
        _ if http11 => Sending::Chunks,
        _ => Sending::UntilClose,
    }
}

/// Appends a reply's head to `out`. Without `format!`: these few lines are most of
/// what a small reply costs.
pub fn write_head(
    reply: &Reply,
    method: &Method,
    sending: Sending,
    keep_alive: bool,
    out: &mut Vec<u8>,
) {
    let put = |out: &mut Vec<u8>, parts: &[&[u8]]| {
        parts.iter().for_each(|part| out.extend_from_slice(part));
    };
    let status = reply.status;
    let reason = status.canonical_reason().unwrap_or("");
    let code = status.as_str().as_bytes();
    put(out, &[b"HTTP/1.1 ", code, b" ", reason.as_bytes(), b"\r\n"]);
    if let Some(value) = &reply.content_type {
        put(out, &[b"content-type: ", value.as_bytes(), b"\r\n"]);
    }
    for (name, value) in reply.headers.iter().flat_map(|map| map.iter()) {
        let name = name.as_str().as_bytes();
        put(out, &[name, b": ", value.as_bytes(), b"\r\n"]);
    }
    let length = match sending {
        Sending::Length(n) => Some(n),
        // A HEAD is told how long the GET's answer would be.
        Sending::Nothing if *method == Method::HEAD => reply.body.length(),
        _ => None,
    };
    if let Some(n) = length {
        put(out, &[b"content-length: "]);
        put_number(out, n);
        put(out, &[b"\r\n"]);
    }
    if sending == Sending::Chunks {
        put(out, &[b"transfer-encoding: chunked\r\n"]);
    }
    if !keep_alive && !matches!(reply.body, Content::Upgrade(_)) {
        put(out, &[b"connection: close\r\n"]);
    }
    put_date(out);
}

/// Appends a number in decimal.
fn put_number(out: &mut Vec<u8>, mut n: u64) {
    // As many as `u64::MAX` has.
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return out.extend_from_slice(&digits[first..]);
        }
    }
}

thread_local! {
    /// The second whose date line is here, and the line.
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Appends the date, and the empty line that ends a head. The date is put into
/// words once a second; to ask for the second, the kernel's last tick is enough.
fn put_date(out: &mut Vec<u8>) {
    let now =
        clock_gettime(ClockId::CLOCK_REALTIME_COARSE).map_or(0, |now| now.tv_sec().unsigned_abs());
    DATE.with_borrow_mut(|(second, line)| {
        if *second != now || line.is_empty() {
            *second = now;
            let date = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
            *line = format!("date: {}\r\n\r\n", httpdate::fmt_http_date(date));
        }
        out.extend_from_slice(line.as_bytes());
    });
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

    #[test]
    fn numbers_and_dates_are_written_as_the_standard_has_them() {
        for n in [0, 9, 10, 1_234_567_890, u64::MAX] {
            let mut out = Vec::new();
            put_number(&mut out, n);
            assert_eq!(String::from_utf8(out).unwrap(), n.to_string());
        }
        let text = head(&Reply::status(StatusCode::OK), Method::GET, true);
        let date = text.split("date: ").nth(1).unwrap().trim_end();
        let age = SystemTime::now().duration_since(httpdate::parse_http_date(date).unwrap());
        assert!(age.unwrap() < Duration::from_secs(60), "{text}");
    }

    #[test]
    fn a_reply_has_one_content_type() {
        let other = HeaderValue::from_static("text/x-other");
        let reply = Reply::text("hello").with(header::CONTENT_TYPE, other);
        let text = head(&reply, Method::GET, true);
        assert_eq!(text.matches("content-type").count(), 1, "{text}");
        assert!(text.contains("content-type: text/x-other\r\n"), "{text}");
    }

    fn futures_io_empty() -> impl AsyncRead + Unpin {
        &b""[..]
    }
}
