//! Where Threeply meets other people's crates: each seam, tried.
//!
//! Combinators of `futures`, TLS, WebSocket and compression over our streams;
//! other executors that await our handles; our loop awaiting other people's
//! channels. All of it offline, with a certificate authority made here.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, SinkExt};
use threeply_runtime::io::{AsyncReadExt, AsyncWriteExt, BufReader, copy, duplex};
use threeply_runtime::net::{TcpListener, TcpStream};
use threeply_runtime::time::{sleep, timeout};
use threeply_runtime::{Handle, block_on, spawn, unblock};

/// Fails instead of hanging.
fn run<F: Future>(test: F) -> F::Output {
    block_on(timeout(Duration::from_secs(20), test)).expect("the test hangs")
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let client = client.await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

#[test]
fn combinators_of_futures_run_on_the_loop() {
    run(async {
        let after = |milliseconds: u64| async move {
            sleep(Duration::from_millis(milliseconds)).await;
            milliseconds
        };
        assert_eq!(futures::join!(after(2), after(1)), (2, 1));
        futures::select! {
            _ = after(10_000).fuse() => panic!("slower"),
            fast = after(1).fuse() => assert_eq!(fast, 1),
        }
        let unordered: FuturesUnordered<_> = [9, 1, 5].into_iter().map(after).collect();
        assert_eq!(unordered.collect::<Vec<_>>().await, [1, 5, 9]);
        let buffered = futures::stream::iter(0..20).map(|number| {
            let task = spawn(async move { number * 2 });
            async move { task.await.unwrap() }
        });
        let doubled: Vec<i32> = buffered.buffered(4).collect().await;
        assert_eq!(
            doubled,
            (0..20).map(|number| number * 2).collect::<Vec<_>>()
        );
        let (sender, mut receiver) = futures::channel::mpsc::channel(1);
        let sending = spawn(async move {
            let mut sender = sender;
            for number in 0..5 {
                sender.send(number).await.unwrap();
            }
        });
        let mut sum = 0;
        while let Some(number) = receiver.next().await {
            sum += number;
        }
        sending.await.unwrap();
        assert_eq!(sum, 10);
    });
}

#[test]
fn extension_traits_of_futures_work_on_our_streams() {
    // Both sets of traits have these names, so this one names its own.
    run(async {
        let (client, server) = pair().await;
        let (reader, mut writer) = futures::AsyncReadExt::split(server);
        let echo = spawn(async move {
            let copied = futures::io::copy(reader, &mut writer).await.unwrap();
            futures::AsyncWriteExt::close(&mut writer).await.unwrap();
            copied
        });
        let mut client = client;
        futures::AsyncWriteExt::write_all(&mut client, b"one\ntwo\n")
            .await
            .unwrap();
        futures::AsyncWriteExt::close(&mut client).await.unwrap();
        let lines = futures::AsyncBufReadExt::lines(BufReader::new(client));
        let lines: Vec<_> = lines.map(Result::unwrap).collect().await;
        assert_eq!(lines, ["one", "two"]);
        assert_eq!(echo.await.unwrap(), 8);
    });
}

#[test]
fn compressed_streams_come_out_as_they_went_in() {
    use async_compression::futures::bufread::GzipDecoder;
    use async_compression::futures::write::GzipEncoder;
    run(async {
        let text = "the same words again and again ".repeat(10_000);
        let (near, far) = duplex(4096);
        let sent = text.clone();
        let sending = spawn(async move {
            let mut encoder = GzipEncoder::new(near);
            encoder.write_all(sent.as_bytes()).await.unwrap();
            encoder.close().await.unwrap();
        });
        let mut decoder = GzipDecoder::new(BufReader::new(far));
        let mut received = String::new();
        decoder.read_to_string(&mut received).await.unwrap();
        sending.await.unwrap();
        assert_eq!(received, text);
    });
}

#[test]
fn websocket_messages_cross_our_sockets() {
    use async_tungstenite::tungstenite::Message;
    run(async {
        let (client, server) = pair().await;
        let serving = spawn(async move {
            let mut socket = async_tungstenite::accept_async(server).await.unwrap();
            let mut served = 0;
            while let Some(message) = socket.next().await {
                match message.unwrap() {
                    Message::Close(_) => {}
                    message => {
                        socket.send(message).await.unwrap();
                        served += 1;
                    }
                }
            }
            served
        });
        let (mut socket, _) = async_tungstenite::client_async("ws://localhost/chat", client)
            .await
            .unwrap();
        for text in ["hello", &"long ".repeat(50_000)] {
            socket.send(Message::text(text)).await.unwrap();
            let echo = socket.next().await.unwrap().unwrap();
            assert_eq!(echo.into_text().unwrap().as_str(), text);
        }
        socket.close(None).await.unwrap();
        while socket.next().await.is_some() {}
        assert_eq!(serving.await.unwrap(), 2);
    });
}

mod tls {
    use super::*;
    use futures_rustls::{TlsAcceptor, TlsConnector};
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore, ServerConfig};

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn authority(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn provider() -> Arc<rustls::crypto::CryptoProvider> {
        Arc::new(rustls::crypto::ring::default_provider())
    }

    fn acceptor(authority: &Authority, host: &str, last_year: i32) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let certificate = params.signed_by(&key, authority).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn connector(trusted: &Authority) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    /// A question and an answer through TLS; the client's error if there is one.
    async fn talk(acceptor: TlsAcceptor, connector: TlsConnector) -> io::Result<String> {
        let (client, server) = pair().await;
        let serving = spawn(async move {
            let mut stream = acceptor.accept(server).await?;
            let mut question = [0; 8];
            stream.read_exact(&mut question).await?;
            stream.write_all(b"answer to ").await?;
            stream.write_all(&question).await?;
            stream.close().await
        });
        let host = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(host, client).await?;
        stream.write_all(b"question").await?;
        stream.flush().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        serving.await.unwrap()?;
        Ok(answer)
    }

    #[test]
    fn a_trusted_server_is_talked_to() {
        run(async {
            let authority = authority("ours");
            let acceptor = acceptor(&authority, "localhost", 2100);
            let answer = talk(acceptor, connector(&authority)).await.unwrap();
            assert_eq!(answer, "answer to question");
        });
    }

    #[test]
    fn untrusted_expired_and_misnamed_servers_are_refused() {
        run(async {
            let ours = authority("ours");
            let cases = [
                (
                    acceptor(&authority("theirs"), "localhost", 2100),
                    "UnknownIssuer",
                ),
                (acceptor(&ours, "localhost", 2001), "expired"),
                (acceptor(&ours, "elsewhere", 2100), "not valid for name"),
            ];
            for (acceptor, reason) in cases {
                let error = talk(acceptor, connector(&ours)).await.unwrap_err();
                assert!(error.to_string().contains(reason), "{reason}: {error}");
            }
        });
    }
}

#[test]
fn other_executors_await_our_blocking_calls() {
    assert_eq!(pollster::block_on(unblock(|| 6 * 7)).unwrap(), 42);
    assert_eq!(futures::executor::block_on(unblock(|| 6 * 7)).unwrap(), 42);
}

#[test]
fn other_executors_await_our_tasks() {
    let (ready, handle) = flume::bounded(1);
    let (stop, stopped) = futures::channel::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        block_on(async move {
            ready.send(Handle::current()).unwrap();
            let _ = stopped.await;
        });
    });
    let handle = handle.recv().unwrap();
    let task = handle.spawn(|| async {
        sleep(Duration::from_millis(1)).await;
        "from the loop"
    });
    assert_eq!(pollster::block_on(task).unwrap(), "from the loop");
    let task = handle.spawn(|| async { panic!("in the loop") });
    let error = futures::executor::block_on(task).unwrap_err();
    assert!(error.is_panic());
    stop.send(()).unwrap();
    thread.join().unwrap();
}

#[test]
fn the_loop_awaits_channels_that_other_threads_feed() {
    run(async {
        let (to_loop, from_thread) = flume::bounded(2);
        let (back, answers) = async_channel::unbounded();
        let thread = std::thread::spawn(move || {
            for number in 0..100 {
                to_loop.send(number).unwrap();
            }
            drop(to_loop);
            let mut sum = 0;
            while let Ok(answer) = answers.recv_blocking() {
                sum += answer;
            }
            sum
        });
        let other = spawn(async {
            sleep(Duration::from_millis(1)).await;
        });
        while let Ok(number) = from_thread.recv_async().await {
            back.send(number * 2).await.unwrap();
        }
        back.close();
        other.await.unwrap();
        let sum: i32 = unblock(move || thread.join().unwrap()).await.unwrap();
        assert_eq!(sum, 9900);
    });
}

#[test]
fn our_copy_takes_their_streams() {
    run(async {
        let mut source = futures::io::Cursor::new(b"from memory".to_vec());
        let mut sink = futures::io::Cursor::new(Vec::new());
        assert_eq!(copy(&mut source, &mut sink).await.unwrap(), 11);
        assert_eq!(sink.into_inner(), b"from memory");
    });
}
