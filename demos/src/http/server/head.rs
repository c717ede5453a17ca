//! The head of a request: first line and headers, parsed by `httparse`.
//!
//! What could be understood in two ways is refused, because the proxy in front
//! may understand it the other way (request smuggling): both a length and
//! chunks, two lengths that differ, a coding other than chunked.

use std::mem::MaybeUninit;

use http::{Method, StatusCode};

use super::headers::Headers;
use crate::limits;

/// A request's head.
#[derive(Debug)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The path and query as they were sent; `*` or an authority for the
    /// methods that have one.
    pub target: String,
    /// The headers.
    pub headers: Headers,
    /// Whether the client speaks HTTP/1.1, and so understands chunks.
    pub http11: bool,
    /// Whether the client wants the connection to stay open.
    pub keep_alive: bool,
    /// Whether the client waits for our consent before it sends the body.
    pub expects_continue: bool,
    /// How the body is sent.
    pub framing: Framing,
}

/// How a request's body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By its length; 0 is no body.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// A request that is refused, with the status that says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal(pub StatusCode);

/// Where the head ends in `received`, looking from `from` on; `None` if its end
/// has not come.
pub fn end(received: &[u8], from: usize) -> Option<usize> {
    // The end may straddle what was looked at before and what is new.
    let from = from.saturating_sub(3);
    let mut rest = from;
    while let Some(newline) = memchr::memchr(b'\n', &received[rest..]) {
        let next = rest + newline + 1;
        match received.get(next..) {
            Some([b'\n', ..]) => return Some(next + 1),
            Some([b'\r', b'\n', ..]) => return Some(next + 2),
            _ => rest = next,
        }
    }
    None
}

/// Parses a complete head.
///
/// # Errors
/// [`Refusal`] with 400, 431 (too many headers), 501 (unknown coding) or 505.
pub fn parse(bytes: &[u8]) -> Result<Head, Refusal> {
    match parse_first(bytes)? {
        Some((head, _length)) => Ok(head),
        None => Err(Refusal(StatusCode::BAD_REQUEST)),
    }
}

/// Parses the head that `bytes` begin with, and says how long it is; `None` if its
/// end has not come. Mostly it has, and it needn't be looked for beforehand.
///
/// # Errors
/// As [`parse`], as soon as that is certain.
pub fn parse_first(bytes: &[u8]) -> Result<Option<(Head, usize)>, Refusal> {
    // Not filled in advance: that would cost more than to parse a usual head.
    let mut slots = [const { MaybeUninit::uninit() }; limits::MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    let length = match parsed.parse_with_uninit_headers(bytes, &mut slots) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
        Err(httparse::Error::Version) => {
            return Err(Refusal(StatusCode::HTTP_VERSION_NOT_SUPPORTED));
        }
        Err(_) => return Err(Refusal(StatusCode::BAD_REQUEST)),
    };
    let bad = || Refusal(StatusCode::BAD_REQUEST);
    let http11 = parsed.version == Some(1);
    let method: Method = parsed
        .method
        .unwrap_or_default()
        .parse()
        .map_err(|_| bad())?;
    let target = parsed.path.unwrap_or_default().to_owned();
    let mut connection = Connection::default();
    let mut framing = Framed::default();
    let mut hosts = 0;
    let mut expects_continue = false;
    for field in parsed.headers.iter() {
        let (name, value) = (field.name, field.value);
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("host") {
            hosts += 1;
        } else if is("connection") {
            connection.note(value);
        } else if is("expect") {
            expects_continue |= holds_word(value, b"100-continue");
        } else if is("content-length") {
            framing.note_length(value)?;
        } else if is("transfer-encoding") {
            framing.note_coding(value);
        }
    }
    if http11 && hosts != 1 {
        return Err(bad());
    }
    let head = Head {
        method,
        target,
        http11,
        keep_alive: if http11 {
            !connection.close
        } else {
            connection.keep_alive
        },
        expects_continue: http11 && expects_continue,
        framing: framing.decide(http11)?,
        headers: Headers::of_head(&bytes[..length]),
    };
    Ok(Some((head, length)))
}

/// What the `connection` headers said so far.
#[derive(Default)]
struct Connection {
    close: bool,
    keep_alive: bool,
}

impl Connection {
    fn note(&mut self, value: &[u8]) {
        self.close |= holds_word(value, b"close");
        self.keep_alive |= holds_word(value, b"keep-alive");
    }
}

/// What the headers that frame the body said so far.
#[derive(Default)]
struct Framed {
    length: Option<u64>,
    codings: usize,
    /// Whether the last coding is "chunked".
    chunked: bool,
}

impl Framed {
    fn note_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let bad = Refusal(StatusCode::BAD_REQUEST);
        let text = std::str::from_utf8(value).map_err(|_| bad)?;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad);
        }
        let n: u64 = text.parse().map_err(|_| bad)?;
        if self.length.is_some_and(|other| other != n) {
            return Err(bad);
        }
        self.length = Some(n);
        Ok(())
    }

    fn note_coding(&mut self, value: &[u8]) {
        self.codings += 1;
        self.chunked = value.eq_ignore_ascii_case(b"chunked");
    }

    fn decide(self, http11: bool) -> Result<Framing, Refusal> {
        match self.codings {
            0 => Ok(Framing::Length(self.length.unwrap_or(0))),
            _ if self.length.is_some() || !http11 => Err(Refusal(StatusCode::BAD_REQUEST)),
            1 if self.chunked => Ok(Framing::Chunked),
            _ => Err(Refusal(StatusCode::NOT_IMPLEMENTED)),
        }
    }
}

/// Whether a comma-separated header holds a word, whatever its case.
fn holds_word(value: &[u8], word: &[u8]) -> bool {
    value
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(head: &str) -> u16 {
        parse(head.as_bytes()).unwrap_err().0.as_u16()
    }

    #[test]
    fn the_end_is_found_wherever_the_bytes_were_cut() {
        let whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        let at = whole.len() - 4;
        for cut in 0..whole.len() {
            let first = end(&whole[..cut], 0);
            assert_eq!(first.is_some(), cut >= at, "{cut}");
            if first.is_none() {
                assert_eq!(end(whole, cut), Some(at), "{cut}");
            }
        }
        assert_eq!(end(b"GET / HTTP/1.0\n\nrest", 0), Some(16));
    }

    #[test]
    fn what_could_be_smuggled_is_refused() {
        let with = |headers: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        for headers in [
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Host: b\r\n",
            "X Y: z\r\n",
        ] {
            assert_eq!(refused(&with(headers)), 400, "{headers:?}");
        }
        assert_eq!(refused(&with("Transfer-Encoding: gzip\r\n")), 501);
        assert_eq!(refused(&with("Transfer-Encoding: gzip, chunked\r\n")), 501);
        assert_eq!(
            refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            400
        );
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), 400, "no host");
        assert_eq!(refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
        assert_eq!(refused(&with(&"A: b\r\n".repeat(200))), 431);
    }

    #[test]
    fn connections_stay_open_as_the_version_has_it() {
        let keeps = |head: &str| parse(head.as_bytes()).unwrap().keep_alive;
        assert!(keeps("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!keeps(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n"
        ));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
    }
}
