//! Marks in the worker's own output, before each job (see [`crate::process::output`]).

use crate::process::output::marks::mark;
use std::io::{self, Write};
use std::os::fd::AsFd;

/// Which pipes to mark; they are known by their inodes, since a job may have put
/// something else in their place.
#[derive(Debug)]
pub struct Marks {
    magic: u64,
    stdout: Option<u64>,
    stderr: Option<u64>,
}

impl Marks {
    /// For the streams whose bits are set: 1 is stdout, 2 is stderr.
    pub fn new(bits: u32, magic: u64) -> Marks {
        Marks {
            magic,
            stdout: (bits & 1 != 0).then(|| inode(&io::stdout())).flatten(),
            stderr: (bits & 2 != 0).then(|| inode(&io::stderr())).flatten(),
        }
    }

    /// Says that what follows is job `seq`'s.
    #[inline]
    pub fn before(&self, seq: u64) {
        if self.stdout.is_some() || self.stderr.is_some() {
            self.write(seq);
        }
    }

    #[cold]
    fn write(&self, seq: u64) {
        let bytes = mark(self.magic, seq);
        let _ = io::stdout().flush(); // What another thread has left there.
        write_if(self.stdout, &io::stdout(), &bytes);
        write_if(self.stderr, &io::stderr(), &bytes);
    }

    /// Writes out what the job has left in the buffer, as its own.
    #[inline]
    pub fn after(&self) {
        if self.stdout.is_some() {
            let _ = io::stdout().flush();
        }
    }
}

fn write_if(expected: Option<u64>, stream: &impl AsFd, bytes: &[u8]) {
    if expected.is_some() && inode(stream) == expected {
        let _ = nix::unistd::write(stream, bytes);
    }
}

fn inode(stream: &impl AsFd) -> Option<u64> {
    nix::sys::stat::fstat(stream).ok().map(|stat| stat.st_ino)
}
