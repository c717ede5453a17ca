//! The article's programs print the article's lines.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use threeply_demos::http::client::tls;

use crate::kit::{data, run};

/// Starts a server that speaks TLS and answers every request with 200; returns
/// its URL. Its certificate is our test authority's.
pub(crate) fn tls_server() -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            tls::certificates(&data("server.pem")).unwrap(),
            tls::private_key(&data("server.key")).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let server = crate::kit::toy_server(move |tcp: TcpStream| {
        use std::io::{Read, Write};
        let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), tcp);
        let mut head = Vec::new();
        let mut block = [0; 1024];
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut block) {
                Ok(n @ 1..) => head.extend_from_slice(&block[..n]),
                _ => return,
            }
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    format!("https://localhost:{}/", server.port)
}

#[test]
fn sums_print_the_articles_lines_on_every_engine() {
    for (engine, name) in [
        ("sequential", "Sequential"),
        ("threads", "Multithreading"),
        ("processes", "Multiprocessing"),
    ] {
        let ran = run(
            "cpu_bound",
            &["--engine", engine, "--tasks", "3", "--n", "10_000"],
        );
        let lines: Vec<&str> = ran.succeeded().lines().collect();
        assert_eq!(lines[..3], ["Finished task with 10000"; 3], "{engine}");
        assert!(is_summary(lines[3], name), "{engine}: {lines:?}");
        assert_eq!(lines.len(), 4);
    }
}

#[test]
fn sums_on_the_loop_show_the_heartbeat_with_and_without_unblock() {
    let ran = run("cpu_bound", &["--engine", "loop", "--n", "10000"]);
    let out = ran.succeeded();
    assert_eq!(out.matches("Finished task with 10000").count(), 8, "{out}");
    assert_eq!(out.matches("Asyncio took ").count(), 2, "{out}");
    assert!(
        out.contains("leave nobody else a turn") && out.contains("`unblock`"),
        "{out}"
    );
}

#[test]
fn downloads_print_the_articles_lines_without_any_network() {
    for (name, arguments, summary) in [
        ("io_bound", &[][..], "Multithreading"),
        (
            "io_bound",
            &["--engine", "sequential", "--count", "2"],
            "Sequential",
        ),
        ("async_io", &["--count", "7"], "Asyncio"),
    ] {
        let ran = run(name, arguments);
        let lines: Vec<&str> = ran.succeeded().lines().collect();
        let (last, downloads) = lines.split_last().unwrap();
        assert_eq!(
            downloads.len(),
            if arguments.contains(&"2") {
                2
            } else if name == "async_io" {
                7
            } else {
                5
            }
        );
        for line in downloads {
            assert!(
                line.starts_with("Downloaded http://127.0.0.1:")
                    && line.ends_with(" with status 200"),
                "{line}"
            );
        }
        assert!(is_summary(last, summary), "{last}");
    }
}

#[test]
fn the_memory_model_is_what_it_says() {
    let ran = run("memory_model", &["--increments", "1000"]);
    let out = ran.succeeded();
    assert!(
        out.contains("Processes: the parent's counter is 0."),
        "{out}"
    );
    assert!(out.contains("Threads with a Mutex: 4000. Exact."), "{out}");
    assert!(out.contains("no lock: 4000. Exact."), "{out}");
    assert!(
        out.contains("between reading and writing: 1000. 3000 updates were lost"),
        "{out}"
    );
}

/// `NAME took 0.52 seconds.`
fn is_summary(line: &str, name: &str) -> bool {
    line.strip_prefix(name)
        .and_then(|rest| rest.strip_prefix(" took "))
        .and_then(|rest| rest.strip_suffix(" seconds."))
        .is_some_and(|seconds| {
            seconds.parse::<f64>().is_ok()
                && seconds.split_once('.').is_some_and(|(_, d)| d.len() == 2)
        })
}
