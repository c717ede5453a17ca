//! Forms with files in them (`multipart/form-data`, RFC 7578).
//!
//! A form is put together in memory: it has a length, and can be sent again
//! when a redirect or a retry asks for it. A file too large for that goes up
//! alone, by [`body_reader`](super::RequestBuilder::body_reader).

use std::hash::{BuildHasher, RandomState};

/// A form in the making, for [`multipart`](super::RequestBuilder::multipart).
///
/// ```
/// use threeply_demos::http::client::Form;
///
/// let form = Form::new()
///     .text("title", "Notes")
///     .file("attachment", "notes.txt", "text/plain", b"remember".to_vec());
/// ```
#[derive(Debug, Default)]
pub struct Form {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    head: String,
    content: Vec<u8>,
}

impl Form {
    /// A form without fields.
    pub fn new() -> Form {
        Form::default()
    }

    /// Adds a field.
    pub fn text(self, name: &str, value: impl Into<String>) -> Form {
        let head = format!(
            "content-disposition: form-data; name=\"{}\"\r\n",
            escaped(name)
        );
        self.part(head, value.into().into_bytes())
    }

    /// Adds a file: the field's name, the file's, its media type, its content.
    pub fn file(
        self,
        name: &str,
        file_name: &str,
        content_type: &str,
        content: impl Into<Vec<u8>>,
    ) -> Form {
        let head = format!(
            "content-disposition: form-data; name=\"{}\"; filename=\"{}\"\r\ncontent-type: {}\r\n",
            escaped(name),
            escaped(file_name),
            // Nothing in it may end the line.
            content_type.replace(['\r', '\n'], " "),
        );
        self.part(head, content.into())
    }

    fn part(mut self, head: String, content: Vec<u8>) -> Form {
        self.parts.push(Part { head, content });
        self
    }

    /// The body, and the `Content-Type` that says where its parts end.
    pub(super) fn encode(self) -> (Vec<u8>, String) {
        let boundary = self.boundary();
        let mut body = Vec::new();
        for part in self.parts {
            body.extend_from_slice(format!("--{boundary}\r\n{}\r\n", part.head).as_bytes());
            body.extend_from_slice(&part.content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        (body, format!("multipart/form-data; boundary={boundary}"))
    }

    /// A line that is in none of the contents: random, so that nobody who wrote
    /// a content can have known it.
    fn boundary(&self) -> String {
        let random = RandomState::new();
        format!(
            "threeply-{:016x}{:016x}",
            random.hash_one(1),
            random.hash_one(2)
        )
    }
}

/// A name as browsers write it: what would end it, or the line, is escaped.
fn escaped(name: &str) -> String {
    name.replace('"', "%22")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_between_boundaries() {
        let form = Form::new().text("a", "1").file(
            "f\"\r\n",
            "x.bin",
            "image/png\r\nX: y",
            b"\0\xff".to_vec(),
        );
        let (body, kind) = form.encode();
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
        let mut expected = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
             --{boundary}\r\ncontent-disposition: form-data; name=\"f%22%0D%0A\"; \
             filename=\"x.bin\"\r\ncontent-type: image/png  X: y\r\n\r\n"
        )
        .into_bytes();
        expected.extend_from_slice(b"\0\xff");
        expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert_eq!(
            String::from_utf8_lossy(&body),
            String::from_utf8_lossy(&expected)
        );
        assert_ne!(Form::new().encode().1, Form::new().encode().1);
    }
}
