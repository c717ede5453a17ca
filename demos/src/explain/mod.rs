//! `explain`: one run of one small program in each of the three lives, told step by
//! step, each with the line of ours that made it and the state that it changed.
//!
//! | life | program | what it goes through |
//! |---|---|---|
//! | `task` | [`task`] | spawn → poll → park → wake → complete → join |
//! | `job` | [`job`] | push → steal → run → latch |
//! | `process` | [`process`] | encode → frame → ring → decode → run → reply |
//! | `crash` | [`process`] | the same until the worker dies → an error for that job → a new worker |
//!
//! Nothing of the order is written down here. Each program runs while a
//! [trace] is recorded; [`story`] picks the events that
//! belong to the life and sorts them as they came; [`states`] knows, for each kind of
//! event, which state changes with it; [`page`] prints. So a step that the engines
//! don't make any more is gone from here too, and one that comes as a surprise is told.
//!
//! Read in this order: [`task`], [`job`], [`process`], [`story`], [`states`], [`page`].

pub mod job;
pub mod page;
pub mod process;
pub mod states;
pub mod story;
pub mod task;

use clap::{Parser, ValueEnum};
use threeply_runtime::trace::{self, Kind, Session, Trace, What};

use crate::output::Output;
use crate::{Error, limits};

/// Walks through one run of a small program, step by step: what happened, why, which
/// state changed, and which line of the source did it.
#[derive(Debug, Parser)]
#[command(name = "explain", version)]
pub struct Arguments {
    /// Whose life
    #[arg(value_enum, default_value = "all")]
    life: Choice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// A task of the event loop
    Task,
    /// A job of the thread pool, and a fork
    Job,
    /// A job of the process pool
    Process,
    /// A job that takes its worker down
    Crash,
    /// All of these
    All,
}

/// One of the lives, as it is told.
#[derive(Debug)]
pub struct Life {
    /// Its heading.
    pub title: &'static str,
    /// What the program does, for the reader.
    pub program: &'static str,
    /// The source of the program.
    pub source: &'static str,
    /// What its events are about.
    pub about: &'static [What],
    /// What must occur, or the run isn't worth telling: a thief may come too late.
    pub needs: &'static [Kind],
    /// Runs the program.
    pub run: fn() -> Result<Run, Error>,
}

/// A run of a program.
#[derive(Debug)]
pub struct Run {
    /// What was recorded.
    pub trace: Trace,
    /// What came out, in words.
    pub outcome: String,
}

/// `explain`'s main.
///
/// # Errors
/// If this build has no trace in it, an engine can't be started, or the output can't
/// be written.
pub fn main(arguments: Arguments) -> Result<(), Error> {
    let lives: &[&Life] = match arguments.life {
        Choice::Task => &[&task::LIFE],
        Choice::Job => &[&job::LIFE],
        Choice::Process => &[&process::LIFE],
        Choice::Crash => &[&process::CRASH],
        Choice::All => &[&task::LIFE, &job::LIFE, &process::LIFE, &process::CRASH],
    };
    let mut out = Output::new();
    for (index, life) in lives.iter().enumerate() {
        if index > 0 {
            out.line("")?;
        }
        let run = run(life)?;
        let steps = story::steps(&run.trace, life.about);
        page::print(&mut out, life, &run, &steps)?;
    }
    Ok(())
}

/// Runs a program until everything has occurred that its life is about.
fn run(life: &Life) -> Result<Run, Error> {
    let mut missing = Vec::new();
    for _ in 0..limits::EXPLAIN_TRIES {
        let run = (life.run)()?;
        let occurs = |kind: &&Kind| run.trace.events().iter().any(|event| event.kind == **kind);
        let needs = life.needs.iter();
        missing = needs.filter(|kind| !occurs(kind)).collect();
        if missing.is_empty() {
            return Ok(run);
        }
    }
    let names: Vec<&str> = missing.iter().map(|kind| kind.about().name).collect();
    Err(Error::Failed(format!(
        "in {} runs of '{}' this never occurred: {}; the machine may be too busy, try again",
        limits::EXPLAIN_TRIES,
        life.title,
        names.join(", ")
    )))
}

/// Begins to record.
fn record() -> Result<Session, Error> {
    trace::start().map_err(|error| match error {
        trace::Error::AlreadyOn => {
            Error::Usage("explain records a trace of its own: leave `--trace` out".to_owned())
        }
        error => Error::Failed(error.to_string()),
    })
}
