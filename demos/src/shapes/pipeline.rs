//! The article's communication between processes: a producer and its consumers,
//! over a [`Queue`] and over a pipe ([`Channel`]), beside the same in Python.
//!
//! ```text
//!   producer ──put──▶ Queue ──get──▶ consumers ──┐
//!                                                ├──▶ each its sum, by a Channel
//!   producer ──send──▶ Channel ──recv──▶ consumer┘
//! ```
//!
//! All of them are processes. They meet at a [`Barrier`] before the first message,
//! so that their start isn't counted, and the sums of all numbers are compared with
//! Gauss's. A process that dies is told to whoever waits for it; see the failures
//! that [`over_queue`] turns into errors.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde::{Deserialize, Serialize};
use threeply_pools::ipc::{self, Barrier, Channel, Process, Queue, channel};

use crate::compare::python::{self, Python};
use crate::output::Output;
use crate::{Error, cli, limits};

/// The same programs in Python.
const PROGRAM: &str = include_str!("../../python/pipeline.py");

/// A producer and its consumers, all processes, over a queue and over a pipe.
#[derive(Debug, Parser)]
#[command(name = "pipeline", version)]
pub struct Arguments {
    /// How many messages go through each
    #[arg(long, default_value = "50_000", value_parser = cli::messages)]
    messages: u64,
    /// How many processes take them from the queue
    #[arg(long, default_value = "2", value_parser = cli::consumers)]
    consumers: u32,
    /// Bytes of text in a message, besides its number
    #[arg(long, default_value = "64", value_parser = cli::message_bytes)]
    bytes: u64,
    /// The Python to compare with, if not `python3`
    #[arg(long, value_name = "PROGRAM", conflicts_with = "no_python")]
    python: Option<PathBuf>,
    /// Don't run Python
    #[arg(long)]
    no_python: bool,
}

/// A message: its number, and text to carry.
#[derive(Debug, Serialize, Deserialize)]
struct Message {
    number: u64,
    text: String,
}

/// What goes through: how many messages of how many bytes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Load {
    /// How many.
    pub messages: u64,
    /// Bytes of text in each.
    pub bytes: u64,
}

impl Load {
    fn each(self, mut send: impl FnMut(&Message)) {
        let mut message = Message {
            number: 0,
            text: "x".repeat(self.bytes as usize),
        };
        for number in 0..self.messages {
            message.number = number;
            send(&message);
        }
    }

    /// The sum of all messages' numbers.
    fn sum(self) -> u64 {
        self.messages * (self.messages - 1) / 2
    }
}

/// `pipeline`'s main.
///
/// # Errors
/// When a process fails, a sum is wrong, or the output can't be written.
pub fn main(arguments: Arguments) -> Result<(), Error> {
    let mut out = Output::new();
    let python = match arguments.no_python {
        true => None,
        false => python::find(arguments.python.as_ref())?.into_iter().next(),
    };
    let (load, consumers) = (
        Load {
            messages: arguments.messages,
            bytes: arguments.bytes,
        },
        arguments.consumers,
    );
    out.line(format_args!(
        "{} messages of {} bytes, from 1 process to {consumers} (Queue) or 1 (Pipe)",
        load.messages, load.bytes
    ))?;
    let queue = over_queue(load, consumers)?;
    out.line(row("Queue", load, queue))?;
    let pipe = over_channel(load)?;
    out.line(row("Pipe", load, pipe))?;
    let Some(python) = python else {
        return out.line(if arguments.no_python {
            "Python was not asked for."
        } else {
            "No python3 was found, so Python is skipped; name one with --python."
        });
    };
    let [their_queue, their_pipe] = in_python(&python, load, consumers)?;
    let version = &python.version;
    out.line(row(&format!("Queue, Python {version}"), load, their_queue))?;
    out.line(row(&format!("Pipe, Python {version}"), load, their_pipe))?;
    out.line(format_args!(
        "Queue: {:.1}x Python's messages a second; Pipe: {:.1}x",
        ratio(their_queue, queue),
        ratio(their_pipe, pipe)
    ))
}

fn ratio(theirs: Duration, ours: Duration) -> f64 {
    theirs.as_secs_f64() / ours.as_secs_f64()
}

fn row(name: &str, load: Load, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    let rate = load.messages as f64 / seconds;
    format!("{name} took {seconds:.3} seconds: {rate:.0} messages a second.")
}

fn produce_queue((queue, start, load): (Queue<Message>, Barrier, Load)) {
    start.wait().expect("all have come");
    load.each(|message| queue.put(message).expect("somebody takes it"));
    queue.close();
}

fn consume_queue((queue, start, done): (Queue<Message>, Barrier, Channel<u64>)) {
    let mut sum = 0;
    start.wait().expect("all have come");
    loop {
        match queue.get() {
            Ok(message) => sum += message.number,
            Err(ipc::Error::Closed) => break,
            Err(error) => panic!("{error}"),
        }
    }
    done.send(&sum).expect("the parent waits for it");
}

