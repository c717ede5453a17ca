//! In which order what is measured, and how often.
//!
//! All engines of a workload are started first and measured in turn, round by
//! round, so that a disturbance of the machine hits all of them and not one.
//! Each round begins with another engine. Python's few rounds are spread over
//! ours, and left out when the time is up.

use std::time::Instant;

use indicatif::ProgressBar;

use super::document::Row;
use super::lab::Subject;
use super::measured::{self, Order, Sample};
use super::page::Drawn;
use super::picture::Picture;
use super::python::{self, Python};
use super::{Workload, stats};
use crate::engine::Engine;
use crate::{Error, limits};

/// What a comparison consists of.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Rounds of each of our engines, warm and again cold.
    pub rounds: u32,
    /// Rounds of each Python program, warm and again cold.
    pub python_rounds: u32,
    /// When to stop asking Python.
    pub deadline: Instant,
}

/// The rows of one workload, and what is to be said about them.
#[derive(Debug, Default)]
pub struct Measured {
    /// One row for each engine, ours first.
    pub rows: Vec<Row>,
    /// What was skipped or failed, and why.
    pub remarks: Vec<String>,
    /// Which HTTP client each Python row used.
    pub clients: Vec<(String, String)>,
}

struct Lane {
    subject: Option<Subject>,
    name: String,
    warm: Vec<Sample>,
    cold: Vec<Sample>,
    rounds: u32,
    is_python: bool,
    /// Why it has no more rounds.
    failure: Option<String>,
}

/// Our engines that fit a workload, in the order of the table.
pub fn engines(workload: Workload) -> &'static [Engine] {
    match workload {
        Workload::CpuBound | Workload::CpuBoundLarge => &[
            Engine::Sequential,
            Engine::Limit,
            Engine::Processes,
            Engine::Threads,
            Engine::Loop,
        ],
        Workload::IoBound => &[
            Engine::Sequential,
            Engine::Processes,
            Engine::Threads,
            Engine::Loop,
        ],
        // In sequence it would take 100 seconds; a thousand processes don't fit.
        Workload::ManyConnections => &[Engine::Threads, Engine::Loop],
    }
}

impl Schedule {
    /// How many rounds a workload will take, for the progress bar.
    pub fn length(&self, workload: Workload, pythons: usize) -> u64 {
        let ours = engines(workload).len() as u64 * u64::from(self.rounds);
        let theirs =
            (python::engines(workload).len() * pythons) as u64 * u64::from(self.python_rounds);
        2 * (ours + theirs)
    }

    /// Measures one workload on every engine that fits it.
    ///
    /// # Errors
    /// When one of our engines fails: a comparison without it would be none.
    /// A Python that fails is only remarked on.
    pub fn measure(
        &self,
        template: &Order,
        pythons: &[Python],
        bar: &ProgressBar,
    ) -> Result<Measured, Error> {
        let mut lanes = Vec::new();
        for &engine in engines(template.workload) {
            let order = Order {
                engine,
                ..template.clone()
            };
            lanes.push(Lane::new(
                engine.name().to_owned(),
                Subject::ours(&order),
                self.rounds,
                false,
            )?);
        }
        for python in pythons {
            for engine in python::engines(template.workload) {
                let started = Subject::python(python, engine, template);
                lanes.push(Lane::new(
                    python.row_name(engine),
                    started,
                    self.python_rounds,
                    true,
                )?);
            }
        }
        let mut late = false;
        for command in ["warm", "cold"] {
            // Before the rounds that count, each engine has one that doesn't:
            // code paged in, allocator grown, clocks up.
            for lane in lanes.iter_mut().filter(|lane| !lane.is_python) {
                lane.round(command)?;
                lane.forget(command);
            }
            for round in 0..self.rounds.max(self.python_rounds) {
                let first = round as usize % lanes.len();
                for place in 0..lanes.len() {
                    let index = (first + place) % lanes.len();
                    let lane = &mut lanes[index];
                    if !lane.is_due(round, self.rounds) {
                        continue;
                    }
                    bar.set_message(format!("{} on {}", template.workload.name(), lane.name));
                    bar.inc(1);
                    if Instant::now() > self.deadline && lane.may_stop(command) {
                        late = true;
                        continue;
                    }
                    lane.round(command)?;
                }
            }
        }
        let mut measured = Measured::default();
        for lane in lanes {
            lane.finish(template.workload, &mut measured)?;
        }
        if late {
            measured.remarks.push(format!(
                "{}: some rounds were left out, since this machine is slow or busy",
                template.workload.name()
            ));
        }
        Ok(measured)
    }
}

impl Lane {
    fn new(
        name: String,
        started: Result<Subject, Error>,
        rounds: u32,
        is_python: bool,
    ) -> Result<Lane, Error> {
        let (subject, failure) = match started {
            Ok(subject) => (Some(subject), None),
            Err(e) if is_python => (None, Some(e.to_string())),
            Err(e) => return Err(e),
        };
        Ok(Lane {
            subject,
            name,
            warm: Vec::new(),
            cold: Vec::new(),
            rounds,
            is_python,
            failure,
        })
    }

