//! Sockets: what crosses, what ends, what waits, and what fails how.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_core::Stream;

use super::*;
use crate::io::{AsyncReadExt, AsyncWriteExt, copy};
use crate::sys::pipe;
use crate::{block_on, spawn};

/// Fails instead of hanging.
fn run<F: Future>(test: F) -> F::Output {
    block_on(crate::time::timeout(Duration::from_secs(20), test)).expect("the test hangs")
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let client = client.await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// A listener that neither answers nor refuses: its backlog holds one connection,
/// which is there.
fn silent_listener() -> (std::net::TcpListener, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&listener).listen(0).unwrap();
    let kept = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener, kept)
}

#[test]
fn an_echo_server_serves_many_clients() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn(async move {
            for _ in 0..50 {
                let (mut stream, _) = listener.accept().await.unwrap();
                drop(spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    copy(&mut reader, &mut writer).await.unwrap();
                    writer.close().await.unwrap();
                }));
            }
        });
        let clients: Vec<_> = (0..50_u8)
            .map(|number| {
                spawn(async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    let message = vec![number; 20_000];
                    let (mut reader, mut writer) = stream.split();
                    writer.write_all(&message[..100]).await.unwrap();
                    let mut back = vec![0; 100];
                    reader.read_exact(&mut back).await.unwrap();
                    writer.write_all(&message[100..]).await.unwrap();
                    writer.close().await.unwrap();
                    reader.read_to_end(&mut back).await.unwrap();
                    assert_eq!(back, message);
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        server.await.unwrap();
    });
}

#[test]
fn the_end_is_seen_even_if_it_came_with_the_last_bytes() {
    // A short read must not hide a FIN whose edge is spent.
    run(async {
        for _ in 0..100 {
            let (mut client, mut server) = pair().await;
            let reading = spawn(async move {
                let mut all = Vec::new();
                server.read_to_end(&mut all).await.unwrap();
                all
            });
            crate::time::sleep(Duration::ZERO).await;
            client.write_all(b"last words").await.unwrap();
            drop(client);
            assert_eq!(reading.await.unwrap(), b"last words");
        }
    });
}

#[test]
fn half_closing_lets_the_peer_answer() {
    run(async {
        let (client, mut server) = pair().await;
        let (mut reader, writer) = client.into_split();
        drop(writer);
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
        server.write_all(b"answer").await.unwrap();
        server.shutdown(Shutdown::Both).unwrap();
        let mut answer = String::new();
        reader.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
    });
}

#[test]
fn a_writer_waits_for_a_peer_that_does_not_read() {
    run(async {
        let (mut client, mut server) = pair().await;
        let data = vec![7_u8; 8 << 20];
        let mut writing = Box::pin(async move {
            client.write_all(&data).await.unwrap();
            client.close().await.unwrap();
        });
        let mut first = true;
        let waits = poll_fn(|cx| {
            let waits = writing.as_mut().poll(cx).is_pending();
            assert!(std::mem::take(&mut first));
            Poll::Ready(waits)
        });
        assert!(waits.await, "8 MiB don't fit into socket buffers");
        let writing = spawn(writing);
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        assert_eq!(received.len(), 8 << 20);
        writing.await.unwrap();
    });
}

#[test]
fn writing_to_a_closed_peer_is_an_error_not_a_signal() {
    run(async {
        let (mut client, server) = pair().await;
        drop(server);
        let error = loop {
            if let Err(error) = client.write_all(&[0; 1000]).await {
                break error;
            }
            crate::time::sleep(Duration::from_millis(1)).await;
        };
        let kind = error.kind();
        assert!(
            kind == std::io::ErrorKind::BrokenPipe || kind == std::io::ErrorKind::ConnectionReset
        );
    });
}

#[test]
fn a_reset_connection_is_an_error_for_its_reader() {
    run(async {
        let (client, mut server) = pair().await;
        let reading = spawn(async move { server.read(&mut [0; 8]).await });
        crate::time::sleep(Duration::from_millis(1)).await;
        client.set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        let error = reading.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn refused_and_timed_out_connections_say_so() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);

        let (full, _kept) = silent_listener();
        let address = full.local_addr().unwrap();
        let connecting = TcpStream::connect_timeout(address, Duration::from_millis(20));
        let error = connecting.await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    });
}

