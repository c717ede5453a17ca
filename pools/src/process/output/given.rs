//! What a worker is given as its stdout or stderr when it is started.

use crate::process::output::stream::Source;
use crate::process::output::{Output, Stream, Way};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use threeply_runtime::sys::pipe;

/// The worker's end, and the pool's if there is a pipe in between.
#[derive(Debug)]
pub struct Given {
    stream: Stream,
    to: To,
}

#[derive(Debug)]
enum To {
    Inherited(io::Stdout, io::Stderr),
    File(Arc<File>),
    Pipe {
        write: OwnedFd,
        read: OwnedFd,
        way: Way,
    },
}

impl Given {
    /// Opens what is needed.
    ///
    /// # Errors
    /// If no descriptor is left.
    pub fn new(output: &Output, stream: Stream) -> io::Result<Given> {
        let to = match &output.0 {
            Way::Inherit => To::Inherited(io::stdout(), io::stderr()),
            Way::Null => To::File(Arc::new(File::options().write(true).open("/dev/null")?)),
            Way::File(file) => To::File(Arc::clone(file)),
            way @ (Way::Relay | Way::Lines(_)) => {
                // The worker's end blocks, as a terminal would; ours never does.
                let (read, write) = pipe::pipe()?;
                pipe::set_nonblocking(&read, true)?;
                let way = way.clone();
                To::Pipe { write, read, way }
            }
        };
        Ok(Given { stream, to })
    }

    /// The pool's end, once the worker `pid` has its own.
    pub fn source(self, pid: u32, nonce: u64) -> Option<Source> {
        match self.to {
            To::Pipe { read, way, .. } => Some(Source::new(pid, self.stream, nonce, &way, read)),
            _ => None,
        }
    }
}

impl AsFd for Given {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match (&self.to, self.stream) {
            (To::Inherited(stdout, _), Stream::Stdout) => stdout.as_fd(),
            (To::Inherited(_, stderr), Stream::Stderr) => stderr.as_fd(),
            (To::File(file), _) => file.as_fd(),
            (To::Pipe { write, .. }, _) => write.as_fd(),
        }
    }
}
