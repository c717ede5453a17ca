//! The parent's side: which runs, in which order, and which are repeated.
//!
//! 1. For each workload, `rounds` rounds; in each round every engine runs once,
//!    in an order drawn anew. What the machine does in a minute (a neighbour, a
//!    warmer core) thus hits all engines alike.
//! 2. Each run is a process of its own: this binary again, with the hidden
//!    command [`CHILD`], or a Python script. Its process group is ended when it
//!    exceeds its deadline.
//! 3. A run during which the machine was busy with something else, or had time
//!    stolen by its host, is repeated; so is a round whose `limit` strays more
//!    than a fifth from its own median. Both are bounded, and what was still
//!    disturbed at the end is told.
//!
//! Ctrl-C ends the running child and returns what was measured so far.

use std::collections::BTreeMap;
use std::env;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::machine::{Busy, Machine};
use crate::measure::Sample;
use crate::stats::{self, Random, Summary};
use crate::sys;
use crate::tracing::Tracing;
use crate::versions;
use crate::workload::{Entry, Run, Size, Workload, is_python};

/// The hidden command by which the binary runs one workload on one engine.
pub const CHILD: &str = "__run";

/// What to measure and how often.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How much work a run does.
    pub size: Size,
    /// Rounds of each workload.
    pub rounds: usize,
    /// Rounds of Python's, whose runs are long.
    pub python_rounds: usize,
    /// Names of the engines to run; all when empty.
    pub only: Vec<String>,
    /// Seed of the order within rounds.
    pub seed: u64,
    /// Whether our engines record.
    pub trace: Tracing,
}

impl Plan {
    /// The defaults of a size.
    pub fn new(size: Size) -> Self {
        Self {
            size,
            rounds: size.pick(1, 5, 9),
            python_rounds: size.pick(1, 3, 9),
            only: Vec::new(),
            seed: 1,
            trace: Tracing::Off,
        }
    }

    /// Rounds of an engine in a row: fewer for Python and, in a quick run, for
    /// rows whose single run is long.
    pub fn rounds_of(&self, workload: &Workload, entry: &Entry) -> usize {
        let long = self.size == Size::Quick
            && !matches!(entry.run, Run::PerOp(_))
            && workload.once_takes >= Duration::from_millis(1_500);
        match () {
            () if long => self.rounds.min(3),
            () if is_python(entry.engine) => self.python_rounds.min(self.rounds),
            () => self.rounds,
        }
    }

    /// Whether the engine was asked for.
    pub fn wants(&self, engine: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == engine)
    }

    /// How long the workload will take, roughly.
    pub fn estimate(&self, workload: &Workload) -> Duration {
        let per_op = self.size.target() * 2 + Duration::from_millis(40);
        let once = workload.once_takes.mul_f64(self.size.pick(0.1, 0.35, 1.0));
        workload
            .entries
            .iter()
            .filter(|entry| self.wants(entry.engine))
            .map(|entry| {
                let run = match entry.run {
                    Run::PerOp(_) => per_op,
                    Run::Once(_) => once,
                    Run::Python { .. } => once.max(per_op) * 2,
                };
                run * self.rounds_of(workload, entry) as u32
            })
            .sum()
    }
}

/// One engine's line of a row.
#[derive(Debug, Clone)]
pub struct Line {
    /// The engine.
    pub engine: &'static str,
    /// Which of its versions was the best; empty when there is one.
    pub variant: &'static str,
    /// Its release.
    pub version: String,
    /// What its rounds gave.
    pub summary: Summary,
    /// CPU seconds for each operation, median.
    pub cpu_s: Option<f64>,
    /// Bytes of the largest process at its peak, median.
    pub peak_rss: u64,
}

/// A finished row.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was run.
    pub workload: Workload,
    /// One line for each engine that ran.
    pub lines: Vec<Line>,
    /// Engines without a line, and why.
    pub skipped: Vec<(String, String)>,
    /// Engines that ended badly, and how.
    pub failed: Vec<(String, String)>,
    /// Runs that were repeated because the machine was disturbed.
    pub repeated: usize,
    /// Runs that were disturbed still.
    pub disturbed: usize,
}

/// What happened, for a progress bar.
pub trait Progress {
    /// A run begins.
    fn begins(&mut self, workload: &Workload, entry: &Entry, round: usize);
    /// A run has ended; `counted` unless it was a repetition.
    fn ended(&mut self, counted: bool);
    /// Something that the user should read.
    fn say(&mut self, text: &str);
}

/// One finished run.
struct Ran {
    sample: Sample,
    peak_rss: u64,
    disturbed: bool,
}

