//! Children: conversations, ends, and that none is left behind.

use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use super::*;
use crate::block_on;
use crate::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

/// Fails instead of hanging.
fn run<F: Future>(test: F) -> F::Output {
    block_on(crate::time::timeout(Duration::from_secs(20), test)).expect("the test hangs")
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script);
    command
}

/// The letter of a process's state, `None` if there is no such process.
fn state_of(pid: u32) -> Option<char> {
    let mut stat = String::new();
    let mut file = File::open(format!("/proc/{pid}/stat")).ok()?;
    file.read_to_string(&mut stat).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

#[test]
fn a_conversation_over_pipes() {
    run(async {
        let mut child = shell("while read line; do echo \"<$line>\"; done; exit 3")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for word in ["one", "two"] {
            stdin.write_all(word.as_bytes()).await.unwrap();
            stdin.write_all(b"\n").await.unwrap();
            let answer = lines.next_line().await.unwrap().unwrap();
            assert_eq!(answer, format!("<{word}>"));
        }
        stdin.close().await.unwrap();
        assert!(stdin.write_all(b"x").await.is_err());
        assert_eq!(lines.next_line().await.unwrap(), None);
        assert!(child.id().is_some());
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
        assert_eq!(child.id(), None);
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
    });
}

#[test]
fn output_collects_both_streams_however_full() {
    run(async {
        let script = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; exit 1";
        let output = shell(script).output().await.unwrap();
        assert_eq!(output.stdout.len(), 300_000);
        assert_eq!(output.stderr.len(), 300_000);
        assert_eq!(output.status.code(), Some(1));
    });
}

#[test]
fn waiting_closes_the_childs_input() {
    run(async {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        assert!(child.wait().await.unwrap().success());
    });
}

#[test]
fn killed_children_say_by_what() {
    run(async {
        let mut child = shell("read never").stdin(Stdio::piped()).spawn().unwrap();
        let kept = child.stdin.take();
        assert_eq!(child.try_wait().unwrap(), None);
        child.signal(libc::SIGTERM).unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(libc::SIGTERM));
        assert!(child.signal(libc::SIGTERM).is_err());
        child.start_kill().unwrap(); // Too late, and no harm.
        drop(kept);
    });
}

#[test]
fn a_cancelled_wait_can_be_repeated() {
    run(async {
        let mut child = shell("read never").stdin(Stdio::piped()).spawn().unwrap();
        let kept = child.stdin.take();
        let waited = crate::time::timeout(Duration::from_millis(2), child.wait()).await;
        assert!(waited.is_err());
        drop(kept);
        assert_eq!(child.wait().await.unwrap().code(), Some(1));
    });
}

#[test]
fn dropped_children_leave_no_zombie() {
    run(async {
        let killed = shell("read never")
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut detached = shell("read until_closed")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let pids = [killed.id().unwrap(), detached.id().unwrap()];
        let kept = detached.stdin.take();
        drop(killed);
        drop(detached);
        assert!(state_of(pids[1]).is_some_and(|state| state != 'Z'));
        drop(kept);
        while pids.iter().any(|pid| state_of(*pid).is_some()) {
            crate::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn descriptors_can_be_given_and_taken() {
    run(async {
        let (reader, writer) = pipe::pipe().unwrap();
        let status = Command::new("echo")
            .arg("into a pipe")
            .stdout(writer)
            .status()
            .await
            .unwrap();
        assert!(status.success());
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!(text, "into a pipe\n");
    });
}

#[test]
fn a_missing_program_is_not_found() {
    run(async {
        let error = Command::new("no-such-program").status().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("no-such-program"), "{error}");
    });
}

#[test]
fn writing_to_a_child_that_has_gone_is_a_broken_pipe() {
    run(async {
        let mut child = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        child.wait().await.unwrap();
        let error = stdin.write_all(&[0; 100_000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let mut nothing = Vec::new();
        let mut child = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        assert_eq!(stdout.read_to_end(&mut nothing).await.unwrap(), 0);
    });
}