#[test]
fn of_several_addresses_one_that_answers_is_taken() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let bad = closed.local_addr().unwrap();
        drop(closed);
        let stream = TcpStream::connect([bad, good]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(TcpStream::connect([bad, bad]).await.is_err());
    });
}

#[test]
fn a_silent_address_costs_only_its_head_start() {
    run(async {
        let (full, _kept) = silent_listener();
        let silent = full.local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let stagger = Duration::from_millis(5);
        let stream = connect::race(vec![silent, good], stagger).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
    });
}

#[test]
fn names_are_looked_up_and_unknown_ones_named() {
    run(async {
        let addresses = lookup_host("localhost:80").await.unwrap();
        assert!(addresses.iter().all(|address| address.ip().is_loopback()));
        // A name that can't exist, so that no server is asked.
        let error = lookup_host("no..such..host:80").await.unwrap_err();
        assert!(ResolveError::is(&error));
        assert!(error.to_string().contains("no..such..host"), "{error}");
    });
}

#[test]
fn connections_that_their_peers_reset_cost_nothing() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for _ in 0..300 {
            let client = TcpStream::connect(address).await.unwrap();
            client.set_linger(Some(Duration::ZERO)).unwrap();
            drop(client);
            let (mut server, _) = listener.accept().await.unwrap();
            assert!(server.read(&mut [0; 8]).await.is_err());
        }
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all(b"!").await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 1);
    });
}

#[test]
fn exhausted_accepts_pause_instead_of_spinning() {
    run(async {
        let pause = listener::Pause::default();
        let none = std::io::Error::from_raw_os_error(libc::EMFILE);
        assert!(pause.judge::<()>(Err(none)).is_some());
        let before = Instant::now();
        pause.over().await;
        assert!(before.elapsed() >= crate::limits::ACCEPT_PAUSE);
        pause.over().await; // Not twice.
        let gone = std::io::Error::from_raw_os_error(libc::ECONNABORTED);
        assert!(pause.judge::<()>(Err(gone)).is_none());
    });
}

#[test]
fn incoming_streams_connections() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = spawn(TcpStream::connect(address));
        let mut incoming = listener.incoming();
        let accepted = poll_fn(|cx| Pin::new(&mut incoming).poll_next(cx)).await;
        let client = client.await.unwrap().unwrap();
        let peer = accepted.unwrap().unwrap().peer_addr().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    });
}

#[test]
fn files_are_sent_from_any_offset_to_their_end() {
    run(async {
        let path = std::env::temp_dir().join(format!("threeply-sendfile-{}", std::process::id()));
        let data: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
        std::fs::write(&path, &data).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (client, mut server) = pair().await;
        let sending = spawn(async move {
            let sent = client.send_file(&file, 1000, u64::MAX).await.unwrap();
            assert_eq!(client.send_file(&file, 5, 2).await.unwrap(), 2);
            sent
        });
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        assert_eq!(sending.await.unwrap(), 2_999_000);
        assert_eq!(received[..2_999_000], data[1000..]);
        assert_eq!(received[2_999_000..], data[5..7]);
    });
}

#[test]
fn options_and_peeking_work() {
    run(async {
        let (mut client, server) = pair().await;
        client.set_nodelay(true).unwrap();
        assert!(client.nodelay().unwrap());
        let every = (Duration::from_secs(60), Duration::from_secs(10));
        client.set_keepalive(Some(every)).unwrap();
        assert!(client.options().keepalive().unwrap());
        client.write_all(b"twice").await.unwrap();
        let mut buf = [0; 8];
        assert_eq!(server.peek(&mut buf).await.unwrap(), 5);
        server.readable().await.unwrap();
        assert_eq!(server.try_read(&mut buf).unwrap(), 5);
        let error = server.try_read(&mut buf).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        let std = server.into_std();
        std.set_nonblocking(false).unwrap();
        client.write_all(b"std").await.unwrap();
        assert_eq!((&std).read(&mut buf).unwrap(), 3);
    });
}

