//! The cookies of a session.
//!
//! Which cookie goes where, and until when, is `cookie_store`'s knowledge
//! (RFC 6265). Ours is what bounds it: a server may not fill our memory, and may
//! not set a cookie for everybody under a bare suffix such as `com`. There is no
//! list of public suffixes beyond that: a site under `co.uk` could set a cookie
//! for all of `co.uk`.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use cookie_store::{Cookie, CookieStore, RawCookie};
use http::{HeaderMap, HeaderValue, header};
use url::Url;

use crate::limits;

/// A jar of cookies, cheap to clone: clones are the same jar, so that several
/// clients may share one.
#[derive(Debug, Clone, Default)]
pub struct Cookies {
    store: Rc<RefCell<CookieStore>>,
}

impl Cookies {
    /// An empty jar.
    pub fn new() -> Cookies {
        Cookies::default()
    }

    /// Adds a cookie as if `url` had sent it in `Set-Cookie`; returns whether
    /// it was taken.
    pub fn set(&self, url: &Url, cookie: &str) -> bool {
        if cookie.len() > limits::MAX_COOKIE_BYTES {
            return false;
        }
        let Ok(parsed) = RawCookie::parse(cookie) else {
            return false;
        };
        if parsed
            .domain()
            .is_some_and(|domain| !may_be_shared(domain, url))
        {
            return false;
        }
        let Ok(cookie) = Cookie::try_from_raw_cookie(&parsed, url) else {
            return false;
        };
        let mut store = self.store.borrow_mut();
        let known = store.contains_any(&String::from(&cookie.domain), &cookie.path, cookie.name());
        if !known && store.iter_any().count() >= limits::MAX_COOKIES {
            let fresh = store.iter_unexpired().cloned().map(Ok::<_, Infallible>);
            let fresh =
                CookieStore::from_cookies(fresh, false).unwrap_or_else(|never| match never {});
            *store = fresh;
            if store.iter_any().count() >= limits::MAX_COOKIES {
                return false;
            }
        }
        store.insert(cookie.into_owned(), url).is_ok()
    }

    /// The value of the cookie `name` that a request to `url` would carry.
    pub fn get(&self, url: &Url, name: &str) -> Option<String> {
        let store = self.store.borrow();
        let mut values = store.get_request_values(url);
        values
            .find(|(each, _)| *each == name)
            .map(|(_, value)| value.to_owned())
    }

    /// How many cookies are kept that have not expired.
    pub fn len(&self) -> usize {
        self.store.borrow().iter_unexpired().count()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        self.store.borrow_mut().clear();
    }

    /// Keeps what a response from `url` sets.
    pub(super) fn receive(&self, url: &Url, headers: &HeaderMap) {
        for cookie in headers.get_all(header::SET_COOKIE) {
            // What is no text or no cookie is passed over, as browsers do.
            if let Ok(cookie) = std::str::from_utf8(cookie.as_bytes()) {
                self.set(url, cookie);
            }
        }
    }

    /// Adds what a request to `url` carries, behind what its `headers` say already.
    pub(super) fn send(&self, url: &Url, headers: &mut HeaderMap) {
        let store = self.store.borrow();
        let mut cookies = store.matches(url);
        // The longest path first, as the standard has it; then by name, so that
        // the same jar always says the same.
        cookies.sort_by(|a, b| {
            let length = b.path.len().cmp(&a.path.len());
            length.then_with(|| a.name().cmp(b.name()))
        });
        let mut parts: Vec<String> = Vec::new();
        if let Some(given) = headers
            .get(header::COOKIE)
            .and_then(|given| given.to_str().ok())
        {
            parts.push(given.to_owned());
        }
        parts.extend(
            cookies
                .iter()
                .map(|cookie| format!("{}={}", cookie.name(), cookie.value())),
        );
        if parts.is_empty() {
            return;
        }
        if let Ok(mut value) = HeaderValue::try_from(parts.join("; ")) {
            value.set_sensitive(true);
            headers.insert(header::COOKIE, value);
        }
    }
}

/// Whether a cookie may be for `domain` and all that is under it: not for a
/// bare suffix, unless that is the very host that sent it.
fn may_be_shared(domain: &str, url: &Url) -> bool {
    let domain = domain.trim_start_matches('.').trim_end_matches('.');
    domain.contains('.') || url.host_str() == Some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn sent(cookies: &Cookies, to: &str) -> String {
        let mut headers = HeaderMap::new();
        cookies.send(&url(to), &mut headers);
        headers
            .get(header::COOKIE)
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default()
    }

    #[test]
    fn a_cookie_goes_where_it_belongs_and_nowhere_else() {
        let cookies = Cookies::new();
        let home = url("https://www.a.test/shop/cart");
        for cookie in [
            "plain=1",
            "deep=2; Path=/shop/cart",
            "all=3; Domain=a.test; Path=/",
            "safe=4; Secure; Path=/",
        ] {
            assert!(cookies.set(&home, cookie), "{cookie}");
        }
        assert_eq!(
            sent(&cookies, "https://www.a.test/shop/cart"),
            "deep=2; plain=1; all=3; safe=4"
        );
        assert_eq!(
            sent(&cookies, "https://www.a.test/shop/other"),
            "plain=1; all=3; safe=4"
        );
        assert_eq!(sent(&cookies, "http://www.a.test/"), "all=3");
        assert_eq!(sent(&cookies, "https://other.a.test/"), "all=3");
        assert_eq!(sent(&cookies, "https://b.test/shop/cart"), "");
        assert_eq!(cookies.get(&home, "plain").as_deref(), Some("1"));
        assert_eq!(cookies.len(), 4);
    }

    #[test]
    fn nobody_sets_a_cookie_for_others_or_without_end() {
        let cookies = Cookies::new();
        let home = url("http://a.test/");
        for cookie in [
            "x=1; Domain=b.test",
            "x=1; Domain=test",
            "x=1; Domain=.test",
            "no cookie",
            "",
        ] {
            assert!(!cookies.set(&home, cookie), "{cookie}");
        }
        assert!(!cookies.set(&home, &format!("x={}", "y".repeat(5_000))));
        for number in 0..limits::MAX_COOKIES + 10 {
            cookies.set(&home, &format!("c{number}=1; Path=/"));
        }
        assert_eq!(cookies.len(), limits::MAX_COOKIES);
        assert!(cookies.set(&home, "c0=2; Path=/"), "a known one is renewed");
        assert_eq!(cookies.get(&home, "c0").as_deref(), Some("2"));
    }

    #[test]
    fn an_expired_cookie_is_gone() {
        let cookies = Cookies::new();
        let home = url("http://a.test/");
        assert!(cookies.set(&home, "x=1"));
        cookies.set(&home, "x=1; Max-Age=0");
        assert_eq!(
            (sent(&cookies, "http://a.test/").as_str(), cookies.len()),
            ("", 0)
        );
        assert!(cookies.set(&home, "x=2; Max-Age=60"));
        cookies.clear();
        assert!(cookies.is_empty());
    }

    #[test]
    fn what_a_request_says_itself_comes_first() {
        let cookies = Cookies::new();
        cookies.set(&url("http://a.test/"), "jar=1");
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, "mine=0".parse().unwrap());
        cookies.send(&url("http://a.test/"), &mut headers);
        assert_eq!(headers[header::COOKIE], "mine=0; jar=1");
    }
}
