//! The server when something runs out: descriptors, patience with a peer that never
//! stops sending, and the future that runs it.

use std::cell::Cell;
use std::fs::File;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use threeply_demos::http::server::conversation::Conversation;
use threeply_demos::http::server::{Limits, Reply, Routes, Server};
use threeply_demos::http::stream::{read, write_all};
use threeply_demos::limits;
use threeply_runtime::cancel::CancellationToken;
use threeply_runtime::io::{duplex, split};
use threeply_runtime::net::{TcpListener, TcpStream};
use threeply_runtime::sys::pipe::open_fds;
use threeply_runtime::time::sleep;
use threeply_runtime::{EventLoop, spawn, stats};

use crate::kit::{alone, on_loop, raw, read_all, read_head, serve};

fn hello() -> Routes {
    Routes::new().get("/", |_| async { Reply::text("hello") })
}

/// `hello`, and one page whose answer never comes; `dropped` tells when its handler has
/// been dropped.
fn with_never(dropped: &Rc<Cell<bool>>) -> Routes {
    let guard = dropped.clone();
    hello().get("/never", move |_| {
        let guard = SetOnDrop(guard.clone());
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    })
}

/// Until a handler of that page runs: the caller, the routes and it hold `dropped` then.
async fn never_is_asked(dropped: &Rc<Cell<bool>>) {
    let begun = Instant::now();
    while Rc::strong_count(dropped) < 3 {
        assert!(begun.elapsed() < Duration::from_secs(10), "never asked");
        sleep(Duration::from_millis(1)).await;
    }
}

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What this process has used of the CPU.
fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let used = usage.user_time() + usage.system_time();
    Duration::from_micros(used.num_microseconds().unsigned_abs())
}

#[test]
fn a_server_without_descriptors_serves_on_and_recovers() {
    let name = "exhausted::a_server_without_descriptors_serves_on_and_recovers";
    alone(name, 64, || {
        let mut before = 0;
        on_loop(async {
            let server = serve(hello(), Limits::default()).await;
            // What the loop opens for itself, it has opened after a first request.
            raw(server.address, b"GET / HTTP/1.0\r\n\r\n").await;
            let mut guest = TcpStream::connect(server.address).await.unwrap();
            write_all(&mut guest, ASK).await.unwrap();
            assert!(read_head(&mut guest).await.unwrap().contains("200 OK"));
            before = open_fds().unwrap();
            // Clients that the server has no descriptors for, when they come.
            let sockets: Vec<_> = (0..8)
                .map(|_| {
                    let (domain, kind) = (socket2::Domain::IPV4, socket2::Type::STREAM);
                    socket2::Socket::new(domain, kind, None).unwrap()
                })
                .collect();
            let mut hoard = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                hoard.push(file);
            }
            let mut clients = Vec::new();
            for socket in sockets {
                socket.connect(&server.address.into()).unwrap();
                clients.push(TcpStream::from_std(socket.into()).unwrap());
            }
            let (used, turns) = (cpu_time(), stats().unwrap().turns);
            sleep(Duration::from_millis(300)).await;
            let (used, turns) = (cpu_time() - used, stats().unwrap().turns - turns);
            assert!(turns <= 20, "{turns} turns in 300 ms: it spins");
            assert!(
                used <= Duration::from_millis(100),
                "{used:?} of CPU: it spins"
            );
            // Whoever is in is served all the while.
            write_all(&mut guest, ASK).await.unwrap();
            let reply = read_head(&mut guest).await.unwrap();
            assert!(reply.contains("200 OK"), "{reply}");
            // And everybody, once there are descriptors.
            drop(hoard);
            for mut client in clients {
                write_all(&mut client, ASK).await.unwrap();
                let reply = read_head(&mut client).await.unwrap();
                assert!(reply.contains("200 OK"), "{reply}");
            }
            assert!(
                raw(server.address, b"GET / HTTP/1.0\r\n\r\n")
                    .await
                    .ends_with("hello")
            );
            server.shutdown.cancel();
            drop(guest);
            assert_eq!(server.task.await.unwrap(), 0);
        });
        // The loop is gone, and with it what it had opened.
        assert!(open_fds().unwrap() < before);
    });
}

#[test]
fn a_peer_that_never_stops_sending_is_not_listened_to_for_ever() {
    // Time stands still as long as anything can run: no timeout helps here.
    let event_loop = EventLoop::builder().virtual_time(true).build().unwrap();
    event_loop.block_on(async {
        let (near, far) = duplex(4_096);
        let server = spawn(async move {
            let shutdown = CancellationToken::new();
            let limits = Rc::new(Limits::default());
            let conversation = Conversation::new(far, None, limits, shutdown);
            conversation.run(&Routes::new()).await;
        });
        let (mut listener, mut speaker) = split(near);
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n";
        write_all(&mut speaker, head).await.unwrap();
        let mut sent = 0;
        while write_all(&mut speaker, &[b'x'; 1_024]).await.is_ok() {
            sent += 1_024;
            assert!(sent <= 2 * limits::LINGER_BYTES, "it goes on and on");
        }
        assert!(
            sent >= limits::LINGER_BYTES,
            "only {sent}: a reset too early"
        );
        let mut block = [0; 12];
        read(&mut listener, &mut block).await.unwrap();
        assert_eq!(&block, b"HTTP/1.1 413");
        server.await.unwrap();
    });
}

#[test]
fn dropping_a_server_cuts_its_connections_off() {
    on_loop(async {
        let dropped = Rc::new(Cell::new(false));
        let routes = with_never(&dropped);
        let server = serve(routes, Limits::default()).await;
        let mut idle = TcpStream::connect(server.address).await.unwrap();
        write_all(&mut idle, ASK).await.unwrap();
        assert!(read_head(&mut idle).await.unwrap().contains("200 OK"));
        let mut busy = TcpStream::connect(server.address).await.unwrap();
        write_all(&mut busy, b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        never_is_asked(&dropped).await;
        server.task.abort();
        assert!(server.task.await.is_err());
        assert_eq!(read_all(&mut idle).await, "");
        assert_eq!(read_all(&mut busy).await, "");
        assert!(dropped.get(), "the handler is gone");
        assert!(TcpStream::connect(server.address).await.is_err());
    });
}

#[test]
fn who_outlasts_the_grace_is_cut_off_and_counted() {
    on_loop(async {
        let dropped = Rc::new(Cell::new(false));
        let routes = with_never(&dropped);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::new(listener, routes, Limits::default());
        let (address, shutdown) = (server.local_addr().unwrap(), server.shutdown_token());
        let server = spawn(server.run(Duration::from_millis(300)));
        // One that is over, one that is idle, and one whose answer never comes.
        let gone = raw(address, b"GET / HTTP/1.0\r\n\r\n").await;
        assert!(gone.ends_with("hello"), "{gone}");
        let mut idle = TcpStream::connect(address).await.unwrap();
        write_all(&mut idle, ASK).await.unwrap();
        assert!(read_head(&mut idle).await.unwrap().contains("200 OK"));
        let mut busy = TcpStream::connect(address).await.unwrap();
        write_all(&mut busy, b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        never_is_asked(&dropped).await;
        shutdown.cancel();
        // The idle one ends on its own account; it has the end of its stream to read.
        let idle = spawn(async move { read_all(&mut idle).await.len() });
        assert_eq!(server.await.unwrap(), 1, "all but one have ended");
        assert!(idle.await.is_ok());
        assert_eq!(read_all(&mut busy).await, "");
        assert!(dropped.get(), "the handler is gone");
    });
}

struct SetOnDrop(Rc<Cell<bool>>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.set(true);
    }
}
