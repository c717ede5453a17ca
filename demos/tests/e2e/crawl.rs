//! `crawl`: what it visits, what it leaves alone, and how it ends.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::kit::{closed_port, demo, finish, read_head, run, signal, toy_server, until};

fn reply(stream: &mut TcpStream, status: &str, kind: &str, body: &str) {
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}

/// The path that a connection asks for.
fn path_of(stream: &mut TcpStream) -> String {
    let head = read_head(stream).unwrap_or_default();
    head.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn it_runs_offline_and_sees_each_page_once() {
    let ran = run("crawl", &[]);
    let out = ran.succeeded();
    // 300 pages, the first under two names, and six files.
    assert!(
        out.contains("Visited 307 pages") && out.contains("6 redirects"),
        "{out}"
    );
    assert!(
        out.contains("7 broken links:") && out.contains("/missing/30: the server answered 404")
    );
    assert!(
        out.contains("300 pages excluded by robots.txt, 6 links to other hosts"),
        "{out}"
    );
    // And robots.txt, the redirects and the broken links: nothing twice.
    assert!(out.contains("asked 321 times, 6 at once at most"), "{out}");
}

#[test]
fn it_keeps_its_limits() {
    let ran = run("crawl", &["--pages", "20", "--per-host", "2"]);
    let out = ran.succeeded();
    assert!(out.contains("asked 21 times, 2 at once at most"), "{out}");
    let ran = run("crawl", &["--depth", "1"]);
    let out = ran.succeeded();
    assert!(
        out.contains("Visited 8 pages") && !out.contains(" 0 beyond the depth"),
        "{out}"
    );
    let ran = run("crawl", &["--depth", "0"]);
    assert!(ran.succeeded().contains("Visited 1 pages"), "{ran:?}");
    // The calendar never ends; the limits do.
    let ran = run("crawl", &["--ignore-robots", "--pages", "400"]);
    let out = ran.succeeded();
    assert!(
        out.contains("0 pages excluded") && out.contains("asked 400 times"),
        "{out}"
    );
}

#[test]
fn other_hosts_are_visited_only_when_told_to() {
    let other = toy_server(|mut stream| {
        path_of(&mut stream);
        reply(&mut stream, "200 OK", "text/html", "the other");
    });
    let link = format!("<a href='{}'>there</a>", other.url);
    let first = toy_server(move |mut stream| match path_of(&mut stream).as_str() {
        "/" => reply(&mut stream, "200 OK", "text/html", &link),
        _ => reply(&mut stream, "404 Not Found", "text/plain", "no"),
    });
    let out = run("crawl", &[&first.url]);
    let out = out.succeeded();
    assert!(
        out.contains("Visited 1 pages") && out.contains("1 links to other hosts"),
        "{out}"
    );
    let out = run("crawl", &["--everywhere", &first.url]);
    assert!(out.succeeded().contains("Visited 2 pages"), "{out:?}");
}

#[test]
fn what_robots_txt_says_holds() {
    let site = |robots: &'static str, status: &'static str| {
        toy_server(move |mut stream| match path_of(&mut stream).as_str() {
            "/robots.txt" => reply(&mut stream, status, "text/plain", robots),
            "/" => reply(
                &mut stream,
                "200 OK",
                "text/html",
                "<a href=/secret/a>a</a><a href=/secret/open>b</a>",
            ),
            _ => reply(&mut stream, "200 OK", "text/html", "a page"),
        })
    };
    let picky = site(
        "User-agent: threeply\nDisallow: /secret/\nAllow: /secret/open\n\nUser-agent: *\nDisallow: /\n",
        "200 OK",
    );
    let out = run("crawl", &[&picky.url]);
    let out = out.succeeded();
    assert!(
        out.contains("Visited 2 pages") && out.contains("1 pages excluded"),
        "{out}"
    );
    let closed = site("User-agent: *\nDisallow: /\n", "200 OK");
    let broken = site("", "503 Service Unavailable");
    for site in [&closed, &broken] {
        let ran = run("crawl", &[&site.url]);
        assert_eq!(ran.code(), Some(1), "{ran:?}");
        assert!(ran.complaint().contains("--ignore-robots"), "{ran:?}");
        let ran = run("crawl", &["--ignore-robots", &site.url]);
        assert!(ran.succeeded().contains("Visited 3 pages"), "{ran:?}");
    }
}

#[test]
fn ctrl_c_ends_it_with_what_was_seen() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let site = toy_server(move |mut stream| match path_of(&mut stream).as_str() {
        "/" => reply(
            &mut stream,
            "200 OK",
            "text/html",
            "<a href=/1>1</a><a href=/2>2</a><a href=/3>3</a>",
        ),
        "/robots.txt" => reply(&mut stream, "404 Not Found", "text/plain", "no"),
        _ => {
            count.fetch_add(1, Ordering::SeqCst);
            // Until the client has gone.
            let _ = read_head(&mut stream);
        }
    });
    let child = demo("crawl")
        .args(["--per-host", "2", &site.url])
        .spawn()
        .unwrap();
    until("two pages to be under way", Duration::from_secs(20), || {
        asked.load(Ordering::SeqCst) == 2
    });
    signal(&child, Signal::SIGINT);
    let ran = finish(child);
    assert_eq!(ran.code(), Some(130), "{ran:?}");
    assert!(
        ran.stdout
            .starts_with("Stopped; what was seen by then:\nVisited 1 pages")
            && ran.stdout.contains("1 pages left over"),
        "{ran:?}"
    );
    assert_eq!(ran.complaint(), "crawl: stopped before its end, as asked");
}

#[test]
fn what_cannot_be_crawled_is_told() {
    for (arguments, says) in [
        (&["--frobnicate"][..], "--frobnicate"),
        (&["example.com"], "begin it with http://"),
        (&["ftp://example.com/"], "only http and https"),
        (&["http://"], "names no host"),
        (&["--pages", "0"], "a whole number from 1 to"),
        (&["--depth", "-1"], "a whole number from 0 to"),
        (&["--at-once", "0"], "a whole number from 1 to"),
        (&["--per-host", "x"], "a whole number from 1 to"),
        (&["--cacert", "/nonexistent.pem"], "/nonexistent.pem"),
    ] {
        let ran = run("crawl", arguments);
        assert_eq!(ran.code(), Some(2), "{arguments:?}: {ran:?}");
        assert!(ran.complaint().contains(says), "{arguments:?}: {ran:?}");
    }
    let away = format!("http://127.0.0.1:{}/", closed_port());
    let ran = run("crawl", &["--ignore-robots", &away]);
    assert_eq!(ran.code(), Some(1), "{ran:?}");
    assert!(
        ran.complaint().contains("connection refused by 127.0.0.1"),
        "{ran:?}"
    );
    let empty = toy_server(|mut stream| {
        path_of(&mut stream);
        reply(&mut stream, "404 Not Found", "text/plain", "no");
    });
    let ran = run("crawl", &[&empty.url]);
    assert_eq!(ran.code(), Some(1), "{ran:?}");
    assert!(
        ran.complaint().contains("the server answered 404"),
        "{ran:?}"
    );
}
