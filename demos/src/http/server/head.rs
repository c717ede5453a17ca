//! The head of a request: first line and headers, parsed by `httparse`.
//!
//! What could be understood in two ways is refused, because the proxy in front
//! may understand it the other way (request smuggling): both a length and
//! chunks, two lengths that differ, a coding other than chunked.

use std::mem::MaybeUninit;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

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
    pub headers: HeaderMap,
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
    // Not filled in advance: that would cost more than to parse a usual head.
    let mut slots = [const { MaybeUninit::uninit() }; limits::MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, &mut slots) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(Refusal(StatusCode::BAD_REQUEST)),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
        Err(httparse::Error::Version) => {
            return Err(Refusal(StatusCode::HTTP_VERSION_NOT_SUPPORTED));
        }
        Err(_) => return Err(Refusal(StatusCode::BAD_REQUEST)),
    }
    let bad = || Refusal(StatusCode::BAD_REQUEST);
    let http11 = parsed.version == Some(1);
    let method: Method = parsed
        .method
        .unwrap_or_default()
        .parse()
        .map_err(|_| bad())?;
    let target = parsed.path.unwrap_or_default().to_owned();
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    let mut connection = Connection::default();
    let mut framing = Framed::default();
    let mut hosts = 0;
    let mut expects_continue = false;
    // What matters to us is noted in passing: to ask the map for each of these names
    // costs more than all else here.
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| bad())?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| bad())?;
        match name {
            header::HOST => hosts += 1,
            header::CONNECTION => connection.note(&value),
            header::EXPECT => expects_continue |= holds_word(&value, "100-continue"),
            header::CONTENT_LENGTH => framing.note_length(&value)?,
            header::TRANSFER_ENCODING => framing.note_coding(&value),
            _ => {}
        }
        headers.append(name, value);
    }
    if http11 && hosts != 1 {
        return Err(bad());
    }
    Ok(Head {
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
        headers,
    })
}

/// What the `connection` headers said so far.
#[derive(Default)]
struct Connection {
    close: bool,
    keep_alive: bool,
}

impl Connection {
    fn note(&mut self, value: &HeaderValue) {
        self.close |= holds_word(value, "close");
        self.keep_alive |= holds_word(value, "keep-alive");
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
    fn note_length(&mut self, value: &HeaderValue) -> Result<(), Refusal> {
        let bad = Refusal(StatusCode::BAD_REQUEST);
        let text = value.to_str().map_err(|_| bad)?;
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

    fn note_coding(&mut self, value: &HeaderValue) {
        self.codings += 1;
        self.chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
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
pub fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .any(|value| holds_word(value, word))
}

fn holds_word(value: &HeaderValue, word: &str) -> bool {
    value.to_str().is_ok_and(|text| {
        text.split(',')
            .any(|part| part.trim().eq_ignore_ascii_case(word))
    })
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
