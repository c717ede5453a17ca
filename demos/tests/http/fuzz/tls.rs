//! A server behind TLS, given something else than TLS, or a handshake that is bent.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_io::AsyncWrite;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use threeply_demos::http::server::conversation::Conversation;
use threeply_demos::http::server::{Limits, Reply, Routes};
use threeply_demos::http::stream::{read, write_all};
use threeply_runtime::cancel::CancellationToken;
use threeply_runtime::io::{duplex, split};
use threeply_runtime::spawn;
use threeply_runtime::time::timeout;

use super::{fuzz, speech, virtual_time};
use crate::kit::{acceptor, is_alone};

/// What a client says first.
fn hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn nothing_that_is_not_tls_breaks_a_server_behind_it() {
    let name = "fuzz::tls::nothing_that_is_not_tls_breaks_a_server_behind_it";
    let hello = hello();
    let record = |kind: u8, length: u16, body: &[u8]| {
        let [high, low] = length.to_be_bytes();
        [&[kind, 3, 3, high, low], body].concat()
    };
    let corpus = [
        hello.clone(),
        [&hello[..], &record(20, 1, &[1]), &record(23, 32, &[7; 32])].concat(),
        [&hello[..], &record(21, 2, &[2, 40])].concat(),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        record(22, 16_384, &[1; 16_384]),
        [hello.clone(), hello.clone()].concat(),
    ];
    let records = [
        record(22, 65_535, b""),
        record(23, 0, b""),
        record(20, 1, &[1]),
        record(22, 4, &[1, 0xff, 0xff, 0xff]),
        record(21, 2, &[1, 0]),
    ];
    let words: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let acceptor = acceptor("server.pem", false);
    let answered = Cell::new(0);
    fuzz(name, 600, |random| {
        let speech = speech(random, &corpus, &words);
        virtual_time(async {
            let (near, far) = duplex([50, 4_096, 64 * 1024][random.below(3)]);
            let acceptor = acceptor.clone();
            let server = spawn(async move {
                // What the server says to nobody who listens, it says with patience.
                let accepting = timeout(Duration::from_secs(10), acceptor.accept(far));
                let Ok(Ok(stream)) = accepting.await else {
                    return;
                };
                let routes = Routes::new().get("/", |_| async { Reply::text("hello") });
                let shutdown = CancellationToken::new();
                Conversation::new(stream, None, Rc::new(Limits::default()), shutdown)
                    .run(&routes)
                    .await;
            });
            let (mut listener, mut speaker) = split(near);
            let hearing = spawn(async move {
                let mut heard = 0;
                let mut block = [0; 4_096];
                while let Ok(n @ 1..) = read(&mut listener, &mut block).await {
                    heard += n;
                }
                heard
            });
            let whole = speech.say(&mut speaker, random).await;
            if whole && random.one_in(2) {
                let _ = poll_fn(|cx| Pin::new(&mut speaker).poll_close(cx)).await;
            } else if whole {
                let _ = write_all(&mut speaker, &random.bytes(100)).await;
            }
            server.await.expect("no panic");
            let heard = hearing.await.expect("no panic");
            // A hello that was understood is answered with a certificate.
            answered.set(answered.get() + u32::from(heard > 500));
        });
    });
    assert!(
        !is_alone() || answered.get() > 50,
        "too few are understood: {answered:?}"
    );
}
