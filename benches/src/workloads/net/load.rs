//! The load generator, the same for every server, and the rows.
//!
//! It runs on tokio, in the measuring child; what it costs isn't counted. It
//! closes by reset, so that thousands of short connections leave no `TIME_WAIT`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::servers::{Kind, NAME};
use crate::sys;
use crate::workload::{Bar, Ctx, Group, Unit, Workload};
use crate::workloads::article::server::Server;

fn on_tokio<F: Future<Output = ()>>(load: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(load);
}

/// Starts an engine's server on the second core and stays on the first.
fn start(engine: &str, kind: Kind) -> Server {
    sys::raise_open_files();
    sys::pin(1);
    let server = Server::start(&[NAME, engine, kind.name()]);
    sys::pin(0);
    server
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    stream.set_nodelay(true).expect("a TCP stream");
    // On drop: a reset, no TIME_WAIT.
    stream.set_zero_linger().expect("a TCP stream");
    stream
}

/// `connections` that each send `message` and read `reply` bytes, `turns` times.
async fn exchange(
    address: SocketAddr,
    connections: usize,
    turns: usize,
    message: Vec<u8>,
    reply: usize,
) {
    let message = std::sync::Arc::new(message);
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let message = message.clone();
            tokio::spawn(async move {
                let mut stream = connect(address).await;
                let mut buffer = vec![0; reply];
                for _ in 0..turns {
                    let (mut read, mut write) = stream.split();
                    let send = write.write_all(&message);
                    let receive = read.read_exact(&mut buffer);
                    let (sent, received) = tokio::join!(send, receive);
                    sent.expect("the server reads");
                    received.expect("the server answers");
                }
                buffer
            })
        })
        .collect();
    for task in tasks {
        let buffer = task.await.expect("the connection works");
        if reply == message.len() {
            assert_eq!(buffer, *message, "the echo is wrong");
        } else {
            assert!(
                buffer.starts_with(b"HTTP/1.1 200 OK\r\n"),
                "the reply is wrong"
            );
        }
    }
}

/// Lets `load` work on a server once for warming up and once on the clock; the
/// server's CPU microseconds for each of `ops` operations.
fn server_cpu(server: &Server, ops: usize, mut load: impl FnMut()) -> f64 {
    load();
    let before = sys::cpu_of(server.pid());
    load();
    let used = sys::cpu_of(server.pid()) - before;
    used.as_secs_f64() * 1e6 / ops as f64
}

fn echo(ctx: &Ctx, engine: &str, connections: usize) -> f64 {
    let server = start(engine, Kind::Echo);
    let turns = ctx.size.pick(2_000, 20_000, 100_000) / connections;
    let address = server.address;
    server_cpu(&server, connections * turns, || {
        on_tokio(exchange(address, connections, turns, vec![7; 64], 64));
    })
}

fn stream(ctx: &Ctx, engine: &str) -> f64 {
    let server = start(engine, Kind::Stream);
    let turns = ctx.size.pick(20, 300, 1_500);
    let address = server.address;
    server_cpu(&server, 10 * turns, || {
        on_tokio(exchange(address, 10, turns, vec![7; 64 << 10], 64 << 10));
    })
}

/// Ten clients that connect, exchange a message, and close, again and again.
fn accept_close(ctx: &Ctx, engine: &str) -> f64 {
    let server = start(engine, Kind::Echo);
    let turns = ctx.size.pick(20, 300, 1_500);
    let address = server.address;
    server_cpu(&server, 10 * turns, || {
        on_tokio(async move {
            let clients: Vec<_> = (0..10)
                .map(|_| {
                    tokio::spawn(async move {
                        for _ in 0..turns {
                            exchange(address, 1, 1, vec![7; 64], 64).await;
                        }
                    })
                })
                .collect();
            for client in clients {
                client.await.expect("the client works");
            }
        });
    })
}

