//! What ran when, in one round of one engine: bars in rows, drawn from a trace.
//!
//! A row is whatever has a life of its own there: the one thread of the sequential
//! program, a thread, a process, a task of the loop. A bar is a time in which it
//! worked, or in which it waited for an answer. Parallel is when working bars stand
//! above one another; concurrent, when waiting ones do.
//!
//! Python's programs answer with the same [`Picture`] (`demos/python/article.py`).
//!
//! *Read after* [`super::measured`]; *next* [`super::page`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use threeply_runtime::trace::{Event, Kind, LaneKind, Trace, What};

/// What the measured round is called in the trace.
pub const ROUND: &str = "round";

/// One round of one engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// How long the round took.
    pub length_ns: u64,
    /// What took part in it, in the order in which it began.
    pub rows: Vec<Row>,
}

/// One thread, process or task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// `thread`, `process` or `task`.
    pub unit: String,
    /// What it did, in order of time; times count from the round's beginning.
    pub bars: Vec<Bar>,
}

/// A time in which something went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// When it began.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// What it was.
    pub nature: Nature,
}

/// What goes on in a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nature {
    /// It computes.
    Work,
    /// It waits for somebody's answer.
    Wait,
}

impl Picture {
    /// The picture of the one [`ROUND`] in `trace`, in which everything that the
    /// program named is of this nature. `None` if there is no such round.
    #[must_use]
    pub fn of(trace: &Trace, nature: Nature) -> Option<Picture> {
        let name = |event: &Event| {
            let subject = event.subject.filter(|_| event.kind == Kind::Span)?;
            trace.subjects()[subject].name.as_deref()
        };
        let round = trace
            .events()
            .iter()
            .find(|event| name(event) == Some(ROUND))?;
        let (start, end) = (round.start_ns, round.end_ns?);
        let bar = |event: &Event, nature| Bar {
            start_ns: event.start_ns.max(start) - start,
            end_ns: event.end_ns.unwrap_or(event.start_ns).min(end).max(start) - start,
            nature,
        };
        let mut lanes: BTreeMap<usize, Vec<Bar>> = BTreeMap::new();
        let mut tasks: BTreeMap<usize, Vec<Bar>> = BTreeMap::new();
        for event in trace.events() {
            if event.start_ns < start || event.start_ns > end {
                continue;
            }
            match (event.kind, event.subject) {
                (Kind::Span, _) if name(event) != Some(ROUND) => {
                    lanes
                        .entry(event.lane)
                        .or_default()
                        .push(bar(event, nature));
                }
                // The tasks that the main one spawned; not what those spawn in turn.
                (Kind::Spawn, Some(task)) if is_child_of_main(trace, event) => {
                    tasks.insert(task, vec![bar(event, Nature::Wait)]);
                }
                (Kind::Poll, Some(task)) => {
                    if let Some(bars) = tasks.get_mut(&task) {
                        let poll = bar(event, Nature::Work);
                        bars[0].end_ns = poll.end_ns;
                        bars.push(poll);
                    }
                }
                _ => {}
            }
        }
        // Named spans say more than the tasks that they may be in.
        let mut rows: Vec<Row> = lanes
            .into_iter()
            .map(|(lane, bars)| Row {
                unit: match trace.lanes()[lane].kind {
                    LaneKind::Process => "process",
                    LaneKind::Loop | LaneKind::Thread => "thread",
                }
                .to_owned(),
                bars,
            })
            .collect();
        if rows.is_empty() {
            let row = |bars| Row {
                unit: What::Task.name().to_owned(),
                bars,
            };
            rows = tasks.into_values().map(row).collect();
        }
        rows.sort_by_key(|row| row.bars.first().map(|bar| bar.start_ns));
        Some(Picture {
            length_ns: end - start,
            rows,
        })
    }

    /// The most bars of this nature that there are at the same time.
    #[must_use]
    pub fn at_once(&self, nature: Nature) -> usize {
        let bars = || {
            let all = self.rows.iter().flat_map(|row| &row.bars);
            all.filter(|bar| bar.nature == nature)
        };
        bars()
            .map(|one| {
                let covers =
                    |other: &&Bar| other.start_ns <= one.start_ns && one.start_ns < other.end_ns;
                bars().filter(covers).count()
            })
            .max()
            .unwrap_or(0)
    }
}

/// Whether a spawn happened in a poll of the first task of its loop.
fn is_child_of_main(trace: &Trace, spawn: &Event) -> bool {
    let Some(poll) = spawn.inside.map(|inside| &trace.events()[inside]) else {
        return false;
    };
    let spawned = |event: &&Event| event.kind == Kind::Spawn && event.subject == poll.subject;
    let parent = trace.events().iter().find(spawned);
    let polled = |inside: usize| trace.events()[inside].kind == Kind::Poll;
    poll.kind == Kind::Poll && !parent.and_then(|parent| parent.inside).is_some_and(polled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(bars: &[(u64, u64, Nature)]) -> Row {
        let bars = bars.iter().map(|&(start_ns, end_ns, nature)| Bar {
            start_ns,
            end_ns,
            nature,
        });
        Row {
            unit: "task".into(),
            bars: bars.collect(),
        }
    }

    #[test]
    fn at_once_counts_what_overlaps_and_not_what_follows() {
        use Nature::{Wait, Work};
        let picture = Picture {
            length_ns: 30,
            rows: vec![
                row(&[(0, 20, Wait), (0, 1, Work), (19, 20, Work)]),
                row(&[(1, 30, Wait), (1, 2, Work)]),
                row(&[(20, 25, Wait)]),
            ],
        };
        assert_eq!(picture.at_once(Wait), 2);
        assert_eq!(picture.at_once(Work), 1);
        assert_eq!(Picture::default().at_once(Work), 0);
    }
}
