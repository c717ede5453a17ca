//! The client: what many requests have in common.
//!
//! A [`Client`] belongs to one event loop and is cheap to clone. It keeps
//! connections alive, bounds how many are open (in all, and to each server),
//! follows redirects and tries again what may succeed later.
//!
//! ```text
//! send ──▶ try ──▶ hop ──▶ permit (total, host) ──▶ pool or connect ──▶ exchange
//!           ▲       ▲                                                     │
//!           │       └──────────── redirect ◀──────────────────────────────┤
//!           └──────────────────── may pass: wait, again ◀─────────────────┘
//! ```
//!
//! Rejected: a task a connection with channels between, as hyper has it. It
//! buys HTTP/2's multiplexing, which HTTP/1.1 has no use for, at the price of
//! two hand-overs a request.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use futures_rustls::TlsConnector;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use threeply_runtime::sync::local::{OwnedSemaphorePermit, Semaphore};
use threeply_runtime::time;
use url::Url;

use super::connection::{BodyState, Connection, Payload};
use super::cookies::Cookies;
use super::pool::{Origin, Pool};
use super::request::{Draft, Patience, RequestBuilder};
use super::response::{Body, Hop, Response};
use super::retry::Retry;
use super::tls::Tls;
use super::{connect, decode, redirect, retry};
use crate::http::USER_AGENT;
use crate::http::error::{Error, Phase};
use crate::http::stream::Stream;
use crate::limits;

/// What a client may take, and how patient it is.
#[derive(Debug, Clone)]
pub struct Config {
    /// Connections at once, to all servers together.
    pub connections: usize,
    /// Connections at once to each server.
    pub connections_per_host: usize,
    /// Idle connections that are kept for later; 0 closes each after use.
    pub idle: usize,
    /// How long an idle connection is kept.
    pub idle_age: Duration,
    /// The limit for a connection to be made: name, TCP and TLS.
    pub connect_timeout: Duration,
    /// The limit for the next bytes of a response to come.
    pub read_timeout: Duration,
    /// The limit for a whole request, redirects, retries and body included.
    pub total_timeout: Option<Duration>,
    /// Redirects that are followed.
    pub redirects: u32,
    /// When to try again.
    pub retry: Retry,
    /// The most that a body may weigh when it is read into memory, decoded.
    pub body_bytes: u64,
    /// Whether compressed bodies are asked for and undone.
    pub compression: bool,
    /// The jar for cookies; `None` neither keeps nor sends any.
    pub cookies: Option<Cookies>,
    /// Whom we trust.
    pub tls: Tls,
    /// Headers of every request.
    pub headers: HeaderMap,
}

impl Default for Config {
    fn default() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        Config {
            connections: limits::CLIENT_CONNECTIONS,
            connections_per_host: limits::CLIENT_CONNECTIONS,
            idle: limits::CLIENT_IDLE_CONNECTIONS,
            idle_age: limits::CLIENT_IDLE_AGE,
            connect_timeout: limits::CONNECT_TIMEOUT,
            read_timeout: limits::DOWNLOAD_TIMEOUT,
            total_timeout: None,
            redirects: limits::MAX_REDIRECTS,
            retry: Retry::default(),
            body_bytes: limits::MAX_BODY_BYTES,
            compression: true,
            cookies: Some(Cookies::new()),
            tls: Tls::default(),
            headers,
        }
    }
}

/// An HTTP client with its connections; `requests.Session`, `aiohttp.ClientSession`.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    /// Made when first needed: parsing 150 root certificates takes a while.
    tls: OnceCell<TlsConnectorCell>,
    pool: Rc<RefCell<Pool>>,
    all: Rc<Semaphore>,
    /// How many connections were opened since the start.
    made: Cell<u64>,
    /// One for each server that a request is under way to.
    hosts: RefCell<HashMap<Origin, Rc<Semaphore>>>,
}

/// A connector, which can't be shown.
struct TlsConnectorCell(TlsConnector);

impl std::fmt::Debug for TlsConnectorCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsConnector")
    }
}

