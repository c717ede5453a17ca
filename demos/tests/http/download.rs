//! Files that arrive in pieces, over connections that break, of servers that
//! change their mind.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::AsyncRead;
use http::{HeaderValue, StatusCode, header};
use threeply_demos::http::Error;
use threeply_demos::http::client::{Client, Progress, Retry};
use threeply_demos::http::server::reply::Content;
use threeply_demos::http::server::{Limits, Reply, Routes, files};

use crate::kit::{on_loop, serve};

const LENGTH: usize = 300_000;

fn content(seed: u8) -> Vec<u8> {
    (0..LENGTH).map(|i| (i % 251) as u8 ^ seed).collect()
}

/// Serves the files of a folder; a connection breaks after `whole` bytes of a
/// file while there are breaks left. Keeps the `Range` of each request.
#[derive(Clone, Default)]
struct Breaking {
    breaks: Rc<Cell<u32>>,
    ranges: Rc<RefCell<Vec<String>>>,
}

impl Breaking {
    fn routes(&self, folder: &Path, after: u64) -> Routes {
        let (this, folder) = (self.clone(), folder.to_owned());
        Routes::new().get("/{*path}", move |request| {
            let (this, folder) = (this.clone(), folder.clone());
            async move {
                let range = request.header(header::RANGE).unwrap_or("all").to_owned();
                this.ranges.borrow_mut().push(range);
                let mut reply = files::file(folder, &request.params[0], &request).await;
                if this.breaks.get() > 0
                    && let Content::Reader { reader, length } = reply.body
                {
                    this.breaks.set(this.breaks.get() - 1);
                    // Less than was promised: the server has to close.
                    let left = after;
                    let reader = Box::new(Short { reader, left });
                    reply.body = Content::Reader { reader, length };
                }
                reply
            }
        })
    }
}

fn patient() -> Retry {
    Retry {
        backoff: Duration::from_millis(1),
        ..Retry::times(2)
    }
}

#[test]
fn a_download_goes_on_where_the_connection_broke() {
    on_loop(async {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(from.path().join("file"), content(0)).unwrap();
        let breaking = Breaking::default();
        breaking.breaks.set(4);
        let server = serve(breaking.routes(from.path(), 50_000), Limits::default()).await;
        let path = to.path().join("copy");
        let mut seen: Vec<Progress> = Vec::new();
        let saved = Client::default()
            .download(server.url("/file"), &path)
            .retry(patient())
            .run(|progress| seen.push(progress))
            .await
            .unwrap();
        assert_eq!((saved.bytes, saved.breaks), (LENGTH as u64, 4));
        assert_eq!(saved.resumed_at, 0, "nothing was there at first");
        assert!(fs::read(&path).unwrap() == content(0));
        assert_eq!(
            *breaking.ranges.borrow(),
            [
                "all",
                "bytes=50000-",
                "bytes=100000-",
                "bytes=150000-",
                "bytes=200000-"
            ]
        );
        assert!(seen.is_sorted_by_key(|progress| progress.bytes));
        assert!(seen.iter().all(|each| each.total == Some(LENGTH as u64)));
        assert_eq!(seen.last().unwrap().bytes, LENGTH as u64);
        assert_eq!(
            fs::read_dir(to.path()).unwrap().count(),
            1,
            "the part and its note are gone"
        );
    });
}

#[test]
fn a_later_run_continues_what_an_earlier_one_left() {
    on_loop(async {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(from.path().join("file"), content(0)).unwrap();
        let breaking = Breaking::default();
        let server = serve(breaking.routes(from.path(), 70_000), Limits::default()).await;
        let path = to.path().join("copy");
        let part = to.path().join("copy.part");
        let client = Client::default();
        let run = |resume| {
            let download = client.download(server.url("/file"), &path).resume(resume);
            download.run(|_| ())
        };
        breaking.breaks.set(1);
        let error = run(true).await.unwrap_err();
        assert!(matches!(error, Error::Lost { .. }), "{error:?}");
        assert!(!path.exists() && fs::metadata(&part).unwrap().len() == 70_000);
        let saved = run(true).await.unwrap();
        assert_eq!((saved.resumed_at, saved.bytes), (70_000, LENGTH as u64));
        assert!(fs::read(&path).unwrap() == content(0));

        // Unless the file has changed meanwhile,
        breaking.breaks.set(1);
        run(true).await.unwrap_err();
        fs::write(from.path().join("file"), content(9)).unwrap();
        assert_eq!(run(true).await.unwrap().resumed_at, 0);
        assert!(fs::read(&path).unwrap() == content(9));

        // or it isn't wanted,
        breaking.breaks.set(1);
        run(true).await.unwrap_err();
        assert_eq!(run(false).await.unwrap().resumed_at, 0);

        // or the part is of another URL, or of nobody knows what.
        fs::write(&part, "something else").unwrap();
        assert_eq!(run(true).await.unwrap().resumed_at, 0);
        assert!(fs::read(&path).unwrap() == content(9));

        // One that was whole already only gets its name.
        breaking.breaks.set(1);
        run(true).await.unwrap_err();
        fs::write(&part, content(9)).unwrap();
        assert_eq!(run(true).await.unwrap().resumed_at, LENGTH as u64);
        assert!(path.exists() && !part.exists());
    });
}

