//! Why a request failed, in words that say what to do.
//!
//! The blocking client (`ureq`) and ours on the event loop report the same
//! failures in the same words, so that a reader compares engines and not
//! messages.

use std::fmt;
use std::io;
use std::time::Duration;

/// Why a URL can't be requested at all.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlFault {
    /// `example.com/page`: nothing says which protocol to speak.
    NoScheme,
    /// A scheme other than `http` and `https`.
    Scheme(String),
    /// `http:///page`: nobody to ask.
    NoHost,
    /// Not a URL; the parser's own reason.
    Malformed(String),
}

/// Which part of a request ran out of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Finding the host's addresses.
    Resolve,
    /// Connecting, the TLS handshake included.
    Connect,
    /// Waiting for the next bytes.
    Read,
    /// The request as a whole, redirects included.
    Total,
}

/// Why a request failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The URL can't be requested.
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        fault: UrlFault,
    },
    /// The host's name has no address.
    Resolve {
        /// The name that was looked up.
        host: String,
        /// The resolver's reason, where it gave one.
        source: Option<io::Error>,
    },
    /// Nobody listens on that port.
    Refused {
        /// Host and port.
        to: String,
    },
    /// The connection could not be made for another reason.
    Connect {
        /// Host and port.
        to: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// It took too long.
    Timeout {
        /// Which part.
        phase: Phase,
        /// The limit that was reached.
        limit: Duration,
    },
    /// The TLS handshake failed: mostly a certificate that isn't trusted.
    Tls {
        /// Whom we meant to talk to.
        host: String,
        /// What TLS said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The peer closed or reset the connection before the response was whole.
    Lost {
        /// The operating system's reason.
        source: io::Error,
    },
    /// What came back isn't HTTP, or breaks its rules.
    Protocol(String),
    /// The server sends us round and round.
    TooManyRedirects {
        /// How many were followed.
        limit: u32,
    },
    /// The response is larger than allowed.
    TooLarge {
        /// What may be at most, in bytes.
        limit: u64,
        /// What it is that is too large, as in "body".
        what: &'static str,
    },
    /// The body's compression or charset can't be undone.
    Decode(String),
    /// A status that isn't success, where success was asked for.
    Status(http::StatusCode),
    /// The file that the body goes to, or comes from, failed.
    File {
        /// Its name.
        path: std::path::PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// What came is not what was expected.
    Checksum {
        /// What it should have been.
        expected: super::client::Sha256,
        /// What it is.
        got: super::client::Sha256,
    },
    /// Any other failure of the operating system.
    Io(io::Error),
}

impl Error {
    /// Turns an I/O error that happened on an open connection into the failure
    /// that it means.
    pub fn on_connection(host: &str, source: io::Error) -> Error {
        use io::ErrorKind as Kind;
        if source
            .get_ref()
            .is_some_and(|inner| inner.is::<rustls::Error>())
        {
            return Error::Tls {
                host: host.to_owned(),
                source: source.into_inner().expect("checked above"),
            };
        }
        match source.kind() {
            Kind::UnexpectedEof
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe => Error::Lost { source },
            _ => Error::Io(source),
        }
    }

    /// Turns a failed connect into the failure that it means.
    pub fn on_connect(to: String, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::ConnectionRefused => Error::Refused { to },
            _ => Error::Connect { to, source },
        }
    }

    /// The failure of the blocking client, in our words. `target` is `host:port`.
    pub fn from_ureq(source: ureq::Error, url: &url::Url, limit: Duration) -> Error {
        let host = url.host_str().unwrap_or_default().to_owned();
        let to = super::target::authority(url);
        match source {
            ureq::Error::Io(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                Error::Refused { to }
            }
            ureq::Error::Io(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable
                ) =>
            {
                Error::Connect { to, source: e }
            }
            // std has no kind for it, only these words.
            ureq::Error::Io(e) if e.to_string().starts_with("failed to lookup address") => {
                Error::Resolve {
                    host,
                    source: Some(e),
                }
            }
            ureq::Error::Io(e) => Error::on_connection(&host, e),
            ureq::Error::HostNotFound => Error::Resolve { host, source: None },
            ureq::Error::Rustls(e) => Error::Tls {
                host,
                source: Box::new(e),
            },
            ureq::Error::Timeout(phase) => Error::Timeout {
                phase: match phase {
                    ureq::Timeout::Resolve => Phase::Resolve,
                    ureq::Timeout::Connect => Phase::Connect,
                    ureq::Timeout::Global | ureq::Timeout::PerCall => Phase::Total,
                    _ => Phase::Read,
                },
                limit,
            },
            ureq::Error::TooManyRedirects => Error::TooManyRedirects {
                limit: crate::limits::MAX_REDIRECTS,
            },
            ureq::Error::LargeResponseHeader(_, limit) => Error::TooLarge {
                limit: limit as u64,
                what: "head",
            },
            ureq::Error::BodyExceedsLimit(limit) => Error::TooLarge {
                limit,
                what: "body",
            },
            ureq::Error::Decompress(how, e) => Error::Decode(format!("{how}: {e}")),
            other => Error::Protocol(other.to_string()),
        }
    }
}

impl fmt::Display for UrlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlFault::NoScheme => {
                f.write_str("it has no scheme; begin it with http:// or https://")
            }
            UrlFault::Scheme(scheme) => {
                write!(f, "{scheme}: can't be fetched; only http and https can")
            }
            UrlFault::NoHost => f.write_str("it names no host"),
            UrlFault::Malformed(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Url { url, fault } => write!(f, "cannot use the URL {url:?}: {fault}"),
            Error::Resolve { host, source: None } => {
                write!(
                    f,
                    "no address found for {host}; check the name and the network"
                )
            }
            Error::Resolve {
                host,
                source: Some(e),
            } => {
                write!(
                    f,
                    "no address found for {host} ({e}); check the name and the network"
                )
            }
            Error::Refused { to } => {
                write!(f, "connection refused by {to}; is a server running there?")
            }
            Error::Connect { to, source } => write!(f, "cannot connect to {to}: {source}"),
            Error::Timeout { phase, limit } => {
                let what = match phase {
                    Phase::Resolve => "the name was not resolved",
                    Phase::Connect => "no connection",
                    Phase::Read => "no answer",
                    Phase::Total => "not finished",
                };
                write!(
                    f,
                    "{what} within {limit:?}; try again or allow more with --timeout"
                )
            }
            Error::Tls { host, source } => {
                write!(
                    f,
                    "no trusted connection to {host}: {source}; if its authority is your own, name it with --cacert"
                )
            }
            Error::Lost { source } if source.kind() == io::ErrorKind::ConnectionReset => {
                f.write_str("the server reset the connection before its answer was whole")
            }
            Error::Lost { .. } => {
                f.write_str("the server closed the connection before its answer was whole")
            }
            Error::Protocol(why) => write!(f, "the answer is not valid HTTP: {why}"),
            Error::TooManyRedirects { limit } => write!(f, "gave up after {limit} redirects"),
            Error::TooLarge { limit, what } => {
                write!(f, "the response's {what} is larger than {limit} bytes")
            }
            Error::Decode(why) => write!(f, "the response's body can't be decoded: {why}"),
            Error::Status(status) => write!(f, "the server answered {status}"),
            Error::File { path, source } => write!(f, "file {}: {source}", path.display()),
            Error::Checksum { expected, got } => write!(
                f,
                "what came has the SHA-256 {got}, not {expected}: it was damaged or replaced; it was thrown away"
            ),
            Error::Io(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Resolve {
                source: Some(e), ..
            }
            | Error::Connect { source: e, .. }
            | Error::Lost { source: e }
            | Error::File { source: e, .. }
            | Error::Io(e) => Some(e),
            Error::Tls { source, .. } => Some(&**source),
            _ => None,
        }
    }
}