/// A connection in use: the right to have one, and the way back to the pool.
#[derive(Debug)]
pub struct Lease {
    pub(super) connection: Connection<Stream>,
    origin: Origin,
    pool: Rc<RefCell<Pool>>,
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Lease {
    /// Gives the connection back for the next request.
    pub(super) fn give_back(self) {
        self.pool.borrow_mut().put(self.origin, self.connection);
    }
}

impl Default for Client {
    fn default() -> Self {
        Client::new(Config::default())
    }
}

impl Client {
    /// A client. Nothing is connected, read or started yet.
    pub fn new(config: Config) -> Client {
        Client {
            inner: Rc::new(Inner {
                pool: Rc::new(RefCell::new(Pool::new(config.idle, config.idle_age))),
                all: Rc::new(Semaphore::new(config.connections.max(1))),
                hosts: RefCell::new(HashMap::new()),
                made: Cell::new(0),
                tls: OnceCell::new(),
                config,
            }),
        }
    }

    /// A GET of `url`.
    pub fn get(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A POST to `url`.
    pub fn post(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A request of any method. A bad URL is reported by `send`.
    pub fn request(&self, method: Method, url: impl AsRef<str>) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, url.as_ref())
    }

    /// What the client may take.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// How many idle connections are kept now.
    pub fn idle_connections(&self) -> usize {
        self.inner.pool.borrow().len()
    }

    /// How many connections were opened since the client was made.
    pub fn connections_made(&self) -> u64 {
        self.inner.made.get()
    }

    pub(super) async fn send(&self, draft: Draft) -> Result<Response, Error> {
        let deadline = draft.total.map(|limit| (time::now() + limit, limit));
        let tries = self.tries(draft, deadline);
        match deadline {
            None => tries.await,
            Some((at, limit)) => time::timeout_at(at, tries)
                .await
                .unwrap_or(Err(Error::Timeout {
                    phase: Phase::Total,
                    limit,
                })),
        }
    }

    async fn tries(
        &self,
        mut draft: Draft,
        deadline: Option<(Instant, Duration)>,
    ) -> Result<Response, Error> {
        let retry = draft.retry.clone();
        let repeatable =
            retry::is_repeatable(&draft.method) && !matches!(draft.payload, Payload::Reader(_));
        let mut tried = 0;
        loop {
            let outcome = self.follow(&mut draft, deadline).await;
            if tried >= retry.times || !repeatable {
                return outcome;
            }
            let asked = match outcome {
                Ok(response) if retry::is_for_later(response.status()) => {
                    let asked = retry::retry_after(response.headers(), SystemTime::now());
                    // Read to its end, so that the next try has its connection.
                    response.discard().await;
                    asked
                }
                Err(e) if retry::may_pass(&e) => None,
                outcome => return outcome,
            };
            tried += 1;
            time::sleep(retry.wait(tried, asked)).await;
        }
    }

    /// One try: the request, and those that redirects make of it.
    async fn follow(
        &self,
        draft: &mut Draft,
        deadline: Option<(Instant, Duration)>,
    ) -> Result<Response, Error> {
        let mut url = draft.url.clone();
        let mut method = draft.method.clone();
        let mut headers = draft.headers.clone();
        let mut nothing = Payload::Empty;
        let mut with_body = true;
        let mut history = Vec::new();
        loop {
            let patience = Patience {
                deadline,
                ..draft.patience
            };
            let payload = if with_body {
                &mut draft.payload
            } else {
                &mut nothing
            };
            let mut response = self.hop(&method, &url, &headers, payload, patience).await?;
            if let Some(cookies) = &self.inner.config.cookies {
                cookies.receive(&url, response.headers());
            }
            let next = redirect::target(&url, response.status(), response.headers())?;
            let Some(next) = next.filter(|_| draft.redirects > 0) else {
                response.set_history(history);
                return Ok(response);
            };
            if history.len() as u32 >= draft.redirects {
                return Err(Error::TooManyRedirects {
                    limit: draft.redirects,
                });
            }
            let (next_method, keeps_body) = redirect::method(response.status(), &method);
            with_body &= keeps_body;
            if with_body && matches!(draft.payload, Payload::Reader(_)) {
                return Err(Error::Protocol(
                    "a redirect asks for the body again, which was streamed".into(),
                ));
            }
            redirect::strip(&mut headers, &url, &next, with_body);
            history.push(Hop {
                status: response.status(),
                url: url.clone(),
            });
            // A short body is read so that the connection can be kept.
            response.discard().await;
            (url, method) = (next, next_method);
        }
    }

