//! Traces across processes.

use std::time::Duration;

use threeply_pools::process::{Cause, JobError, ProcessPool};
use threeply_runtime::trace::{self, ArrowKind, Kind, LaneKind, What};

use crate::kit::{arrows, check_causes, check_order, count, in_turn, lanes, record};

const SOON: Duration = Duration::from_secs(30);

fn double(n: u64) -> u64 {
    2 * n
}

fn hold(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn die(_: u64) {
    let myself = nix::unistd::Pid::this();
    nix::sys::signal::kill(myself, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn a_job_is_told_on_both_sides_of_the_ring_and_on_one_clock() {
    let (trace, ()) = record(|| {
        let pool = ProcessPool::new(1).unwrap();
        assert_eq!(pool.submit(double, 21).unwrap().wait().unwrap(), 42);
        pool.submit(hold, 20).unwrap().wait().unwrap();
        let _ = pool.shutdown(SOON);
    });
    // Forward in time, or `check` would have said so: the clocks agree.
    assert_eq!(
        arrows(&trace, Kind::FrameOut, Kind::FrameIn),
        [ArrowKind::Frame; 2]
    );
    assert_eq!(
        arrows(&trace, Kind::FrameIn, Kind::ProcessRun),
        [ArrowKind::Push; 2]
    );
    assert_eq!(
        arrows(&trace, Kind::ReplyOut, Kind::ReplyIn),
        [ArrowKind::Reply; 2]
    );
    assert_eq!(
        arrows(&trace, Kind::ProcessStart, Kind::WorkerReady),
        [ArrowKind::Process]
    );
    assert_eq!(
        arrows(&trace, Kind::ProcessStart, Kind::ProcessExit),
        [ArrowKind::Process]
    );
    assert_eq!(lanes(&trace, LaneKind::Process), 1);
    let subjects = trace.subjects().iter();
    let named = subjects.filter_map(|subject| Some((subject.what, subject.name.as_deref()?)));
    let supervisor = (What::Task, "process pool's supervisor");
    assert_eq!(named.collect::<Vec<_>>(), [supervisor]);
    let run = trace
        .events()
        .iter()
        .rfind(|event| event.kind == Kind::ProcessRun)
        .unwrap();
    let took = Duration::from_nanos(run.end_ns.unwrap() - run.start_ns);
    assert!(
        took >= Duration::from_millis(20) && took < Duration::from_secs(5),
        "{took:?}"
    );
    // The run lies between its frame and its reply as the parent saw them.
    let last = |kind| {
        trace
            .events()
            .iter()
            .rfind(|event| event.kind == kind)
            .unwrap()
            .start_ns
    };
    assert!(last(Kind::FrameOut) <= run.start_ns);
    let replied = last(Kind::ReplyIn);
    assert!(replied >= run.start_ns + 20_000_000 && replied <= run.start_ns + 5_000_000_000);
    let lane = &trace.lanes()[run.lane];
    assert_ne!(lane.pid, std::process::id());
    let subject = &trace.subjects()[run.subject.unwrap()];
    assert_eq!((subject.what, subject.pid), (What::ProcessJob, lane.pid));
}

#[test]
fn what_a_killed_worker_noted_is_there() {
    let (trace, ()) = record(|| {
        let pool = ProcessPool::new(1).unwrap();
        assert_eq!(pool.submit(double, 1).unwrap().wait().unwrap(), 2);
        let error = pool.submit(die, 0).unwrap().wait().unwrap_err();
        let JobError::Died(death) = &error else {
            panic!("{error}")
        };
        assert!(
            matches!(death.cause, Cause::Signal { signal: 9, .. }),
            "{error}"
        );
        assert_eq!(pool.submit(double, 2).unwrap().wait().unwrap(), 4);
        let _ = pool.shutdown(SOON);
    });
    assert_eq!(
        lanes(&trace, LaneKind::Process),
        2,
        "the dead one and its successor"
    );
    let runs = || {
        trace
            .events()
            .iter()
            .filter(|event| event.kind == Kind::ProcessRun)
    };
    assert_eq!(runs().count(), 3);
    let unfinished: Vec<_> = runs().filter(|run| run.is_unfinished()).collect();
    assert_eq!(unfinished.len(), 1, "the job that died");
    assert_eq!(trace.text(unfinished[0]), "(unfinished)");
    let dead = trace.lanes()[unfinished[0].lane].pid;
    let exits = || {
        trace
            .events()
            .iter()
            .filter(|event| event.kind == Kind::ProcessExit)
    };
    let exit = exits().find(|exit| exit.a == u64::from(dead)).unwrap();
    assert_eq!(trace.text(exit), "killed by signal 9");
    assert!(exit.start_ns >= unfinished[0].start_ns);
    assert_eq!(count(&trace, Kind::WorkerDeath), 2, "the other left");
    // And what is written of it can be read.
    let mut chrome = Vec::new();
    trace.write_chrome(&mut chrome).unwrap();
    for text in [trace.to_model().into_bytes(), chrome] {
        let _: serde_json::Value = serde_json::from_slice(&text).unwrap();
    }
}

#[test]
fn workers_follow_a_recording_that_begins_and_ends_while_they_live() {
    in_turn(|| {
        let pool = ProcessPool::new(1).unwrap();
        pool.submit(double, 1).unwrap().wait().unwrap();
        let session = trace::start().unwrap();
        pool.submit(double, 2).unwrap().wait().unwrap();
        let trace = session.stop();
        check_order(&trace);
        check_causes(&trace);
        assert_eq!(count(&trace, Kind::ProcessRun), 1);
        pool.submit(double, 3).unwrap().wait().unwrap();
        let session = trace::start().unwrap();
        for n in 0..3 {
            pool.submit(double, n).unwrap().wait().unwrap();
        }
        let trace = session.stop();
        assert_eq!(count(&trace, Kind::ProcessRun), 3);
        check_causes(&trace);
        let _ = pool.shutdown(SOON);
    });
}

fn starts_a_trace(_: u64) -> String {
    trace::start().unwrap_err().to_string()
}

#[test]
fn a_worker_leaves_recording_to_its_parent() {
    in_turn(|| {
        let pool = ProcessPool::new(1).unwrap();
        let error = pool.submit(starts_a_trace, 0).unwrap().wait().unwrap();
        assert!(error.contains("start the trace there"), "{error}");
        let _ = pool.shutdown(SOON);
    });
}
