//! The server: protocol, limits, slow and broken clients, shutdown.

use std::rc::Rc;
use std::time::{Duration, Instant};

use http::Method;
use threeply_demos::http::server::conversation::Conversation;
use threeply_demos::http::server::{Limits, Reply, Routes};
use threeply_demos::http::stream::{read, write_all};
use threeply_runtime::cancel::CancellationToken;
use threeply_runtime::io::{duplex, split};
use threeply_runtime::net::TcpStream;
use threeply_runtime::time::sleep;
use threeply_runtime::{EventLoop, spawn};

use crate::kit::{on_loop, raw, read_all, read_head, serve};

fn routes() -> Routes {
    Routes::new()
        .get("/", |_| async { Reply::text("hello") })
        .get("/slow", |_| async {
            sleep(Duration::from_millis(200)).await;
            Reply::text("at last")
        })
        .get("/stream", |_| async {
            Reply::reader(&b"streamed"[..], None, "text/plain")
        })
        .get("/short", |_| async {
            Reply::reader(&b"short"[..], Some(100), "text/plain")
        })
        .get("/panic", |_| async {
            panic!("a handler that panics, on purpose")
        })
        .get("/big", |_| async {
            Reply::bytes(vec![b'x'; 4 << 20], "text/plain")
        })
        .on(Method::POST, "/echo", |request| async move {
            Reply::bytes(request.body, "text/plain")
        })
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    on_loop(async {
        let server = serve(routes(), Limits::default()).await;
        let one = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let last = "GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let all = raw(
            server.address,
            format!("{one}{one}GET /none HTTP/1.1\r\nHost: a\r\n\r\n{last}").as_bytes(),
        )
        .await;
        // A body has no end of line: the next reply follows it at once.
        let statuses: Vec<&str> = all
            .split("HTTP/1.1 ")
            .skip(1)
            .map(|reply| &reply[..3])
            .collect();
        assert_eq!(statuses, ["200", "200", "404", "200"], "{all}");
        assert!(all.ends_with("8\r\nstreamed\r\n0\r\n\r\n"), "{all}");
        assert_eq!(all.matches("connection: close").count(), 1, "{all}");
    });
}

#[test]
fn bodies_come_by_length_and_in_chunks() {
    on_loop(async {
        let server = serve(routes(), Limits::default()).await;
        let request = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
                       POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                       3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let all = raw(server.address, request.as_bytes()).await;
        assert!(
            all.contains("\r\n\r\nhelloHTTP/1.1 200") && all.ends_with("\r\n\r\nabcde"),
            "{all}"
        );
    });
}

#[test]
fn requests_are_understood_wherever_their_bytes_are_cut() {
    let requests = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
                     GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let event_loop = EventLoop::builder().virtual_time(true).build().unwrap();
    event_loop.block_on(async {
        for cut in 0..=requests.len() {
            let (near, far) = duplex(4_096);
            let server = spawn(async move {
                let (limits, token) = (Rc::new(Limits::default()), CancellationToken::new());
                let conversation = Conversation::new(far, None, limits, token);
                conversation.run(&routes()).await;
            });
            let (mut reader, mut writer) = split(near);
            for piece in [&requests[..cut], &requests[cut..]] {
                write_all(&mut writer, piece).await.unwrap();
                // Time passes when the server has done with what it has.
                sleep(Duration::from_millis(1)).await;
            }
            let (mut all, mut block) = (Vec::new(), [0; 1_024]);
            while let Ok(n @ 1..) = read(&mut reader, &mut block).await {
                all.extend_from_slice(&block[..n]);
            }
            let all = String::from_utf8(all).unwrap();
            assert_eq!(all.matches("HTTP/1.1 200 OK").count(), 2, "{cut}: {all}");
            assert!(all.contains("\r\n\r\nabcHTTP/1.1"), "{cut}: {all}");
            assert!(all.ends_with("\r\n\r\nhello"), "{cut}: {all}");
            drop((reader, writer));
            server.await.unwrap();
        }
    });
}

#[test]
fn a_client_that_waits_for_consent_gets_it() {
    on_loop(async {
        let server = serve(routes(), Limits::default()).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
        write_all(&mut stream, head).await.unwrap();
        assert!(
            read_head(&mut stream)
                .await
                .unwrap()
                .starts_with("HTTP/1.1 100 Continue")
        );
        write_all(&mut stream, b"hello").await.unwrap();
        assert!(read_all(&mut stream).await.ends_with("hello"));
    });
}

#[test]
fn what_cannot_be_served_is_refused_and_the_connection_closed() {
    on_loop(async {
        let limits = Limits {
            body_bytes: 1000,
            ..Limits::default()
        };
        let server = serve(routes(), limits).await;
        let long = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "x".repeat(70_000)
        );
        for (request, status) in [
            ("nonsense\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\n\r\n", "400"),
            (
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                "400",
            ),
            (
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n",
                "413",
            ),
            (
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n",
                "413",
            ),
            (
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                "400",
            ),
            (&long, "431"),
            ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505"),
            ("GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ] {
            let all = raw(server.address, request.as_bytes()).await;
            assert!(
                all.starts_with(&format!("HTTP/1.1 {status} ")),
                "{request:.60} got {all:.60}"
            );
            assert!(all.contains("connection: close"), "{all}");
        }
    });
}

