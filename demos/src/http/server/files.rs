//! Files of a folder, served without making the loop wait for a disk.
//!
//! A path from the network is taken apart and put together again from its plain
//! parts: no `..`, nothing hidden, no way out of the folder through a link.

use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use futures_io::AsyncRead;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use threeply_runtime::unblock;
use threeply_runtime::unblock::Unblock;

use super::reply::Reply;
use super::routes::Request;
use crate::limits;

/// Answers a request for the file `path` (as it stands in the URL, decoded) in
/// the folder `root`: 200, 206 for a range, 304 for a copy that is still good,
/// 404, 416.
///
/// **Cancel safety.** Safe: dropped, it lets the file be opened in vain.
pub async fn file(root: PathBuf, path: &str, request: &Request) -> Reply {
    let Some(relative) = plain(path) else {
        return Reply::refusal(StatusCode::NOT_FOUND);
    };
    let opened = match unblock(move || open(&root, &relative)).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(e)) if e.kind() == io::ErrorKind::PermissionDenied => {
            return Reply::refusal(StatusCode::FORBIDDEN);
        }
        Ok(Err(e)) if names_nothing(&e) => return Reply::refusal(StatusCode::NOT_FOUND),
        _ => return Reply::refusal(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let Opened {
        file,
        length,
        modified,
        content_type,
    } = opened;
    let tag = format!(
        "\"{length:x}-{:x}\"",
        modified
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos())
    );
    let with_tag = |reply: Reply| {
        let tag = HeaderValue::try_from(tag.as_str()).expect("hexadecimal is valid in a header");
        let date = HeaderValue::try_from(httpdate::fmt_http_date(modified)).expect("so is a date");
        reply
            .with(header::ETAG, tag)
            .with(header::LAST_MODIFIED, date)
            .with(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"))
    };
    if request
        .header(header::IF_NONE_MATCH)
        .is_some_and(|tags| tags.split(',').any(|each| each.trim() == tag))
    {
        return with_tag(Reply::status(StatusCode::NOT_MODIFIED));
    }
    let fresh = request
        .header(header::IF_RANGE)
        .is_none_or(|known| known == tag);
    let range = request
        .header(header::RANGE)
        .filter(|_| fresh && request.method == Method::GET);
    let (status, first, part) = match range.map(|range| parse_range(range, length)) {
        None | Some(Range::Unintelligible) => (StatusCode::OK, 0, length),
        Some(Range::Part { first, length }) => (StatusCode::PARTIAL_CONTENT, first, length),
        Some(Range::Beyond) => {
            let all = HeaderValue::try_from(format!("bytes */{length}"))
                .expect("digits are valid in a header");
            return with_tag(Reply::refusal(StatusCode::RANGE_NOT_SATISFIABLE))
                .with(header::CONTENT_RANGE, all);
        }
    };
    let reader = FileReader::new(file, first);
    let mut reply = with_tag(Reply::reader(reader, Some(part), content_type).with_status(status));
    if status == StatusCode::PARTIAL_CONTENT {
        let last = first + part - 1;
        let range = HeaderValue::try_from(format!("bytes {first}-{last}/{length}"))
            .expect("digits are valid");
        reply = reply.with(header::CONTENT_RANGE, range);
    }
    reply
}

/// Whether there is, and can be, no file of that name.
fn names_nothing(e: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let kinds = [Kind::NotFound, Kind::NotADirectory, Kind::InvalidFilename];
    kinds.contains(&e.kind()) || e.raw_os_error() == Some(libc::ELOOP)
}

/// The plain parts of a path, or `None` if it has others.
fn plain(path: &str) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if part.starts_with('.') || part.contains(['\\', '\0']) {
            return None;
        }
        plain.push(part);
    }
    Some(plain)
}

struct Opened {
    file: File,
    length: u64,
    modified: SystemTime,
    content_type: &'static str,
}

fn open(root: &Path, relative: &Path) -> io::Result<Opened> {
    let root = fs::canonicalize(root)?;
    let mut path = fs::canonicalize(root.join(relative))?;
    if path.is_dir() {
        path = fs::canonicalize(path.join("index.html"))?;
    }
    if !path.starts_with(&root) {
        return Err(io::ErrorKind::NotFound.into());
    }
    // To open a FIFO would wait for a writer; nonblocking, it doesn't, and to files
    // that makes no difference.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&path)?;
    let about = file.metadata()?;
    // A FIFO or a device would never end.
    if !about.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Opened {
        file,
        length: about.len(),
        modified: about.modified()?,
        content_type: content_type(&path),
    })
}

