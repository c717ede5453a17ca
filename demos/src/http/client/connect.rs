//! From a URL's origin to an open connection: name, TCP, TLS.

use std::io;
use std::time::Duration;

use futures_rustls::TlsConnector;
use rustls::pki_types::ServerName;
use threeply_runtime::net::{ResolveError, TcpStream};
use threeply_runtime::time;

use super::connection::Connection;
use super::pool::Origin;
use crate::http::error::{Error, Phase};
use crate::http::stream::Stream;

/// Connects within `limit`, the name's look-up and the TLS handshake included;
/// without a connector, there is none.
///
/// Cancel-safe: a connection that is dropped half-made is closed.
///
/// # Errors
/// [`Error::Resolve`], [`Error::Refused`], [`Error::Connect`], [`Error::Tls`],
/// or [`Error::Timeout`].
pub async fn connect(
    origin: &Origin,
    tls: Option<&TlsConnector>,
    limit: Duration,
) -> Result<Connection<Stream>, Error> {
    match time::timeout(limit, open(origin, tls)).await {
        Ok(opened) => Ok(Connection::new(opened?, &origin.host)),
        Err(_elapsed) => Err(Error::Timeout {
            phase: Phase::Connect,
            limit,
        }),
    }
}

async fn open(origin: &Origin, tls: Option<&TlsConnector>) -> Result<Stream, Error> {
    // A URL has an IPv6 address in brackets; names and sockets don't.
    let host = origin.host.trim_start_matches('[').trim_end_matches(']');
    let tcp = TcpStream::connect((host, origin.port)).await.map_err(|e| {
        if ResolveError::is(&e) {
            Error::Resolve {
                host: origin.host.clone(),
                source: Some(e),
            }
        } else {
            Error::on_connect(format!("{}:{}", origin.host, origin.port), e)
        }
    })?;
    // A request is written in one piece; waiting for more helps nobody.
    tcp.set_nodelay(true).map_err(Error::Io)?;
    let Some(tls) = tls else {
        return Ok(Stream::Plain(tcp));
    };
    let failed = |e: io::Error| match Error::on_connection(&origin.host, e) {
        Error::Lost { source } | Error::Io(source) => Error::Tls {
            host: origin.host.clone(),
            source: Box::new(source),
        },
        other => other,
    };
    let name = ServerName::try_from(host.to_owned()).map_err(|e| Error::Tls {
        host: origin.host.clone(),
        source: Box::new(e),
    })?;
    let stream = tls.connect(name, tcp).await.map_err(failed)?;
    Ok(Stream::Tls(Box::new(stream)))
}
