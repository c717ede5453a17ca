//! A server on the test's own loop, raw connections to it, TLS, and tests that need a
//! process of their own.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_rustls::TlsAcceptor;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use threeply_demos::http::client::tls;
use threeply_demos::http::server::{Limits, Routes, Server};
use threeply_demos::http::stream::{read, write_all};
use threeply_runtime as runtime;
use threeply_runtime::cancel::CancellationToken;
use threeply_runtime::net::{TcpListener, TcpStream};
use threeply_runtime::process::Command;
use threeply_runtime::sys::spawn::Limit;
use threeply_runtime::time::timeout;

/// Runs a test on a loop, and fails when it takes too long.
#[track_caller]
pub(crate) fn on_loop<F: Future<Output = ()>>(test: F) {
    runtime::block_on(async {
        timeout(Duration::from_secs(30), test)
            .await
            .expect("the test hangs")
    });
}

/// A server that runs on the current loop.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: runtime::JoinHandle<usize>,
}

impl Running {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

pub(crate) async fn serve(routes: Routes, limits: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::new(listener, routes, limits);
    let address = server.local_addr().unwrap();
    let shutdown = server.shutdown_token();
    let task = runtime::spawn(server.run(Duration::from_secs(5)));
    Running {
        address,
        shutdown,
        task,
    }
}

/// A server that answers every connection with `bytes` once it has read a head,
/// whatever was asked, and closes.
pub(crate) async fn scripted(script: Vec<&'static [u8]>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(runtime::spawn(async move {
        for bytes in script {
            let Ok((mut stream, _)) = listener.accept().await else {
                return;
            };
            let _ = read_head(&mut stream).await;
            let _ = write_all(&mut stream, bytes).await;
        }
    }));
    address
}

/// Reads up to the empty line; returns all that came.
pub(crate) async fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut all = Vec::new();
    let mut block = [0; 1024];
    while !all.windows(4).any(|end| end == b"\r\n\r\n") {
        match read(stream, &mut block).await? {
            0 => break,
            n => all.extend_from_slice(&block[..n]),
        }
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

/// Sends `request` as it is and reads until the server closes.
pub(crate) async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    write_all(&mut stream, request).await.unwrap();
    read_all(&mut stream).await
}

/// Reads until the server closes.
pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut block = [0; 4096];
    while let Ok(n @ 1..) = read(stream, &mut block).await {
        all.extend_from_slice(&block[..n]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

const ALONE: &str = "THREEPLY_TEST_ALONE";

/// Whether this process runs one test alone.
pub(crate) fn is_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}

/// Runs `body` in a process of its own, which has at most `files` descriptors: this
/// binary, started once more for the test `name`. It is waited for at most a minute.
pub(crate) fn alone(name: &str, files: u64, body: impl FnOnce()) {
    if is_alone() {
        return body();
    }
    once_more(name, Some(files), Some(Duration::from_secs(60)));
}

/// Starts this binary once more for the test `name`, which must pass; returns what it
/// printed.
pub(crate) fn once_more(name: &str, files: Option<u64>, patience: Option<Duration>) -> String {
    let output = runtime::block_on(async {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
        command.env(ALONE, "1");
        if let Some(files) = files {
            command.exec().limit(Limit::OpenFiles, files, files);
        }
        match patience {
            Some(patience) => timeout(patience, command.output())
                .await
                .expect("the test hangs"),
            None => command.output().await,
        }
        .unwrap()
    });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}\n{text}\n{errors}",
        output.status
    );
    assert!(text.contains("1 passed"), "no test of this name? {text}");
    text
}

/// What accepts TLS with the certificate `name` of `tests/data`; `asking`, only from
/// clients that our authority vouches for.
pub(crate) fn acceptor(name: &str, asking: bool) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if asking {
        let mut roots = RootCertStore::empty();
        for authority in tls::certificates(&data("authority.pem")).unwrap() {
            roots.add(authority).unwrap();
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let config = builder
        .with_single_cert(
            tls::certificates(&data(name)).unwrap(),
            tls::private_key(&data("server.key")).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A file of `tests/data`.
pub(crate) fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}
