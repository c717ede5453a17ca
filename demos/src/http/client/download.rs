//! A file from the web, whatever happens on the way.
//!
//! What arrives goes to `NAME.part`; beside it, `NAME.part.from` says which URL
//! and which version of it the bytes are of. When all have come, the part is
//! renamed to `NAME`: a file of that name is always whole.
//!
//! ```text
//!             1 a part of the same URL is there
//!  (nothing) ───────────────────────────────────▶ Range, If-Range
//!      │ 2 none, or of something else                  │
//!      ▼                                                │ 206: append
//!    whole ◀──────────── 200: it has changed ───────────┤
//!      │                                                │ 416: all was there
//!      ▼                                                ▼
//!   receive ── 3 the connection breaks: 1 ──▶ … ──▶ 4 rename to NAME
//! ```
//! 1, 2: `Part::open`; 3: `Download::run`; 4: `Part::finish`.
//!
//! Without a strong validator (an `ETag` that isn't weak, or a modification
//! date) there is no telling whether the server's file is still the same, and a
//! part is never continued.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use threeply_runtime::time;

use super::checksum::Sha256;
use super::file::{on_disk, write_body};
use super::response::Response;
use super::retry::{self, Retry};
use super::session::Client;
use crate::http::error::Error;
use crate::limits;

/// A download in the making; [`Download::run`] carries it out.
#[derive(Debug)]
#[must_use = "nothing is downloaded until `run` is awaited"]
pub struct Download {
    client: Client,
    url: String,
    path: PathBuf,
    retry: Retry,
    resume: bool,
    checksum: Option<Sha256>,
}

/// How far a download has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the file that are there, those of an earlier run included.
    pub bytes: u64,
    /// The file's length, if the server tells.
    pub total: Option<u64>,
}

/// What a download has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// The file's length.
    pub bytes: u64,
    /// How many of its bytes were there from an earlier run.
    pub resumed_at: u64,
    /// How often the connection broke and was made again.
    pub breaks: u32,
}

impl Client {
    /// A download of `url` to the file `path`, which is replaced when all of it
    /// has come. The client's [`Retry`] holds for it, too.
    pub fn download(&self, url: impl Into<String>, path: impl Into<PathBuf>) -> Download {
        Download {
            client: self.clone(),
            url: url.into(),
            path: path.into(),
            retry: self.config().retry.clone(),
            resume: true,
            checksum: None,
        }
    }
}

impl Download {
    /// Tries again as `retry` says, also when the connection breaks in the
    /// middle of the file: then it is continued. A try that brought something
    /// new doesn't count.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Whether to continue what an earlier run has left; by default it is.
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// The file must have this checksum. It is looked at before the file gets
    /// its name; a file that is there already and has it is not downloaded.
    pub fn checksum(mut self, expected: Option<Sha256>) -> Self {
        self.checksum = expected;
        self
    }

    /// Downloads the file, reporting how far it is after each block.
    ///
    /// File calls run on the blocking pool. Cancel-safe in that what has come
    /// stays in the part, and the next run continues it.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Status`] for any status but success;
    /// [`Error::File`], also when another download writes to the same part;
    /// [`Error::Checksum`], after which nothing of the file is left.
    pub async fn run(self, mut progress: impl FnMut(Progress)) -> Result<Saved, Error> {
        if let Some(saved) = self.is_there().await {
            return Ok(saved);
        }
        let mut part = Part::open(&self.path, &self.url, self.resume).await?;
        let (mut kept, mut breaks, mut in_vain) = (part.length, 0, 0);
        loop {
            let before = part.length;
            let attempt = self.attempt(&mut part, &mut progress).await;
            if part.began_anew {
                // The server has a newer file: nothing of the old is in it.
                kept = 0;
            }
            let failure = match attempt {
                Ok(()) => break,
                Err(e) if retry::may_pass(&e) && self.retry.times > 0 => e,
                Err(e) => return Err(e),
            };
            part = Part::open(&self.path, &self.url, true).await?;
            in_vain = if part.length > before { 0 } else { in_vain + 1 };
            if in_vain > self.retry.times {
                return Err(failure);
            }
            kept = kept.min(part.length);
            breaks += 1;
            time::sleep(self.retry.wait(in_vain.max(1), None)).await;
        }
        let bytes = part.length;
        if let Some(expected) = self.checksum {
            let got = Sha256::of_file(&part.path).await?;
            if got != expected {
                part.remove().await?;
                return Err(Error::Checksum { expected, got });
            }
        }
        part.finish().await?;
        Ok(Saved {
            bytes,
            resumed_at: kept,
            breaks,
        })
    }

