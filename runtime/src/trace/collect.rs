//! From rings to one list of records, in order of time.
//!
//! Read before: [`super::session`]. Next: [`super::causality`].

use std::collections::HashMap;
use std::time::SystemTime;

use super::board::Board;
use super::causality;
use super::clock::Scale;
use super::event::Kind;
use super::record::{Record, WITH_THE_NEXT};
use super::{Lane, LaneKind, Trace};

/// A process whose board is read.
pub(super) struct Origin<'m> {
    pub(super) pid: u32,
    pub(super) is_worker: bool,
    pub(super) board: Board<'m>,
    /// Events without a ring that were counted before the session.
    pub(super) homeless_before: u64,
}

/// A record with its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) lane: usize,
    pub(super) at_ns: u64,
    pub(super) record: Record,
}

/// Everything that was noted, in order of time.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) lanes: Vec<Lane>,
    pub(super) records: Vec<Placed>,
    /// Texts by process and key.
    pub(super) names: HashMap<(u32, u64), String>,
    pub(super) homeless: u64,
    /// Names and sites that found no room.
    pub(super) names_lost: u64,
}

/// `began` is when, on the calendar's clock and in nanoseconds of `CLOCK_MONOTONIC`.
pub(super) fn collect(
    origins: &[Origin<'_>],
    state: u32,
    scale: Scale,
    began: (SystemTime, u64),
) -> Trace {
    let mut all = Collected::default();
    for origin in origins {
        gather(origin, state, scale, &mut all);
    }
    // Stable: what one thread noted within a tick stays in its order.
    all.records.sort_by_key(|placed| placed.at_ns);
    causality::explain(all, scale.length_ns(), began)
}

fn gather(origin: &Origin<'_>, state: u32, scale: Scale, all: &mut Collected) {
    let (homeless, names_lost) = origin.board.homeless();
    all.homeless += homeless.saturating_sub(origin.homeless_before);
    all.names_lost += names_lost;
    let names = origin.board.names();
    all.names
        .extend(names.map(|(key, text)| ((origin.pid, key), text)));
    let mut threads: Vec<_> = origin.board.threads(state).collect();
    threads.sort_by_key(|(thread, _)| thread.tid);
    for (thread, ring) in threads {
        let copied = ring.read(thread.first);
        let lane = all.lanes.len();
        let mut latest = 0;
        let mut lost = copied.lost;
        let mut runs_a_loop = false;
        let mut events = 0;
        // The first of those whose time isn't known yet.
        let mut untimed = all.records.len();
        for (number, words) in copied.records {
            // Only a process that was killed leaves what is no record.
            let Some(record) = Record::from_words(words, number) else {
                lost += 1;
                continue;
            };
            runs_a_loop |= matches!(record.kind, Kind::Poll | Kind::Park);
            events += 1;
            all.records.push(Placed {
                lane,
                at_ns: latest,
                record,
            });
            if record.ticks != WITH_THE_NEXT {
                // A thread's clock doesn't go back, also where cores differ by a tick.
                latest = scale.ns(record.ticks).min(scale.length_ns()).max(latest);
                all.records[untimed..]
                    .iter_mut()
                    .for_each(|placed| placed.at_ns = latest);
                untimed = all.records.len();
            }
        }
        all.lanes.push(Lane {
            pid: origin.pid,
            tid: thread.tid,
            name: thread.name,
            kind: match (origin.is_worker, runs_a_loop) {
                (true, _) => LaneKind::Process,
                (false, true) => LaneKind::Loop,
                (false, false) => LaneKind::Thread,
            },
            run: String::new(),
            events,
            lost,
        });
    }
}
