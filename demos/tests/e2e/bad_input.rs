//! Bad input is told in one line that says what to do, before anything runs.

use crate::kit::{closed_port, data, demo, finish, reply_once, run, toy_server};

#[test]
fn arguments_that_cannot_be_are_refused_in_one_line() {
    for (name, arguments, says) in [
        (
            "cpu_bound",
            &["--engine", "gpu"][..],
            "possible values: sequential, processes, threads, loop",
        ),
        ("cpu_bound", &["--tasks", "0"], "a whole number from 1 to"),
        (
            "cpu_bound",
            &["--tasks", "four"],
            "a whole number from 1 to",
        ),
        ("cpu_bound", &["--tasks", "-1"], "--tasks"),
        ("cpu_bound", &["--n", "1e7"], "a whole number from 1 to"),
        (
            "cpu_bound",
            &["--n", "99999999999999999999999"],
            "a whole number from 1 to",
        ),
        ("cpu_bound", &["--engine"], "--engine"),
        ("cpu_bound", &["--frobnicate"], "--frobnicate"),
        ("cpu_bound", &["extra"], "extra"),
        (
            "io_bound",
            &["--engine", "loop"],
            "possible values: threads, sequential",
        ),
        ("io_bound", &["--count", "0"], "a whole number from 1 to"),
        (
            "io_bound",
            &["--timeout", "0"],
            "a number of seconds above 0",
        ),
        ("io_bound", &["example.com"], "begin it with http://"),
        ("io_bound", &["ftp://example.com/"], "only http and https"),
        ("io_bound", &["http://"], "names no host"),
        (
            "io_bound",
            &["--cacert", "/nonexistent.pem", "http://127.0.0.1:1/"],
            "/nonexistent.pem",
        ),
        (
            "io_bound",
            &["--cacert", "/dev/null", "http://127.0.0.1:1/"],
            "no certificate",
        ),
        ("async_io", &["localhost:8000/x"], "begin it with http://"),
        ("async_io", &["--count", "x"], "a whole number from 1 to"),
        ("async_io", &["http://[::1"], "cannot use the URL"),
        (
            "memory_model",
            &["--units", "0"],
            "a whole number from 1 to",
        ),
        ("explain", &["thread"], "possible values: task, job"),
        ("compare", &["--rounds", "0"], "a whole number from 1 to"),
        (
            "compare",
            &["--url", "example.com"],
            "begin it with http://",
        ),
        ("compare", &["--python", "/nonexistent/python"], "--python"),
    ] {
        let ran = run(name, arguments);
        assert_eq!(ran.code(), Some(2), "{name} {arguments:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{name} {arguments:?}");
        let complaint = ran.complaint();
        assert!(
            complaint.contains(says),
            "{name} {arguments:?} said: {complaint}"
        );
        assert!(
            complaint.starts_with(name) && complaint.contains("--help"),
            "{complaint}"
        );
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for name in [
        "cpu_bound",
        "io_bound",
        "async_io",
        "memory_model",
        "compare",
        "serve",
        "explain",
        "fetch_many",
        "download",
        "crawl",
        "chat",
    ] {
        assert!(run(name, &["--help"]).succeeded().contains("Usage"));
        assert!(run(name, &["--version"]).succeeded().starts_with(name));
    }
}

/// What the two downloaders have in common: a line for each failure, a summary,
/// exit code 1.
#[track_caller]
fn fails_with(url: &str, more: &[&str], says: &str) {
    for name in ["io_bound", "async_io"] {
        let ran = run(name, &[&["--count", "2", url], more].concat());
        assert_eq!(ran.code(), Some(1), "{name}: {ran:?}");
        let failures = ran
            .stdout
            .lines()
            .filter(|line| line.starts_with("Error downloading "))
            .count();
        assert_eq!(failures, 2, "{name}: {ran:?}");
        assert!(
            ran.stdout.contains(says),
            "{name} does not say {says:?}: {ran:?}"
        );
        assert!(
            ran.complaint().contains("all 2 downloads failed"),
            "{ran:?}"
        );
    }
}

#[test]
fn a_closed_port_is_a_refused_connection() {
    let url = format!("http://127.0.0.1:{}/", closed_port());
    fails_with(&url, &[], "connection refused by 127.0.0.1:");
}

#[test]
fn an_unknown_host_is_told_by_its_name() {
    // ".invalid" is promised never to exist, with or without a network.
    fails_with(
        "http://nowhere.invalid/",
        &["--timeout", "20"],
        "no address found for nowhere.invalid",
    );
}

#[test]
fn a_server_that_says_nothing_times_out() {
    let silent = toy_server(|stream| {
        std::thread::sleep(std::time::Duration::from_secs(20));
        drop(stream);
    });
    fails_with(&silent.url, &["--timeout", "0.2"], "within 200ms");
}

#[test]
fn an_answer_that_is_cut_off_or_no_http_is_an_error() {
    let cut = toy_server(|stream| {
        reply_once(
            stream,
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        )
    });
    fails_with(&cut.url, &[], "before its answer was whole");
    let nonsense = toy_server(|stream| reply_once(stream, b"SSH-2.0-OpenSSH_9.6\r\n\r\n"));
    fails_with(&nonsense.url, &[], "not valid HTTP");
    let nothing = toy_server(drop);
    fails_with(&nothing.url, &[], "before its answer was whole");
    let chunks = toy_server(|stream| {
        reply_once(
            stream,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        );
    });
    fails_with(&chunks.url, &[], "Error downloading");
}

#[test]
fn a_status_is_told_and_is_no_failure() {
    let missing = toy_server(|stream| {
        reply_once(
            stream,
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        )
    });
    for name in ["io_bound", "async_io"] {
        let ran = run(name, &["--count", "1", &missing.url]);
        assert!(
            ran.succeeded()
                .contains(&format!("Downloaded {} with status 404", missing.url))
        );
    }
}

#[test]
fn a_redirect_loop_ends() {
    let round = toy_server(|stream| {
        reply_once(stream, b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    fails_with(&round.url, &[], "gave up after 10 redirects");
}

#[test]
fn one_failure_among_successes_is_told_and_the_run_succeeds() {
    let well =
        toy_server(|stream| reply_once(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let bad = format!("http://127.0.0.1:{}/", closed_port());
    for name in ["io_bound", "async_io"] {
        let ran = run(name, &[&well.url, &bad]);
        let lines = ran.succeeded();
        assert!(
            lines.contains(&format!("Downloaded {} with status 200", well.url)),
            "{lines}"
        );
        assert!(
            lines.contains(&format!("Error downloading {bad}: connection refused")),
            "{lines}"
        );
    }
}

#[test]
fn a_local_server_that_cannot_start_is_told() {
    // No file descriptors for it: the demo says so and ends.
    let path = demo("async_io").get_program().to_owned();
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", "ulimit -n 5; exec \"$0\" --count 1"])
        .arg(path);
    shell.stdin(std::process::Stdio::null());
    shell
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let ran = finish(shell.spawn().unwrap());
    assert!(!ran.status.success(), "{ran:?}");
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    assert!(!ran.stderr.is_empty(), "{ran:?}");
}

#[test]
fn a_certificate_that_is_not_trusted_is_refused() {
    let url = crate::shapes::tls_server();
    fails_with(&url, &[], "no trusted connection to");
    let authority = data("authority.pem");
    let ran = run(
        "async_io",
        &[
            "--count",
            "2",
            "--cacert",
            authority.to_str().unwrap(),
            &url,
        ],
    );
    assert!(ran.succeeded().contains("with status 200"), "{ran:?}");
    let ran = run(
        "io_bound",
        &[
            "--count",
            "2",
            "--cacert",
            authority.to_str().unwrap(),
            &url,
        ],
    );
    assert!(ran.succeeded().contains("with status 200"), "{ran:?}");
}
