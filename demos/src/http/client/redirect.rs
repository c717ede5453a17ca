//! Where a redirect leads, and what may come along.

use http::{HeaderMap, Method, StatusCode, header};
use url::Url;

use super::pool::Origin;
use crate::http::error::Error;
use crate::http::target;

/// The headers that only the site they were meant for may see.
const CREDENTIALS: [header::HeaderName; 3] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
];

/// The headers that describe a body.
const OF_THE_BODY: [header::HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
];

/// The URL that a response sends us to, or `None` if it is not a redirect.
///
/// # Errors
/// [`Error::Protocol`] when it names no usable URL.
pub fn target(url: &Url, status: StatusCode, headers: &HeaderMap) -> Result<Option<Url>, Error> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = headers.get(header::LOCATION) else {
        return Ok(None);
    };
    let unusable = |why: String| {
        Error::Protocol(format!(
            "the server redirects to a URL that can't be used: {why}"
        ))
    };
    let location = std::str::from_utf8(location.as_bytes()).map_err(|e| unusable(e.to_string()))?;
    let mut next = url.join(location).map_err(|e| unusable(e.to_string()))?;
    if next.fragment().is_none() {
        next.set_fragment(url.fragment());
    }
    target::parse(next.as_str())
        .map_err(|e| unusable(e.to_string()))
        .map(Some)
}

/// The method of the next request, and whether the body goes along.
pub fn method(status: StatusCode, method: &Method) -> (Method, bool) {
    match status.as_u16() {
        // What browsers have always done, and the standard now allows.
        301 | 302 if *method == Method::POST => (Method::GET, false),
        303 if *method != Method::HEAD => (Method::GET, false),
        _ => (method.clone(), true),
    }
}

/// Drops the headers that must not be sent along.
pub fn strip(headers: &mut HeaderMap, from: &Url, to: &Url, with_body: bool) {
    if Origin::of(from) != Origin::of(to) {
        CREDENTIALS
            .iter()
            .for_each(|name| drop(headers.remove(name)));
    }
    if !with_body {
        OF_THE_BODY
            .iter()
            .for_each(|name| drop(headers.remove(name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(location: &str) -> Result<Option<Url>, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, location.parse().unwrap());
        target(
            &Url::parse("http://a.test/x/y?q#part").unwrap(),
            StatusCode::FOUND,
            &headers,
        )
    }

    #[test]
    fn locations_may_be_relative_and_keep_the_fragment() {
        for (location, expected) in [
            ("/z", "http://a.test/z#part"),
            ("z", "http://a.test/x/z#part"),
            ("../z#other", "http://a.test/z#other"),
            ("//b.test/", "http://b.test/#part"),
            ("https://b.test:444/", "https://b.test:444/#part"),
        ] {
            assert_eq!(follow(location).unwrap().unwrap().as_str(), expected);
        }
        assert!(follow("file:///etc/passwd").is_err());
        assert!(follow("http://").is_err());
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let url = |text| Url::parse(text).unwrap();
        let home = url("https://a.test/");
        for (to, kept) in [
            ("https://a.test/other", true),
            ("https://a.test:443/", true),
            ("http://a.test/", false),
            ("https://a.test:8443/", false),
            ("https://b.test/", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, "secret".parse().unwrap());
            headers.insert(header::ACCEPT, "*/*".parse().unwrap());
            strip(&mut headers, &home, &url(to), true);
            assert_eq!(headers.contains_key(header::AUTHORIZATION), kept, "{to}");
            assert!(headers.contains_key(header::ACCEPT));
        }
    }

    #[test]
    fn a_post_becomes_a_get_unless_told_to_stay() {
        let with = |status: u16, from: Method| method(StatusCode::from_u16(status).unwrap(), &from);
        assert_eq!(with(302, Method::POST), (Method::GET, false));
        assert_eq!(with(303, Method::PUT), (Method::GET, false));
        assert_eq!(with(303, Method::HEAD), (Method::HEAD, true));
        assert_eq!(with(307, Method::POST), (Method::POST, true));
        assert_eq!(with(301, Method::PUT), (Method::PUT, true));
    }
}
