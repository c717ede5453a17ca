//! Rings that are too small, threads that are too many.

use threeply_runtime::limits::TRACE_EVENTS;
use threeply_runtime::trace::{self, Kind};
use threeply_runtime::{block_on, yield_now};

use crate::kit::{check_order, in_turn};

/// Enough to go round.
const YIELDS: usize = TRACE_EVENTS / 2;

#[test]
fn a_full_ring_keeps_the_end_and_counts_what_it_lost() {
    in_turn(|| {
        let session = trace::start().unwrap();
        block_on(async {
            for _ in 0..YIELDS {
                yield_now().await;
            }
        });
        let trace = session.stop();
        check_order(&trace);
        let lane = &trace.lanes()[0];
        assert_eq!(lane.events, TRACE_EVENTS - 1);
        // A poll and its end and a wake each time; spawn, name.
        let all = 3 * YIELDS as u64 + 2 + 2;
        assert_eq!(lane.lost, all - lane.events as u64);
        assert_eq!(trace.lost(), lane.lost);
        assert!(
            trace
                .to_model()
                .contains(&format!("\"lost\":{}", lane.lost))
        );
        let last = trace
            .events()
            .iter()
            .rfind(|event| event.kind == Kind::Poll)
            .unwrap();
        assert_eq!(last.result, 1, "the end of the main future is there");
    });
}

#[test]
fn threads_that_have_ended_make_room_for_others() {
    in_turn(|| {
        let session = trace::start().unwrap();
        for _ in 0..300 {
            let thread = std::thread::spawn(|| block_on(yield_now()));
            thread.join().unwrap();
        }
        let trace = session.stop();
        check_order(&trace);
        let told = trace
            .lanes()
            .iter()
            .map(|lane| lane.events as u64)
            .sum::<u64>();
        // Spawn, name, two polls with their ends, a wake.
        assert_eq!(told + trace.lost(), 300 * 7);
        assert!(trace.lost() > 0 && trace.lanes().len() <= 256);
    });
}

#[test]
fn a_reader_may_read_while_writers_write() {
    in_turn(|| {
        let session = trace::start().unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                block_on(async {
                    for _ in 0..40_000 {
                        yield_now().await;
                    }
                });
            });
            while !writer.is_finished() {
                let trace = session.snapshot();
                check_order(&trace);
                let polls = trace
                    .events()
                    .iter()
                    .filter(|event| event.kind == Kind::Poll);
                for poll in polls {
                    assert!(poll.line > 0 && poll.subject.is_some());
                }
            }
        });
        drop(session);
    });
}