#[test]
fn a_head_a_wrong_method_and_a_panic_are_answered() {
    on_loop(async {
        let server = serve(routes(), Limits::default()).await;
        let ask = async |line: &str| {
            raw(
                server.address,
                format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes(),
            )
            .await
        };
        let head = ask("HEAD /").await;
        assert!(
            head.contains("content-length: 5") && head.ends_with("\r\n\r\n"),
            "{head}"
        );
        let put = ask("PUT /").await;
        assert!(
            put.starts_with("HTTP/1.1 405") && put.contains("allow: GET"),
            "{put}"
        );
        assert!(ask("GET /panic").await.starts_with("HTTP/1.1 500"));
        assert!(ask("GET /").await.ends_with("hello"), "the server survives");
        let short = ask("GET /short").await;
        assert!(
            short.contains("content-length: 100") && short.ends_with("short"),
            "{short}"
        );
    });
}

#[test]
fn slow_clients_are_given_up() {
    on_loop(async {
        let limits = Limits {
            head_timeout: Duration::from_millis(150),
            body_timeout: Duration::from_millis(150),
            idle_timeout: Duration::from_millis(150),
            ..Limits::default()
        };
        let server = serve(routes(), limits).await;
        // One byte at a time, forever: the head as a whole has a limit.
        let started = Instant::now();
        let mut slow = TcpStream::connect(server.address).await.unwrap();
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: yes\r\n".iter() {
            if write_all(&mut slow, &[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        assert!(started.elapsed() < Duration::from_secs(5));
        // The refusal may be lost with the reset that our last bytes provoke.
        let refused = read_all(&mut slow).await;
        assert!(
            refused.is_empty() || refused.starts_with("HTTP/1.1 408"),
            "{refused}"
        );
        // A body that does not come.
        let all = raw(
            server.address,
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe",
        )
        .await;
        assert!(all.starts_with("HTTP/1.1 408"), "{all}");
        // A connection that says nothing, and one that has said enough.
        let mut quiet = TcpStream::connect(server.address).await.unwrap();
        assert_eq!(read_all(&mut quiet).await, "");
        let all = raw(server.address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(all.ends_with("hello"), "{all}");
    });
}

#[test]
fn a_client_that_never_reads_is_given_up() {
    on_loop(async {
        let limits = Limits {
            write_timeout: Duration::from_millis(200),
            connections: 1,
            ..Limits::default()
        };
        let server = serve(routes(), limits).await;
        let mut deaf = TcpStream::connect(server.address).await.unwrap();
        let ask = b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n";
        for _ in 0..8 {
            write_all(&mut deaf, ask).await.unwrap();
        }
        // There is one place, and the deaf client holds it until it is given up.
        let all = raw(
            server.address,
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert!(all.ends_with("hello"), "{all}");
        drop(deaf);
    });
}

#[test]
fn shutdown_answers_what_was_asked_and_closes_the_rest() {
    on_loop(async {
        let server = serve(routes(), Limits::default()).await;
        let mut idle = TcpStream::connect(server.address).await.unwrap();
        write_all(&mut idle, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert!(read_head(&mut idle).await.unwrap().contains("200 OK"));
        let mut busy = TcpStream::connect(server.address).await.unwrap();
        write_all(&mut busy, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        sleep(Duration::from_millis(50)).await;
        server.shutdown.cancel();
        let answer = read_all(&mut busy).await;
        assert!(
            answer.ends_with("at last") && answer.contains("connection: close"),
            "{answer}"
        );
        let _rest = read_all(&mut idle).await;
        drop((idle, busy));
        assert_eq!(server.task.await.unwrap(), 0, "nobody had to be cut off");
        assert!(
            TcpStream::connect(server.address).await.is_err(),
            "nobody listens any more"
        );
    });
}

#[test]
fn more_connections_than_places_wait_their_turn() {
    on_loop(async {
        let limits = Limits {
            connections: 2,
            ..Limits::default()
        };
        let server = serve(routes(), limits).await;
        let asks: Vec<_> = (0..6)
            .map(|_| {
                let address = server.address;
                threeply_runtime::spawn(async move {
                    raw(
                        address,
                        b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                    )
                    .await
                })
            })
            .collect();
        for ask in asks {
            assert!(ask.await.unwrap().ends_with("at last"));
        }
        let mut block = [0; 1];
        let mut last = TcpStream::connect(server.address).await.unwrap();
        write_all(&mut last, b"GET / HTTP/1.0\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(read(&mut last, &mut block).await.unwrap(), 1);
    });
}
