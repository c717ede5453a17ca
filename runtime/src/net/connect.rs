//! Connecting: to one address, or to whichever of several answers first.
//!
//! A name often has an IPv6 and an IPv4 address of which one doesn't work. Trying
//! them one after the other makes people wait for the kernel's two minutes. The
//! remedy is RFC 8305's ("Happy Eyeballs"): alternate between the families, give
//! each attempt a head start of [`CONNECT_STAGGER`](crate::limits::CONNECT_STAGGER) before the next begins (or less, if it
//! fails), keep all of them going, take the first that succeeds, and close the
//! rest.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::tcp::TcpStream;
use crate::time::{Sleep, sleep};

/// Connects to one address.
///
/// # Errors
/// The kernel's.
pub(super) async fn one(address: SocketAddr) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    let begun = socket.connect(&address.into());
    let stream = TcpStream::from_nonblocking(socket.into());
    match begun {
        Ok(()) => return Ok(stream),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    stream.io().not_writable_yet();
    let connected = stream.io().write_with(|socket| {
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => Ok(()),
            // Woken for nothing; still on its way.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) => Err(error),
        }
    });
    connected.await?;
    Ok(stream)
}

/// Connects to whichever of `addresses` answers first.
///
/// # Errors
/// The last failure, if all have failed.
pub(super) async fn race(addresses: Vec<SocketAddr>, stagger: Duration) -> io::Result<TcpStream> {
    if let [address] = addresses[..] {
        return one(address).await;
    }
    first_success(interleave(addresses).into_iter().map(one), stagger).await
}

/// Alternates between the families, the first address's family first; the order
/// within a family stays.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else {
        return addresses;
    };
    let (preferred, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first);
    let mut mixed = Vec::with_capacity(preferred.len() + other.len());
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    loop {
        let pair = (preferred.next(), other.next());
        if pair == (None, None) {
            return mixed;
        }
        mixed.extend(pair.0);
        mixed.extend(pair.1);
    }
}

/// Begins the attempts one by one, `stagger` apart or as soon as one has failed,
/// and returns the first success. The others are dropped.
async fn first_success<T, F>(attempts: impl Iterator<Item = F>, stagger: Duration) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut attempts = attempts.fuse();
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    let mut head_start: Option<Pin<Box<Sleep>>> = None;
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no address was given");
    poll_fn(|cx| {
        loop {
            let mut begin = running.is_empty();
            let mut index = 0;
            while index < running.len() {
                match running[index].as_mut().poll(cx) {
                    Poll::Ready(Ok(value)) => return Poll::Ready(Ok(value)),
                    Poll::Ready(Err(error)) => {
                        failure = error;
                        begin = true;
                        drop(running.remove(index));
                    }
                    Poll::Pending => index += 1,
                }
            }
            if let Some(sleep) = &mut head_start
                && sleep.as_mut().poll(cx).is_ready()
            {
                head_start = None;
                begin = true;
            }
            if begin && let Some(attempt) = attempts.next() {
                running.push(Box::pin(attempt));
                head_start = Some(Box::pin(sleep(stagger)));
                continue; // Poll both.
            }
            if running.is_empty() {
                let none = io::Error::from(io::ErrorKind::Other);
                return Poll::Ready(Err(std::mem::replace(&mut failure, none)));
            }
            return Poll::Pending;
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_from_the_resolvers_favourite() {
        let addresses = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"];
        let parsed = addresses.map(|address| address.parse().unwrap());
        let mixed = interleave(parsed.to_vec());
        assert_eq!(mixed, [parsed[0], parsed[3], parsed[1], parsed[2]]);
        assert!(interleave(Vec::new()).is_empty());
    }
}
