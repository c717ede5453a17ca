//! Ctrl-C ends every demo within a second and leaves no process behind.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::kit::{Process, demo, descendants, signal, until, wait};

/// Starts a demo that would run for long, waits until it has `children`
/// processes, signals it alone, and sees it and them end.
#[track_caller]
fn ends_with(with: Signal, name: &str, arguments: &[&str], children: usize) {
    let mut child = demo(name).args(arguments).spawn().unwrap();
    until("its processes to start", Duration::from_secs(20), || {
        assert!(
            child.try_wait().unwrap().is_none(),
            "{name} {arguments:?} ended by itself"
        );
        descendants(child.id()).len() >= children
    });
    let family: Vec<Process> = descendants(child.id());
    let signalled = Instant::now();
    signal(&child, with);
    let status = wait(&mut child, Duration::from_secs(10));
    until("its processes to end", Duration::from_secs(10), || {
        !family.iter().any(|process| process.exists())
    });
    let took = signalled.elapsed();
    assert!(
        !status.success(),
        "{name} {arguments:?} ended with {status}"
    );
    assert!(
        took < Duration::from_secs(1),
        "{name} {arguments:?} took {took:?} to end"
    );
}

const LONG: &str = "6000000000";

#[test]
fn sums_end_on_every_engine() {
    ends_with(
        Signal::SIGINT,
        "cpu_bound",
        &["--engine", "sequential", "--n", LONG],
        0,
    );
    ends_with(
        Signal::SIGINT,
        "cpu_bound",
        &["--engine", "threads", "--n", LONG],
        0,
    );
    ends_with(
        Signal::SIGINT,
        "cpu_bound",
        &["--engine", "loop", "--n", LONG],
        0,
    );
    ends_with(
        Signal::SIGINT,
        "cpu_bound",
        &["--engine", "processes", "--n", LONG],
        1,
    );
}

#[test]
fn sums_in_processes_end_even_when_the_parent_is_killed() {
    ends_with(
        Signal::SIGKILL,
        "cpu_bound",
        &["--engine", "processes", "--n", LONG],
        1,
    );
    ends_with(
        Signal::SIGTERM,
        "cpu_bound",
        &["--engine", "processes", "--n", LONG],
        1,
    );
}

#[test]
fn downloads_end_and_their_server_with_them() {
    ends_with(
        Signal::SIGINT,
        "io_bound",
        &["--engine", "sequential", "--count", "1000"],
        1,
    );
    ends_with(Signal::SIGKILL, "async_io", &["--count", "100000"], 1);
}

#[test]
fn counting_ends() {
    ends_with(
        Signal::SIGINT,
        "memory_model",
        &["--increments", "100000000"],
        1,
    );
}

#[test]
fn the_comparison_ends_with_all_that_it_measures() {
    // The server, five engines, and their workers.
    ends_with(
        Signal::SIGINT,
        "compare",
        &["--no-python", "--n", "500000000"],
        6,
    );
    ends_with(
        Signal::SIGKILL,
        "compare",
        &["--no-python", "--n", "500000000"],
        6,
    );
}

#[test]
fn a_reader_that_leaves_ends_the_demo() {
    let mut child = demo("io_bound")
        .args(["--engine", "sequential", "--count", "1000"])
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    // The reader is dropped here: the pipe is closed, as `head -1` closes it.
    assert!(first.starts_with("Downloaded "), "{first}");
    let ran = crate::kit::finish(child);
    assert_eq!(ran.code(), Some(1), "{ran:?}");
    assert!(ran.complaint().contains("stopped early"), "{ran:?}");
}