fn content_type(path: &Path) -> &'static str {
    match path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default()
    {
        "html" | "htm" => "text/html; charset=utf-8",
        "txt" | "md" | "rs" | "py" | "toml" | "log" => "text/plain; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    Part {
        first: u64,
        length: u64,
    },
    /// It begins after the end.
    Beyond,
    /// Several ranges, or not one at all: the standard lets us ignore it.
    Unintelligible,
}

/// Reads `bytes=0-99`, `bytes=100-` and `bytes=-100`.
fn parse_range(range: &str, length: u64) -> Range {
    let Some((first, last)) = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Range::Unintelligible;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (first, last) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last),
        (Some(first), None) if last.trim().is_empty() => (first, u64::MAX),
        (None, Some(0)) if first.trim().is_empty() => return Range::Beyond,
        (None, Some(suffix)) if first.trim().is_empty() => {
            (length.saturating_sub(suffix), u64::MAX)
        }
        _ => return Range::Unintelligible,
    };
    if first >= length {
        return Range::Beyond;
    }
    Range::Part {
        first,
        length: last.min(length - 1) - first + 1,
    }
}

/// A file as a stream: each block is read by the blocking pool.
#[derive(Debug)]
pub struct FileReader {
    state: State,
    block: Vec<u8>,
    at: usize,
}

#[derive(Debug)]
enum State {
    Idle(File),
    Reading(Unblock<(File, io::Result<Vec<u8>>)>),
    Done,
}

impl FileReader {
    /// Of `file` from byte `first` on.
    pub fn new(mut file: File, first: u64) -> FileReader {
        // Seeking moves a number in the kernel; it waits for no disk.
        let state = if first == 0 || file.seek(SeekFrom::Start(first)).is_ok() {
            State::Idle(file)
        } else {
            State::Done
        };
        FileReader {
            state,
            block: Vec::new(),
            at: 0,
        }
    }
}

impl AsyncRead for FileReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let rest = &self.block[self.at..];
            if !rest.is_empty() {
                let n = rest.len().min(buffer.len());
                buffer[..n].copy_from_slice(&rest[..n]);
                self.at += n;
                return Poll::Ready(Ok(n));
            }
            match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Poll::Ready(Ok(0)),
                State::Idle(mut file) => {
                    self.state = State::Reading(unblock(move || {
                        let mut block = vec![0; limits::FILE_BLOCK_BYTES];
                        let read = file.read(&mut block).map(|n| {
                            block.truncate(n);
                            block
                        });
                        (file, read)
                    }));
                }
                State::Reading(mut reading) => match Pin::new(&mut reading).poll(cx) {
                    Poll::Pending => {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(e)) => {
                        return Poll::Ready(Err(io::Error::other(e.to_string())));
                    }
                    Poll::Ready(Ok((file, read))) => {
                        self.block = read?;
                        self.at = 0;
                        if self.block.is_empty() {
                            return Poll::Ready(Ok(0));
                        }
                        self.state = State::Idle(file);
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_has_them() {
        let part = |first, length| Range::Part { first, length };
        for (range, expected) in [
            ("bytes=0-99", part(0, 100)),
            ("bytes=900-", part(900, 100)),
            ("bytes=900-5000", part(900, 100)),
            ("bytes=-100", part(900, 100)),
            ("bytes=-5000", part(0, 1000)),
            ("bytes=1000-", Range::Beyond),
            ("bytes=-0", Range::Beyond),
            ("bytes=5-4", Range::Unintelligible),
            ("bytes=0-1,3-4", Range::Unintelligible),
            ("lines=0-1", Range::Unintelligible),
            ("bytes=-", Range::Unintelligible),
        ] {
            assert_eq!(parse_range(range, 1000), expected, "{range}");
        }
    }

    #[test]
    fn a_path_stays_in_its_folder() {
        for bad in ["../x", "a/../../x", ".ssh/id", "a\\..\\b", "a\0b"] {
            assert_eq!(plain(bad), None, "{bad}");
        }
        assert_eq!(plain("a//b/c.txt"), Some("a/b/c.txt".into()));
        assert_eq!(plain(""), Some("".into()));
    }
}