/// One producer, so many consumers and a queue; returns how long the messages took.
///
/// # Errors
/// [`Error::Child`] if a process fails: the others are ended then, since they are
/// daemons. [`Error::Failed`] if a sum is wrong or the system refuses something.
pub fn over_queue(load: Load, consumers: u32) -> Result<Duration, Error> {
    let queue = Queue::new(limits::PIPELINE_QUEUE).map_err(failed)?;
    let start = Barrier::new(consumers + 2).map_err(failed)?;
    let producer = child("producer")
        .spawn(produce_queue, (queue.clone(), start.clone(), load))
        .map_err(failed)?;
    let mut ends = Vec::new();
    for _ in 0..consumers {
        let (here, there) = channel().map_err(failed)?;
        let arguments = (queue.clone(), start.clone(), there);
        let consumer = child("consumer")
            .spawn(consume_queue, arguments)
            .map_err(failed)?;
        ends.push((consumer, here));
    }
    // So that a producer without consumers is told that nobody is left.
    drop(queue);
    start.wait().map_err(failed)?;
    let began = Instant::now();
    // The producer first: consumers wait for one another's messages without end if
    // it has died.
    succeeded(&producer)?;
    let mut sum = 0u64;
    for (consumer, here) in &ends {
        sum += received(consumer, here)?;
    }
    let took = began.elapsed();
    for (consumer, _) in &ends {
        succeeded(consumer)?;
    }
    checked(load, sum, took)
}

fn produce_pipe((pipe, start, load): (Channel<Message>, Barrier, Load)) {
    start.wait().expect("all have come");
    load.each(|message| pipe.send(message).expect("somebody takes it"));
}

fn consume_pipe((pipe, start, done): (Channel<Message>, Barrier, Channel<u64>)) {
    let mut sum = 0;
    start.wait().expect("all have come");
    while let Ok(message) = pipe.recv() {
        sum += message.number;
    }
    done.send(&sum).expect("the parent waits for it");
}

/// One producer, one consumer and a pipe; returns how long the messages took.
///
/// # Errors
/// As [`over_queue`].
pub fn over_channel(load: Load) -> Result<Duration, Error> {
    let start = Barrier::new(3).map_err(failed)?;
    let (a, b) = channel().map_err(failed)?;
    let (here, there) = channel().map_err(failed)?;
    let producer = child("producer")
        .spawn(produce_pipe, (a, start.clone(), load))
        .map_err(failed)?;
    let consumer = child("consumer")
        .spawn(consume_pipe, (b, start.clone(), there))
        .map_err(failed)?;
    start.wait().map_err(failed)?;
    let began = Instant::now();
    let sum = received(&consumer, &here)?;
    let took = began.elapsed();
    succeeded(&producer)?;
    succeeded(&consumer)?;
    checked(load, sum, took)
}

fn child(name: &str) -> ipc::process::Builder {
    Process::builder().name(name).daemon(true)
}

fn failed(error: impl std::error::Error) -> Error {
    match error.source() {
        Some(source) => Error::Failed(format!("{error}: {source}")),
        None => Error::Failed(error.to_string()),
    }
}

fn received(consumer: &Process, here: &Channel<u64>) -> Result<u64, Error> {
    here.recv().map_err(|error| match error {
        ipc::Error::Closed => Error::Child(format!(
            "the consumer {} ended before its sum came; see above, and run again",
            consumer.pid()
        )),
        error => failed(error),
    })
}

fn succeeded(process: &Process) -> Result<(), Error> {
    let status = process.join().map_err(Error::io("wait for a process"))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Child(format!(
        "the {} {} ended by {status}; see above, and run again",
        process.name(),
        process.pid()
    )))
}

fn checked(load: Load, sum: u64, took: Duration) -> Result<Duration, Error> {
    if sum == load.sum() {
        return Ok(took);
    }
    Err(Error::Failed(format!(
        "the numbers of {} messages add up to {sum}: some were lost or came twice, please report it",
        load.messages
    )))
}

/// The same in Python: over its `Queue`, over its `Pipe`.
///
/// # Errors
/// [`Error::Child`] if it fails.
fn in_python(python: &Python, load: Load, consumers: u32) -> Result<[Duration; 2], Error> {
    let output = Command::new(&python.program)
        .args(["-c", PROGRAM])
        .args([load.messages, consumers.into(), load.bytes].map(|number| number.to_string()))
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io("run Python"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut seconds = text.split_whitespace().filter_map(|word| word.parse().ok());
    match (seconds.next(), seconds.next()) {
        (Some(queue), Some(pipe)) if output.status.success() => {
            Ok([queue, pipe].map(Duration::from_secs_f64))
        }
        _ => {
            let errors = String::from_utf8_lossy(&output.stderr);
            let last = errors.lines().last().unwrap_or("it said nothing");
            Err(Error::Child(format!(
                "Python failed ({last}); name another with --python, or leave it out by --no-python"
            )))
        }
    }
}
