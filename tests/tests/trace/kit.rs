//! Recording for tests, and what must hold of every trace.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use threeply_runtime::trace::{self, ArrowKind, Event, Kind, LaneKind, Trace};

static TURN: Mutex<()> = Mutex::new(());

/// Records what `program` does.
pub(crate) fn record<R>(program: impl FnOnce() -> R) -> (Trace, R) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let session = trace::start().expect("no other session");
    let result = program();
    let trace = session.stop();
    check(&trace);
    (trace, result)
}

/// As [`record`], for tests that use sessions themselves.
pub(crate) fn in_turn<R>(test: impl FnOnce() -> R) -> R {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    test()
}

/// What holds of every trace that has lost nothing.
pub(crate) fn check(trace: &Trace) {
    assert_eq!((trace.lost(), trace.names_lost()), (0, 0));
    check_order(trace);
    check_causes(trace);
}

pub(crate) fn check_order(trace: &Trace) {
    let events = trace.events();
    for pair in events.windows(2) {
        assert!(pair[0].start_ns <= pair[1].start_ns);
    }
    for (index, event) in events.iter().enumerate() {
        assert!(event.start_ns <= trace.length_ns());
        if let Some(end) = event.end_ns {
            assert!(
                event.start_ns <= end && end <= trace.length_ns(),
                "{event:?}"
            );
        }
        if let Some(inside) = event.inside {
            let outer = &events[inside];
            assert!(inside < index && outer.lane == event.lane);
            assert!(
                outer
                    .end_ns
                    .is_some_and(|end| end >= event.end_ns.unwrap_or(event.start_ns))
            );
        }
    }
    for arrow in trace.arrows() {
        let (from, to) = (&events[arrow.from], &events[arrow.to]);
        let effect = match arrow.kind.is_to_the_end() {
            true => to.end_ns.expect("a span"),
            false => to.start_ns,
        };
        assert!(from.start_ns <= effect, "{arrow:?}: {from:?} → {to:?}");
    }
}

/// The first poll of a task has its spawn for a cause, each one after it a wake; each wake
/// has a cause, each steal a victim.
pub(crate) fn check_causes(trace: &Trace) {
    let mut polled = HashSet::new();
    // In one pass: to ask `causes_of` each event is quadratic.
    let mut causes_of = vec![Vec::new(); trace.events().len()];
    for arrow in trace.arrows() {
        causes_of[arrow.to].push(arrow.kind);
    }
    for (event, causes) in trace.events().iter().zip(causes_of) {
        match event.kind {
            Kind::Poll => {
                let is_first = polled.insert(event.subject.expect("a task"));
                let cause = if is_first {
                    ArrowKind::Spawn
                } else {
                    ArrowKind::Wake
                };
                assert_eq!(causes, [cause], "{}", tell(trace, event));
            }
            // By the task or job that runs, or by what the loop found.
            Kind::Wake if event.inside.is_none() => {
                assert!(causes.contains(&ArrowKind::Cause), "{}", tell(trace, event))
            }
            Kind::Collected => {
                assert!(causes.contains(&ArrowKind::Cause), "{}", tell(trace, event))
            }
            Kind::JobSteal | Kind::ForkSteal => {
                let (thief, victim) = (event.b >> 32, event.b & u64::from(u32::MAX));
                assert_ne!(thief, victim);
                assert!(causes.contains(&ArrowKind::Steal), "{}", tell(trace, event));
            }
            Kind::JobRun | Kind::ForkRun | Kind::BlockingRun | Kind::ProcessRun => {
                assert_eq!(causes, [ArrowKind::Push], "{}", tell(trace, event));
            }
            Kind::FrameIn => assert_eq!(causes, [ArrowKind::Frame], "{}", tell(trace, event)),
            Kind::ReplyIn => assert_eq!(causes, [ArrowKind::Reply], "{}", tell(trace, event)),
            _ => {}
        }
    }
}

/// An event in words, for messages and for comparing.
pub(crate) fn tell(trace: &Trace, event: &Event) -> String {
    let name = event.kind.about().name;
    match event.subject {
        Some(subject) => {
            let subject = &trace.subjects()[subject];
            match &subject.name {
                Some(given) => format!("{name} {given}"),
                None => format!("{name} {subject}"),
            }
        }
        None => name.to_owned(),
    }
}

/// The events of these kinds, in words, in order.
pub(crate) fn told(trace: &Trace, kinds: &[Kind]) -> Vec<String> {
    let wanted = trace
        .events()
        .iter()
        .filter(|event| kinds.contains(&event.kind));
    wanted.map(|event| tell(trace, event)).collect()
}

pub(crate) fn count(trace: &Trace, kind: Kind) -> usize {
    trace
        .events()
        .iter()
        .filter(|event| event.kind == kind)
        .count()
}

/// Index of the only event of this kind.
pub(crate) fn only(trace: &Trace, kind: Kind) -> usize {
    let mut found = (0..trace.events().len()).filter(|&at| trace.events()[at].kind == kind);
    let first = found.next().unwrap_or_else(|| panic!("no {kind:?}"));
    assert_eq!(found.next(), None, "another {kind:?}");
    first
}

/// The arrows between events of these kinds.
pub(crate) fn arrows(trace: &Trace, from: Kind, to: Kind) -> Vec<ArrowKind> {
    let kind_of = |at: usize| trace.events()[at].kind;
    let between = trace.arrows().iter();
    between
        .filter(|arrow| kind_of(arrow.from) == from && kind_of(arrow.to) == to)
        .map(|arrow| arrow.kind)
        .collect()
}

pub(crate) fn lanes(trace: &Trace, kind: LaneKind) -> usize {
    trace
        .lanes()
        .iter()
        .filter(|lane| lane.kind == kind)
        .count()
}
