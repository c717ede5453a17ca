//! Accepting connections, and how it all ends.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use threeply_runtime as runtime;
use threeply_runtime::AbortHandle;
use threeply_runtime::cancel::CancellationToken;
use threeply_runtime::net::TcpListener;
use threeply_runtime::sync::local::Semaphore;
use threeply_runtime::time;

use super::conversation::Conversation;
use super::routes::Routes;
use crate::limits;

/// What clients may take of a server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// The length of a request's head.
    pub head_bytes: usize,
    /// The length of a request's body.
    pub body_bytes: u64,
    /// From the first byte of a head to its last.
    pub head_timeout: Duration,
    /// From the end of a head to the end of its body.
    pub body_timeout: Duration,
    /// For each 64 KiB of a reply to be taken.
    pub write_timeout: Duration,
    /// Between requests.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: limits::SERVER_CONNECTIONS,
            head_bytes: limits::MAX_HEAD_BYTES,
            body_bytes: limits::MAX_REQUEST_BODY_BYTES,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    routes: Rc<Routes>,
    limits: Rc<Limits>,
    shutdown: CancellationToken,
}

impl Server {
    /// A server on `listener`. It accepts nobody until [`Server::run`].
    pub fn new(listener: TcpListener, routes: Routes, limits: Limits) -> Server {
        Server {
            listener,
            routes: Rc::new(routes),
            limits: Rc::new(limits),
            shutdown: CancellationToken::new(),
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The operating system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Cancelling this token makes [`Server::run`] stop accepting, answer what
    /// is asked already, and return.
    pub fn shutdown_token(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Serves until the shutdown token is cancelled, and then until the last
    /// connection has ended, but no longer than `grace`; returns how many were
    /// cut off.
    ///
    /// **Cancel safety.** Dropping the future is a shutdown without grace: nobody
    /// listens any more, and the connections are cut off in their tasks' next turn.
    pub async fn run(self, grace: Duration) -> usize {
        let Server {
            listener,
            routes,
            limits,
            shutdown,
        } = self;
        let places = Rc::new(Semaphore::new(limits.connections));
        let open = Open::default();
        loop {
            let next = async {
                let place = places.clone().acquire_owned().await.expect("never closed");
                (place, listener.accept().await)
            };
            let Ok((place, accepted)) = shutdown.run(next).await else {
                break;
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    // Out of descriptors or memory: the connection stays in the
                    // kernel's queue. Trying at once would only burn the CPU
                    // that could serve the connections we have.
                    if !is_of_the_peer(&e) {
                        let _ = shutdown.run(time::sleep(limits::ACCEPT_PAUSE)).await;
                    }
                    continue;
                }
            };
            // A reply is written in one piece; waiting for more helps nobody.
            let _ = stream.set_nodelay(true);
            let conversation =
                Conversation::new(stream, Some(peer), limits.clone(), shutdown.clone());
            let routes = routes.clone();
            open.spawn(async move {
                conversation.run(&routes).await;
                drop(place);
            });
        }
        drop(listener);
        let all_ended = places.acquire_many(limits.connections);
        if time::timeout(grace, all_ended).await.is_ok() {
            return 0;
        }
        limits.connections - places.available_permits()
    }
}

/// The tasks of the connections that are open; dropped, it aborts them.
///
/// Rejected: a token that each of them runs under. It would be asked at every poll,
/// for what happens once, if at all.
#[derive(Default)]
struct Open {
    last: Cell<u64>,
    tasks: Rc<RefCell<HashMap<u64, AbortHandle>>>,
}

/// Takes a task's entry out when the task ends, in whatever way.
struct Entry {
    number: u64,
    tasks: Rc<RefCell<HashMap<u64, AbortHandle>>>,
}

impl Open {
    fn spawn(&self, connection: impl Future<Output = ()> + 'static) {
        let number = self.last.get() + 1;
        self.last.set(number);
        let tasks = self.tasks.clone();
        let entry = Entry { number, tasks };
        // It begins in a later turn, so its entry is there when it ends.
        let task = runtime::spawn(async move {
            connection.await;
            drop(entry);
        });
        self.tasks.borrow_mut().insert(number, task.abort_handle());
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.tasks.borrow_mut().remove(&self.number);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let tasks = self.tasks.take();
        tasks
            .values()
            .for_each(|task| task.abort_with("the server has ended"));
    }
}

/// Whether accepting failed because of that one connection.
fn is_of_the_peer(e: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        e.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::Interrupted
            | Kind::PermissionDenied
    )
}
