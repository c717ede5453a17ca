//! The chunks of a request's body, put together.

use http::StatusCode;

use super::head::Refusal;

/// Puts a chunked body together as its bytes arrive.
///
/// ```text
///         1 size line          2 size bytes + CRLF
///  Size ───────────────▶ Data ─────────────────────▶ Size
///   │ 3 size 0
///   ▼          4 empty line
/// Trailers ───────────────────▶ Done
/// ```
/// All transitions are made by [`Chunks::feed`].
#[derive(Debug)]
pub struct Chunks {
    state: State,
    /// The body so far.
    pub body: Vec<u8>,
    most: u64,
    line: Vec<u8>,
    trailers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Data { left: u64 },
    AfterData,
    Trailers,
    Done,
}

/// The longest size line (extensions included) or trailer that is read.
const MAX_LINE_BYTES: usize = 4 * 1024;
/// The most trailers that are read; they are thrown away.
const MAX_TRAILERS: usize = 32;

impl Chunks {
    /// Of a body of at most `most` bytes.
    pub fn new(most: u64) -> Chunks {
        Chunks {
            state: State::Size,
            body: Vec::new(),
            most,
            line: Vec::new(),
            trailers: 0,
        }
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes what it needs of `bytes`; returns how much that was.
    ///
    /// # Errors
    /// [`Refusal`] with 400 (not chunks) or 413 (too large).
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut used = 0;
        while used < bytes.len() && self.state != State::Done {
            if let State::Data { left } = self.state {
                let n = left.min((bytes.len() - used) as u64) as usize;
                self.body.extend_from_slice(&bytes[used..used + n]);
                used += n;
                let left = left - n as u64;
                self.state = if left == 0 {
                    State::AfterData
                } else {
                    State::Data { left }
                };
                continue;
            }
            let byte = bytes[used];
            used += 1;
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() > MAX_LINE_BYTES {
                    return Err(Refusal(StatusCode::BAD_REQUEST));
                }
                continue;
            }
            self.end_of_line()?;
        }
        Ok(used)
    }

    fn end_of_line(&mut self) -> Result<(), Refusal> {
        let bad = Refusal(StatusCode::BAD_REQUEST);
        if self.line.pop_if(|last| *last == b'\r').is_none() {
            return Err(bad);
        }
        self.state = match self.state {
            State::Size => {
                let size = self
                    .line
                    .split(|byte| *byte == b';')
                    .next()
                    .unwrap_or_default();
                let size = std::str::from_utf8(size)
                    .map_err(|_| bad)?
                    .trim_end_matches([' ', '\t']);
                if size.is_empty()
                    || size.len() > 16
                    || !size.bytes().all(|byte| byte.is_ascii_hexdigit())
                {
                    return Err(bad);
                }
                let size = u64::from_str_radix(size, 16).map_err(|_| bad)?;
                if size > self.most.saturating_sub(self.body.len() as u64) {
                    return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE));
                }
                if size == 0 {
                    State::Trailers
                } else {
                    State::Data { left: size }
                }
            }
            State::AfterData if self.line.is_empty() => State::Size,
            State::Trailers if self.line.is_empty() => State::Done,
            State::Trailers if self.trailers < MAX_TRAILERS => {
                self.trailers += 1;
                State::Trailers
            }
            _ => return Err(bad),
        };
        self.line.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_together(bytes: &[u8], step: usize) -> Result<(Vec<u8>, usize), u16> {
        let mut chunks = Chunks::new(100);
        let mut used = 0;
        for block in bytes.chunks(step) {
            used += chunks.feed(block).map_err(|refusal| refusal.0.as_u16())?;
        }
        if chunks.is_done() {
            Ok((chunks.body, used))
        } else {
            Err(0)
        }
    }

    #[test]
    fn chunks_are_put_together_however_they_arrive() {
        let body = b"5;name=x\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: y\r\n\r\nGET /next";
        for step in 1..body.len() {
            let (whole, used) = put_together(body, step).unwrap();
            assert_eq!(whole, b"hello world");
            assert_eq!(&body[used..], b"GET /next");
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for (bytes, status) in [
            (&b"zz\r\n"[..], 400),
            (b"\r\n", 400),
            (b"5\nhello\r\n", 400),
            (b"-5\r\nhello\r\n", 400),
            (b"5\r\nhelloX\r\n0\r\n\r\n", 400),
            (b"65\r\n", 413),
            (b"ffffffffffffffff\r\n", 413),
            (b"fffffffffffffffff\r\n", 400),
            (b"5\r\nhel", 0),
        ] {
            assert_eq!(
                put_together(bytes, 3).unwrap_err(),
                status,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
        assert_eq!(put_together(&[b'5'; 5000], 100).unwrap_err(), 400);
    }
}
