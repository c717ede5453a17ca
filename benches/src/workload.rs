//! What a workload is: its name, its unit, its bars, and the engines that run it.
//!
//! Read this first; then one of the folders below `workloads/`, then `runner.rs`.

use std::time::Duration;

/// The five tables of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The event loop beside other single-threaded executors.
    Loop,
    /// Servers: CPU time for each operation.
    Net,
    /// The work-stealing pool beside rayon and chili.
    Threads,
    /// The process pool beside Python's and procspawn.
    Processes,
    /// The three programs of the article over all engines.
    Article,
}

impl Group {
    /// In the order in which they run.
    pub const ALL: [Group; 5] = [
        Group::Loop,
        Group::Net,
        Group::Threads,
        Group::Processes,
        Group::Article,
    ];

    /// The name on the command line and in the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Group::Loop => "loop",
            Group::Net => "net",
            Group::Threads => "threads",
            Group::Processes => "processes",
            Group::Article => "article",
        }
    }
}

/// The unit of a row's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// Seconds.
    S,
    /// Bytes.
    B,
    /// Jobs a second.
    JobsPerS,
    /// How many there were.
    Count,
}

impl Unit {
    /// As it stands in the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Ns => "ns",
            Unit::Us => "us",
            Unit::Ms => "ms",
            Unit::S => "s",
            Unit::B => "B",
            Unit::JobsPerS => "jobs_per_s",
            Unit::Count => "count",
        }
    }

    /// Whether less or more of it is better.
    pub fn better(self) -> Better {
        match self {
            Unit::JobsPerS => Better::Higher,
            _ => Better::Lower,
        }
    }

    /// The figure for `ops` operations that took `elapsed`.
    ///
    /// # Panics
    ///
    /// When the unit is bytes or a count, which no duration gives.
    pub fn per_op(self, elapsed: Duration, ops: u64) -> f64 {
        let seconds = elapsed.as_secs_f64();
        let ops = ops as f64;
        match self {
            Unit::Ns => seconds * 1e9 / ops,
            Unit::Us => seconds * 1e6 / ops,
            Unit::Ms => seconds * 1e3 / ops,
            Unit::S => seconds / ops,
            Unit::JobsPerS => ops / seconds,
            Unit::B | Unit::Count => panic!("{} isn't a time", self.name()),
        }
    }
}

/// Direction of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Costs.
    Lower,
    /// Rates.
    Higher,
}

impl Better {
    /// As it stands in the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Better::Lower => "lower",
            Better::Higher => "higher",
        }
    }

    /// How many times better `ours` is than `theirs`: above 1 we are ahead,
    /// whatever the direction.
    pub fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Better::Lower => theirs / ours,
            Better::Higher => ours / theirs,
        }
    }
}

/// Where the parties of a row run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// Wherever the scheduler puts them. Rows with two parties show this beside
    /// the pinned ones, unjudged.
    Free,
    /// All on one core.
    Same,
    /// The measuring party on one core, the other on another.
    Apart,
}

/// What we set out to reach in a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    /// At least so many times better than this engine.
    Times(&'static str, f64),
    /// Better than every peer, noise aside.
    AheadOfAll,
    /// Better than this engine, noise aside.
    AheadOf(&'static str),
    /// Not worse than this engine, noise aside.
    NotBehind(&'static str),
    /// At most this multiple of the cost of `limit`.
    OfLimit(f64),
    /// At most this multiple of the cost of this engine.
    Of(&'static str, f64),
    /// At least so many times better than the best of Python's.
    TimesPython(f64),
    /// At most (for rates: at least) this figure, in the row's unit.
    Figure(f64),
}

/// How much work a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Just enough to see that the workload still works.
    Smoke,
    /// A group in about three minutes.
    Quick,
    /// For the figures that are published.
    Full,
}

impl Size {
    /// As it is told to a child.
    pub fn name(self) -> &'static str {
        match self {
            Size::Smoke => "smoke",
            Size::Quick => "quick",
            Size::Full => "full",
        }
    }

    /// How long the measured part of one run should last.
    pub fn target(self) -> Duration {
        match self {
            Size::Smoke => Duration::from_millis(10),
            Size::Quick => Duration::from_millis(60),
            Size::Full => Duration::from_millis(150),
        }
    }

    /// One of three figures.
    pub fn pick<T>(self, smoke: T, quick: T, full: T) -> T {
        match self {
            Size::Smoke => smoke,
            Size::Quick => quick,
            Size::Full => full,
        }
    }
}

/// What a run is told.
#[derive(Debug, Clone, Copy)]
pub struct Ctx {
    /// How many operations to do and to time. Of a [`Run::Once`], how often to do its
    /// work: once, unless its instructions are counted.
    pub iters: u64,
    /// How many threads or workers the engine may use.
    pub workers: usize,
    /// Where the parties run.
    pub pin: Pin,
    /// How much work the whole run should be.
    pub size: Size,
}

/// How an engine runs a workload.
#[derive(Debug, Clone, Copy)]
pub enum Run {
    /// Does `ctx.iters` operations, checks their results, and returns how long
    /// they took. The harness chooses `iters` so that a run lasts long enough.
    PerOp(fn(&Ctx) -> Duration),
    /// Does a fixed amount of work and returns the figure in the row's unit.
    Once(fn(&Ctx) -> f64),
    /// A script below `benches/python/` that prints the figure in the row's unit.
    Python {
        /// The file.
        script: &'static str,
        /// Its arguments, before the size.
        args: &'static [&'static str],
        /// Whether it is for a free-threaded interpreter.
        free_threaded: bool,
    },
}

