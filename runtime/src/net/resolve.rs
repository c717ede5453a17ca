//! From what people write (`"example.org:80"`) to socket addresses.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::unblock;

/// What can be turned into socket addresses; the counterpart of the standard
/// library's trait of this name, whose only method would block the loop.
///
/// Addresses are taken as they are. Only names are looked up, by the system's
/// resolver (`getaddrinfo`, so `/etc/hosts` counts) on the blocking pool.
pub trait ToSocketAddrs {
    /// What is to be looked up, if anything.
    ///
    /// # Errors
    /// `InvalidInput` if it can't be an address or a name with a port.
    fn to_target(&self) -> io::Result<Target>;
}

/// What a [`ToSocketAddrs`] asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Addresses, as they are.
    Addresses(Vec<SocketAddr>),
    /// A name to look up, and a port.
    Name(String, u16),
}

/// A name that has no address, or couldn't be looked up: the source inside of the
/// [`io::Error`] (kind `NotFound`) that functions here return.
#[derive(Debug)]
pub struct ResolveError {
    /// The name.
    pub name: String,
    /// What the resolver says.
    pub reason: String,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot find an address of `{}`: {}",
            self.name, self.reason
        )
    }
}

impl std::error::Error for ResolveError {}

impl ResolveError {
    /// Whether `error` comes from looking a name up.
    #[must_use]
    pub fn is(error: &io::Error) -> bool {
        error
            .get_ref()
            .is_some_and(|inner| inner.is::<ResolveError>())
    }
}

/// All addresses of `target`, in the resolver's order of preference; at least one.
///
/// # Cancel safety
/// Safe. A look-up that has begun goes on in its thread, for nobody.
///
/// # Errors
/// A [`ResolveError`]; `InvalidInput` if the port is missing.
pub async fn lookup_host(target: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    let (name, port) = match target.to_target()? {
        Target::Addresses(list) if list.is_empty() => {
            return Err(invalid("no address was given".to_owned()));
        }
        Target::Addresses(list) => return Ok(list),
        Target::Name(name, port) => (name, port),
    };
    let query = name.clone();
    let answer = unblock(move || {
        use std::net::ToSocketAddrs;
        (query.as_str(), port)
            .to_socket_addrs()
            .map(Iterator::collect::<Vec<SocketAddr>>)
    });
    let reason = match answer.await? {
        Ok(list) if !list.is_empty() => return Ok(list),
        Ok(_) => "it has none".to_owned(),
        Err(error) => error.to_string(),
    };
    let error = ResolveError { name, reason };
    Err(io::Error::new(io::ErrorKind::NotFound, error))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

fn name_or_address(host: &str, port: u16) -> Target {
    // `[::1]` is how URLs write it.
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(ip) => Target::Addresses(vec![SocketAddr::new(ip, port)]),
        Err(_) => Target::Name(host.to_owned(), port),
    }
}

impl ToSocketAddrs for str {
    fn to_target(&self) -> io::Result<Target> {
        if let Ok(address) = self.parse::<SocketAddr>() {
            return Ok(Target::Addresses(vec![address]));
        }
        let split = self
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse().ok()?)));
        match split {
            Some((host, port)) if !host.is_empty() => Ok(name_or_address(host, port)),
            _ => Err(invalid(format!(
                "`{self}` is no address: write `host:port`, with a port below 65536"
            ))),
        }
    }
}

impl ToSocketAddrs for String {
    fn to_target(&self) -> io::Result<Target> {
        self.as_str().to_target()
    }
}

impl ToSocketAddrs for (&str, u16) {
    fn to_target(&self) -> io::Result<Target> {
        Ok(name_or_address(self.0, self.1))
    }
}

impl ToSocketAddrs for (String, u16) {
    fn to_target(&self) -> io::Result<Target> {
        Ok(name_or_address(&self.0, self.1))
    }
}

impl ToSocketAddrs for [SocketAddr] {
    fn to_target(&self) -> io::Result<Target> {
        Ok(Target::Addresses(self.to_vec()))
    }
}

impl ToSocketAddrs for Vec<SocketAddr> {
    fn to_target(&self) -> io::Result<Target> {
        self.as_slice().to_target()
    }
}

impl<const N: usize> ToSocketAddrs for [SocketAddr; N] {
    fn to_target(&self) -> io::Result<Target> {
        self.as_slice().to_target()
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    fn to_target(&self) -> io::Result<Target> {
        (**self).to_target()
    }
}

/// Everything that the standard library turns into one address.
macro_rules! single_address {
    ($($type:ty),*) => {$(
        impl ToSocketAddrs for $type {
            fn to_target(&self) -> io::Result<Target> {
                Ok(Target::Addresses(vec![SocketAddr::from(*self)]))
            }
        }
    )*};
}
single_address!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_no_lookup_and_names_do() {
        let one: SocketAddr = "127.0.0.1:80".parse().unwrap();
        assert_eq!(
            "127.0.0.1:80".to_target().unwrap(),
            Target::Addresses(vec![one])
        );
        assert_eq!(
            ("127.0.0.1", 80).to_target().unwrap(),
            Target::Addresses(vec![one])
        );
        let six: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(
            ("[::1]", 80).to_target().unwrap(),
            Target::Addresses(vec![six])
        );
        let name = Target::Name("example.org".to_owned(), 443);
        assert_eq!("example.org:443".to_target().unwrap(), name);
    }

    #[test]
    fn a_missing_port_says_what_to_write() {
        for bad in ["example.org", ":80", "example.org:99999", ""] {
            let error = bad.to_target().unwrap_err();
            assert!(error.to_string().contains("host:port"), "{error}");
        }
    }
}
