//! The client: sessions, redirects, bodies, retries, limits, TLS.

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, StatusCode, header};
use threeply_demos::http::Error;
use threeply_demos::http::client::{Client, Config, Retry, Tls};
use threeply_demos::http::server::conversation::Conversation;
use threeply_demos::http::server::{Limits, Reply, Routes};
use threeply_runtime as runtime;
use threeply_runtime::cancel::CancellationToken;
use threeply_runtime::net::TcpListener;
use threeply_runtime::time::sleep;

use crate::kit::{acceptor, data, on_loop, scripted, serve};

/// What the server was asked, as text.
fn mirror() -> Routes {
    Routes::new().fallback(|request| async move {
        let mut text = format!(
            "{} {}?{}\n",
            request.method,
            request.path,
            request.query.unwrap_or_default()
        );
        for (name, value) in request.headers.iter() {
            let (name, value) = (
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value),
            );
            text += &format!("{name}: {value}\n");
        }
        text += &String::from_utf8_lossy(&request.body);
        Reply::text(text)
    })
}

#[test]
fn requests_carry_what_they_were_given() {
    on_loop(async {
        let server = serve(mirror(), Limits::default()).await;
        let client = Client::default();
        let get = client
            .get(server.url("/path?a=1"))
            .query("b", "x y&z")
            .header("X-Mine", "yes");
        let text = get.send().await.unwrap().text().await.unwrap();
        assert!(
            text.starts_with("GET /path?a=1&b=x+y%26z\n") && text.contains("x-mine: yes"),
            "{text}"
        );
        assert!(
            text.contains("user-agent: threeply/")
                && text.contains("accept-encoding: gzip, deflate"),
            "{text}"
        );
        let json = client
            .post(server.url("/"))
            .json(&vec![1, 2])
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert!(
            json.contains("content-type: application/json") && json.ends_with("[1,2]"),
            "{json}"
        );
        let form = client
            .post(server.url("/"))
            .form(&[("a", "1 2"), ("b", "ä")])
            .send()
            .await
            .unwrap();
        let form = form.text().await.unwrap();
        assert!(
            form.contains("x-www-form-urlencoded") && form.ends_with("a=1+2&b=%C3%A4"),
            "{form}"
        );
        let streamed = client
            .post(server.url("/"))
            .body_reader(&b"from a reader"[..])
            .send()
            .await
            .unwrap();
        let streamed = streamed.text().await.unwrap();
        assert!(
            streamed.contains("transfer-encoding: chunked") && streamed.ends_with("from a reader"),
            "{streamed}"
        );
        let secret = server.url("/").replace("http://", "http://user:p%40ss@");
        let secret = client
            .get(secret)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert!(
            secret.contains("authorization: Basic dXNlcjpwQHNz") && !secret.contains("user:"),
            "{secret}"
        );
        assert_eq!(
            client.idle_connections(),
            1,
            "one connection carried them all"
        );
        assert!(client.get("nonsense").send().await.is_err());
        assert!(
            client
                .get(server.url("/"))
                .header("Bad Name", "x")
                .send()
                .await
                .is_err()
        );
    });
}

