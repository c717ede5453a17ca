//! One causal trace over all engines: tasks, threads and processes, on one clock.
//!
//! ```no_run
//! let session = threeply_runtime::trace::start()?;
//! // … anything …
//! let trace = session.stop();
//! trace.write_html(std::fs::File::create("trace.html")?)?; // a page of its own
//! trace.write_chrome(std::fs::File::create("trace.json")?)?; // for ui.perfetto.dev
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Every wake, poll, steal, frame and so on is noted where it happens, with the
//! time and the line of source that noted it, and tied to what caused it. It needs
//! the Cargo feature `trace`; without it, [`start`] says so, and the hooks are empty
//! functions. With it, a hook that isn't recording costs a load and a branch.
//!
//! ```text
//!   hooks ──▶ gate ──▶ writer ──▶ ring ┐        one ring a thread, never blocks
//!   hooks ──▶ gate ──▶ writer ──▶ ring ├ board  one board a process
//!                                      ┘   │    a worker's lies in shared memory
//!              session ──▶ collect ◀───────┘
//!                             │ records in order of time
//!                         causality ──▶ Trace ──▶ model ──▶ html; chrome
//!                                       │   ▲
//!                                    parcel; merge    from and to other programs
//! ```
//! `README.md` beside this file says what may be relied on. Read in this order: [`gate`] (on or off), [`event`] (what can be told),
//! [`record`], [`ring`] and [`board`] (how it is kept), [`clock`], `memory`, `writer`
//! and `names` (the recording thread), `origin`, `span`, [`session`] (the recorder), `collect`,
//! `causality`, [`parcel`] and `merge` (traces of several programs), and [`model`], `html`,
//! `chrome` (documents).

pub mod board;
mod causality;
mod chrome;
pub mod clock;
mod collect;
pub mod event;
pub mod gate;
mod html;
mod json;
mod memory;
mod merge;
pub mod model;
pub(crate) mod names;
pub(crate) mod origin;
pub mod parcel;
pub mod record;
pub mod ring;
pub mod session;
mod span;
mod writer;

use std::fmt;
use std::time::SystemTime;

pub use event::{About, Group, Kind, Shape};
pub use gate::{BUILT_IN, emit, is_on};
pub(crate) use gate::{
    emit_at_once, emit_moment, emit_poll, emit_poll_end, emit_wake, let_time_pass,
};
pub(crate) use origin::{Origin, emit_of};
pub use parcel::ParcelError;
pub use session::{Error, Session, start};
pub use span::{Span, span};

/// What was recorded.
#[derive(Clone, Debug)]
pub struct Trace {
    wall: SystemTime,
    /// When the recording began, on `CLOCK_MONOTONIC`.
    at_ns: u64,
    length_ns: u64,
    lanes: Vec<Lane>,
    events: Vec<Event>,
    arrows: Vec<Arrow>,
    subjects: Vec<Subject>,
    lost: u64,
    names_lost: u64,
}

/// A thread that recorded something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lane {
    /// Its process.
    pub pid: u32,
    /// Its number in the system.
    pub tid: u32,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: LaneKind,
    /// Which of the merged traces it is of; empty unless traces were
    /// [merged](Trace::merge).
    pub run: String,
    /// How many records it left.
    pub events: usize,
    /// How many were overwritten since, or are unreadable.
    pub lost: u64,
}

/// What a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneKind {
    /// It runs an event loop.
    Loop,
    /// It is another thread of this process.
    Thread,
    /// It is a thread of a worker process.
    Process,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Index of its lane.
    pub lane: usize,
    /// When it began, in nanoseconds since the recording did.
    pub start_ns: u64,
    /// When it ended; `None` if it has no length.
    pub end_ns: Option<u64>,
    /// What it is.
    pub kind: Kind,
    /// The line that told it, of the file that the kind knows.
    pub line: u32,
    /// The line that told its end, of the file that its end's kind knows; 0 if nobody
    /// did.
    pub end_line: u32,
    /// Index of what it is about.
    pub subject: Option<usize>,
    /// Index of the innermost span of the same lane that it happened in.
    pub inside: Option<usize>,
    /// The first number; see [`Kind`].
    pub a: u64,
    /// The second number; see [`Kind`].
    pub b: u64,
    /// The second number of its end, or [`UNFINISHED`](Event::UNFINISHED). Of a loop's
    /// sleep: the index of the event that ended it, or 0.
    pub result: u64,
}

impl Event {
    /// The [`result`](Event::result) of a span whose end wasn't recorded: it went on
    /// when the recording stopped, or its process was killed.
    pub const UNFINISHED: u64 = u64::MAX;