/// One engine's version of a workload.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The engine's name in the output.
    pub engine: &'static str,
    /// Distinguishes several versions of one engine, of which the best counts.
    pub variant: &'static str,
    /// The package of `Cargo.lock` whose version is shown.
    pub package: &'static str,
    /// What to run.
    pub run: Run,
}

/// One row of a table.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The table that it stands in.
    pub group: Group,
    /// Its name in the output.
    pub name: String,
    /// What it does, in a sentence.
    pub what: &'static str,
    /// The unit of its figures.
    pub unit: Unit,
    /// Operations come in multiples of this.
    pub grain: u64,
    /// Threads or workers.
    pub workers: usize,
    /// How long one full-size run of a [`Run::Once`] takes, roughly: for the
    /// estimate and for the deadline of a hung run.
    pub once_takes: Duration,
    /// How many operations one smoke-size run of a [`Run::Once`] does, if it does its
    /// work `ctx.iters` times over, so that instructions can be counted; else 0.
    pub once_does: u64,
    /// Where its parties run.
    pub pin: Pin,
    /// What we set out to reach; empty where a row is only shown.
    pub bars: Vec<Bar>,
    /// Who runs it.
    pub entries: Vec<Entry>,
    /// Which engines don't, and why.
    pub left_out: Vec<(&'static str, &'static str)>,
}

impl Workload {
    /// A row without engines.
    pub fn new(group: Group, name: impl Into<String>, unit: Unit, what: &'static str) -> Self {
        Self {
            group,
            name: name.into(),
            what,
            unit,
            grain: 1,
            workers: 1,
            once_takes: Duration::from_secs(1),
            once_does: 0,
            pin: Pin::Free,
            bars: Vec::new(),
            entries: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// Operations come in multiples of `grain`.
    pub fn grain(mut self, grain: u64) -> Self {
        self.grain = grain;
        self
    }

    /// The engine may use so many threads or workers.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// One full-size run lasts about so many seconds.
    pub fn takes(mut self, seconds: f64) -> Self {
        self.once_takes = Duration::from_secs_f64(seconds);
        self
    }

    /// One smoke-size run does so many operations, `ctx.iters` times over.
    pub fn does(mut self, operations: u64) -> Self {
        self.once_does = operations;
        self
    }

    /// Where the parties run.
    pub fn pin(mut self, pin: Pin) -> Self {
        self.pin = pin;
        self
    }

    /// What we set out to reach.
    pub fn bar(mut self, bar: Bar) -> Self {
        self.bars.push(bar);
        self
    }

    /// An engine that runs it operation by operation.
    pub fn per_op(self, engine: &'static str, run: fn(&Ctx) -> Duration) -> Self {
        self.variant(engine, "", Run::PerOp(run))
    }

    /// An engine that runs a fixed amount of work.
    pub fn once(self, engine: &'static str, run: fn(&Ctx) -> f64) -> Self {
        self.variant(engine, "", Run::Once(run))
    }

    /// A script for the machine's Python.
    pub fn python(
        self,
        engine: &'static str,
        script: &'static str,
        args: &'static [&'static str],
    ) -> Self {
        self.variant(
            engine,
            "",
            Run::Python {
                script,
                args,
                free_threaded: false,
            },
        )
    }

    /// A script for a free-threaded Python.
    pub fn free_threaded(
        self,
        engine: &'static str,
        script: &'static str,
        args: &'static [&'static str],
    ) -> Self {
        self.variant(
            engine,
            "",
            Run::Python {
                script,
                args,
                free_threaded: true,
            },
        )
    }

    /// One of several versions of an engine; the best of them counts.
    pub fn variant(mut self, engine: &'static str, variant: &'static str, run: Run) -> Self {
        let package = match engine {
            "threeply-shared" | "threeply-loop" => "threeply-runtime",
            "threeply-threads"
            | "threeply-processes"
            | "threeply-asleep"
            | "threeply-own-thread" => "threeply-pools",
            "threeply" => match self.group {
                Group::Loop | Group::Net => "threeply-runtime",
                _ => "threeply-pools",
            },
            engine => engine,
        };
        self.entries.push(Entry {
            engine,
            variant,
            package,
            run,
        });
        self
    }

    /// An engine that can't run it, and why.
    pub fn without(mut self, engine: &'static str, why: &'static str) -> Self {
        self.left_out.push((engine, why));
        self
    }
}

/// Whether rows of this engine are what ours are compared with.
pub fn is_peer(engine: &str) -> bool {
    !is_ours(engine) && engine != "limit" && engine != "sequential"
}

/// Whether a row is one of ours.
pub fn is_ours(engine: &str) -> bool {
    engine == "threeply" || engine.starts_with("threeply-")
}

/// Whether a row is one of Python's.
pub fn is_python(engine: &str) -> bool {
    engine.starts_with("python-")
}