    /// One request and the head of its response.
    async fn hop(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        payload: &mut Payload,
        patience: Patience,
    ) -> Result<Response, Error> {
        let origin = Origin::of(url);
        let permits = self.permits(&origin).await;
        let mut permits = Some(permits);
        loop {
            let kept = self.inner.pool.borrow_mut().take(&origin);
            let old = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => {
                    let made =
                        connect::connect(&origin, self.tls_for(&origin)?, patience.connect).await?;
                    self.inner.made.set(self.inner.made.get() + 1);
                    made
                }
            };
            let request = self.request_for(method, url, headers, payload)?;
            let exchange = connection.exchange(request, payload);
            match time::timeout(patience.read, exchange).await {
                Ok(Ok((head, state))) => {
                    let lease = Lease {
                        connection,
                        origin,
                        pool: self.inner.pool.clone(),
                        _permits: permits.take().expect("taken once, on the way out"),
                    };
                    return self.response(url, head, lease, state, patience);
                }
                // The server closed an idle connection just as we used it.
                // Nothing was answered, so nothing was done.
                Ok(Err(Error::Lost { .. }))
                    if old
                        && !connection.heard_anything()
                        && retry::is_repeatable(method)
                        && !matches!(payload, Payload::Reader(_)) => {}
                Ok(Err(e)) => return Err(e),
                Err(_elapsed) => {
                    return Err(Error::Timeout {
                        phase: Phase::Read,
                        limit: patience.read,
                    });
                }
            }
        }
    }

    async fn permits(&self, origin: &Origin) -> (OwnedSemaphorePermit, OwnedSemaphorePermit) {
        let host = {
            let mut hosts = self.inner.hosts.borrow_mut();
            // Those nobody uses or waits for are forgotten, or a crawler's
            // memory would grow with every host it ever met.
            if hosts.len() > limits::CLIENT_HOSTS_KEPT {
                hosts.retain(|_, semaphore| Rc::strong_count(semaphore) > 1);
            }
            hosts
                .entry(origin.clone())
                .or_insert_with(|| {
                    Rc::new(Semaphore::new(
                        self.inner.config.connections_per_host.max(1),
                    ))
                })
                .clone()
        };
        // The host's first: whoever waits for a busy server holds up nobody else.
        let host = host.acquire_owned().await.expect("never closed");
        let all = self
            .inner
            .all
            .clone()
            .acquire_owned()
            .await
            .expect("never closed");
        (host, all)
    }

    fn request_for(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        payload: &Payload,
    ) -> Result<Request<()>, Error> {
        let mut target = url.clone();
        target.set_fragment(None);
        // Credentials in a URL are for the Authorization header.
        let _ = target.set_username("");
        let _ = target.set_password(None);
        let uri: Uri = target
            .as_str()
            .parse()
            .map_err(|e: http::uri::InvalidUri| Error::Protocol(e.to_string()))?;
        let mut request = Request::new(());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers.clone();
        if let Some(cookies) = &self.inner.config.cookies {
            cookies.send(url, request.headers_mut());
        }
        if let Payload::Bytes(bytes) = payload {
            request
                .headers_mut()
                .insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        Ok(request)
    }

    fn response(
        &self,
        url: &Url,
        head: http::Response<()>,
        lease: Lease,
        state: BodyState,
        patience: Patience,
    ) -> Result<Response, Error> {
        let encoding = head.headers().get(header::CONTENT_ENCODING);
        let has_body = matches!(state, BodyState::Receiving(_));
        let decoder = match encoding.filter(|_| patience.decode && has_body) {
            Some(encoding) => {
                decode::Decoder::for_encoding(&String::from_utf8_lossy(encoding.as_bytes()))?
            }
            None => decode::Decoder::Identity,
        };
        let announced = head.headers().get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        let body = Body::new(lease, state, decoder, patience, announced);
        Ok(Response::new(url.clone(), head, body))
    }

    /// The connector, if the origin needs one: it is made when first used.
    fn tls_for(&self, origin: &Origin) -> Result<Option<&TlsConnector>, Error> {
        if !origin.secure {
            return Ok(None);
        }
        if let Some(cell) = self.inner.tls.get() {
            return Ok(Some(&cell.0));
        }
        let connector = self.inner.config.tls.connector()?;
        Ok(Some(
            &self.inner.tls.get_or_init(|| TlsConnectorCell(connector)).0,
        ))
    }
}
