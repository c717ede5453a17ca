//! `download`: whole files or none, and an exit code that says so.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::kit::{
    Ran, closed_port, demo, finish, read_head, reply_once, run, signal, toy_server, until,
};
use crate::web::serve;

/// The SHA-256 of "abc".
const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn into(folder: &Path, arguments: &[&str]) -> Ran {
    let folder = folder.to_str().unwrap();
    run("download", &[&["--into", folder], arguments].concat())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn it_runs_offline_and_gets_all_files_whole() {
    let folder = tempfile::tempdir().unwrap();
    let ran = into(folder.path(), &["--at-once", "3"]);
    let out = ran.succeeded();
    assert_eq!(out.matches("SHA-256 as expected").count(), 6, "{out}");
    assert_eq!(out.matches("the connection broke once").count(), 1, "{out}");
    assert!(out.contains("6 of 6 files downloaded") && out.contains("3 at once"));
    assert_eq!(
        names(folder.path()),
        [1, 2, 3, 4, 5, 6].map(|n| format!("file-{n}.bin"))
    );
    let again = into(folder.path(), &[]);
    let out = again.succeeded();
    assert_eq!(out.matches("was there already").count(), 6, "{out}");
    // Without a folder, nothing is left behind.
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = demo("download");
    command.current_dir(elsewhere.path());
    assert!(finish(command.spawn().unwrap()).status.success());
    assert!(names(elsewhere.path()).is_empty());
}

#[test]
fn checksums_are_verified() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("abc.txt"), "abc").unwrap();
    fs::write(from.path().join("abd.txt"), "abd").unwrap();
    let server = serve(from.path());
    let good = format!("http://{}/abc.txt", server.address);
    let bad = format!("http://{}/abd.txt", server.address);

    let ran = into(to.path(), &["--sha256", OF_ABC, &good]);
    assert!(
        ran.succeeded()
            .contains("abc.txt: 3 B, SHA-256 as expected")
    );
    let ran = into(
        to.path(),
        &["--sha256", OF_ABC, "--sha256", OF_ABC, &good, &bad],
    );
    assert_eq!(ran.code(), Some(1), "{ran:?}");
    assert!(
        ran.stdout.contains("abc.txt: 3 B, was there already"),
        "{ran:?}"
    );
    assert!(
        ran.stdout.contains(&format!(
            "Error downloading {bad}: what came has the SHA-256 "
        )),
        "{ran:?}"
    );
    assert!(
        ran.complaint().contains("1 of 2 downloads failed"),
        "{ran:?}"
    );
    assert_eq!(
        names(to.path()),
        ["abc.txt"],
        "nothing of the bad one is left"
    );

    let list = from.path().join("SHA256SUMS");
    fs::write(&list, format!("{OF_ABC}  abc.txt\n")).unwrap();
    let list = list.to_str().unwrap();
    fs::remove_file(to.path().join("abc.txt")).unwrap();
    let ran = into(to.path(), &["--checksums", list, &good]);
    assert!(ran.succeeded().contains("SHA-256 as expected"));
    let ran = into(to.path(), &["--checksums", list, &bad]);
    assert_eq!(ran.code(), Some(2), "{ran:?}");
    assert!(ran.complaint().contains("has none for abd.txt"), "{ran:?}");
}

#[test]
fn what_fails_is_told_and_the_rest_is_there() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("a"), "a").unwrap();
    let server = serve(from.path());
    let good = format!("http://{}/a", server.address);
    let missing = format!("http://{}/missing", server.address);
    let away = format!("http://127.0.0.1:{}/x", closed_port());
    let cut = toy_server(|stream| {
        reply_once(
            stream,
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        );
    });
    let ran = into(
        to.path(),
        &["--retries", "0", &good, &missing, &away, &cut.url, &good],
    );
    assert_eq!(ran.code(), Some(1), "{ran:?}");
    assert!(
        ran.complaint().contains("3 of 5 downloads failed"),
        "{ran:?}"
    );
    for says in [
        format!("Error downloading {missing}: the server answered 404"),
        format!("Error downloading {away}: connection refused by 127.0.0.1"),
        format!(
            "Error downloading {}: the server closed the connection",
            cut.url
        ),
    ] {
        assert!(ran.stdout.contains(&says), "{says}\n{ran:?}");
    }
    let there = names(to.path());
    assert!(
        there.contains(&"a".into()) && there.contains(&"a-2".into()),
        "{there:?}"
    );
    assert!(!there.contains(&"index.html".into()), "{there:?}");
}

