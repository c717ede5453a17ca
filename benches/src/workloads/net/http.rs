//! An HTTP server that says hello: by hyper on tokio, and by `httparse` alone.
//!
//! hyper is the usual choice on tokio; `httparse` is the parser inside it, and
//! what the limit (raw epoll) and the servers on `futures-io` use here, with the
//! reply ready as bytes.

use std::convert::Infallible;

use futures_io::{AsyncRead, AsyncWrite};
use http_body_util::Full;
use hyper::body::Bytes;
use smol::io::{AsyncReadExt, AsyncWriteExt};

/// What all of them answer, hyper's own `date` header apart.
const REPLY: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\nHello, World!";

/// Takes the whole requests out of `come` and returns their replies.
pub(super) fn replies(come: &mut Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut taken = 0;
    while taken < come.len() {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&come[taken..]) {
            Ok(httparse::Status::Complete(length)) => {
                assert_eq!(
                    request.path,
                    Some("/"),
                    "the load generator asks for nothing else"
                );
                taken += length;
                out.extend_from_slice(REPLY);
            }
            Ok(httparse::Status::Partial) => break,
            Err(error) => panic!("the load generator sent nonsense: {error}"),
        }
    }
    come.drain(..taken);
    out
}

/// One connection on anything with futures' traits.
pub(super) async fn on_futures_io(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut come = Vec::new();
    let mut buffer = vec![0; 4 << 10];
    while let Ok(got @ 1..) = stream.read(&mut buffer).await {
        come.extend_from_slice(&buffer[..got]);
        let out = replies(&mut come);
        if stream.write_all(&out).await.is_err() {
            break;
        }
    }
}

/// One connection by hyper.
pub(super) async fn on_hyper(stream: tokio::net::TcpStream) {
    let hello = hyper::service::service_fn(async |_request| {
        let body = Full::new(Bytes::from_static(b"Hello, World!"));
        Ok::<_, Infallible>(hyper::Response::new(body))
    });
    let io = hyper_util::rt::TokioIo::new(stream);
    let _ = hyper::server::conn::http1::Builder::new()
        .pipeline_flush(true)
        .serve_connection(io, hello)
        .await;
}
