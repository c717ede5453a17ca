//! Downloads that are continued, from a server that lies about what it has.
//!
//! Every lie here can be seen through: whatever the server says, a download that
//! succeeds has one of the two versions of the file, whole.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use threeply_demos::http::client::{Client, Config, Retry};
use threeply_demos::http::stream::write_all;
use threeply_runtime::net::TcpListener;
use threeply_runtime::spawn;

use super::{Random, fuzz, real_time};
use crate::kit::is_alone;
use crate::kit::read_head;

/// Some blocks of the client's.
const LENGTH: usize = 60_000;

/// A version of the file; no two have a byte in common at the same place.
fn content(version: u8) -> Vec<u8> {
    (0..LENGTH).map(|i| (i % 251) as u8 ^ version).collect()
}

/// An answer to a request for what follows byte `from`: the truth, or nearly.
fn answer(random: &mut Random, version: u8, from: Option<usize>) -> Vec<u8> {
    let all = content(version);
    let mut tag = format!("ETag: \"v{version}\"\r\n");
    let first = from.unwrap_or(0).min(LENGTH);
    let mut body = &all[first..];
    let (mut range_first, mut range_last, mut whole) =
        (first, LENGTH.saturating_sub(1), LENGTH.to_string());
    let mut status = if from.is_some() { "206" } else { "200" };
    let mut announced = body.len();
    match random.below(14) {
        // All of it, though only a part was asked for.
        0 => {
            (status, body, announced) = ("200", &all, LENGTH);
        }
        // It breaks off.
        1..4 => body = &body[..random.below(body.len() + 1)],
        // Less than was asked for, and honestly so.
        4 if from.is_some() => {
            body = &body[..random.below(body.len() + 1)];
            announced = body.len();
            range_last = (first + announced).saturating_sub(1);
        }
        // Another part.
        5 if from.is_some() => range_first = random.below(2 * LENGTH),
        // Of a file of another length.
        6 if from.is_some() => whole = random.below(2 * LENGTH).to_string(),
        7 => (status, announced) = (random.of(&["404", "500", "503", "204", "304"]), 0),
        // Nothing left, of something else.
        8 => {
            (status, announced) = ("416", 0);
            whole = random.below(2 * LENGTH).to_string();
        }
        // No telling which version it is.
        9 if from.is_none() => tag = random.of(&["", "ETag: W/\"v0\"\r\n", "ETag: \r\n"]).into(),
        // Nobody asked.
        10 => status = "206",
        _ => {}
    }
    if announced == 0 {
        body = b"";
    }
    let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {announced}\r\n{tag}");
    if status == "206" && !random.one_in(12) {
        head += &format!("Content-Range: bytes {range_first}-{range_last}/{whole}\r\n");
    }
    if status == "416" {
        head += &format!("Content-Range: bytes */{whole}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// A server that answers like this, a request on each connection, and changes the
/// file now and then.
async fn liar(mut random: Random) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(spawn(async move {
        let mut version = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            if random.one_in(8) {
                version ^= 0xff;
            }
            let Ok(head) = read_head(&mut stream).await else {
                continue;
            };
            let asked = head.to_lowercase();
            let from = asked
                .split_once("range: bytes=")
                .and_then(|(_, rest)| rest.split('-').next()?.parse().ok());
            // Not every server cares for If-Range.
            let same = asked.contains(&format!("if-range: \"v{version}\""));
            let from = from.filter(|_| same || random.one_in(2));
            let bytes = answer(&mut random, version, from);
            let _ = write_all(&mut stream, &bytes).await;
        }
    }));
    address
}

#[test]
fn no_lie_ends_in_a_file_that_is_wrong() {
    let name = "fuzz::downloads::no_lie_ends_in_a_file_that_is_wrong";
    let (saved, resumed) = (Cell::new(0), Cell::new(0));
    fuzz(name, 300, |random| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        real_time(async {
            let address = liar(random.fork()).await;
            let client = Client::new(Config {
                retry: Retry {
                    backoff: Duration::from_micros(10),
                    ..Retry::times(2)
                },
                ..Config::default()
            });
            // A later run continues what an earlier one left.
            for _ in 0..3 {
                let download = client.download(format!("http://{address}/"), &path);
                let Ok(done) = download.run(|_| ()).await else {
                    assert!(!path.exists(), "a file that isn't whole has the name");
                    continue;
                };
                let got = fs::read(&path).unwrap();
                assert_eq!(got.len() as u64, done.bytes);
                assert!(
                    got == content(0) || got == content(0xff),
                    "{} bytes, of which {} are the first version's",
                    got.len(),
                    got.iter()
                        .zip(content(0))
                        .filter(|(a, b)| **a == *b)
                        .count()
                );
                saved.set(saved.get() + 1);
                resumed.set(resumed.get() + u32::from(done.resumed_at > 0 || done.breaks > 0));
                break;
            }
        });
    });
    assert!(
        !is_alone() || (saved.get() > 100 && resumed.get() > 30),
        "too few succeed: {saved:?}, {resumed:?}"
    );
}
