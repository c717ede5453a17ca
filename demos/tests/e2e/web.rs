//! The programs that talk to the web, or are it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::kit::{Ran, closed_port, demo, finish, run, signal};

/// A server that a test has started; ended with the test at the latest.
pub(crate) struct Serving {
    child: Option<Child>,
    pub(crate) address: String,
    lines: BufReader<std::process::ChildStdout>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn serve(folder: &std::path::Path) -> Serving {
    start(demo("serve").args(["--listen", "127.0.0.1:0"]).arg(folder))
}

/// Starts a server that says where it listens on its first line.
pub(crate) fn start(command: &mut Command) -> Serving {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let address = first
        .split("http://")
        .nth(1)
        .and_then(|rest| rest.split('/').next())
        .expect("it says where")
        .to_owned();
    Serving {
        child: Some(child),
        address,
        lines,
    }
}

impl Serving {
    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Sends it SIGINT; returns its end, and what it printed until then.
    pub(crate) fn interrupt(mut self) -> (Ran, String) {
        let child = self.child.take().unwrap();
        signal(&child, Signal::SIGINT);
        let ran = finish(child);
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (ran, rest)
    }

    pub(crate) fn ask(&self, request: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[test]
fn serve_gives_files_of_its_folder_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    std::fs::write(folder.path().join("page.html"), "<p>hello</p>").unwrap();
    std::fs::write(folder.path().join("sub/index.html"), "the index").unwrap();
    std::fs::write(folder.path().join(".hidden"), "secret").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
    let server = serve(folder.path());
    let page = server.ask("GET /page.html", "");
    assert!(
        page.starts_with("HTTP/1.1 200")
            && page.contains("text/html")
            && page.ends_with("<p>hello</p>"),
        "{page}"
    );
    let index = server.ask("GET /sub/", "");
    assert!(index.ends_with("the index"), "{index}");
    for path in [
        "/none",
        "/.hidden",
        "/../../../etc/passwd",
        "/sub/..%2f..%2fetc/passwd",
        "/link",
    ] {
        let refused = server.ask(&format!("GET {path}"), "");
        assert!(refused.starts_with("HTTP/1.1 404"), "{path}: {refused}");
    }
    let tag = page
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .expect("it has a tag")
        .to_owned();
    let same = server.ask(
        &format!("GET /page.html HTTP/1.1\r\nIf-None-Match: {tag}\r\nX:"),
        "",
    );
    assert!(same.starts_with("HTTP/1.1 304"), "{same}");
    let part = server.ask("GET /page.html HTTP/1.1\r\nRange: bytes=3-7\r\nX:", "");
    assert!(
        part.starts_with("HTTP/1.1 206")
            && part.contains("bytes 3-7/12")
            && part.ends_with("\r\n\r\nhello"),
        "{part}"
    );
}

#[test]
fn serve_has_a_json_api_and_stops_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    assert!(
        server
            .ask("POST /api/sum", "[1, 2, 3.5]")
            .ends_with("{\"sum\":6.5}")
    );
    assert!(
        server
            .ask("POST /api/sum", "nonsense")
            .starts_with("HTTP/1.1 400")
    );
    assert!(
        server
            .ask("POST /api/notes", "{\"text\":\"hi\"}")
            .ends_with("{\"id\":1}")
    );
    assert!(
        server
            .ask("GET /api/notes/1", "")
            .ends_with("{\"text\":\"hi\"}")
    );
    assert!(
        server
            .ask("DELETE /api/notes/1", "")
            .starts_with("HTTP/1.1 204")
    );
    assert!(
        server
            .ask("GET /api/notes/1", "")
            .starts_with("HTTP/1.1 404")
    );
    assert!(server.ask("GET /api/status", "").contains("\"requests\":"));
    assert!(server.ask("PUT /api/sum", "").starts_with("HTTP/1.1 405"));
    let (ran, last) = server.interrupt();
    assert!(ran.status.success(), "{ran:?}");
    assert!(last.contains("every request was answered"), "{last}");
}

#[test]
fn serve_says_what_is_wrong_with_its_folder_or_its_address() {
    let ran = run("serve", &["/nonexistent/folder"]);
    assert_eq!(ran.code(), Some(2), "{ran:?}");
    assert!(
        ran.complaint().contains("/nonexistent/folder is no folder"),
        "{ran:?}"
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = run("serve", &["--listen", &address]);
    assert_eq!(ran.code(), Some(1), "{ran:?}");
    assert!(
        ran.complaint()
            .contains(&format!("cannot listen on {address}")),
        "{ran:?}"
    );
}

#[test]
fn a_real_client_is_served() {
    let Ok(found) = Command::new("curl").arg("--version").output() else {
        eprintln!("skipped: there is no curl");
        return;
    };
    assert!(found.status.success());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "x".repeat(200_000)).unwrap();
    let server = serve(folder.path());
    let url = format!("http://{}/a.txt", server.address);
    // Twice on one connection, and a part of it.
    let twice = Command::new("curl")
        .args(["-sS", "--max-time", "20", &url, &url])
        .output()
        .unwrap();
    assert_eq!(twice.stdout.len(), 400_000, "{twice:?}");
    let part = Command::new("curl")
        .args(["-sS", "--max-time", "20", "-r", "10-19", &url])
        .output()
        .unwrap();
    assert_eq!(part.stdout, b"xxxxxxxxxx");
}

#[test]
fn fetch_many_calls_no_more_at_once_than_told_and_asks_again() {
    let ran = run("fetch_many", &["--calls", "60", "--at-once", "7"]);
    let out = ran.succeeded();
    assert!(
        out.contains("60 of 60 calls answered") && out.contains("7 at once, over 7 connections"),
        "{out}"
    );
    assert!(
        out.contains("saw 7 at once at most and was busy 6 times"),
        "{out}"
    );
}

#[test]
fn fetch_many_tells_what_failed() {
    let ran = run(
        "fetch_many",
        &[
            "--calls",
            "3",
            "--retries",
            "0",
            &format!("http://127.0.0.1:{}/{{}}", closed_port()),
        ],
    );
    assert_eq!(ran.code(), Some(1), "{ran:?}");
    assert_eq!(
        ran.stdout
            .matches("connection refused by 127.0.0.1")
            .count(),
        3,
        "{ran:?}"
    );
    assert_eq!(run("fetch_many", &["example.com/{}"]).code(), Some(2));
    assert_eq!(run("fetch_many", &["--at-once", "0"]).code(), Some(2));
}
