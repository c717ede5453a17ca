//! The measured child: one engine, one workload, a process to itself.
//!
//! `compare` ([`super::lab`]) starts it and writes commands to its stdin, one a
//! line; it answers each with one line of JSON. The Python programs
//! (`demos/python/article.py`) speak the same protocol:
//!
//! | command | what is done | answer |
//! |---|---|---|
//! | (start) | nothing yet | [`Hello`] |
//! | `cold` | the engine is started, does the work, is shut down | [`Sample`] |
//! | `warm` | the work on an engine that is there already | [`Sample`] |
//! | `units` | what one unit of concurrency costs | [`super::units::Unit`] |
//! | `picture` | as `warm`, recorded | [`super::picture::Picture`], or null |
//! | `trace` (ours only) | nothing more | that round's trace: a parcel in base64, or null |
//! | `end` | shut down | [`Farewell`] |

use std::io::{self, BufRead, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use threeply_runtime::trace::{self, Trace};

use super::contestant::{self, Contestant};
use super::picture::{self, Nature, Picture};
use super::{Workload, units, usage};
use crate::Error;
use crate::engine::Engine;

/// The name of this part; see [`crate::roles`].
pub const PART: &str = "measured";

/// What a measured child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// Which of the article's shapes.
    pub workload: Workload,
    /// On which engine.
    pub engine: Engine,
    /// How many sums or downloads.
    pub count: u32,
    /// What is summed up to, for the CPU workloads.
    pub n: u64,
    /// What is downloaded, for the I/O workloads.
    pub url: String,
}

/// The first line of a child.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Hello {
    /// A Python program's version; absent in ours.
    #[serde(default)]
    pub python: Option<String>,
    /// Whether that Python runs one thread at a time.
    #[serde(default)]
    pub gil: Option<bool>,
    /// Which HTTP client that Python uses.
    #[serde(default)]
    pub client: Option<String>,
}

/// One measured round.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sample {
    /// Wall-clock seconds.
    pub wall_s: f64,
    /// CPU seconds of the engine, all its threads and processes.
    pub cpu_s: Option<f64>,
}

/// The last line of a child.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Farewell {
    /// The most memory the engine held, its worker processes included.
    pub peak_rss_bytes: Option<u64>,
}

/// Runs this process as a measured child until it is told to end.
///
/// # Errors
/// What the engine or the workload reports; `compare` shows the row as failed.
pub fn play(detail: &str) -> Result<(), Error> {
    let order: Order = serde_json::from_str(detail)
        .map_err(|e| Error::Child(format!("the order for a measured child can't be read: {e}")))?;
    let commands = commands()?;
    answer(&Hello::default())?;
    let mut contestant = contestant::enter(&order)?;
    let mut prepared = false;
    let mut recorded = None;
    while let Ok(command) = commands.recv() {
        match command.as_str() {
            "cold" => answer(&measure(&mut *contestant, |contestant| contestant.cold())?)?,
            "warm" => {
                if !std::mem::replace(&mut prepared, true) {
                    contestant.prepare()?;
                }
                answer(&measure(&mut *contestant, |contestant| contestant.warm())?)?;
            }
            "picture" => {
                prepared = true;
                recorded = record(&mut *contestant)?;
                let drawn = recorded.as_ref().map(|trace| draw(trace, order.workload));
                answer(&drawn.flatten())?;
            }
            "trace" => answer(&recorded.as_ref().map(pack))?,
            "units" => answer(&units::measure(order.engine)?)?,
            "end" => {
                let peak_rss_bytes = usage::peak_rss_of_tree();
                drop(contestant);
                return answer(&Farewell { peak_rss_bytes });
            }
            other => {
                return Err(Error::Child(format!(
                    "a measured child knows no command {other:?}"
                )));
            }
        }
    }
    Ok(())
}

/// One warm round, recorded; of an engine that is made here, so that its workers
/// record too. `None` if this build can't.
fn record(contestant: &mut dyn Contestant) -> Result<Option<Trace>, Error> {
    let Ok(session) = trace::start() else {
        return Ok(None);
    };
    contestant.prepare()?;
    {
        let _round = trace::span(picture::ROUND);
        contestant.warm()?;
    }
    Ok(Some(session.stop()))
}

/// What ran when in that round.
fn draw(trace: &Trace, workload: Workload) -> Option<Picture> {
    let nature = match workload {
        Workload::CpuBound | Workload::CpuBoundLarge => Nature::Work,
        Workload::IoBound | Workload::ManyConnections => Nature::Wait,
    };
    Picture::of(trace, nature)
}

/// A trace as an answer.
fn pack(trace: &Trace) -> String {
    BASE64.encode(trace.to_parcel())
}

/// The trace that a child's answer was made of.
///
/// # Errors
/// [`Error::Child`] if it isn't one.
pub fn unpack(answer: &str) -> Result<Trace, Error> {
    let parcel = BASE64
        .decode(answer)
        .map_err(|e| Error::Child(format!("a child's trace can't be read: {e}")))?;
    Trace::from_parcel(&parcel)
        .map_err(|e| Error::Child(format!("a child's trace can't be read: {e}")))
}

fn measure(
    contestant: &mut dyn Contestant,
    round: fn(&mut dyn Contestant) -> Result<Duration, Error>,
) -> Result<Sample, Error> {
    let before = usage::cpu_of_tree();
    let wall = round(contestant)?;
    let after = usage::cpu_of_tree();
    let cpu = after
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before).as_secs_f64());
    Ok(Sample {
        wall_s: wall.as_secs_f64(),
        cpu_s: cpu,
    })
}

/// The lines of stdin. When they end, so does this process, even in the middle
/// of a round: whoever asked for it has gone.
fn commands() -> Result<mpsc::Receiver<String>, Error> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name("commands".into())
        .spawn(move || {
            for line in io::stdin().lock().lines() {
                let Ok(line) = line else { break };
                let last = line == "end";
                if sender.send(line).is_err() || last {
                    return;
                }
            }
            std::process::exit(1);
        })
        .map_err(Error::io("start the thread that reads commands"))?;
    Ok(receiver)
}

fn answer(message: &impl Serialize) -> Result<(), Error> {
    let line = serde_json::to_string(message).expect("plain data is always JSON");
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .map_err(Error::Stdout)
}
