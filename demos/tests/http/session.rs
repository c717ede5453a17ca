//! What requests of one client share: cookies, and limits on connections; and
//! the error that each way to fail has.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use socket2::SockRef;
use threeply_demos::http::Error;
use threeply_demos::http::client::{Client, Config, Form};
use threeply_demos::http::error::Phase;
use threeply_demos::http::server::{Limits, Reply, Routes};
use threeply_runtime as runtime;
use threeply_runtime::net::TcpListener;
use threeply_runtime::time::sleep;

use crate::kit::{on_loop, read_head, scripted, serve};

/// Sets cookies, and says which it was sent.
fn cookie_routes() -> Routes {
    let cookie = |text: &'static str| HeaderValue::from_static(text);
    Routes::new()
        .get("/login", move |_| async move {
            Reply::redirect(StatusCode::FOUND, "/home")
                .with(header::SET_COOKIE, cookie("session=abc; HttpOnly; Path=/"))
        })
        .get("/logout", move |_| async move {
            Reply::text("bye").with(header::SET_COOKIE, cookie("session=; Max-Age=0; Path=/"))
        })
        .fallback(
            |request| async move { Reply::text(request.header(header::COOKIE).unwrap_or("none")) },
        )
}

async fn text(client: &Client, url: String) -> String {
    client.get(url).send().await.unwrap().text().await.unwrap()
}

#[test]
fn cookies_come_back_to_who_set_them() {
    on_loop(async {
        let server = serve(cookie_routes(), Limits::default()).await;
        let client = Client::default();
        assert_eq!(text(&client, server.url("/home")).await, "none");
        assert_eq!(
            text(&client, server.url("/login")).await,
            "session=abc",
            "a redirect's cookie is there for the next hop"
        );
        assert_eq!(text(&client, server.url("/home")).await, "session=abc");
        // Cookies don't know ports, but they do know hosts.
        let elsewhere = server.url("/home").replace("127.0.0.1", "localhost");
        assert_eq!(text(&client, elsewhere).await, "none");
        assert_eq!(text(&client, server.url("/logout")).await, "bye");
        assert_eq!(text(&client, server.url("/home")).await, "none");
        assert!(client.config().cookies.as_ref().unwrap().is_empty());
        let forgetful = Client::new(Config {
            cookies: None,
            ..Config::default()
        });
        assert_eq!(text(&forgetful, server.url("/login")).await, "none");
    });
}

#[test]
fn forms_carry_files_and_are_sent_again_by_a_redirect() {
    on_loop(async {
        let routes = Routes::new()
            .post("/old", |_| async {
                Reply::redirect(StatusCode::PERMANENT_REDIRECT, "/new")
            })
            .post("/new", |request| async move {
                let kind = request.header(header::CONTENT_TYPE).unwrap_or_default();
                let body = String::from_utf8_lossy(&request.body);
                Reply::text(format!("{kind}\n{body}"))
            });
        let server = serve(routes, Limits::default()).await;
        let form = Form::new().text("title", "Notes").file(
            "attachment",
            "notes.txt",
            "text/plain",
            "remember",
        );
        let sent = Client::default()
            .post(server.url("/old"))
            .multipart(form)
            .send();
        let seen = sent.await.unwrap().text().await.unwrap();
        let (kind, body) = seen.split_once('\n').unwrap();
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
        assert!(
            body.starts_with(&format!("--{boundary}\r\n"))
                && body.contains(
                    "filename=\"notes.txt\"\r\ncontent-type: text/plain\r\n\r\nremember\r\n"
                )
                && body.ends_with(&format!("--{boundary}--\r\n")),
            "{seen}"
        );
    });
}

#[test]
fn connections_are_limited_in_all_as_well_as_to_each_server() {
    on_loop(async {
        let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let mut servers = Vec::new();
        for _ in 0..3 {
            let (inside, seen) = (now.clone(), most.clone());
            let routes = Routes::new().fallback(move |_| {
                let (inside, seen) = (inside.clone(), seen.clone());
                async move {
                    inside.set(inside.get() + 1);
                    seen.set(seen.get().max(inside.get()));
                    sleep(Duration::from_millis(10)).await;
                    inside.set(inside.get() - 1);
                    Reply::text("ok")
                }
            });
            servers.push(serve(routes, Limits::default()).await);
        }
        let client = Client::new(Config {
            connections: 4,
            connections_per_host: 3,
            ..Config::default()
        });
        let tasks: Vec<_> = (0..18)
            .map(|i| {
                let (client, url) = (client.clone(), servers[i % 3].url("/"));
                runtime::spawn(async move { text(&client, url).await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), "ok");
        }
        assert_eq!(most.get(), 4);
    });
}

#[test]
fn each_way_to_fail_has_its_error() {
    on_loop(async {
        let client = Client::new(Config {
            connect_timeout: Duration::from_millis(200),
            ..Config::default()
        });
        let get = |url: String| {
            let client = client.clone();
            async move {
                match client.get(url).send().await {
                    Ok(response) => response.bytes().await.map(drop),
                    Err(e) => Err(e),
                }
                .unwrap_err()
            }
        };
        // ".invalid" is promised never to exist. Finding that out may take a
        // while where there is a network, so it has a client of its own.
        let unknown = Client::default().get("http://nowhere.invalid/").send();
        let unknown = unknown.await.unwrap_err();
        assert!(matches!(unknown, Error::Resolve { .. }), "{unknown:?}");

        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = closed.local_addr().unwrap().port();
        drop(closed);
        let refused = get(format!("http://127.0.0.1:{port}/")).await;
        assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");

        // It accepts and says nothing: no TLS handshake comes about.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let late = get(format!("https://127.0.0.1:{port}/")).await;
        assert!(
            matches!(
                late,
                Error::Timeout {
                    phase: Phase::Connect,
                    ..
                }
            ),
            "{late:?}"
        );

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(runtime::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await.unwrap();
            // Closing now sends a reset instead of an end.
            SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }));
        let reset = get(format!("http://127.0.0.1:{port}/")).await;
        assert!(
            matches!(&reset, Error::Lost { .. }) && reset.to_string().contains("reset"),
            "{reset:?}"
        );

        let long = "x".repeat(80_000);
        let head = format!("HTTP/1.1 200 OK\r\nLong: {long}\r\n\r\n");
        let address = scripted(vec![head.leak().as_bytes()]).await;
        let large = get(format!("http://{address}/")).await;
        assert!(
            matches!(large, Error::TooLarge { what: "head", .. }),
            "{large:?}"
        );
    });
}