#[test]
fn a_server_without_ranges_or_versions_is_asked_for_all_of_it_again() {
    on_loop(async {
        let asked = Rc::new(RefCell::new(Vec::new()));
        let seen = asked.clone();
        let routes = Routes::new().fallback(move |request| {
            let first = seen.borrow().is_empty();
            seen.borrow_mut()
                .push(request.header(header::RANGE).map(str::to_owned));
            async move {
                // The first answer promises more than it has.
                let length = if first { LENGTH + 1 } else { LENGTH };
                let body: &'static [u8] = content(0).leak();
                Reply::reader(body, Some(length as u64), "application/octet-stream")
            }
        });
        let server = serve(routes, Limits::default()).await;
        let to = tempfile::tempdir().unwrap();
        let saved = Client::default()
            .download(server.url("/"), to.path().join("x"))
            .retry(patient())
            .run(|_| ())
            .await
            .unwrap();
        assert_eq!((saved.bytes, saved.breaks), (LENGTH as u64, 1));
        assert_eq!(*asked.borrow(), [None, None]);
        assert!(fs::read(to.path().join("x")).unwrap() == content(0));
    });
}

/// The first `left` bytes of a reader.
struct Short {
    reader: Box<dyn AsyncRead + Unpin>,
    left: u64,
}

impl AsyncRead for Short {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let most = self.left.min(buffer.len() as u64) as usize;
        let read = Pin::new(&mut self.reader).poll_read(cx, &mut buffer[..most]);
        if let Poll::Ready(Ok(n)) = read {
            self.left -= n as u64;
        }
        read
    }
}

#[test]
fn a_download_that_fails_leaves_no_file_and_says_why() {
    on_loop(async {
        let routes = Routes::new()
            .get("/missing", |_| async {
                Reply::refusal(StatusCode::NOT_FOUND)
            })
            .get("/wrong", |_| async {
                Reply::text("part")
                    .with_status(StatusCode::PARTIAL_CONTENT)
                    .with(
                        header::CONTENT_RANGE,
                        HeaderValue::from_static("bytes 7-10/100"),
                    )
            })
            .get("/ok", |_| async { Reply::text("fine") });
        let server = serve(routes, Limits::default()).await;
        let to = tempfile::tempdir().unwrap();
        let client = Client::default();
        let run = |path: &str, name: &str| {
            client
                .download(server.url(path), to.path().join(name))
                .retry(patient())
                .run(|_| ())
        };
        let missing = run("/missing", "a").await.unwrap_err();
        assert!(missing.to_string().contains("404"), "{missing}");
        let wrong = run("/wrong", "b").await.unwrap_err();
        assert!(
            matches!(wrong, Error::Status(StatusCode::PARTIAL_CONTENT)),
            "{wrong:?}"
        );
        let nowhere = run("/ok", "no/such/folder").await.unwrap_err();
        assert!(nowhere.to_string().contains("no/such/folder"), "{nowhere}");
        assert!(!to.path().join("a").exists() && !to.path().join("b").exists());

        let part = fs::File::create(to.path().join("c.part")).unwrap();
        part.lock().unwrap();
        let busy = run("/ok", "c").await.unwrap_err();
        assert!(busy.to_string().contains("another download"), "{busy}");
        drop(part);
        assert_eq!(run("/ok", "c").await.unwrap().bytes, 4);
    });
}