    /// Whether there is nothing to do.
    async fn is_there(&self) -> Option<Saved> {
        let expected = self.checksum?;
        let path = self.path.clone();
        let about = on_disk(path.clone(), move || fs::metadata(&path));
        let bytes = about.await.ok().filter(fs::Metadata::is_file)?.len();
        let same = Sha256::of_file(&self.path).await.ok()? == expected;
        same.then_some(Saved {
            bytes,
            resumed_at: bytes,
            breaks: 0,
        })
    }

    /// One request, and its body into the part.
    async fn attempt(
        &self,
        part: &mut Part,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), Error> {
        let mut response = self.ask(part).await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && part.length > 0 {
            let is_whole = whole_length(response.headers()) == Some(part.length);
            if is_whole && !part.is_of_another(response.headers()) {
                return Ok(());
            }
            part.begin_anew().await?;
            response = self.ask(part).await?;
        }
        if response.status() == StatusCode::PARTIAL_CONTENT
            && part.is_of_another(response.headers())
        {
            // A server that doesn't heed `If-Range`: this is the rest of another file.
            part.begin_anew().await?;
            response = self.ask(part).await?;
        }
        let mut whole = None;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if part.length > 0 => {
                let range = content_range(response.headers());
                whole = range.and_then(|(_, whole)| whole);
                if range.is_none_or(|(first, _)| first != part.length) {
                    return Err(Error::Protocol(format!(
                        "asked for what follows byte {}, the server sent another part",
                        part.length
                    )));
                }
            }
            StatusCode::OK if part.length > 0 => part.begin_anew().await?,
            StatusCode::OK => {}
            other => return Err(Error::Status(other)),
        }
        let total = response
            .content_length()
            .map(|length| part.length.saturating_add(length));
        part.remember(&self.url, response.headers()).await?;
        let before = part.length;
        progress(Progress {
            bytes: before,
            total,
        });
        let file = part
            .file
            .take()
            .expect("each attempt begins with an open part");
        let written = write_body(response.body_mut(), file, &part.path, |bytes| {
            progress(Progress {
                bytes: before + bytes,
                total,
            });
        })
        .await?;
        part.length = before + written;
        match whole {
            // It may send less than it was asked for; then the rest is asked for.
            Some(whole) if part.length < whole => Err(Error::Lost {
                source: io::ErrorKind::UnexpectedEof.into(),
            }),
            Some(whole) if part.length > whole => Err(Error::Protocol(format!(
                "the server sent {} bytes of a file that it says has {whole}",
                part.length
            ))),
            _ => Ok(()),
        }
    }

    async fn ask(&self, part: &Part) -> Result<Response, Error> {
        let mut request = self.client.get(&self.url).as_is().retry(self.retry.clone());
        if let Some(source) = part.source.as_ref().filter(|_| part.length > 0) {
            request = request
                .header("range", &format!("bytes={}-", part.length))
                .header("if-range", &source.validator);
        }
        request.send().await
    }
}

/// What a part is a part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Source {
    url: String,
    validator: String,
}

/// Locks a part, or tells that another download has it. Not at the first refusal: a child
/// that this process starts holds a copy of each descriptor, and with it the lock of a
/// download that has just ended, until it executes its program.
fn lock(file: &File) -> io::Result<()> {
    let give_up = Instant::now() + limits::DOWNLOAD_LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(e)) => return Err(e),
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "another download writes to it; wait for it, or save under another name",
                ));
            }
        }
    }
}

/// The file that a download writes to.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    to: PathBuf,
    /// Open and locked; taken while a body is written.
    file: Option<File>,
    length: u64,
    /// `None`: it can't be continued.
    source: Option<Source>,
    /// Whether what was there at first had to be thrown away.
    began_anew: bool,
}

