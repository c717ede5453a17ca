//! The chat's server: the page for browsers and the WebSocket, on one port.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use http::header::{self, HeaderValue};
use http::{HeaderName, StatusCode};
use socket2::SockRef;
use threeply_runtime as runtime;
use threeply_runtime::JoinHandle;
use threeply_runtime::cancel::CancellationToken;
use threeply_runtime::net::TcpListener;
use threeply_runtime::sync::local::mpsc;

use super::member::converse;
use super::room::{Manners, Room};
use crate::http::server::conversation::{Duplex, TakeOver};
use crate::http::server::reply::Content;
use crate::http::server::{Limits, Reply, Request, Routes, Server};
use crate::{Error, limits};

/// What the browser shows: one page that needs nothing else.
const PAGE: &str = include_str!("page.html");

/// What the page may do: nothing but talk to the server it came from.
const PAGE_MAY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// A chat that is served on the current loop.
#[derive(Debug)]
pub struct ChatServer {
    room: Rc<Room>,
    address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<usize>,
}

impl ChatServer {
    /// Starts serving; what happens in the room is also sent to `log`.
    ///
    /// # Errors
    /// The listener's.
    pub fn start(
        listener: TcpListener,
        manners: Manners,
        log: mpsc::UnboundedSender<String>,
    ) -> Result<ChatServer, Error> {
        // Inherited by the connections. What the kernel holds for members who
        // take nothing is memory, too.
        SockRef::from(&listener)
            .set_send_buffer_size(limits::CHAT_SEND_BUFFER_BYTES)
            .map_err(Error::io("bound the send buffers"))?;
        let room = Rc::new(Room::new(manners, log));
        let server = Server::new(listener, routes(room.clone()), Limits::default());
        Ok(ChatServer {
            room,
            address: server.local_addr().map_err(Error::io("learn the port"))?,
            shutdown: server.shutdown_token(),
            serving: runtime::spawn(server.run(limits::SHUTDOWN_GRACE)),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The room.
    pub fn room(&self) -> &Rc<Room> {
        &self.room
    }

    /// Says goodbye to all members, and waits until they have gone; returns how
    /// many connections had to be cut off.
    ///
    /// # Errors
    /// When the server has failed.
    pub async fn stop(self) -> Result<usize, Error> {
        self.room.close();
        self.shutdown.cancel();
        Ok(self.serving.await?)
    }
}

/// `/` is the page, `/socket` the WebSocket.
pub fn routes(room: Rc<Room>) -> Routes {
    Routes::new()
        .get("/", |_| async {
            Reply::bytes(PAGE.into(), "text/html; charset=utf-8")
                .with(header::CONTENT_SECURITY_POLICY, PAGE_MAY)
                .with(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
        })
        .get("/socket", move |request| {
            std::future::ready(upgrade(&request, room.clone()))
        })
}

/// Answers the request that asks for a WebSocket (RFC 6455, section 4.2).
fn upgrade(request: &Request, room: Rc<Room>) -> Reply {
    let has = |name: HeaderName, word: &str| {
        let values = request.header(name).unwrap_or_default();
        values
            .split(',')
            .any(|value| value.trim().eq_ignore_ascii_case(word))
    };
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        return Reply::text("This is a WebSocket; open / with a browser.\n")
            .with_status(StatusCode::UPGRADE_REQUIRED)
            .with(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Reply::refusal(StatusCode::UPGRADE_REQUIRED).with(
            header::SEC_WEBSOCKET_VERSION,
            HeaderValue::from_static("13"),
        );
    }
    if !is_same_origin(request) {
        return Reply::text("A page of another site may not chat in your name.\n")
            .with_status(StatusCode::FORBIDDEN);
    }
    let key = request
        .header(header::SEC_WEBSOCKET_KEY)
        .unwrap_or_default();
    if !is_key(key) {
        return Reply::refusal(StatusCode::BAD_REQUEST);
    }
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
        .expect("base64 is valid in a header");
    let mut reply = Reply::status(StatusCode::SWITCHING_PROTOCOLS)
        .with(header::CONNECTION, HeaderValue::from_static("upgrade"))
        .with(header::UPGRADE, HeaderValue::from_static("websocket"))
        .with(header::SEC_WEBSOCKET_ACCEPT, accept);
    reply.body = Content::Upgrade(Box::new(Joining { room }));
    reply
}

/// Sixteen bytes in base64.
fn is_key(key: &str) -> bool {
    use base64::Engine;
    let decoded = base64::engine::general_purpose::STANDARD.decode(key);
    decoded.is_ok_and(|bytes| bytes.len() == 16)
}

/// Whether the page that asks, if a page does, came from here.
fn is_same_origin(request: &Request) -> bool {
    let Some(origin) = request.header(header::ORIGIN) else {
        return true;
    };
    let from = origin.split_once("://").map(|(_scheme, host)| host);
    from.is_some() && from == request.header(header::HOST)
}

/// Somebody who comes in by the WebSocket.
struct Joining {
    room: Rc<Room>,
}

impl TakeOver for Joining {
    fn take_over(self: Box<Self>, stream: Box<dyn Duplex>) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(converse(stream, self.room))
    }
}
