//! Which events of a trace belong to a life, in the order in which they came.
//!
//! Those that are about its task, job or process; what caused them, by the trace's
//! arrows, and what caused that; the sleeps that they ended; and the parking and
//! unparking that was done in the course of them. Beginning and end of what takes time
//! are steps of their own.
//!
//! Read before: [`super::process`]. Next: [`super::states`].

use std::collections::BTreeSet;

use threeply_runtime::trace::{About, Event, Kind, Shape, Trace, What};

/// One step of a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Index of its event.
    pub event: usize,
    /// Whether it is that event's end.
    pub is_end: bool,
    /// When, in nanoseconds since the recording began.
    pub at_ns: u64,
}

impl Step {
    /// What is known of its kind.
    #[must_use]
    pub fn about(&self, trace: &Trace) -> About {
        let about = trace.events()[self.event].kind.about();
        match about.shape {
            Shape::Span(end) if self.is_end => end.about(),
            _ => about,
        }
    }

    /// What led to it: steps, by their place in `steps`.
    #[must_use]
    pub fn causes(&self, trace: &Trace, steps: &[Step]) -> Vec<usize> {
        let event = &trace.events()[self.event];
        let mut causes: Vec<usize> = trace
            .causes_of(self.event)
            .filter(|arrow| arrow.kind.is_to_the_end() == self.is_end)
            .map(|arrow| arrow.from)
            .collect();
        if self.is_end && event.kind == Kind::Park && causes.is_empty() {
            causes.extend(ended_by(event));
        }
        let begins = |cause: usize| {
            let found = |step: &Step| step.event == cause && !step.is_end;
            steps.iter().position(found)
        };
        causes.into_iter().filter_map(begins).collect()
    }
}

/// What ended a sleep of the loop.
fn ended_by(event: &Event) -> Option<usize> {
    let known = event.kind == Kind::Park && !event.is_unfinished() && event.result != 0;
    known.then_some(event.result as usize)
}

/// The steps of what a trace tells of `about`.
#[must_use]
pub fn steps(trace: &Trace, about: &[What]) -> Vec<Step> {
    let chosen = choose(trace, about);
    in_order(trace, &chosen)
}

fn choose(trace: &Trace, about: &[What]) -> BTreeSet<usize> {
    let events = trace.events();
    // A fork is worth a step once a thief has it.
    let stolen = |subject| {
        let runs = |event: &Event| event.kind == Kind::ForkRun && event.subject == Some(subject);
        events.iter().any(runs)
    };
    let wanted = |event: &Event| {
        event.subject.is_some_and(|subject| {
            let what = trace.subjects()[subject].what;
            about.contains(&what) && (what != What::Fork || stolen(subject))
        })
    };
    let mut chosen = BTreeSet::new();
    let mut new: Vec<usize> = (0..events.len())
        .filter(|&at| wanted(&events[at]))
        .collect();
    while let Some(at) = new.pop() {
        if !chosen.insert(at) {
            continue;
        }
        new.extend(trace.causes_of(at).map(|arrow| arrow.from));
        let ends = trace.arrows().iter();
        let ends = ends.filter(|arrow| arrow.from == at && arrow.kind.is_to_the_end());
        new.extend(ends.map(|arrow| arrow.to));
        // A blocking call, for the wake that it makes.
        let around = events[at]
            .inside
            .filter(|&outer| events[outer].kind == Kind::BlockingRun);
        new.extend(around);
        for (other, event) in events.iter().enumerate() {
            let in_course =
                event.inside == Some(at) && matches!(event.kind, Kind::Unpark | Kind::ThreadPark);
            if in_course || ended_by(event) == Some(at) {
                new.push(other);
            }
        }
    }
    chosen
}

/// Beginnings and ends by time; on one thread as they nest, since two may bear the
/// same nanosecond.
fn in_order(trace: &Trace, chosen: &BTreeSet<usize>) -> Vec<Step> {
    let events = trace.events();
    let mut lanes = vec![(Vec::new(), Vec::new()); trace.lanes().len()];
    let end = |steps: &mut Vec<Step>, event: usize| {
        // The end of a program's own span says nothing.
        let told = events[event].kind != Kind::Span && !events[event].is_unfinished();
        if let Some(at_ns) = events[event]
            .end_ns
            .filter(|_| told && chosen.contains(&event))
        {
            steps.push(Step {
                event,
                is_end: true,
                at_ns,
            });
        }
    };
    for (at, event) in events.iter().enumerate() {
        let (open, steps): &mut (Vec<usize>, Vec<Step>) = &mut lanes[event.lane];
        while let Some(&inner) = open.last().filter(|&&inner| event.inside != Some(inner)) {
            end(steps, inner);
            open.pop();
        }
        if chosen.contains(&at) {
            steps.push(Step {
                event: at,
                is_end: false,
                at_ns: event.start_ns,
            });
        }
        if event.end_ns.is_some() {
            open.push(at);
        }
    }
    let mut all = Vec::new();
    for (open, mut steps) in lanes {
        for &inner in open.iter().rev() {
            end(&mut steps, inner);
        }
        all.extend(steps);
    }
    all.sort_by_key(|step| step.at_ns);
    all
}
