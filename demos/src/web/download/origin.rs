//! The server that `download` downloads from when no other is named: slow, and
//! not always reliable, as the web is.

use std::cell::RefCell;
use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_io::AsyncRead;
use http::StatusCode;
use http::header::{self, HeaderValue};
use threeply_runtime as runtime;
use threeply_runtime::time::{Sleep, sleep};

use super::Job;
use crate::Error;
use crate::http::client::Sha256;
use crate::http::server::reply::Content;
use crate::http::server::{Limits, Reply, Routes, Server, files};
use crate::local_server::listen;

/// The length of its files, in bytes.
const LENGTHS: [usize; 6] = [400_000, 3_000_000, 1_500_000, 800_000, 2_000_000, 50];
/// The first request for this one breaks in the middle.
const BREAKS: usize = 1;
/// The first request for this one is refused as untimely.
const BUSY: usize = 3;
/// A connection gets this much …
const SLICE_BYTES: usize = 64 * 1024;
/// … each time that so long has passed.
const SLICE_TIME: Duration = Duration::from_millis(15);

/// The running server. It ends with the loop; its files go with this.
#[derive(Debug)]
pub struct Origin {
    url: String,
    files: Vec<(String, Sha256)>,
    _folder: tempfile::TempDir,
}

impl Origin {
    /// Starts it on the current loop.
    ///
    /// # Errors
    /// When its files can't be written, or it can't listen.
    pub async fn start() -> Result<Origin, Error> {
        let folder = tempfile::tempdir().map_err(Error::io("make a temporary folder"))?;
        let mut files = Vec::new();
        for (number, length) in LENGTHS.into_iter().enumerate() {
            let name = format!("file-{}.bin", number + 1);
            let content = noise(number as u64, length);
            files.push((name.clone(), Sha256::of(&content)));
            runtime::fs::write(folder.path().join(name), content)
                .await
                .map_err(Error::io("write the files to be downloaded"))?;
        }
        let listener = listen("127.0.0.1:0".parse().expect("it is an address"))?;
        let server = Server::new(listener, routes(folder.path(), &files), Limits::default());
        let address = server.local_addr().map_err(Error::io("learn the port"))?;
        drop(runtime::spawn(server.run(Duration::ZERO)));
        Ok(Origin {
            url: format!("http://{address}/"),
            files,
            _folder: folder,
        })
    }

    /// All of its files, to be saved in `folder`.
    pub(super) fn jobs(&self, folder: &Path) -> Vec<Job> {
        let job = |(name, checksum): &(String, Sha256)| Job {
            url: format!("{}{name}", self.url),
            path: folder.join(name),
            name: name.clone(),
            checksum: Some(*checksum),
        };
        self.files.iter().map(job).collect()
    }
}

fn routes(folder: &Path, files: &[(String, Sha256)]) -> Routes {
    let folder = folder.to_owned();
    let (breaks, busy) = (files[BREAKS].0.clone(), files[BUSY].0.clone());
    let known = Rc::new(RefCell::new(HashSet::new()));
    Routes::new().get("/{name}", move |request| {
        let name = request.params[0].clone();
        let first = known.borrow_mut().insert(name.clone());
        let (breaks, busy) = (first && name == breaks, first && name == busy);
        let folder = folder.clone();
        async move {
            if busy {
                return Reply::refusal(StatusCode::SERVICE_UNAVAILABLE)
                    .with(header::RETRY_AFTER, HeaderValue::from_static("0"));
            }
            let mut reply = files::file(folder, &name, &request).await;
            reply.body = match reply.body {
                Content::Reader { reader, length } => Content::Reader {
                    reader: Box::new(Slow {
                        reader,
                        // Less than was promised: then the server has to close.
                        left: match length {
                            Some(length) if breaks => length / 2,
                            _ => u64::MAX,
                        },
                        slice: SLICE_BYTES,
                        pause: None,
                    }),
                    length,
                },
                other => other,
            };
            reply
        }
    })
}

/// Bytes that don't repeat, the same in each run (xorshift64).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ (seed + 1);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A reader that pauses after each slice, and may end early.
struct Slow {
    reader: Box<dyn AsyncRead + Unpin>,
    left: u64,
    slice: usize,
    pause: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.slice == 0 {
            let pause = self
                .pause
                .get_or_insert_with(|| Box::pin(sleep(SLICE_TIME)));
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
            self.slice = SLICE_BYTES;
        }
        let most = buffer
            .len()
            .min(self.slice)
            .min(self.left.try_into().unwrap_or(usize::MAX));
        let n = ready!(Pin::new(&mut self.reader).poll_read(cx, &mut buffer[..most]))?;
        self.slice -= n;
        self.left -= n as u64;
        Poll::Ready(Ok(n))
    }
}
