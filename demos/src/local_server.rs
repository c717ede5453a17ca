//! A small web of our own: answers every request after 100 ms.
//!
//! It stands in for the far-away site that the article downloads from, so that
//! every demo runs offline and measures its engine, not somebody's network. It
//! lives in a process of its own (see [`crate::roles`]), so that its CPU time
//! and memory are never counted as a client's.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::Child;
use std::time::Duration;

use threeply_runtime as runtime;
use threeply_runtime::net::TcpListener;

use crate::http::server::{Limits, Reply, Routes, Server};
use crate::{Error, limits, roles};

/// The name of this part; see [`crate::roles`].
pub const PART: &str = "local-server";

/// A running local server. Dropping it ends it.
#[derive(Debug)]
pub struct LocalServer {
    child: Child,
    url: String,
}

impl LocalServer {
    /// Starts a server on a free port of the loopback interface.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Child`] when it doesn't come up.
    pub fn start() -> Result<LocalServer, Error> {
        let delay = limits::SERVER_DELAY.as_millis().to_string();
        let mut child = roles::command(PART, &delay)
            .spawn()
            .map_err(Error::io("start the local server"))?;
        let mut port = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("it was asked for as a pipe"));
        let read = stdout
            .read_line(&mut port)
            .map_err(Error::io("hear from the local server"));
        // Made before the answer is judged, so that a failure ends the child too.
        let mut server = LocalServer {
            child,
            url: String::new(),
        };
        read?;
        let address: SocketAddr = port.trim().parse().map_err(|_| {
            Error::Child("the local server did not start; its reason is printed above".into())
        })?;
        server.url = format!("http://{address}/");
        Ok(server)
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        // It holds no state: there is nothing to shut down gracefully.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plays the server's part: binds, prints the address, serves until stdin ends.
///
/// # Errors
/// When it can't listen.
pub fn play(detail: &str) -> Result<(), Error> {
    let delay =
        Duration::from_millis(detail.parse().map_err(|_| {
            Error::Usage("the local server takes its delay in milliseconds".into())
        })?);
    roles::end_with_stdin()?;
    limits::raise_open_files();
    runtime::block_on(async {
        let listener = listen("127.0.0.1:0".parse().expect("it is an address"))?;
        let address = listener.local_addr().map_err(Error::io("learn the port"))?;
        crate::output::Output::new().line(address)?;
        let routes = Routes::new().fallback(move |_request| async move {
            runtime::time::sleep(delay).await;
            Reply::text("hello\n")
        });
        // It never shuts down by itself: it ends with its process.
        Server::new(listener, routes, Limits::default())
            .run(Duration::ZERO)
            .await;
        Ok(())
    })
}

/// Listens with a queue that holds a crowd; see [`limits::SERVER_BACKLOG`].
///
/// # Errors
/// The operating system's, with the address.
pub fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let bind = || {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(limits::SERVER_BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(Error::io(format!("listen on {address}")))
}
