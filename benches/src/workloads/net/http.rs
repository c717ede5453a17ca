//! HTTP servers that say hello: ours, hyper on tokio, and the limit.
//!
//! hyper is the usual choice on tokio. Ours is the server of the demos, on our
//! loop. Both parse by `httparse`, and so does the limit, which answers with a
//! reply that is ready as bytes and knows one route only.

use std::convert::Infallible;

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use threeply_demos::http::server::{Limits, Reply, Routes, Server};

/// What the limit answers; the others send the same and a header or two.
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

/// Our own HTTP server, the one of the demos, with one route.
pub(super) async fn on_ours(listener: threeply_runtime::net::TcpListener) {
    let hello = |_request| async { Reply::text("Hello, World!") };
    let routes = Routes::new().get("/", hello);
    Server::new(listener, routes, Limits::default())
        .run(Duration::ZERO)
        .await;
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
