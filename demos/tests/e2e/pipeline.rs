//! Messages between processes: all arrive, and whoever dies is told.

use std::process::Command;

use crate::kit::run;

#[test]
fn every_message_goes_through_queue_and_pipe() {
    let ran = run(
        "pipeline",
        &[
            "--messages",
            "2_000",
            "--consumers",
            "3",
            "--bytes",
            "10",
            "--no-python",
        ],
    );
    let lines: Vec<&str> = ran.succeeded().lines().collect();
    assert!(
        lines[0].starts_with("2000 messages of 10 bytes"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("Queue took "), "{lines:?}");
    assert!(lines[2].starts_with("Pipe took "), "{lines:?}");
    assert!(lines[1].ends_with(" messages a second."), "{lines:?}");
    assert_eq!(lines[3], "Python was not asked for.");
}

#[test]
fn python_does_the_same_or_is_skipped_aloud() {
    let ran = run("pipeline", &["--messages", "500"]);
    let stdout = ran.succeeded();
    let there_is_one = Command::new("python3")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if there_is_one {
        assert!(stdout.contains("Queue, Python 3."), "{stdout}");
        assert!(stdout.contains("x Python's messages a second"), "{stdout}");
    } else {
        assert!(stdout.contains("Python is skipped"), "{stdout}");
    }
}

#[test]
fn mistakes_are_told_before_anything_runs() {
    for (arguments, what) in [
        (&["--messages", "0"][..], "a whole number from 1 to"),
        (&["--consumers", "1000"], "a whole number from 1 to"),
        (&["--bytes", "x"], "a whole number from 0 to"),
        (&["--python", "/bin/false"], "does not run as Python 3"),
    ] {
        let ran = run("pipeline", arguments);
        assert_eq!(ran.code(), Some(2), "{ran:?}");
        assert!(ran.complaint().contains(what), "{ran:?}");
    }
}
