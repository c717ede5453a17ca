//! The headers of a request, as they came.
//!
//! Rejected: a map. To make one, each name is hashed and each value allocated, which
//! costs more than all else that a small request does; and most handlers ask for one
//! header or for none. So the lines stay what they are, one block of bytes, and who
//! asks for a header pays for looking at each of them.

use std::fmt;

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The header lines of a request, found valid by [`super::head::parse`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// From the first line on; an empty line ends them, and so does the end.
    lines: Vec<u8>,
}

impl Headers {
    /// Of a whole head, from which the request line is left out.
    pub(super) fn of_head(head: &[u8]) -> Headers {
        // Empty lines may come before a request.
        let begin = head.iter().position(|byte| !b"\r\n".contains(byte));
        let head = &head[begin.unwrap_or(head.len())..];
        let end = memchr::memchr(b'\n', head).map_or(head.len(), |newline| newline + 1);
        Headers {
            lines: head[end..].to_vec(),
        }
    }

    /// The first header of this name; its bytes need not be text. O(size of all).
    pub fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        let name = name.as_str().as_bytes();
        self.iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Name and value of each, in the order and the spelling in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = self.lines.split(|byte| *byte == b'\n');
        lines.map_while(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }

    /// All of them in a map, for those who want to do more than look.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in self.iter() {
            // They were found valid; whatever wasn't has no place in a map.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                map.append(name, value);
            }
        }
        map
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy;
        f.debug_map()
            .entries(self.iter().map(|(name, value)| (text(name), text(value))))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header;

    #[test]
    fn lines_are_found_by_name_whatever_their_case_and_end() {
        let head = b"\r\nGET /a:b HTTP/1.1\r\nHost:a\r\nX-One:\t 1 \nx-one: 2\r\nEmpty:\r\n\r\n";
        let headers = Headers::of_head(head);
        assert_eq!(headers.get(&header::HOST), Some(&b"a"[..]));
        let one = HeaderName::from_static("x-one");
        assert_eq!(headers.get(&one), Some(&b"1"[..]), "the first of two");
        assert_eq!(headers.get(&header::ACCEPT), None);
        assert_eq!(
            headers.get(&HeaderName::from_static("empty")),
            Some(&b""[..])
        );
        assert_eq!(headers.iter().count(), 4);
        let map = headers.to_map();
        assert_eq!(map.get_all(one).iter().count(), 2);
        assert_eq!(map.len(), 4);
    }

    #[test]
    fn a_head_without_headers_has_none() {
        for head in [
            &b"GET / HTTP/1.0\r\n\r\n"[..],
            b"GET / HTTP/1.0\n\n",
            b"\r\n",
            b"",
        ] {
            assert_eq!(Headers::of_head(head).iter().count(), 0);
            assert!(Headers::of_head(head).to_map().is_empty());
        }
        assert_eq!(Headers::default().get(&header::HOST), None);
    }
}