    /// Whether it is a span whose end wasn't recorded.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.end_ns.is_some() && self.result == Event::UNFINISHED
    }
}

/// From a cause to its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arrow {
    /// Index of the event that is the cause.
    pub from: usize,
    /// Index of the event that is the effect.
    pub to: usize,
    /// Of what nature.
    pub kind: ArrowKind,
}

/// How one event leads to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ArrowKind {
    /// A spawn, to the task's first poll.
    Spawn,
    /// A wake, to the poll that it brings.
    Wake,
    /// What the loop found, to the wake that follows; a timer set, to its firing.
    Cause,
    /// A push, or a steal, to the run.
    Push,
    /// A push or a promotion, to the steal.
    Steal,
    /// A latch set, to the end of the wait.
    Latch,
    /// A wake-up, to the end of a sleep.
    Unpark,
    /// A value sent, to its receipt.
    Value,
    /// A frame out, to the same frame in.
    Frame,
    /// A reply out, to the same reply in.
    Reply,
    /// A process's start, to what becomes of it.
    Process,
}

impl ArrowKind {
    /// Its name in documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ArrowKind::Spawn => "spawn",
            ArrowKind::Wake => "wake",
            ArrowKind::Cause => "cause",
            ArrowKind::Push => "push",
            ArrowKind::Steal => "steal",
            ArrowKind::Latch => "latch",
            ArrowKind::Unpark => "unpark",
            ArrowKind::Value => "value",
            ArrowKind::Frame => "frame",
            ArrowKind::Reply => "reply",
            ArrowKind::Process => "process",
        }
    }

    /// Whether the effect is the end of a span, not its beginning.
    #[must_use]
    pub fn is_to_the_end(self) -> bool {
        matches!(self, ArrowKind::Latch | ArrowKind::Unpark)
    }
}

/// What events are about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subject {
    /// The process it belongs to.
    pub pid: u32,
    /// What it is.
    pub what: What,
    /// Which one: a task's, descriptor's or process's own number; for the rest, which
    /// have only an address, the order of their appearance.
    pub number: u64,
    /// The name that it was given.
    pub name: Option<String>,
    /// Where it was spawned; of a lock's line or a channel, where it was made.
    pub site: Option<String>,
}

/// The sorts of subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum What {
    /// A task of an event loop.
    Task,
    /// A job of a thread pool, or a blocking call.
    Job,
    /// The second half of a `join`.
    Fork,
    /// A job of a process pool.
    ProcessJob,
    /// A process.
    Process,
    /// A file, socket, pipe.
    Descriptor,
    /// A line of waiters for a lock, permits, room or values.
    Line,
    /// A channel.
    Channel,
    /// What the program calls something that it does.
    Span,
}

impl What {
    /// Its name in documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            What::Task => "task",
            What::Job => "job",
            What::Fork => "fork",
            What::ProcessJob => "process job",
            What::Process => "process",
            What::Descriptor => "descriptor",
            What::Line => "line",
            What::Channel => "channel",
            What::Span => "span",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(name), What::Span) = (&self.name, self.what) {
            return f.write_str(name);
        }
        write!(f, "{} {}", self.what.name(), self.number)?;
        match (&self.name, self.what) {
            (Some(name), _) => write!(f, " '{name}'"),
            (None, What::ProcessJob) => write!(f, " of process {}", self.pid),
            _ => Ok(()),
        }
    }
}

impl Trace {
    /// When the recording began.
    #[must_use]
    pub fn began(&self) -> SystemTime {
        self.wall
    }

    /// How long it went on, in nanoseconds.
    #[must_use]
    pub fn length_ns(&self) -> u64 {
        self.length_ns
    }

    /// The threads that recorded something, those of one process together.
    #[must_use]
    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// What happened, in the order of beginnings.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What led to what.
    #[must_use]
    pub fn arrows(&self) -> &[Arrow] {
        &self.arrows
    }

    /// What the events are about.
    #[must_use]
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// Events that were recorded and aren't here: overwritten in full rings, or of
    /// more threads than there are rings.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Names and spawn sites for which there was no room.
    #[must_use]
    pub fn names_lost(&self) -> u64 {
        self.names_lost
    }

    /// The causes of an event: arrows that lead to it.
    pub fn causes_of(&self, event: usize) -> impl Iterator<Item = &Arrow> {
        self.arrows.iter().filter(move |arrow| arrow.to == event)
    }

    /// What is particular about an event, in words; may be empty.
    #[must_use]
    pub fn text(&self, event: &Event) -> String {
        model::text(self, event)
    }
}
