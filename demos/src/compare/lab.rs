//! The parent's side of a measured child: start it, ask it, end it.
//!
//! Nothing here waits without a deadline: a child that hangs, a Python that
//! waits for ever, is ended with its whole process group and told as failed.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;

use super::measured::{self, Farewell, Hello, Order};
use super::python::{self, Python};
use crate::{Error, limits, roles};

/// A measured child, ours or Python's, that takes commands.
#[derive(Debug)]
pub struct Subject {
    /// Who it is, for messages: `threads`, `python-asyncio`, …
    pub name: String,
    /// What it said of itself.
    pub hello: Hello,
    child: Child,
    commands: Option<ChildStdin>,
    answers: Receiver<String>,
    complaints: Receiver<String>,
    patience: Duration,
    /// Once the child has been waited for, its id may be somebody else's.
    waited_for: bool,
}

impl Subject {
    /// Starts one of our engines in a process of its own.
    ///
    /// # Errors
    /// [`Error::Child`] when it can't be started or doesn't answer.
    pub fn ours(order: &Order) -> Result<Subject, Error> {
        let detail = serde_json::to_string(order).expect("an order is plain data");
        let command = roles::command(measured::PART, &detail);
        Subject::start(
            order.engine.name().to_owned(),
            command,
            limits::CHILD_TIMEOUT,
        )
    }

    /// Starts one of the article's programs on a Python.
    ///
    /// # Errors
    /// [`Error::Child`] when it can't be started or doesn't answer.
    pub fn python(python: &Python, engine: &str, order: &Order) -> Result<Subject, Error> {
        let command = python::command(python, engine, order);
        Subject::start(python.row_name(engine), command, limits::PYTHON_TIMEOUT)
    }

    fn start(name: String, mut command: Command, patience: Duration) -> Result<Subject, Error> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A group of its own, so that it can be ended with all that it started.
        command.process_group(0);
        let mut child = command
            .spawn()
            .map_err(Error::io(format!("start {name}")))?;
        let commands = child.stdin.take();
        let answers = lines_of(child.stdout.take().expect("it was asked for as a pipe"))?;
        let complaints = lines_of(child.stderr.take().expect("it was asked for as a pipe"))?;
        let mut subject = Subject {
            name,
            hello: Hello::default(),
            child,
            commands,
            answers,
            complaints,
            patience,
            waited_for: false,
        };
        subject.hello = subject.hear()?;
        Ok(subject)
    }

    /// Gives a command and waits for its answer.
    ///
    /// # Errors
    /// [`Error::Child`] with its last words when it failed, or when it did not
    /// answer in time.
    pub fn ask<T: DeserializeOwned>(&mut self, command: &str) -> Result<T, Error> {
        if let Some(pipe) = &mut self.commands {
            // A child that has died is noticed by its missing answer.
            let _ = writeln!(pipe, "{command}");
        }
        self.hear()
    }

    /// Ends the child and returns what it said last.
    ///
    /// # Errors
    /// As [`Subject::ask`].
    pub fn end(mut self) -> Result<Farewell, Error> {
        let farewell = self.ask("end")?;
        // Its last line is said; let it shut down by itself.
        while self.answers.recv_timeout(limits::CHILD_GRACE).is_ok() {}
        Ok(farewell)
    }

    fn hear<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let name = &self.name;
        match self.answers.recv_timeout(self.patience) {
            Ok(line) => serde_json::from_str(&line).map_err(|e| {
                Error::Child(format!(
                    "{name} answered {line:?}, which can't be read: {e}"
                ))
            }),
            Err(RecvTimeoutError::Timeout) => Err(Error::Child(format!(
                "{name} did not answer within {:?} and was ended",
                self.patience
            ))),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self
                    .child
                    .wait()
                    .map_err(Error::io(format!("wait for {name}")))?;
                self.waited_for = true;
                let last_words = self
                    .complaints
                    .iter()
                    .filter(|line| !line.trim().is_empty())
                    .last();
                let why = last_words.unwrap_or_else(|| status.to_string());
                Err(Error::Child(format!("{name} failed: {why}")))
            }
        }
    }
}

impl Drop for Subject {
    /// Ends the child, what it started, and waits for it: no process is left.
    fn drop(&mut self) {
        self.commands = None;
        if self.waited_for {
            return;
        }
        // It has said goodbye, or has nothing left to say that anyone hears.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// The lines of a pipe, read by a thread of their own so that waiting for one
/// can have a deadline. The thread ends with the pipe.
fn lines_of(pipe: impl std::io::Read + Send + 'static) -> Result<Receiver<String>, Error> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name("answers".into())
        .spawn(move || {
            for line in BufReader::new(pipe).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        })
        .map_err(Error::io("start a thread that reads a child's answers"))?;
    Ok(receiver)
}