#[test]
fn two_tasks_may_wait_on_one_socket() {
    run(async {
        let socket = Rc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = socket.local_addr().unwrap();
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let socket = socket.clone();
                spawn(async move { socket.recv_from(&mut [0; 8]).await.unwrap().0 })
            })
            .collect();
        crate::time::sleep(Duration::from_millis(1)).await;
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        sender.connect(address).await.unwrap();
        sender.send(b"1").await.unwrap();
        sender.send(b"22").await.unwrap();
        let mut lengths = Vec::new();
        for task in waiting {
            lengths.push(task.await.unwrap());
        }
        lengths.sort_unstable();
        assert_eq!(lengths, [1, 2]);
    });
}

#[test]
fn who_polls_and_who_awaits_are_both_woken() {
    run(async {
        let (mut client, server) = pair().await;
        let server = Rc::new(server);
        // The first awaits and sits down, the second polls and takes its seat, the
        // third awaits and finds the seat taken.
        let reads = |stream: Rc<TcpStream>| async move {
            stream.readable().await.unwrap();
            0
        };
        let first = spawn(reads(server.clone()));
        let polling = server.clone();
        let second = spawn(async move { (&*polling).read(&mut [0; 1]).await.unwrap() });
        let third = spawn(reads(server.clone()));
        crate::time::sleep(Duration::from_millis(1)).await;
        client.write_all(b"for all").await.unwrap();
        first.await.unwrap();
        assert_eq!(second.await.unwrap(), 1);
        third.await.unwrap();
    });
}

#[test]
fn unix_sockets_connect_by_path_and_report_absence() {
    run(async {
        let directory = std::env::temp_dir();
        let path = directory.join(format!("threeply-unix-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let client = spawn({
            let path = path.clone();
            async move {
                let mut stream = UnixStream::connect(path).await.unwrap();
                stream.write_all(b"by path").await.unwrap();
            }
        });
        let mut server = listener.accept().await.unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "by path");
        client.await.unwrap();
        drop(listener);
        std::fs::remove_file(&path).unwrap();
        let error = UnixStream::connect(&path).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    });
}

#[test]
fn descriptors_travel_over_unix_sockets() {
    run(async {
        let (reader, writer) = pipe::pipe().unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        let fds = [writer.as_fd(), reader.as_fd()];
        near.send_with_fds(b"two", &fds).await.unwrap();
        drop(writer);
        let mut buf = [0; 8];
        let (count, mut fds) = far.recv_with_fds(&mut buf).await.unwrap();
        assert_eq!((count, fds.len()), (3, 2));
        File::from(fds.swap_remove(0)).write_all(b"across").unwrap();
        drop(fds);
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!(text, "across");
        assert!(near.send_with_fds(b"", &[]).await.is_err());
        drop(near);
        assert_eq!(far.read(&mut buf).await.unwrap(), 0);
    });
}

#[test]
fn unix_datagrams_wait_for_room_and_stay_whole() {
    run(async {
        let (near, far) = UnixDatagram::pair().unwrap();
        let sending = spawn(async move {
            for number in 0..1000_u32 {
                near.send(&number.to_ne_bytes()).await.unwrap();
            }
        });
        for number in 0..1000_u32 {
            let mut buf = [0; 8];
            assert_eq!(far.recv(&mut buf).await.unwrap(), 4);
            assert_eq!(buf[..4], number.to_ne_bytes());
        }
        sending.await.unwrap();
    });
}

#[test]
fn a_datagram_for_a_full_receiver_waits_for_room() {
    run(async {
        let directory = std::env::temp_dir();
        let path = directory.join(format!("threeply-datagram-{}", std::process::id()));
        let receiver = UnixDatagram::bind(&path).unwrap();
        let sending = spawn({
            let path = path.clone();
            async move {
                let sender = UnixDatagram::unbound().unwrap();
                for number in 0..100_u8 {
                    sender.send_to(&[number], &path).await.unwrap();
                }
            }
        });
        crate::time::sleep(Duration::from_millis(2)).await;
        for number in 0..100_u8 {
            let mut buf = [0; 4];
            let (count, _) = receiver.recv_from(&mut buf).await.unwrap();
            assert_eq!((count, buf[0]), (1, number));
        }
        sending.await.unwrap();
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn a_cancelled_accept_loses_no_connection() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        {
            let mut accept = pin!(listener.accept());
            let waits = poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx).is_pending()));
            assert!(waits.await);
        }
        let client = TcpStream::connect(address).await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    });
}
