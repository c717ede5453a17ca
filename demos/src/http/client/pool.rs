//! Idle connections, kept for the next request to the same server.

use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_io::AsyncRead;
use url::Url;

use super::connection::Connection;
use crate::http::stream::Stream;

/// What a connection is good for: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Whether TLS is spoken.
    pub secure: bool,
    /// Name or address, as in the URL.
    pub host: String,
    /// The port, given or usual.
    pub port: u16,
}

impl Origin {
    /// The origin of a URL that [`crate::http::target::parse`] has accepted.
    pub fn of(url: &Url) -> Origin {
        Origin {
            secure: url.scheme() == "https",
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default().unwrap_or_default(),
        }
    }
}

/// Idle connections by origin, the freshest used first.
///
/// Fields are touched by the owning client's loop alone.
#[derive(Debug)]
pub struct Pool {
    idle: HashMap<Origin, Vec<Idle>>,
    /// How many are idle in all.
    count: usize,
    most: usize,
    max_age: Duration,
}

#[derive(Debug)]
struct Idle {
    connection: Connection<Stream>,
    since: Instant,
}

impl Pool {
    /// A pool of at most `most` connections, each idle for at most `max_age`.
    pub fn new(most: usize, max_age: Duration) -> Pool {
        Pool {
            idle: HashMap::new(),
            count: 0,
            most,
            max_age,
        }
    }

    /// A connection that is still open as far as we can know. O(dead ones).
    pub fn take(&mut self, origin: &Origin) -> Option<Connection<Stream>> {
        let idle = self.idle.get_mut(origin)?;
        let mut found = None;
        while let Some(candidate) = idle.pop() {
            self.count -= 1;
            let Idle {
                mut connection,
                since,
            } = candidate;
            if since.elapsed() <= self.max_age && is_quiet(connection.stream_mut()) {
                found = Some(connection);
                break;
            }
        }
        if idle.is_empty() {
            self.idle.remove(origin);
        }
        found
    }

    /// Keeps a connection, or closes it when enough are kept.
    pub fn put(&mut self, origin: Origin, connection: Connection<Stream>) {
        if self.count >= self.most {
            self.forget_old();
        }
        if self.count < self.most {
            self.count += 1;
            self.idle.entry(origin).or_default().push(Idle {
                connection,
                since: Instant::now(),
            });
        }
    }

    /// How many connections are kept.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn forget_old(&mut self) {
        let max_age = self.max_age;
        self.idle.retain(|_, idle| {
            idle.retain(|each| each.since.elapsed() <= max_age);
            !idle.is_empty()
        });
        self.count = self.idle.values().map(Vec::len).sum();
    }
}

/// Whether an idle stream has nothing to say: one that is readable has been
/// closed by the server, or holds bytes that nobody asked for.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut nothing = [0; 1];
    let mut cx = Context::from_waker(Waker::noop());
    matches!(
        Pin::new(stream).poll_read(&mut cx, &mut nothing),
        Poll::Pending
    )
}
