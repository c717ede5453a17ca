//! What a URL must be before anything is sent.

use url::Url;

use super::error::{Error, UrlFault};

/// Parses an `http` or `https` URL with a host.
///
/// # Errors
/// [`Error::Url`] that says what is wrong: no scheme, another scheme, no host.
pub fn parse(text: &str) -> Result<Url, Error> {
    let fault = |fault| Error::Url {
        url: text.to_owned(),
        fault,
    };
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => return Err(fault(UrlFault::NoScheme)),
        Err(url::ParseError::EmptyHost) => return Err(fault(UrlFault::NoHost)),
        Err(e) => return Err(fault(UrlFault::Malformed(e.to_string()))),
    };
    match url.scheme() {
        "http" | "https" => {}
        // `localhost:8000/x` parses as the scheme "localhost".
        _ if !text.contains("://") => return Err(fault(UrlFault::NoScheme)),
        other => return Err(fault(UrlFault::Scheme(other.to_owned()))),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(fault(UrlFault::NoHost));
    }
    Ok(url)
}

/// `host:port` as a person would write it.
pub fn authority(url: &Url) -> String {
    match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        _ => url.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_scheme_says_so() {
        for text in [
            "example.com",
            "example.com/page",
            "localhost:8000/x",
            "//example.com",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("begin it with http://"), "{text}: {error}");
        }
    }

    #[test]
    fn only_http_and_https_with_a_host_are_taken() {
        for text in [
            "ftp://example.com",
            "file:///etc/passwd",
            "http://",
            "http://[::1",
            "http://a b/",
            "mailto:x@y",
        ] {
            assert!(parse(text).is_err(), "{text} was taken");
        }
        assert_eq!(
            authority(&parse("https://example.com/x?y#z").unwrap()),
            "example.com:443"
        );
        assert_eq!(authority(&parse("http://[::1]:81/").unwrap()), "[::1]:81");
    }
}
