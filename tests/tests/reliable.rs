//! The loop's sockets when things go wrong: peers that reset, descriptors that run
//! out, writes to nobody; and whether anything is left behind.
//!
//! Limits and descriptor counts belong to a whole process, so these tests run
//! their bodies in a process of their own: this binary, started once more for one
//! test, by our own `Command`.
#![allow(unsafe_code)] // One signal disposition is changed, in a process for that.

use std::cell::Cell;
use std::fs::File;
use std::future::Future;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;
use threeply_runtime::io::{AsyncReadExt, AsyncWriteExt, copy};
use threeply_runtime::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use threeply_runtime::process::{Command, Stdio};
use threeply_runtime::sys::pipe::open_fds;
use threeply_runtime::sys::spawn::Limit;
use threeply_runtime::time::{sleep, timeout};
use threeply_runtime::{block_on, spawn, unblock};

const ALONE: &str = "THREEPLY_TEST_ALONE";

/// Where the clients in another process connect to.
const CLIENT: &str = "THREEPLY_TEST_CLIENT";

/// Fails instead of hanging.
fn run<F: Future>(test: F) -> F::Output {
    block_on(timeout(Duration::from_secs(30), test)).expect("the test hangs")
}

/// Runs `body` in a process of its own, which has at most `files` descriptors.
fn alone(name: &str, files: u64, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let output = run(async {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
        command.env(ALONE, "1");
        command.exec().limit(Limit::OpenFiles, files, files);
        command.output().await.unwrap()
    });
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}\n{text}\n{errors}",
        output.status
    );
    assert!(text.contains("1 passed"), "no test of this name? {text}");
}

/// What this process has used of the CPU.
fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let used = usage.user_time() + usage.system_time();
    Duration::from_micros(used.num_microseconds().unsigned_abs())
}

#[test]
fn ten_thousand_resets_cost_nothing() {
    alone("ten_thousand_resets_cost_nothing", 1024, || {
        let before = open_fds().unwrap();
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = spawn(async move {
                let mut serving = Vec::with_capacity(100);
                for _ in 0..100 {
                    for _ in 0..100 {
                        let (mut stream, _) = listener.accept().await.unwrap();
                        serving.push(spawn(async move {
                            // Each sees the reset, or one byte and then the reset.
                            while stream.read(&mut [0; 8]).await.is_ok_and(|count| count > 0) {}
                        }));
                    }
                    for task in serving.drain(..) {
                        task.await.unwrap();
                    }
                }
            });
            for _ in 0..100 {
                let mut batch = Vec::with_capacity(100);
                for number in 0..100 {
                    let mut client = TcpStream::connect_addr(address).await.unwrap();
                    client.set_linger(Some(Duration::ZERO)).unwrap();
                    if number % 2 == 0 {
                        client.write_all(b"!").await.unwrap();
                    }
                    batch.push(client);
                }
                drop(batch);
            }
            server.await.unwrap();
        });
        assert_eq!(open_fds().unwrap(), before);
    });
}

#[test]
fn ten_thousand_at_once_are_reset_by_another_process() {
    // Both ends of so many don't fit in one process; here and there not even one.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let files = hard.min(10_100);
    let count = files as usize - 100;
    if let Ok(address) = std::env::var(CLIENT) {
        return clients_that_reset(address.parse().unwrap(), count);
    }
    let name = "ten_thousand_at_once_are_reset_by_another_process";
    alone(name, files, || {
        let before = open_fds().unwrap();
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", name, "--test-threads=1"]);
            command.env(CLIENT, &address).stdin(Stdio::piped());
            let mut clients = command.stdout(Stdio::null()).spawn().unwrap();
            let mut serving = Vec::with_capacity(count);
            for _ in 0..count {
                let (mut stream, _) = listener.accept().await.unwrap();
                serving.push(spawn(async move { stream.read(&mut [0; 8]).await }));
            }
            assert!(open_fds().unwrap() >= before + count);
            // All are there: now they may go.
            drop(clients.stdin.take());
            let mut resets = 0;
            for task in serving {
                let error = task.await.unwrap().unwrap_err();
                resets += usize::from(error.kind() == ErrorKind::ConnectionReset);
            }
            assert_eq!(resets, count);
            assert!(clients.wait().await.unwrap().success());
            // And the server serves.
            let mut client = TcpStream::connect(&*address).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            client.write_all(b"!").await.unwrap();
            assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 1);
        });
        assert_eq!(open_fds().unwrap(), before);
    });
}

/// Connects so often, waits for the end of stdin, and resets all at once.
fn clients_that_reset(address: SocketAddr, count: usize) {
    run(async {
        let mut clients = Vec::with_capacity(count);
        for _ in 0..count {
            let client = TcpStream::connect_addr(address).await.unwrap();
            client.set_linger(Some(Duration::ZERO)).unwrap();
            clients.push(client);
        }
        let _ = unblock(|| std::io::stdin().read(&mut [0; 1])).await;
    });
}

#[test]
fn a_flood_of_connections_does_not_keep_others_from_being_served() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Rc::new(Cell::new(0_u32));
        let count = accepted.clone();
        let serving = spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.set(count.get() + 1);
                drop(spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    let _ = copy(&mut reader, &mut writer).await;
                }));
            }
        });
        let mut guest = TcpStream::connect_addr(address).await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        // As fast as a thread can; each leaves by a reset, so that no port is used up.
        let flood = unblock(move || {
            while !stopped.load(Ordering::Relaxed) {
                let stream = std::net::TcpStream::connect(address).unwrap();
                let stream = TcpStream::from_std(stream).unwrap();
                stream.set_linger(Some(Duration::ZERO)).unwrap();
            }
        });
        // Some hundred round trips, in the midst of at least as many newcomers.
        let mut served = 0;
        while served < 200 || accepted.get() < 1_000 {
            guest.write_all(b"hello").await.unwrap();
            let mut buf = [0; 5];
            guest.read_exact(&mut buf).await.unwrap();
            served += 1;
        }
        stop.store(true, Ordering::Relaxed);
        flood.await.unwrap();
        serving.abort();
    });
}

