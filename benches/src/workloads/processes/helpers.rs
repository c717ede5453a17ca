//! The other ends of the bare limits: this binary again, as the least that a
//! process can be.

use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use crate::sys;
use crate::workloads::SERVE;

/// Echoes 64 bytes until its input ends.
pub const ECHO: &str = "pipe-echo";
/// Writes one byte and ends.
pub const FIRST_BYTE: &str = "first-byte";

/// Becomes one of the two; `None` when the name is another's.
pub fn become_helper(name: &str) -> Option<ExitCode> {
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    match name {
        ECHO => {
            let mut message = [0; 64];
            while sys::read(stdin.as_fd(), &mut message).is_ok_and(|got| got == 64) {
                if sys::write(stdout.as_fd(), &message).is_err() {
                    break;
                }
            }
        }
        FIRST_BYTE => {
            let _ = sys::write(stdout.as_fd(), &[1]);
        }
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

/// A helper behind two pipes.
#[derive(Debug)]
pub struct Helper {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
}

impl Helper {
    /// Starts this binary again as a helper. (std starts it by posix_spawn.)
    pub fn start(name: &str) -> Helper {
        let binary = std::env::current_exe().expect("this binary has a path");
        let mut child = Command::new(binary)
            .args([SERVE, name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary starts again");
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("piped");
        Helper {
            child,
            stdin,
            stdout,
        }
    }

    /// Writes to it.
    pub fn write(&self, bytes: &[u8]) {
        let stdin = self.stdin.as_ref().expect("open until dropped");
        let put = sys::write(stdin.as_fd(), bytes).expect("the helper listens");
        assert_eq!(put, bytes.len());
    }

    /// Reads from it.
    pub fn read(&self, buffer: &mut [u8]) -> usize {
        sys::read(self.stdout.as_fd(), buffer).expect("the helper answers")
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Its input ends, so it ends.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
