//! HTTP messages: requests to the server, responses to the client.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_io::AsyncWrite;
use threeply_demos::http::client::{Client, Config};
use threeply_demos::http::server::conversation::Conversation;
use threeply_demos::http::server::{Limits, Reply, Routes};
use threeply_demos::http::stream::read;
use threeply_runtime::cancel::CancellationToken;
use threeply_runtime::io::{duplex, split};
use threeply_runtime::net::TcpListener;
use threeply_runtime::spawn;

use super::{Random, Speech, fuzz, speech, virtual_time};
use crate::kit::is_alone;

/// What both sides may hold of a body.
const BODY_BYTES: u64 = 64 * 1024;

#[test]
fn no_request_breaks_the_server() {
    let corpus: Vec<Vec<u8>> = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /?q=%20x&y HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "HEAD /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
        "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\nGET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /big HTTP/1.1\r\nHost: a\r\n\r\nGET /things/%e2%82%ac HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    let words: [&[u8]; 18] = [
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b"\0",
        b"\xff",
        b" ",
        b":",
        b"%",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Content-Length: 18446744073709551615\r\n",
        b"Content-Length: 9\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"ffffffffffffffff\r\n",
        b"1\r\nx\r\n",
        b"0\r\n",
        b"X: y\r\n",
        b"\xe2\x82\xac",
    ];
    let answered = Cell::new(0);
    fuzz(
        "fuzz::messages::no_request_breaks_the_server",
        1_500,
        |random| {
            let routes = Routes::new()
                .get("/", |_| async { Reply::text("hello") })
                .get("/things/{name}", |request| async move {
                    Reply::text(request.params[0].clone())
                })
                .get("/stream", |_| async {
                    Reply::reader(&b"streamed"[..], None, "text/plain")
                })
                .get("/big", |_| async {
                    Reply::bytes(vec![b'x'; 100_000], "text/plain")
                })
                .on(http::Method::POST, "/echo", |request| async move {
                    Reply::bytes(request.body, "text/plain")
                });
            let limits = Limits {
                body_bytes: BODY_BYTES,
                ..Limits::default()
            };
            let speech = speech(random, &corpus, &words);
            virtual_time(async {
                let (mut near, far) = duplex(match speech.times {
                    0 => [1, 50, 4_096, 200_000][random.below(4)],
                    _ => 64 * 1024,
                });
                let server = spawn(async move {
                    let shutdown = CancellationToken::new();
                    Conversation::new(far, None, Rc::new(limits), shutdown)
                        .run(&routes)
                        .await;
                });
                // One that never reads is given up, so what it says has an end too.
                if random.one_in(10) {
                    speech.say(&mut near, random).await;
                    return server.await.expect("no panic");
                }
                let (mut listener, mut speaker) = split(near);
                let hearing = spawn(async move {
                    let mut all = Vec::new();
                    let mut block = [0; 4_096];
                    while let Ok(n @ 1..) = read(&mut listener, &mut block).await {
                        if all.len() < 64 {
                            all.extend_from_slice(&block[..n]);
                        }
                    }
                    all
                });
                let whole = speech.say(&mut speaker, random).await;
                // It closes its half, or falls silent: then the server ends it.
                if whole && random.one_in(2) {
                    let _ = poll_fn(|cx| Pin::new(&mut speaker).poll_close(cx)).await;
                }
                let heard = hearing.await.unwrap();
                assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 "));
                answered.set(answered.get() + u32::from(heard.starts_with(b"HTTP/1.1 200 ")));
                server.await.expect("no panic");
            });
        },
    );
    assert!(
        !is_alone() || answered.get() > 100,
        "too few are understood"
    );
}

/// How a server that is none behaves on each connection.
#[derive(Clone, Copy)]
enum Ending {
    Close,
    Reset,
    Silence,
}

/// Says `speeches`, one on each connection, again and again.
async fn malicious(speeches: Vec<Speech>, ending: Ending, mut random: Random) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(spawn(async move {
        let mut kept = Vec::new();
        for speech in speeches.iter().cycle() {
            let Ok((mut stream, _)) = listener.accept().await else {
                return;
            };
            // Sometimes it speaks before it was asked.
            if !random.one_in(8) {
                let _ = read(&mut stream, &mut [0; 1_024]).await;
            }
            speech.say(&mut stream, &mut random).await;
            match ending {
                Ending::Close => drop(stream.shutdown(Shutdown::Write)),
                Ending::Reset => drop(stream.set_linger(Some(Duration::ZERO))),
                Ending::Silence => kept.push(stream),
            }
        }
    }));
    address
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

/// A response with this body.
fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{head}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

#[test]
fn no_response_breaks_the_client() {
    let mut corpus: Vec<Vec<u8>> = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a=b; Path=/; Max-Age=60\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain; charset=shift_jis\r\n\r\nuntil the end",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 302 Found\r\nLocation: /there?x=%20#y\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: //127.0.0.1:1/\r\nContent-Length: 4\r\n\r\nmove",
        "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    let text = b"the quick brown fox ".repeat(50);
    let bomb = packed(&vec![0; 8 << 20]);
    corpus.push(answer("Content-Encoding: gzip", &packed(&text)));
    corpus.push(answer("Content-Encoding: deflate", &packed(&text)[10..]));
    corpus.push(answer(
        "Content-Type: application/json",
        b"{\"a\": [1, 2.5, null, \"x\"]}",
    ));
    corpus.push(answer("Content-Encoding: gzip", &bomb));
    let words: [&[u8]; 19] = [
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b"\0",
        b"\xff",
        b" ",
        b";",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Content-Length: 18446744073709551615\r\n",
        b"Content-Length: 9\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"ffffffffffffffff\r\n",
        b"1\r\nx\r\n",
        b"0\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Location: http://[::1\r\n",
        b"Set-Cookie: x=y; Domain=a; Expires=Thu, 99 Foo 0000 99:99:99 GMT\r\n",
        b"Connection: close\r\n",
    ];
    let understood = Cell::new(0);
    fuzz(
        "fuzz::messages::no_response_breaks_the_client",
        1_000,
        |random| {
            let count = 1 + random.below(3);
            let speeches = (0..count)
                .map(|_| speech(random, &corpus, &words))
                .collect();
            let ending = [Ending::Close, Ending::Reset, Ending::Silence][random.below(3)];
            virtual_time(async {
                let address = malicious(speeches, ending, random.fork()).await;
                let client = Client::new(Config {
                    body_bytes: BODY_BYTES,
                    redirects: 3,
                    total_timeout: random.one_in(2).then_some(Duration::from_secs(100)),
                    ..Config::default()
                });
                for _ in 0..count {
                    let url = format!("http://{address}/");
                    let request = match random.below(3) {
                        0 => client.post(url).body(random.bytes(100)),
                        _ => client.get(url),
                    };
                    let Ok(response) = request.send().await else {
                        continue;
                    };
                    let read = match random.below(4) {
                        0 => response
                            .bytes()
                            .await
                            .inspect(|all| {
                                assert!(all.len() as u64 <= BODY_BYTES);
                            })
                            .is_ok(),
                        1 => response.text().await.is_ok(),
                        2 => response.json::<serde_json::Value>().await.is_ok(),
                        _ => response.drain().await.is_ok(),
                    };
                    understood.set(understood.get() + u32::from(read));
                }
            });
        },
    );
    assert!(
        !is_alone() || understood.get() > 100,
        "too few are understood"
    );
}