    /// Whether this lane takes part in round `round` of `all`: its own rounds
    /// are spread evenly over all.
    fn is_due(&self, round: u32, all: u32) -> bool {
        if self.rounds >= all {
            return round < self.rounds;
        }
        (round + 1) * self.rounds / all > round * self.rounds / all
    }

    fn round(&mut self, command: &str) -> Result<(), Error> {
        // One after the other is the same cold and warm: there is nothing to start.
        if command == "cold" && self.name == Engine::Sequential.name() {
            return Ok(());
        }
        let Some(subject) = &mut self.subject else {
            return Ok(());
        };
        match subject.ask::<Sample>(command) {
            Ok(sample) if command == "warm" => self.warm.push(sample),
            Ok(sample) => self.cold.push(sample),
            Err(e) if self.is_python => {
                self.failure = Some(e.to_string());
                self.subject = None;
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Whether this lane has what it needs when the time is up: a median of
    /// three for our engines, nothing for Python.
    fn may_stop(&self, command: &str) -> bool {
        let rounds = if command == "warm" {
            &self.warm
        } else {
            &self.cold
        };
        self.is_python
            || rounds.len() >= 3
            || self.name == Engine::Sequential.name() && command == "cold"
    }

    fn forget(&mut self, command: &str) {
        if command == "warm" {
            self.warm.clear()
        } else {
            self.cold.clear()
        }
    }

    fn finish(self, workload: Workload, measured: &mut Measured) -> Result<(), Error> {
        let mut peak_rss_bytes = None;
        if let Some(subject) = self.subject {
            if let Some(client) = &subject.hello.client {
                measured.clients.push((self.name.clone(), client.clone()));
            }
            match subject.end() {
                Ok(farewell) => peak_rss_bytes = farewell.peak_rss_bytes,
                Err(e) if self.is_python => measured.remarks.push(e.to_string()),
                Err(e) => return Err(e),
            }
        }
        measured.remarks.extend(self.failure);
        if self.warm.is_empty() && self.cold.is_empty() {
            measured
                .remarks
                .push(format!("{}: {} was left out", workload.name(), self.name));
            return Ok(());
        }
        let cold = if self.cold.is_empty() && !self.is_python {
            &self.warm
        } else {
            &self.cold
        };
        measured.rows.push(Row {
            workload,
            engine: self.name,
            wall_s: stats::median(self.warm.iter().map(|sample| sample.wall_s)),
            wall_cold_s: stats::median(cold.iter().map(|sample| sample.wall_s)),
            cpu_s: stats::median(self.warm.iter().filter_map(|sample| sample.cpu_s)),
            peak_rss_bytes,
            speedup: None,
        });
        Ok(())
    }
}

/// One recorded round of a workload on every engine that fits it, which is in this
/// program's own trace afterwards, if there is one. A Python that fails is only remarked
/// on.
///
/// # Errors
/// When one of our engines fails.
pub fn draw(
    template: &Order,
    pythons: &[Python],
    remarks: &mut Vec<String>,
) -> Result<Vec<Drawn>, Error> {
    let mut drawn = Vec::new();
    let mut add = |engine: String, picture: Option<Picture>| {
        drawn.push(Drawn {
            workload: template.workload,
            engine,
            picture,
        });
    };
    for &engine in engines(template.workload) {
        if engine == Engine::Limit {
            continue; // Threads of the standard library, which record nothing.
        }
        let order = Order {
            engine,
            ..template.clone()
        };
        let mut subject = Subject::ours(&order)?;
        add(engine.name().to_owned(), subject.ask("picture")?);
        if threeply_runtime::trace::is_on()
            && let Some(answer) = subject.ask::<Option<String>>("trace")?
        {
            let run = format!("{} on {engine}", template.workload.name());
            crate::trace::include(run, measured::unpack(&answer)?);
        }
        subject.end()?;
    }
    for python in pythons {
        for engine in python::engines(template.workload) {
            let asked = Subject::python(python, engine, template).and_then(|mut subject| {
                let picture = subject.ask("picture")?;
                subject.end()?;
                Ok(picture)
            });
            match asked {
                Ok(picture) => add(python.row_name(engine), picture),
                Err(e) => remarks.push(format!("no picture of {}: {e}", python.row_name(engine))),
            }
        }
    }
    Ok(drawn)
}

/// When Python must stop so that all of it ends in time.
pub fn deadline(started: Instant) -> Instant {
    started + limits::COMPARE_BUDGET
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(rounds: u32) -> Lane {
        Lane {
            subject: None,
            name: "x".into(),
            warm: Vec::new(),
            cold: Vec::new(),
            rounds,
            is_python: rounds < 9,
            failure: None,
        }
    }

    #[test]
    fn few_rounds_are_spread_over_many() {
        for (rounds, all) in [(9, 9), (3, 9), (1, 9), (2, 5), (9, 3), (3, 3)] {
            let lane = lane(rounds);
            let due = (0..all.max(rounds))
                .filter(|round| lane.is_due(*round, all))
                .count();
            assert_eq!(due as u32, rounds, "{rounds} of {all}");
        }
    }
}