#[test]
fn ctrl_c_keeps_what_has_come_and_the_next_run_continues_it() {
    let to = tempfile::tempdir().unwrap();
    let mend = Arc::new(AtomicBool::new(false));
    let mended = mend.clone();
    let server = toy_server(move |mut stream| {
        let head = read_head(&mut stream).unwrap_or_default().to_lowercase();
        if mended.load(Ordering::SeqCst) {
            assert!(
                head.contains("range: bytes=4-") && head.contains("if-range: \"v1\""),
                "{head}"
            );
            let _ = stream.write_all(
                b"HTTP/1.1 206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: bytes 4-7/8\r\nContent-Length: 4\r\n\r\ndone",
            );
            return;
        }
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 8\r\n\r\nhalf");
        // Until the client has gone.
        let _ = read_head(&mut stream);
    });
    let url = format!("{}file", server.url);
    let start = || {
        demo("download")
            .args(["--into", to.path().to_str().unwrap(), &url])
            .spawn()
            .unwrap()
    };
    let child = start();
    let part = to.path().join("file.part");
    until("half of the file to come", Duration::from_secs(20), || {
        fs::read(&part).is_ok_and(|bytes| bytes == b"half")
    });
    signal(&child, Signal::SIGINT);
    let ran = finish(child);
    assert_eq!(ran.code(), Some(130), "{ran:?}");
    assert!(
        ran.stdout.contains("the same command continues them"),
        "{ran:?}"
    );
    assert_eq!(
        ran.complaint(),
        "download: stopped before its end, as asked"
    );

    mend.store(true, Ordering::SeqCst);
    let ran = finish(start());
    assert!(
        ran.succeeded().contains("file: 8 B, continued at 4 B"),
        "{ran:?}"
    );
    assert_eq!(fs::read(to.path().join("file")).unwrap(), b"halfdone");
    assert_eq!(names(to.path()), ["file"]);
}

#[test]
fn mistakes_are_told_before_anything_is_sent() {
    let to = tempfile::tempdir().unwrap();
    let url = "http://127.0.0.1:1/x";
    for (arguments, says) in [
        (&["--frobnicate"][..], "--frobnicate"),
        (&["example.com/x"], "begin it with http://"),
        (&["ftp://example.com/x"], "only http and https"),
        (&["--at-once", "0", url], "a whole number from 1 to"),
        (&["--retries", "-1", url], "a whole number from 0 to"),
        (&["--timeout", "0", url], "a number of seconds above 0"),
        (&["--sha256", "abc", url], "64 hexadecimal digits"),
        (&["--sha256", OF_ABC, url, url], "once for each"),
        (
            &["--checksums", "/nonexistent", url],
            "--checksums /nonexistent",
        ),
        (
            &["--into", "/nonexistent", url],
            "/nonexistent is no folder",
        ),
        (&["--cacert", "/nonexistent.pem", url], "/nonexistent.pem"),
    ] {
        let mut command = demo("download");
        command.current_dir(to.path()).args(arguments);
        let ran = finish(command.spawn().unwrap());
        assert_eq!(ran.code(), Some(2), "{arguments:?}: {ran:?}");
        assert!(ran.complaint().contains(says), "{arguments:?}: {ran:?}");
    }
    assert!(names(to.path()).is_empty());
}