#[test]
fn a_large_body_goes_up_and_comes_back() {
    on_loop(async {
        let routes = Routes::new().on(Method::PUT, "/", |request| async move {
            Reply::bytes(request.body, "text/plain")
        });
        let server = serve(routes, Limits::default()).await;
        let body: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let client = Client::default();
        let reply = client
            .request(Method::PUT, server.url("/"))
            .body(body.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(reply.content_length(), Some(3_000_000));
        assert!(reply.bytes().await.unwrap() == body);
        let too_large = client
            .request(Method::PUT, server.url("/"))
            .body(vec![0; 9 << 20])
            .send()
            .await
            .unwrap();
        assert_eq!(
            too_large.status(),
            413,
            "the refusal is read although the body could not be sent"
        );
    });
}

#[test]
fn redirects_are_followed_within_limits() {
    on_loop(async {
        let there = serve(mirror(), Limits::default()).await;
        let away = there.url("/away");
        let routes = Routes::new()
            .get("/a", |_| async {
                Reply::redirect(StatusCode::FOUND, "b?x")
            })
            .get("/b", |_| async {
                Reply::redirect(StatusCode::MOVED_PERMANENTLY, "/c")
            })
            .get("/c", |_| async { Reply::text("arrived") })
            .get("/loop", |_| async {
                Reply::redirect(StatusCode::FOUND, "/loop")
            })
            .get("/nowhere", |_| async {
                Reply::redirect(StatusCode::FOUND, "gopher://x/")
            })
            .post("/post", |_| async {
                Reply::redirect(StatusCode::SEE_OTHER, "/c")
            })
            .post("/keep", |_| async {
                Reply::redirect(StatusCode::TEMPORARY_REDIRECT, "/kept")
            })
            .post("/kept", |request| async move {
                Reply::bytes(request.body, "text/plain")
            })
            .get("/away", move |_| {
                let away = away.clone();
                async move { Reply::redirect(StatusCode::FOUND, &away) }
            });
        let server = serve(routes, Limits::default()).await;
        let client = Client::default();
        let response = client.get(server.url("/a")).send().await.unwrap();
        assert_eq!(response.url().path(), "/c");
        let hops: Vec<(u16, &str)> = response
            .history()
            .iter()
            .map(|hop| (hop.status.as_u16(), hop.url.path()))
            .collect();
        assert_eq!(hops, [(302, "/a"), (301, "/b")]);
        assert_eq!(response.text().await.unwrap(), "arrived");
        assert!(matches!(
            client.get(server.url("/loop")).redirects(3).send().await,
            Err(Error::TooManyRedirects { limit: 3 })
        ));
        assert_eq!(
            client
                .get(server.url("/loop"))
                .redirects(0)
                .send()
                .await
                .unwrap()
                .status(),
            302
        );
        assert!(matches!(
            client.get(server.url("/nowhere")).send().await,
            Err(Error::Protocol(_))
        ));
        assert_eq!(
            client
                .post(server.url("/post"))
                .body("x")
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap(),
            "arrived"
        );
        assert_eq!(
            client
                .post(server.url("/keep"))
                .body("body")
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap(),
            "body"
        );
        let away = client
            .get(server.url("/away"))
            .bearer_auth("secret")
            .header("X-Mine", "1");
        let away = away.send().await.unwrap().text().await.unwrap();
        assert!(
            !away.contains("secret") && away.contains("x-mine: 1"),
            "another port is another origin: {away}"
        );
    });
}

#[test]
fn compressed_bodies_and_charsets_are_undone() {
    on_loop(async {
        let routes = Routes::new()
            .get("/gzip", |_| async {
                let mut gzip =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all("zipped ".repeat(10_000).as_bytes()).unwrap();
                Reply::bytes(gzip.finish().unwrap(), "text/plain")
                    .with(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))
            })
            .get("/latin", |_| async {
                Reply::bytes(b"caf\xe9".to_vec(), "text/plain; charset=\"ISO-8859-1\"")
            })
            .get("/broken", |_| async {
                Reply::text("not gzip")
                    .with(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))
            });
        let server = serve(routes, Limits::default()).await;
        let client = Client::default();
        let text = client
            .get(server.url("/gzip"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert_eq!(text, "zipped ".repeat(10_000));
        assert_eq!(
            client
                .get(server.url("/latin"))
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap(),
            "café"
        );
        assert!(matches!(
            client
                .get(server.url("/broken"))
                .send()
                .await
                .unwrap()
                .text()
                .await,
            Err(Error::Decode(_))
        ));
        let bomb = client
            .get(server.url("/gzip"))
            .body_limit(1_000)
            .send()
            .await
            .unwrap()
            .bytes()
            .await;
        assert!(matches!(bomb, Err(Error::TooLarge { limit: 1_000, .. })));
    });
}

#[test]
fn a_connection_that_the_server_closed_meanwhile_is_replaced() {
    on_loop(async {
        let limits = Limits {
            idle_timeout: Duration::from_millis(50),
            ..Limits::default()
        };
        let server = serve(mirror(), limits).await;
        let client = Client::default();
        client
            .get(server.url("/"))
            .send()
            .await
            .unwrap()
            .drain()
            .await
            .unwrap();
        assert_eq!(client.idle_connections(), 1);
        sleep(Duration::from_millis(200)).await;
        client
            .get(server.url("/"))
            .send()
            .await
            .unwrap()
            .drain()
            .await
            .unwrap();
    });
}

#[test]
fn answers_that_break_the_protocol_are_errors() {
    on_loop(async {
        for (answer, says) in [
            (
                &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"[..],
                "before its answer was whole",
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n",
                "not valid HTTP",
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
                "not valid HTTP",
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                "not valid HTTP",
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
                "before its answer was whole",
            ),
            (b"", "before its answer was whole"),
            (b"SMTP hello\r\n\r\n", "not valid HTTP"),
        ] {
            let address = scripted(vec![answer]).await;
            let client = Client::default();
            let outcome = match client.get(format!("http://{address}/")).send().await {
                Ok(response) => response.bytes().await,
                Err(e) => Err(e),
            };
            let error = outcome
                .expect_err(&String::from_utf8_lossy(answer))
                .to_string();
            assert!(
                error.contains(says),
                "{:?}: {error}",
                String::from_utf8_lossy(answer)
            );
        }
        // What may end with the connection, does; interim answers are passed over.
        for (answer, body) in [
            (&b"HTTP/1.0 200 OK\r\n\r\nuntil the end"[..], "until the end"),
            (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
            (b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        ] {
            let address = scripted(vec![answer]).await;
            let text = Client::default().get(format!("http://{address}/")).send().await.unwrap().text().await.unwrap();
            assert_eq!(text, body);
        }
    });
}

#[test]
fn what_may_pass_is_tried_again() {
    on_loop(async {
        let asked = Rc::new(Cell::new(0));
        let count = asked.clone();
        let routes = Routes::new()
            .get("/busy", move |_| {
                count.set(count.get() + 1);
                let busy = count.get() < 3;
                async move {
                    if busy {
                        Reply::refusal(StatusCode::SERVICE_UNAVAILABLE)
                            .with(header::RETRY_AFTER, HeaderValue::from_static("0"))
                    } else {
                        Reply::text("free")
                    }
                }
            })
            .post("/busy", |_| async {
                Reply::refusal(StatusCode::SERVICE_UNAVAILABLE)
            });
        let server = serve(routes, Limits::default()).await;
        let client = Client::default();
        let retry = Retry {
            backoff: Duration::from_millis(1),
            ..Retry::times(5)
        };
        let response = client
            .get(server.url("/busy"))
            .retry(retry.clone())
            .send()
            .await
            .unwrap();
        assert_eq!((response.status(), asked.get()), (StatusCode::OK, 3));
        let once = client
            .post(server.url("/busy"))
            .retry(retry.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(once.status(), 503, "what may not be done twice is not");
        let address = scripted(vec![
            b"",
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ])
        .await;
        let text = client
            .get(format!("http://{address}/"))
            .retry(retry)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert_eq!(text, "ok");
    });
}

#[test]
fn waits_have_limits() {
    on_loop(async {
        let routes = Routes::new().fallback(|_| async {
            sleep(Duration::from_secs(10)).await;
            Reply::text("late")
        });
        let server = serve(routes, Limits::default()).await;
        let started = Instant::now();
        let config = Config {
            read_timeout: Duration::from_millis(100),
            ..Config::default()
        };
        let error = Client::new(config)
            .get(server.url("/"))
            .send()
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("no answer within 100ms"),
            "{error}"
        );
        let error = Client::default()
            .get(server.url("/"))
            .timeout(Duration::from_millis(100))
            .send()
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("not finished within 100ms"),
            "{error}"
        );
        assert!(started.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn no_more_connections_are_opened_than_allowed() {
    on_loop(async {
        let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (inside, seen) = (now.clone(), most.clone());
        let routes = Routes::new().fallback(move |_| {
            let (inside, seen) = (inside.clone(), seen.clone());
            async move {
                inside.set(inside.get() + 1);
                seen.set(seen.get().max(inside.get()));
                sleep(Duration::from_millis(20)).await;
                inside.set(inside.get() - 1);
                Reply::text("ok")
            }
        });
        let server = serve(routes, Limits::default()).await;
        let client = Client::new(Config {
            connections_per_host: 3,
            ..Config::default()
        });
        let tasks: Vec<_> = (0..12)
            .map(|_| {
                let (client, url) = (client.clone(), server.url("/"));
                runtime::spawn(async move {
                    client.get(url).send().await.unwrap().text().await.unwrap()
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), "ok");
        }
        assert_eq!(most.get(), 3);
        assert!(client.idle_connections() <= 3);
    });
}

/// A TLS server on the current loop, with the certificate `name`; with
/// `asking`, it serves only clients that our authority vouches for.
async fn secure(name: &str, asking: bool) -> u16 {
    let acceptor = acceptor(name, asking);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(runtime::spawn(async move {
        let routes = mirror();
        while let Ok((stream, peer)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let limits = Rc::new(Limits::default());
            Conversation::new(stream, Some(peer), limits, CancellationToken::new())
                .run(&routes)
                .await;
        }
    }));
    port
}

#[test]
fn a_client_proves_who_it_is_to_a_server_that_asks() {
    on_loop(async {
        let port = secure("server.pem", true).await;
        let ask = |identity| {
            let tls = Tls {
                ca_bundle: Some(data("authority.pem")),
                identity,
                ..Tls::default()
            };
            let client = Client::new(Config {
                tls,
                idle: 0,
                ..Config::default()
            });
            async move {
                let url = format!("https://localhost:{port}/");
                client.get(url).send().await?.text().await
            }
        };
        let identity = (data("server.pem"), data("server.key"));
        assert!(ask(Some(identity)).await.unwrap().starts_with("GET /"));
        let error = ask(None).await.unwrap_err();
        assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    });
}

#[test]
fn only_trusted_certificates_for_the_right_host_are_accepted() {
    on_loop(async {
        let trusting = |idle| {
            let tls = Tls {
                ca_bundle: Some(data("authority.pem")),
                ..Tls::default()
            };
            Client::new(Config {
                tls,
                idle,
                ..Config::default()
            })
        };
        let good = secure("server.pem", false).await;
        for host in ["localhost", "127.0.0.1"] {
            let text = trusting(0)
                .get(format!("https://{host}:{good}/x"))
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap();
            assert!(text.starts_with("GET /x?"), "{text}");
        }
        let kept = trusting(1);
        for _ in 0..3 {
            kept.get(format!("https://localhost:{good}/"))
                .send()
                .await
                .unwrap()
                .drain()
                .await
                .unwrap();
            assert_eq!(kept.idle_connections(), 1);
        }
        drop(kept);
        let error = Client::default()
            .get(format!("https://localhost:{good}/"))
            .send()
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Tls { .. }) && error.to_string().contains("--cacert"),
            "{error}"
        );
        for bad in ["expired.pem", "elsewhere.pem"] {
            let port = secure(bad, false).await;
            let error = trusting(0)
                .get(format!("https://localhost:{port}/"))
                .send()
                .await
                .unwrap_err();
            assert!(matches!(error, Error::Tls { .. }), "{bad}: {error:?}");
            let blind = Client::new(Config {
                tls: Tls {
                    no_verify: true,
                    ..Tls::default()
                },
                ..Config::default()
            });
            assert!(
                blind
                    .get(format!("https://localhost:{port}/"))
                    .send()
                    .await
                    .is_ok()
            );
        }
    });
}

#[test]
fn bodies_are_saved_to_files() {
    on_loop(async {
        let routes =
            Routes::new().fallback(|_| async { Reply::bytes(vec![b'x'; 300_000], "text/plain") });
        let server = serve(routes, Limits::default()).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut last = 0;
        let response = Client::default().get(server.url("/")).send().await.unwrap();
        assert_eq!(
            response.save(&path, |bytes| last = bytes).await.unwrap(),
            300_000
        );
        assert_eq!(
            (last, std::fs::metadata(&path).unwrap().len()),
            (300_000, 300_000)
        );
        let response = Client::default().get(server.url("/")).send().await.unwrap();
        let error = response
            .save(&folder.path().join("no/such/folder"), |_| ())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("no/such/folder"), "{error}");
    });
}
