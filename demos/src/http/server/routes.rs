//! Which function answers which request.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;

use super::headers::Headers;
use super::reply::Reply;

/// A whole request, its body included.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, percent-decoded.
    pub path: String,
    /// What follows the `?`, as it was sent.
    pub query: Option<String>,
    /// The headers.
    pub headers: Headers,
    /// The values of the route's `{names}`, in order.
    pub params: Vec<String>,
    /// The body.
    pub body: Vec<u8>,
    /// Who asks.
    pub peer: Option<SocketAddr>,
}

impl Request {
    /// The value of a field of the query, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.query.as_deref()?.as_bytes();
        url::form_urlencoded::parse(query)
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// A header as text, if it is ASCII, as it should be.
    pub fn header(&self, name: header::HeaderName) -> Option<&str> {
        let value = self.headers.get(&name)?;
        std::str::from_utf8(value)
            .ok()
            .filter(|text| text.is_ascii())
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// The reply that says what is wrong with it (400).
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Reply> {
        serde_json::from_slice(&self.body).map_err(|e| {
            Reply::text(format!("the body is not the JSON expected: {e}\n"))
                .with_status(StatusCode::BAD_REQUEST)
        })
    }
}

/// The future that answers one request.
pub type Answer = Pin<Box<dyn Future<Output = Reply>>>;
type Handler = Box<dyn Fn(Request) -> Answer>;

/// The routes of a server, tried in the order they were added.
#[derive(Default)]
pub struct Routes {
    routes: Vec<Route>,
    fallback: Option<Handler>,
}

struct Route {
    method: Method,
    segments: Vec<Segment>,
    handler: Handler,
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    /// Exactly this.
    Is(String),
    /// Anything but a slash.
    Any,
    /// All that is left, slashes and nothing included.
    Rest,
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(
                self.routes
                    .iter()
                    .map(|route| (&route.method, &route.segments)),
            )
            .finish()
    }
}

impl Routes {
    /// No routes: everything is 404.
    pub fn new() -> Routes {
        Routes::default()
    }

    /// Answers GET (and HEAD) of `pattern`.
    pub fn get<F: Future<Output = Reply> + 'static>(
        self,
        pattern: &str,
        handler: impl Fn(Request) -> F + 'static,
    ) -> Routes {
        self.on(Method::GET, pattern, handler)
    }

    /// Answers POST to `pattern`.
    pub fn post<F: Future<Output = Reply> + 'static>(
        self,
        pattern: &str,
        handler: impl Fn(Request) -> F + 'static,
    ) -> Routes {
        self.on(Method::POST, pattern, handler)
    }

    /// Answers `method` of `pattern`, whose parts may be `{name}` (one part of
    /// the path) or, last, `{*name}` (all the rest).
    pub fn on<F: Future<Output = Reply> + 'static>(
        mut self,
        method: Method,
        pattern: &str,
        handler: impl Fn(Request) -> F + 'static,
    ) -> Routes {
        let segments = parts(pattern)
            .map(|part| {
                match part
                    .strip_prefix('{')
                    .and_then(|name| name.strip_suffix('}'))
                {
                    Some(name) if name.starts_with('*') => Segment::Rest,
                    Some(_) => Segment::Any,
                    None => Segment::Is(part.to_owned()),
                }
            })
            .collect();
        let handler: Handler = Box::new(move |request| Box::pin(handler(request)));
        self.routes.push(Route {
            method,
            segments,
            handler,
        });
        self
    }

    /// Answers whatever no route answers.
    pub fn fallback<F: Future<Output = Reply> + 'static>(
        mut self,
        handler: impl Fn(Request) -> F + 'static,
    ) -> Routes {
        self.fallback = Some(Box::new(move |request| Box::pin(handler(request))));
        self
    }

    /// The answer to a request: the first route that fits; else 405 with the
    /// methods that the path has; else the fallback, or 404.
    pub fn answer(&self, mut request: Request) -> Answer {
        let mut allowed = Vec::new();
        for route in &self.routes {
            let Some(params) = route.fit(&request.path) else {
                continue;
            };
            let head_of_get = request.method == Method::HEAD && route.method == Method::GET;
            if route.method == request.method || head_of_get {
                request.params = params;
                return (route.handler)(request);
            }
            allowed.push(route.method.as_str());
        }
        if !allowed.is_empty() {
            let reply = Reply::refusal(StatusCode::METHOD_NOT_ALLOWED);
            let allow =
                HeaderValue::try_from(allowed.join(", ")).expect("methods are valid in a header");
            return Box::pin(std::future::ready(reply.with(header::ALLOW, allow)));
        }
        match &self.fallback {
            Some(handler) => handler(request),
            None => Box::pin(std::future::ready(Reply::refusal(StatusCode::NOT_FOUND))),
        }
    }
}

impl Route {
    fn fit(&self, path: &str) -> Option<Vec<String>> {
        let mut params = Vec::new();
        let mut rest = path.strip_prefix('/').unwrap_or(path);
        let mut over = false;
        for segment in &self.segments {
            if *segment == Segment::Rest {
                params.push(rest.to_owned());
                return Some(params);
            }
            if over {
                return None;
            }
            let part = match rest.split_once('/') {
                Some((part, more)) => {
                    rest = more;
                    part
                }
                None => {
                    over = true;
                    rest
                }
            };
            match segment {
                Segment::Is(text) if text == part => {}
                Segment::Any if !part.is_empty() => params.push(part.to_owned()),
                _ => return None,
            }
        }
        over.then_some(params)
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    fn ask(routes: &Routes, method: Method, path: &str) -> (u16, String) {
        let request = Request {
            method,
            path: path.into(),
            query: None,
            headers: Headers::default(),
            params: Vec::new(),
            body: Vec::new(),
            peer: None,
        };
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(reply) = routes.answer(request).as_mut().poll(&mut cx) else {
            panic!("it waited")
        };
        let body = match reply.body {
            super::super::reply::Content::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
            _ => String::new(),
        };
        (reply.status.as_u16(), body)
    }

    #[test]
    fn routes_are_found_by_method_and_path() {
        let named = |name: &'static str| {
            move |request: Request| async move {
                Reply::text(format!("{name} {}", request.params.join("|")))
            }
        };
        let routes = Routes::new()
            .get("/", named("root"))
            .get("/items/{id}", named("item"))
            .post("/items", named("new"))
            .get("/files/{*path}", named("file"));
        let get = |path| ask(&routes, Method::GET, path);
        assert_eq!(get("/"), (200, "root ".into()));
        assert_eq!(get("/items/7"), (200, "item 7".into()));
        assert_eq!(get("/items/"), (404, "404 Not Found\n".into()));
        assert_eq!(get("/items/7/8").0, 404);
        assert_eq!(get("/files/a/b"), (200, "file a/b".into()));
        assert_eq!(get("/files/"), (200, "file ".into()));
        assert_eq!(get("/items").0, 405);
        assert_eq!(ask(&routes, Method::HEAD, "/items/7").0, 200);
        assert_eq!(ask(&routes, Method::POST, "/items"), (200, "new ".into()));
        assert_eq!(get("/nothing").0, 404);
    }
}
