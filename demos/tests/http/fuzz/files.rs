//! The files of a folder, asked for by any path and any range.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::rc::Rc;

use threeply_demos::http::server::conversation::Conversation;
use threeply_demos::http::server::{Limits, Routes, files};
use threeply_demos::http::stream::{read, write_all};
use threeply_runtime::cancel::CancellationToken;
use threeply_runtime::io::duplex;
use threeply_runtime::spawn;

use super::{Random, fuzz, real_time};
use crate::kit::is_alone;

/// The file's length: some blocks, the last one not whole.
const LENGTH: u64 = 150_001;

fn content() -> Vec<u8> {
    (0..LENGTH).map(|i| (i % 251) as u8).collect()
}

/// What stands in the file that nobody may see.
const SECRET: &[u8] = b"nobody may see this";

fn number(random: &mut Random) -> String {
    match random.below(8) {
        0 => String::new(),
        1 => "18446744073709551615".into(),
        2 => "18446744073709551616".into(),
        3 => format!("-{}", random.below(10)),
        4 => (LENGTH - 1 + random.below(3) as u64).to_string(),
        5 => random.below(10).to_string(),
        _ => random.below(2 * LENGTH as usize).to_string(),
    }
}

/// One range, several that overlap, hundreds of them, or none at all.
fn range(random: &mut Random) -> String {
    // Every other one is as it should be.
    if random.one_in(2) {
        let (one, other) = (random.below(LENGTH as usize), random.below(LENGTH as usize));
        return format!("bytes={}-{}", one.min(other), one.max(other));
    }
    let count = match random.below(10) {
        0 => 2 + random.below(3),
        1 if !random.calm => 300,
        _ => 1,
    };
    let ranges: Vec<String> = (0..count)
        .map(|_| format!("{}-{}", number(random), number(random)))
        .collect();
    let unit = random.of(&[
        "bytes=", "bytes=", "bytes=", "bytes=", "BYTES=", "bytes", "lines=", "",
    ]);
    let mut range = format!("{unit}{}", ranges.join(random.of(&[",", ", ", ";"])));
    if random.one_in(8) {
        let at = random.below(range.len() + 1);
        range.insert_str(at, random.of(&[" ", "\t", "-", "--", "0x", "é", "="]));
    }
    range
}

/// A path that leads somewhere, or tries to lead out.
fn path(random: &mut Random) -> String {
    if random.one_in(2) {
        return "file".into();
    }
    let parts = [
        "..",
        ".",
        "%2e%2e",
        "%2E.",
        "..%2f",
        "%2f",
        "%5c..",
        "....",
        "file",
        "folder",
        "link",
        "out",
        "secret",
        "%00",
        "%",
        "%ff",
        ".hidden",
        "//",
        "etc/passwd",
        "C:",
        "~",
        "*",
        "?",
        "fifo",
        "loop",
    ];
    if random.one_in(20) {
        return "x".repeat(300);
    }
    let count = 1 + random.below(6);
    let parts: Vec<&str> = (0..count).map(|_| random.of(&parts)).collect();
    parts.join(random.of(&["/", "/", "//", "%2F", "\\"]))
}

#[test]
fn no_range_and_no_path_gives_more_than_the_folder_has() {
    let name = "fuzz::files::no_range_and_no_path_gives_more_than_the_folder_has";
    let all = content();
    let (parts, wholes) = (Cell::new(0), Cell::new(0));
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("served");
    fs::create_dir_all(folder.join("folder")).unwrap();
    fs::write(folder.join("file"), &all).unwrap();
    fs::write(folder.join(".hidden"), SECRET).unwrap();
    fs::write(above.path().join("secret"), SECRET).unwrap();
    symlink(above.path().join("secret"), folder.join("link")).unwrap();
    symlink(above.path(), folder.join("out")).unwrap();
    symlink("loop", folder.join("loop")).unwrap();
    nix::unistd::mkfifo(&folder.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fuzz(name, 600, |random| {
        let served = folder.clone();
        let routes = Routes::new().get("/{*path}", move |request| {
            let served = served.clone();
            async move { files::file(served, &request.params[0], &request).await }
        });
        let (path, mut fields) = (path(random), String::new());
        for _ in 0..random.below(3) {
            fields += &format!("Range: {}\r\n", range(random));
        }
        if random.one_in(4) {
            let tag = random.of(&[
                "\"x\"",
                "W/\"x\"",
                "\"",
                "*",
                "Thu, 99 Foo 0000 99:99:99 GMT",
            ]);
            let name = random.of(&["If-Range", "If-None-Match"]);
            fields += &format!("{name}: {tag}\r\n");
        }
        let method = random.of(&["GET", "GET", "GET", "HEAD"]);
        let ask =
            format!("{method} /{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
        let heard = real_time(async {
            let (mut near, far) = duplex([1_000, 100_000][random.below(2)]);
            let server = spawn(async move {
                let shutdown = CancellationToken::new();
                Conversation::new(far, None, Rc::new(Limits::default()), shutdown)
                    .run(&routes)
                    .await;
            });
            write_all(&mut near, ask.as_bytes()).await.unwrap();
            // Some go in the middle of it.
            let most = if random.one_in(5) {
                random.below(50_000)
            } else {
                usize::MAX
            };
            let mut heard = Vec::new();
            let mut block = [0; 8_192];
            while heard.len() < most {
                match read(&mut near, &mut block).await {
                    Ok(n @ 1..) => heard.extend_from_slice(&block[..n]),
                    _ => break,
                }
            }
            drop(near);
            server.await.expect("no panic");
            (heard, most)
        });
        let (heard, most) = heard;
        let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") else {
            assert!(most < usize::MAX, "no answer to {ask:?}");
            return;
        };
        let (head, body) = (String::from_utf8_lossy(&heard[..end]), &heard[end + 4..]);
        assert!(
            !body.windows(SECRET.len()).any(|seen| seen == SECRET),
            "{ask:?} leads out: {head}"
        );
        let status = &head["HTTP/1.1 ".len()..][..3];
        assert!(
            ["200", "206", "304", "400", "404", "416"].contains(&status),
            "{ask:?}: {head}"
        );
        if most < usize::MAX || method == "HEAD" {
            return;
        }
        match status {
            "200" => {
                assert!(body == all, "{ask:?}: {head}");
                wholes.set(wholes.get() + 1);
            }
            "206" => {
                let range = head.split("content-range: bytes ").nth(1).unwrap();
                let (first, rest) = range.split_once('-').unwrap();
                let last = rest.split('/').next().unwrap();
                let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                assert!(body == &all[first..=last], "{ask:?}: {head}");
                parts.set(parts.get() + 1);
            }
            _ => {}
        }
    });
    assert!(
        !is_alone() || (parts.get() > 30 && wholes.get() > 30),
        "too few are understood: {parts:?}, {wholes:?}"
    );
}