/// 50 connections, each with `depth` requests at once.
fn http(ctx: &Ctx, engine: &str, depth: usize) -> f64 {
    let server = start(engine, Kind::Http);
    let turns = (ctx.size.pick(1_000, 20_000, 100_000) / depth / 50).max(1);
    let address = server.address;
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: versus\r\nAccept: */*\r\n\r\n";
    // Every further reply of a server is as long as its first.
    let mut reply = 0;
    on_tokio(async {
        let mut stream = connect(address).await;
        stream.write_all(request).await.expect("the server reads");
        let mut got = Vec::new();
        while !got.ends_with(b"\r\n\r\nHello, World!") {
            let more = stream.read_buf(&mut got).await.expect("the server answers");
            assert!(more > 0 && got.len() < 1_024, "the reply is wrong");
        }
        reply = got.len();
    });
    server_cpu(&server, 50 * turns * depth, || {
        on_tokio(exchange(
            address,
            50,
            turns,
            request.repeat(depth),
            reply * depth,
        ));
    })
}

/// Waits until the server has so many descriptors open.
async fn holds(server: &Server, count: usize) {
    let begun = Instant::now();
    loop {
        let open = sys::descriptors(server.pid());
        if open >= count {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the server holds {open} descriptors and not {count}: it lets connections go"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Growth of the server's resident memory for each of 10,000 connections that
/// say nothing.
fn idle(ctx: &Ctx, engine: &str) -> f64 {
    let server = start(engine, Kind::Idle);
    // Both sides of a connection need a descriptor, each in its own process.
    let most = sys::raise_open_files().saturating_sub(100) as usize;
    let count = ctx.size.pick(500, 10_000, 10_000).min(most);
    let mut growth = 0;
    on_tokio(async {
        let first = connect(server.address).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let before = sys::resident(server.pid());
        let held = sys::descriptors(server.pid());
        let mut connections = Vec::with_capacity(count);
        for number in 1..=count {
            connections.push(connect(server.address).await);
            // So that they are held and neither queue nor are let go: in batches that
            // the backlog has room for.
            if number % 1_000 == 0 || number == count {
                holds(&server, held + number).await;
            }
        }
        // Until memory stands still.
        let mut after = before;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = sys::resident(server.pid());
            if now == after {
                break;
            }
            after = now;
        }
        growth = after.saturating_sub(before);
        drop((first, connections));
    });
    growth as f64 / count as f64
}

/// One function for each engine, since a row wants plain functions.
macro_rules! servers {
    ($row:expr, $($engine:literal),+ => $load:expr) => {
        $row$(.once($engine, |ctx| $load(ctx, $engine)))+
    };
}

/// The rows of this file.
pub fn workloads() -> Vec<Workload> {
    let row = |name, unit, what| Workload::new(Group::Net, name, unit, what).takes(2.5);
    let no_http = |row: Workload| {
        row.without("monoio", "its HTTP crate is not part of it")
            .without("smol", "brings no HTTP server")
    };
    let rows = vec![
        servers!(
            row("echo_100", Unit::Us, "64-byte echo on 100 connections; server CPU per echo")
                .bar(Bar::OfLimit(1.05))
                .bar(Bar::NotBehind("tokio"))
                .bar(Bar::NotBehind("monoio")),
            "threeply", "tokio", "smol", "monoio", "limit" => |ctx, engine| echo(ctx, engine, 100)
        ),
        servers!(
            row("echo_1000", Unit::Us, "64-byte echo on 1,000 connections; server CPU per echo")
                .bar(Bar::OfLimit(1.05))
                .bar(Bar::NotBehind("tokio"))
                .bar(Bar::NotBehind("monoio")),
            "threeply", "tokio", "smol", "monoio", "limit" => |ctx, engine| echo(ctx, engine, 1_000)
        ),
        servers!(
            row("stream_10x64k", Unit::Us, "64 KiB blocks echoed on 10 connections; server CPU per block")
                .bar(Bar::NotBehind("tokio")),
            "threeply", "tokio", "smol", "monoio", "limit" => stream
        ),
        servers!(
            row("accept_close", Unit::Us, "accept, echo, close; server CPU per connection")
                .bar(Bar::OfLimit(1.1))
                .bar(Bar::AheadOf("tokio")),
            "threeply", "tokio", "smol", "monoio", "limit" => accept_close
        ),
        no_http(servers!(
            row("http_hello", Unit::Us, "HTTP keep-alive on 50 connections (ours: the demos' server; tokio: hyper); server CPU per request")
                .bar(Bar::AheadOf("tokio"))
                .bar(Bar::OfLimit(1.15)),
            "threeply", "tokio", "limit" => |ctx, engine| http(ctx, engine, 1)
        )),
        no_http(servers!(
            row("http_pipelined", Unit::Us, "the same, 16 requests at once; server CPU per request")
                .bar(Bar::AheadOf("tokio")),
            "threeply", "tokio", "limit" => |ctx, engine| http(ctx, engine, 16)
        )),
        servers!(
            row("idle_10k", Unit::B, "10,000 connections that wait, no read buffer: growth of the server's memory for each")
                .bar(Bar::Times("tokio", 2.0)),
            "threeply", "tokio", "smol", "monoio", "limit" => idle
        ),
    ];
    rows.into_iter()
        .map(|row| {
            row.without(
                "glommio",
                "of the io_uring runtimes, monoio stands for the class",
            )
            .without(
                "compio",
                "of the io_uring runtimes, monoio stands for the class",
            )
        })
        .collect()
}
