//! A stdout that may be closed, full or a terminal, and knows which.
//!
//! `println!` panics when its reader has gone, so no demo uses it: each line
//! goes through [`Output::line`], whose error ends the program with one
//! sentence on stderr.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use crate::Error;

/// The program's standard output, written line by line.
#[derive(Debug)]
pub struct Output {
    stdout: io::Stdout,
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

impl Output {
    /// The standard output of this process.
    pub fn new() -> Self {
        Output {
            stdout: io::stdout(),
        }
    }

    /// Writes one line and passes it on at once.
    ///
    /// # Errors
    /// [`Error::Stdout`] when the reader has gone or the disk is full.
    pub fn line(&mut self, line: impl fmt::Display) -> Result<(), Error> {
        let mut stdout = self.stdout.lock();
        writeln!(stdout, "{line}").map_err(Error::Stdout)?;
        stdout.flush().map_err(Error::Stdout)
    }

    /// How many columns wide the terminal is, or `None` when stdout isn't one
    /// (a pipe or a file has no width, and gets the whole table).
    pub fn columns(&self) -> Option<u16> {
        let (_rows, columns) = console::Term::stdout().size_checked()?;
        self.stdout.is_terminal().then_some(columns)
    }
}

/// Writes one line to stderr; there is nowhere to tell if that fails.
pub fn complain(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