#[test]
fn a_server_without_descriptors_waits_and_then_serves_everybody() {
    let name = "a_server_without_descriptors_waits_and_then_serves_everybody";
    alone(name, 64, || {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut clients = Vec::new();
            for _ in 0..10 {
                clients.push(TcpStream::connect_addr(address).await.unwrap());
            }
            let mut guest = clients.remove(0);
            let (mut host, _) = listener.accept().await.unwrap();
            let mut hoard = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                hoard.push(file);
            }
            let (begun, used) = (Instant::now(), cpu_time());
            let mut failures = 0;
            while begun.elapsed() < Duration::from_millis(200) {
                let error = listener.accept().await.unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                failures += 1;
            }
            assert!(failures <= 6, "{failures} tries in 200 ms: it spins");
            let used = cpu_time() - used;
            assert!(
                used <= Duration::from_millis(50),
                "{used:?} of CPU: it spins"
            );
            // Those who are in are served all the while.
            guest.write_all(b"!").await.unwrap();
            assert_eq!(host.read(&mut [0; 8]).await.unwrap(), 1);
            drop(hoard);
            for mut client in clients {
                let (mut server, _) = listener.accept().await.unwrap();
                client.write_all(b"at last").await.unwrap();
                let mut buf = [0; 7];
                server.read_exact(&mut buf).await.unwrap();
                assert_eq!(&buf, b"at last");
            }
        });
    });
}

#[test]
fn writing_to_nobody_is_no_death_even_where_sigpipe_kills() {
    let name = "writing_to_nobody_is_no_death_even_where_sigpipe_kills";
    alone(name, 1024, || {
        use nix::sys::signal::{SigHandler, Signal, signal};
        // SAFETY: the default disposition runs no code; this process is for that.
        unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.unwrap();
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect_addr(listener.local_addr().unwrap())
                .await
                .unwrap();
            drop(listener.accept().await.unwrap());
            let error = loop {
                let slices = &mut [std::io::IoSlice::new(&[0; 100])];
                if let Err(error) = client.write_all_vectored(slices).await {
                    break error;
                }
                sleep(Duration::from_millis(1)).await;
            };
            assert!(matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ));
            assert!(client.write_all(b"again").await.is_err());
            let (mut near, far) = UnixStream::pair().unwrap();
            drop(far);
            let error = near.write_all(b"x").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        });
    });
}

#[test]
fn a_silent_peer_costs_a_timeout_and_nothing_else() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect_addr(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        for _ in 0..3 {
            let mut buf = [0; 8];
            let read = timeout(Duration::from_millis(2), server.read(&mut buf));
            assert!(read.await.is_err());
        }
        // One byte at a time is slow, not wrong; and the cut reads lost nothing.
        let slow = spawn(async move {
            for byte in b"slow but sure" {
                client.write_all(&[*byte]).await.unwrap();
                sleep(Duration::from_micros(300)).await;
            }
        });
        let mut text = Vec::new();
        while text.len() < 13 {
            let mut buf = [0; 8];
            if let Ok(count) = timeout(Duration::from_micros(100), server.read(&mut buf)).await {
                text.extend_from_slice(&buf[..count.unwrap()]);
            }
        }
        assert_eq!(text, b"slow but sure");
        slow.await.unwrap();
    });
}

#[test]
fn a_peer_that_never_reads_does_not_stop_the_others() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                drop(spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    let _ = copy(&mut reader, &mut writer).await;
                }));
            }
        });
        let mut greedy = TcpStream::connect_addr(address).await.unwrap();
        let greedy = spawn(async move { greedy.write_all(&[0; 32 << 20]).await });
        for _ in 0..20 {
            let mut polite = TcpStream::connect_addr(address).await.unwrap();
            polite.write_all(b"hello").await.unwrap();
            let mut buf = [0; 5];
            polite.read_exact(&mut buf).await.unwrap();
        }
        assert!(!greedy.is_finished(), "nobody reads what it writes");
        greedy.abort();
        serving.abort();
    });
}

#[test]
fn nothing_is_left_behind() {
    alone("nothing_is_left_behind", 1024, || {
        let everything = || {
            run(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let client = TcpStream::connect("localhost:1").await;
                assert!(client.is_err());
                let waiting = spawn(async move { listener.accept().await.map(drop) });
                drop(TcpStream::connect_addr(address).await.unwrap());
                waiting.await.unwrap().unwrap();
                let (near, mut far) = UnixStream::pair().unwrap();
                let fds = [std::os::fd::AsFd::as_fd(&near)];
                near.send_with_fds(b"x", &fds).await.unwrap();
                // Read plainly: the kernel closes the copy that came along.
                assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 1);
                let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let mut buf = [0; 8];
                let nothing = timeout(Duration::from_millis(1), udp.recv_from(&mut buf));
                assert!(nothing.await.is_err());
                let mut child = Command::new("cat")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                child.wait().await.unwrap();
                let missing = Command::new("no-such-program").spawn();
                assert!(missing.is_err());
                unblock(|| ()).await.unwrap();
                // A task that still waits when the loop ends.
                drop(spawn(async move { far.read(&mut [0; 8]).await }));
            });
        };
        everything(); // What is opened once and kept is opened here.
        let before = open_fds().unwrap();
        for _ in 0..3 {
            everything();
        }
        assert_eq!(open_fds().unwrap(), before);
    });
}