impl Part {
    /// Opens the part of `to`, empty unless it may be continued.
    async fn open(to: &Path, url: &str, resume: bool) -> Result<Part, Error> {
        let path = with_suffix(to, ".part");
        let (to, url) = (to.to_owned(), url.to_owned());
        on_disk(path.clone(), move || {
            let file = File::options().append(true).create(true).open(&path)?;
            lock(&file)?;
            let source = fs::read(with_suffix(&path, ".from"))
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .filter(|source: &Source| resume && source.url == url);
            if source.is_none() {
                file.set_len(0)?;
            }
            let length = file.metadata()?.len();
            Ok(Part {
                path,
                to,
                file: Some(file),
                length,
                source,
                began_anew: false,
            })
        })
        .await
    }

    /// Whether a response names another version than the one that this is a part of.
    fn is_of_another(&self, headers: &HeaderMap) -> bool {
        match (&self.source, validator(headers)) {
            (Some(source), Some(theirs)) => self.length > 0 && source.validator != theirs,
            _ => false,
        }
    }

    /// Throws away what is there.
    async fn begin_anew(&mut self) -> Result<(), Error> {
        let file = self.file.take().expect("it is open between attempts");
        let file = on_disk(self.path.clone(), move || {
            file.set_len(0)?;
            Ok(file)
        })
        .await?;
        self.file = Some(file);
        self.length = 0;
        self.source = None;
        self.began_anew = true;
        Ok(())
    }

    /// Notes what the bytes to come are of.
    async fn remember(&mut self, url: &str, headers: &HeaderMap) -> Result<(), Error> {
        let source = validator(headers).map(|validator| Source {
            url: url.to_owned(),
            validator,
        });
        if self.length > 0 && source.is_none() {
            // A 206 need not repeat it.
            return Ok(());
        }
        self.source = source.clone();
        let note = with_suffix(&self.path, ".from");
        on_disk(note.clone(), move || match source {
            Some(source) => fs::write(&note, serde_json::to_vec(&source)?),
            None => gone(fs::remove_file(&note)),
        })
        .await
    }

    /// What has come is worth nothing.
    async fn remove(self) -> Result<(), Error> {
        let path = self.path.clone();
        on_disk(path.clone(), move || {
            gone(fs::remove_file(with_suffix(&path, ".from")))?;
            gone(fs::remove_file(&path))
        })
        .await
    }

    /// All has come: the part gets its name.
    async fn finish(self) -> Result<(), Error> {
        let Part { path, to, file, .. } = self;
        drop(file);
        on_disk(to.clone(), move || {
            fs::rename(&path, &to)?;
            gone(fs::remove_file(with_suffix(&path, ".from")))
        })
        .await
    }
}

/// What was to be removed is not there, one way or the other.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What tells this version of a file from others, if it does so surely.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name)?.to_str().ok();
    text(header::ETAG)
        .filter(|tag| !tag.starts_with("W/"))
        .or_else(|| text(header::LAST_MODIFIED))
        .map(str::to_owned)
}

/// `bytes 100-199/200`: the first byte, and the whole length unless it is `*`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, whole) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _last) = range.split_once('-')?;
    Some((first.parse().ok()?, whole.parse().ok()))
}

/// `bytes */200`: how long the file is of which we asked for more.
fn whole_length(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes */")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn content_ranges_are_read() {
        let range = |text| content_range(&headers(&[(header::CONTENT_RANGE, text)]));
        assert_eq!(range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5, None)));
        for bad in ["bytes */10", "5-9/10", "bytes x-9/10", "bytes 5/10", ""] {
            assert_eq!(range(bad), None, "{bad}");
        }
        let whole = |text| whole_length(&headers(&[(header::CONTENT_RANGE, text)]));
        assert_eq!(whole("bytes */10"), Some(10));
        assert_eq!(whole("bytes 1-2/10"), None);
    }

    #[test]
    fn only_what_is_sure_tells_versions_apart() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (pairs, expected) in [
            (&[(header::ETAG, "\"x\"")][..], Some("\"x\"")),
            (&[(header::ETAG, "W/\"x\"")], None),
            (
                &[(header::ETAG, "W/\"x\""), (header::LAST_MODIFIED, date)],
                Some(date),
            ),
            (&[], None),
        ] {
            assert_eq!(validator(&headers(pairs)).as_deref(), expected);
        }
    }
}
