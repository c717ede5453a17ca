//! A stdout that is full or closed ends a demo with a sentence, not a panic.

use std::fs::File;
use std::process::Stdio;

use crate::kit::{demo, finish};

#[test]
fn a_full_disk_is_told() {
    for (name, arguments) in [
        ("cpu_bound", &["--engine", "threads", "--n", "1000"][..]),
        ("cpu_bound", &["--engine", "loop", "--n", "1000"]),
        ("io_bound", &["--count", "2"]),
        ("async_io", &["--count", "2"]),
        ("memory_model", &["--increments", "100"]),
        ("explain", &["task"]),
        ("fetch_many", &["--calls", "3"]),
        ("download", &[]),
        ("crawl", &["--pages", "3"]),
        ("chat", &["--demo"]),
        ("chat", &["--listen", "127.0.0.1:0"]),
        ("cpu_bound", &["--help"]),
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ran = finish(
            demo(name)
                .args(arguments)
                .stdout(Stdio::from(full))
                .spawn()
                .unwrap(),
        );
        assert_eq!(ran.code(), Some(1), "{name} {arguments:?}: {ran:?}");
        assert!(
            ran.complaint().contains("no space left"),
            "{name} {arguments:?}: {ran:?}"
        );
    }
}

#[test]
fn a_closed_pipe_is_told() {
    for (name, arguments) in [
        ("cpu_bound", &["--engine", "processes", "--n", "1000"][..]),
        ("async_io", &["--count", "2"]),
        ("memory_model", &["--increments", "100"]),
        ("fetch_many", &["--calls", "3"]),
        ("download", &[]),
        ("crawl", &["--pages", "3"]),
        ("chat", &["--demo"]),
    ] {
        let mut child = demo(name).args(arguments).spawn().unwrap();
        drop(child.stdout.take());
        let ran = finish(child);
        assert_eq!(ran.code(), Some(1), "{name} {arguments:?}: {ran:?}");
        assert!(
            ran.complaint().contains("stopped early"),
            "{name} {arguments:?}: {ran:?}"
        );
    }
}

#[test]
fn nothing_is_coloured_when_piped() {
    let ran = crate::kit::run("cpu_bound", &["--help"]);
    assert!(!ran.succeeded().contains('\x1b'), "{ran:?}");
    let ran = crate::kit::run("cpu_bound", &["--engine", "gpu"]);
    assert!(!ran.stderr.contains('\x1b'), "{ran:?}");
}