/// Runs a workload; ends early, with what there is, after Ctrl-C.
pub fn run(
    workload: &Workload,
    plan: &Plan,
    machine: &Machine,
    progress: &mut dyn Progress,
) -> Row {
    let mut row = Row {
        workload: workload.clone(),
        lines: Vec::new(),
        skipped: Vec::new(),
        failed: Vec::new(),
        repeated: 0,
        disturbed: 0,
    };
    for (engine, why) in &workload.left_out {
        if plan.wants(engine) {
            row.skipped.push(((*engine).to_owned(), (*why).to_owned()));
        }
    }
    let mut entries = Vec::new();
    for entry in workload
        .entries
        .iter()
        .filter(|entry| plan.wants(entry.engine))
    {
        match machine.can_run(workload, entry) {
            Ok(()) => entries.push(entry.clone()),
            Err(why) => row.skipped.push((entry.engine.to_owned(), why)),
        }
    }

    let mut measured = Measured {
        runs: entries.iter().map(|_| BTreeMap::new()).collect(),
        repeats_left: if plan.size == Size::Smoke {
            0
        } else {
            plan.rounds * entries.len() / 2
        },
        entries,
        random: Random(plan.seed ^ name_hash(&workload.name)),
        workload,
        plan,
        machine,
    };
    for round in 0..plan.rounds {
        measured.round(round, true, &mut row, progress);
    }
    // Rounds in which the limit itself strayed say nothing about the engines.
    while let Some(round) = measured.strayed_round() {
        if measured.repeats_left == 0 || sys::interrupted() {
            break;
        }
        measured.round(round, false, &mut row, progress);
        row.repeated += measured.entries.len();
        measured.repeats_left = measured.repeats_left.saturating_sub(measured.entries.len());
    }
    measured.into_lines(&mut row);
    row
}

struct Measured<'a> {
    workload: &'a Workload,
    plan: &'a Plan,
    machine: &'a Machine,
    entries: Vec<Entry>,
    /// For each entry, its runs by round.
    runs: Vec<BTreeMap<usize, Ran>>,
    repeats_left: usize,
    random: Random,
}

impl Measured<'_> {
    fn round(&mut self, round: usize, counted: bool, row: &mut Row, progress: &mut dyn Progress) {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        self.random.shuffle(&mut order);
        for index in order {
            let entry = self.entries[index].clone();
            let failed = row.failed.iter().any(|(engine, _)| engine == entry.engine);
            if failed || round >= self.plan.rounds_of(self.workload, &entry) || sys::interrupted() {
                continue;
            }
            progress.begins(self.workload, &entry, round);
            let mut outcome = run_one(self.workload, &entry, self.plan, self.machine);
            while matches!(&outcome, Ok(ran) if ran.disturbed)
                && self.repeats_left > 0
                && !sys::interrupted()
            {
                self.repeats_left -= 1;
                row.repeated += 1;
                progress.ended(false);
                outcome = run_one(self.workload, &entry, self.plan, self.machine);
            }
            progress.ended(counted);
            match outcome {
                Ok(ran) => {
                    self.runs[index].insert(round, ran);
                }
                Err(_) if sys::interrupted() => {}
                Err(why) => {
                    progress.say(&format!("{} {}: {why}", self.workload.name, entry.engine));
                    row.failed.push((entry.engine.to_owned(), why));
                }
            }
        }
    }

    fn strayed_round(&self) -> Option<usize> {
        let limit = self
            .entries
            .iter()
            .position(|entry| entry.engine == "limit")?;
        let rounds: Vec<usize> = self.runs[limit].keys().copied().collect();
        let values: Vec<f64> = self.runs[limit]
            .values()
            .map(|ran| ran.sample.value)
            .collect();
        stats::strayed(&values, 0.2)
            .first()
            .map(|&index| rounds[index])
    }

    fn into_lines(self, row: &mut Row) {
        let better = self.workload.unit.better();
        for (entry, runs) in self.entries.iter().zip(&self.runs) {
            row.disturbed += runs.values().filter(|ran| ran.disturbed).count();
            let values: Vec<f64> = runs.values().map(|ran| ran.sample.value).collect();
            let Some(summary) = Summary::of(&values) else {
                continue;
            };
            let cpu: Vec<f64> = runs.values().filter_map(|ran| ran.sample.cpu_s).collect();
            let peaks: Vec<f64> = runs.values().map(|ran| ran.peak_rss as f64).collect();
            let line = Line {
                engine: entry.engine,
                variant: entry.variant,
                version: self.machine.version_of(entry),
                summary,
                cpu_s: (!cpu.is_empty()).then(|| stats::median(&cpu)),
                peak_rss: stats::median(&peaks) as u64,
            };
            match row
                .lines
                .iter_mut()
                .find(|other| other.engine == line.engine)
            {
                Some(other) => {
                    if better.ratio(line.summary.median, other.summary.median) > 1.0 {
                        *other = line;
                    }
                }
                None => row.lines.push(line),
            }
        }
    }
}

fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Runs one engine once, in a process of its own.
fn run_one(
    workload: &Workload,
    entry: &Entry,
    plan: &Plan,
    machine: &Machine,
) -> Result<Ran, String> {
    let Plan { size, trace, .. } = *plan;
    let mut command = match entry.run {
        Run::Python {
            script,
            args,
            free_threaded,
        } => {
            let python = machine.python(free_threaded).ok_or("no interpreter")?;
            let mut command = Command::new(&python.program);
            command
                .arg(
                    Path::new(env!("CARGO_MANIFEST_DIR"))
                        .join("python")
                        .join(script),
                )
                .args(args)
                .arg(size.name())
                .env(
                    "VERSUS",
                    env::current_exe().map_err(|error| error.to_string())?,
                );
            command
        }
        _ => {
            let mut command = Command::new(env::current_exe().map_err(|e| e.to_string())?);
            command.args([CHILD, workload.group.name(), &workload.name]);
            command.args([entry.engine, entry.variant, size.name()]);
            command
        }
    };
    trace.pass_on(&mut command);
    let deadline = Duration::from_secs(20) + workload.once_takes * 6;
    let busy = Busy::now();
    let began = Instant::now();
    let finished = finish(&mut command, began + deadline)?;
    let elapsed = began.elapsed();
    let line = finished.stdout.lines().last().unwrap_or_default();
    let sample: Sample = serde_json::from_str(line)
        .map_err(|error| format!("said {line:?}, which is no figure: {error}"))?;
    if !(sample.value.is_finite() && sample.value >= 0.0) {
        return Err(format!("said {}, which is no figure", sample.value));
    }
    let disturbed = busy.disturbed_until_now(elapsed, finished.cpu);
    Ok(Ran {
        sample,
        peak_rss: finished.peak_rss,
        disturbed,
    })
}

/// What a child left.
pub struct Finished {
    /// All that it wrote to standard output.
    pub stdout: String,
    /// The most memory that one of its processes had.
    pub peak_rss: u64,
    /// CPU time of the child and of the children that it waited for.
    pub cpu: Duration,
}

/// Runs a command to its end; ends it and all of its process group at `deadline`
/// or on Ctrl-C.
///
/// # Errors
///
/// In words: it didn't start, didn't end in time, or ended badly.
pub fn finish(command: &mut Command, deadline: Instant) -> Result<Finished, String> {
    let cpu_before = sys::tree_cpu().saturating_sub(sys::own_cpu());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
    let pid = child.id();
    let reader = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = from.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = reader(Box::new(child.stdout.take().expect("piped")));
    let stderr = reader(Box::new(child.stderr.take().expect("piped")));
    let pidfd = sys::pidfd(pid).map_err(|error| format!("pidfd_open: {error}"))?;
    let ended = sys::wait_exit(pidfd.as_fd(), deadline);
    // Also after a good end: what it left behind would disturb the next run, and
    // would hold the pipes open.
    sys::kill_group(pid);
    let (status, peak_rss) = sys::wait_with_peak(pid).map_err(|error| format!("wait4: {error}"))?;
    let cpu = sys::tree_cpu()
        .saturating_sub(sys::own_cpu())
        .saturating_sub(cpu_before);
    let stdout = stdout.join().unwrap_or_default();
    let stderr = stderr.join().unwrap_or_default();
    if !ended {
        let why = if sys::interrupted() {
            "interrupted"
        } else {
            "hung, and was ended"
        };
        return Err(why.to_owned());
    }
    if status != 0 {
        let said = stderr
            .lines()
            .rev()
            .find(|line| line.contains("panicked") || !line.trim().is_empty());
        let first = stderr
            .lines()
            .skip_while(|line| !line.contains("panicked"))
            .take(2);
        let told = first.collect::<Vec<_>>().join(" ");
        let told = if told.is_empty() {
            said.unwrap_or_default().to_owned()
        } else {
            told
        };
        let how = if status & 0x7f != 0 {
            format!("ended by signal {}", status & 0x7f)
        } else {
            format!("exit status {}", (status >> 8) & 0xff)
        };
        return Err(format!("{how}: {told}"));
    }
    Ok(Finished {
        stdout,
        peak_rss,
        cpu,
    })
}

/// Name and release of an engine as the JSON has it.
pub fn locked_version(package: &str) -> Option<&'static str> {
    versions::LOCKED
        .iter()
        .find(|(name, _)| *name == package)
        .map(|(_, version)| *version)
}
