//! Several traces as one: of programs that recorded each for itself.
//!
//! A pool's workers record into memory that their parent reads, so what they did is
//! part of the parent's trace, arrows and all. A program that starts other *programs*,
//! each of which records a session of its own, gets their traces as bytes
//! ([`super::parcel`]) and puts them beside one another here. There are no arrows from
//! one to the other, since neither knew of the other; but all stamped their events with
//! the machine's one clock, so they stand where they belong in time.
//!
//! Read before: [`super::parcel`].

use std::collections::HashMap;

use super::{Arrow, Event, Kind, Lane, Subject, Trace, What};

impl Trace {
    /// One trace of all of `traces`, each with the name of its run: a group of lanes for
    /// each, in this order. It begins with the first of them and ends with the last;
    /// those in which nothing happened count for nothing. `None` if that is all of them.
    ///
    /// O(n log n) in events.
    ///
    /// ```
    /// # use threeply_runtime::{block_on, spawn, trace::{self, Trace}};
    /// # if !trace::BUILT_IN { return Ok(()) }
    /// let record = || {
    ///     let session = trace::start()?;
    ///     block_on(async { spawn(async {}).await.unwrap() });
    ///     Ok::<Trace, trace::Error>(session.stop())
    /// };
    /// let (first, second) = (record()?, record()?);
    /// let events = first.events().len() + second.events().len();
    /// let both = Trace::merge([("first", first), ("second", second)]).unwrap();
    /// assert_eq!(both.events().len(), events);
    /// assert_eq!(both.lanes()[1].run, "second");
    /// # Ok::<(), trace::Error>(())
    /// ```
    #[must_use]
    pub fn merge<R: Into<String>>(traces: impl IntoIterator<Item = (R, Trace)>) -> Option<Trace> {
        let traces = traces.into_iter().map(|(run, trace)| (run.into(), trace));
        let traces: Vec<_> = traces.filter(|(_, it)| !it.events.is_empty()).collect();
        let first = traces.iter().map(|(_, it)| it).min_by_key(|it| it.at_ns)?;
        let end_ns = |(_, it): &(_, Trace)| it.at_ns + it.length_ns;
        let mut all = Trace {
            wall: first.wall,
            at_ns: first.at_ns,
            length_ns: traces.iter().map(end_ns).max()? - first.at_ns,
            lanes: Vec::new(),
            events: Vec::new(),
            arrows: Vec::new(),
            subjects: Vec::new(),
            lost: 0,
            names_lost: 0,
        };
        let mut counts = HashMap::new();
        for (run, trace) in traces {
            all.append(run, trace, &mut counts);
        }
        all.put_in_order();
        Some(all)
    }

    /// Puts `trace` behind what is there, its indices moved on.
    fn append(&mut self, run: String, trace: Trace, counts: &mut HashMap<What, u64>) {
        let later = trace.at_ns - self.at_ns;
        let (lanes, events, subjects) = (self.lanes.len(), self.events.len(), self.subjects.len());
        self.lanes.extend(trace.lanes.into_iter().map(|lane| Lane {
            run: run.clone(),
            ..lane
        }));
        self.events
            .extend(trace.events.into_iter().map(|event| Event {
                lane: event.lane + lanes,
                start_ns: event.start_ns + later,
                end_ns: event.end_ns.map(|end| end + later),
                subject: event.subject.map(|at| at + subjects),
                inside: event.inside.map(|at| at + events),
                result: match event.ended_by() {
                    Some(by) => (by + events) as u64,
                    None => event.result,
                },
                ..event
            }));
        self.arrows
            .extend(trace.arrows.into_iter().map(|arrow| Arrow {
                from: arrow.from + events,
                to: arrow.to + events,
                ..arrow
            }));
        // Numbers that were only given in the order of appearance go on.
        let before = counts.clone();
        self.subjects
            .extend(trace.subjects.into_iter().map(|subject| {
                if !subject.what.is_counted() {
                    return subject;
                }
                let number = subject.number + before.get(&subject.what).unwrap_or(&0);
                let count = counts.entry(subject.what).or_default();
                *count = number.max(*count);
                Subject { number, ..subject }
            }));
        self.lost += trace.lost;
        self.names_lost += trace.names_lost;
    }

    /// Sorts the events by their beginnings, and has all that names one by its place
    /// name its new place.
    fn put_in_order(&mut self) {
        let mut order: Vec<usize> = (0..self.events.len()).collect();
        // Stable, so that what lies inside of a span stays behind it.
        order.sort_by_key(|at| self.events[*at].start_ns);
        let mut places = vec![0; order.len()];
        for (new, old) in order.iter().enumerate() {
            places[*old] = new;
        }
        let events = order.iter().map(|old| self.events[*old]);
        self.events = events
            .map(|event| Event {
                inside: event.inside.map(|at| places[at]),
                result: match event.ended_by() {
                    Some(by) => places[by] as u64,
                    None => event.result,
                },
                ..event
            })
            .collect();
        for arrow in &mut self.arrows {
            *arrow = Arrow {
                from: places[arrow.from],
                to: places[arrow.to],
                ..*arrow
            };
        }
    }
}

impl Event {
    /// Of a loop's sleep: the event that ended it, if that is known.
    pub(super) fn ended_by(&self) -> Option<usize> {
        let is_known = self.kind == Kind::Park && self.result != 0 && !self.is_unfinished();
        is_known.then_some(self.result as usize)
    }
}

impl What {
    /// Whether its number is the order of its appearance in the trace.
    fn is_counted(self) -> bool {
        match self {
            What::Task | What::ProcessJob | What::Process | What::Descriptor => false,
            What::Job | What::Fork | What::Line | What::Channel | What::Span => true,
        }
    }
}
