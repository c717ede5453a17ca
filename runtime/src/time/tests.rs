//! Sleeps, intervals and timeouts on a loop with virtual time.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::future::{Either, join_all, select};
use crate::{EventLoop, spawn, yield_now};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Runs a future on a loop with virtual time.
pub(crate) fn virtual_time<F: Future>(future: F) -> F::Output {
    let event_loop = EventLoop::builder().virtual_time(true).build();
    event_loop.unwrap().block_on(future)
}

/// Time passes while the task keeps the loop busy.
pub(crate) fn busy(duration: Duration) {
    crate::context::with(|core| {
        let clock = core.timers().clock();
        clock.advance_to(clock.now_ns() + clock::saturating_ns(duration));
    });
}

fn since(start: Instant) -> Duration {
    now() - start
}

#[test]
fn sleeps_end_at_their_deadline_in_order() {
    virtual_time(async {
        let start = now();
        let order = Rc::new(RefCell::new(Vec::new()));
        let sleeps = [5_000_000, 1, 3 * 3_600_000_000_000, 999, 70_000_000].map(|ns| {
            let order = order.clone();
            async move {
                sleep(Duration::from_nanos(ns)).await;
                assert_eq!(since(start), Duration::from_nanos(ns));
                order.borrow_mut().push(ns);
            }
        });
        join_all(sleeps).await;
        let order = order.take();
        assert!(order.is_sorted(), "{order:?}");
    });
}

#[test]
fn a_sleep_counts_from_its_creation_and_a_timeout_from_its_first_poll() {
    virtual_time(async {
        let start = now();
        let (pause, limit) = (sleep(10 * MS), timeout(10 * MS, pending::<()>()));
        busy(4 * MS);
        pause.await;
        assert_eq!(since(start), 10 * MS);
        assert!(limit.await.is_err());
        assert_eq!(since(start), 20 * MS);
    });
}

#[test]
fn a_sleep_made_outside_a_loop_counts_from_its_first_poll() {
    let pause = sleep(10 * MS);
    assert_eq!(pause.deadline(), None);
    virtual_time(async {
        let start = now();
        busy(MS);
        pause.await;
        assert_eq!(since(start), 11 * MS);
    });
}

#[test]
fn a_moment_that_has_passed_ends_the_sleep_at_the_next_turn() {
    virtual_time(async {
        busy(MS);
        let start = now();
        sleep_until(start - MS).await;
        sleep(Duration::ZERO).await;
        assert_eq!(since(start), Duration::ZERO);
    });
}

#[test]
fn sleeping_for_no_time_lets_the_others_run() {
    virtual_time(async {
        let ran = Rc::new(Cell::new(false));
        let other = spawn({
            let ran = ran.clone();
            async move { ran.set(true) }
        });
        sleep(Duration::ZERO).await;
        assert!(ran.get());
        other.await.unwrap();
    });
}

#[test]
fn durations_without_end_are_no_panic() {
    virtual_time(async {
        let far = now() + Duration::from_secs(1 << 40);
        let waits = (sleep(Duration::MAX), sleep_until(far), sleep(MS));
        assert!(matches!(
            select(waits).await,
            crate::future::Either3::Third(())
        ));
        assert!(timeout(Duration::MAX, sleep(MS)).await.is_ok());
        assert!(timeout_at(far, ready(())).await.is_ok());
        let mut every = interval(Duration::MAX);
        every.tick().await;
        assert!(timeout(HOUR, every.tick()).await.is_err());
    });
}

#[test]
fn a_reset_sleep_waits_for_the_new_moment_without_another_poll() {
    virtual_time(async {
        let start = now();
        let mut pause = pin!(sleep(10 * MS));
        assert!(timeout(MS, &mut pause).await.is_err());
        // The task waits for it now, through the waker of the poll before.
        pause.reset(start + 3 * MS);
        assert_eq!(pause.deadline(), Some(start + 3 * MS));
        let mut polled = false;
        poll_fn(|_| match std::mem::replace(&mut polled, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        assert!(pause.is_elapsed());
        assert_eq!(since(start), 3 * MS);
        pause.as_mut().await;
        // Over, and again.
        pause.reset_after(HOUR);
        assert!(!pause.is_elapsed());
        pause.as_mut().await;
        assert_eq!(since(start), HOUR + 3 * MS);
        pause.await; // Polled once more, it is still over.
    });
}

#[test]
fn a_timer_dropped_at_the_moment_it_fires_is_no_harm() {
    virtual_time(async {
        // Both fire in one turn; who runs first drops the other's.
        let both = [0, 1].map(|_| Some(Box::pin(sleep(MS))));
        let shared = Rc::new(RefCell::new(both));
        let mut tasks = Vec::new();
        for mine in 0..2 {
            let shared = shared.clone();
            tasks.push(spawn(poll_fn(move |cx| {
                let mut all = shared.borrow_mut();
                let Some(own) = &mut all[mine] else {
                    return Poll::Ready(false);
                };
                std::task::ready!(own.as_mut().poll(cx));
                all[1 - mine] = None;
                Poll::Ready(true)
            })));
        }
        let fired: Vec<bool> = join_all(tasks)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(fired, [true, false]);
        assert!(crate::context::with(|core| core
            .timers()
            .driver()
            .borrow()
            .is_empty()));
    });
}

#[test]
fn a_waker_may_make_and_drop_timers_when_it_is_woken() {
    struct Busy(Waker);
    thread_local! {
        static OTHERS: RefCell<Vec<Sleep>> = const { RefCell::new(Vec::new()) };
    }
    impl std::task::Wake for Busy {
        fn wake(self: std::sync::Arc<Self>) {
            let others = OTHERS.take();
            OTHERS.set(others.iter().map(|_| armed(sleep(HOUR))).collect());
            drop(others);
            self.0.wake_by_ref();
        }
    }
    fn armed(mut sleep: Sleep) -> Sleep {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut sleep).poll(&mut cx).is_pending());
        sleep
    }
    virtual_time(async {
        OTHERS.set((0..10).map(|_| armed(sleep(MS))).collect());
        let start = now();
        let mut pause = pin!(sleep(MS));
        poll_fn(|cx| {
            let waker = Waker::from(std::sync::Arc::new(Busy(cx.waker().clone())));
            pause.as_mut().poll(&mut Context::from_waker(&waker))
        })
        .await;
        assert_eq!(since(start), MS);
        let others = OTHERS.take();
        assert!(others.iter().all(|sleep| !sleep.is_elapsed()));
    });
}

#[test]
fn a_sleep_may_be_dropped_after_its_loop_is_gone() {
    let mut kept = sleep(HOUR);
    virtual_time(poll_fn(|cx| {
        assert!(Pin::new(&mut kept).poll(cx).is_pending());
        Poll::Ready(())
    }));
    assert!(!kept.is_elapsed());
    drop(kept);
}

#[test]
#[should_panic(expected = "`sleep` needs an event loop")]
fn a_sleep_polled_outside_a_loop_says_what_to_do() {
    let mut cx = Context::from_waker(Waker::noop());
    let _ = Pin::new(&mut sleep(MS)).poll(&mut cx);
}

#[test]
fn a_ready_future_needs_no_clock_and_no_loop_for_its_timeout() {
    let mut cx = Context::from_waker(Waker::noop());
    let polled = pin!(timeout(MS, ready(7))).poll(&mut cx);
    assert_eq!(polled, Poll::Ready(Ok(7)));
}

#[test]
fn a_future_that_finishes_when_its_time_is_over_has_finished() {
    virtual_time(async {
        assert_eq!(timeout(MS, sleep(MS)).await, Ok(()));
        assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
        assert_eq!(timeout(Duration::ZERO, ready(1)).await, Ok(1));
        assert!(timeout_at(now() - MS, pending::<()>()).await.is_err());
    });
}

#[test]
fn a_timeout_drops_its_timer_when_the_future_wins() {
    virtual_time(async {
        timeout(HOUR, sleep(MS)).await.unwrap();
        assert!(crate::context::with(|core| core
            .timers()
            .driver()
            .borrow()
            .is_empty()));
    });
}

#[test]
fn elapsed_says_what_and_where() {
    virtual_time(async {
        let elapsed = timeout(MS, pending::<()>()).await.unwrap_err();
        let text = elapsed.to_string();
        assert!(
            text.starts_with("timed out after 1ms (timeout made at "),
            "{text}"
        );
        assert!(elapsed.made_at().file().ends_with("tests.rs"));
        let error = std::io::Error::from(elapsed);
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    });
}

#[test]
fn of_nested_timeouts_each_reports_its_own() {
    virtual_time(async {
        let inner = timeout(10 * MS, timeout(MS, pending::<()>())).await;
        assert_eq!(inner.unwrap().unwrap_err().duration(), Some(MS));
        let outer = timeout(MS, timeout(10 * MS, pending::<()>())).await;
        assert_eq!(outer.unwrap_err().duration(), Some(MS));
    });
}

#[test]
fn of_nested_timeouts_on_a_busy_loop_the_earlier_one_reports() {
    virtual_time(async {
        // Both have run out when the task is polled again; the inner is polled
        // first.
        for (outer, inner, outer_reports) in [(5, 9, true), (9, 5, false), (5, 5, true)] {
            let work = async {
                sleep(MS).await;
                busy(20 * MS);
                pending::<()>().await
            };
            let result = timeout(outer * MS, timeout(inner * MS, work)).await;
            assert_eq!(result.is_err(), outer_reports, "{outer} around {inner}");
        }
    });
}

#[test]
fn after_an_inner_timeout_the_outer_one_stops_the_code_that_goes_on() {
    virtual_time(async {
        let start = now();
        let result = timeout(100 * MS, async {
            let inner = timeout(10 * MS, async {
                sleep(MS).await;
                busy(200 * MS);
                sleep(HOUR).await;
            });
            assert!(inner.await.is_err(), "the inner one was due first");
            sleep(HOUR).await;
        });
        assert!(result.await.is_err());
        assert_eq!(since(start), 201 * MS);
    });
}

#[test]
fn a_timeout_that_left_the_report_to_another_reports_when_that_one_is_gone() {
    virtual_time(async {
        // Each child has a waker of its own: without a wake none is polled again.
        let children = (0..40).map(|n| async move {
            if n > 0 {
                return false;
            }
            let work = async {
                sleep(MS).await;
                busy(20 * MS);
                pending::<()>().await
            };
            timeout(9 * MS, work).await.is_err()
        });
        let mut all = join_all(children);
        assert!(timeout(5 * MS, &mut all).await.is_err());
        assert!(all.await[0]);
    });
}

#[test]
fn an_interval_ticks_at_once_and_then_on_schedule() {
    virtual_time(async {
        let start = now();
        let mut every = interval(10 * MS);
        for tick in 0..5 {
            assert_eq!(every.tick().await, start + tick * 10 * MS);
            assert_eq!(since(start), tick * 10 * MS);
            busy(3 * MS);
        }
        every.reset();
        let reset = now();
        assert_eq!(every.tick().await, reset + 10 * MS);
    });
}

#[test]
fn missed_ticks_burst_are_delayed_or_are_skipped() {
    for (missed, expected) in [
        (MissedTick::Burst, [0, 35, 35, 35, 40, 50]),
        (MissedTick::Delay, [0, 35, 45, 55, 65, 75]),
        (MissedTick::Skip, [0, 35, 40, 50, 60, 70]),
    ] {
        virtual_time(async move {
            let start = now();
            let mut every = interval(10 * MS).missed_tick(missed);
            let mut ticks = Vec::new();
            for n in 0..6 {
                every.tick().await;
                ticks.push(since(start).as_millis());
                if n == 0 {
                    busy(35 * MS);
                }
            }
            assert_eq!(ticks, expected, "{missed:?}");
        });
    }
}

#[test]
fn a_tick_that_was_not_awaited_to_its_end_is_not_lost() {
    virtual_time(async {
        let start = now();
        let mut every = interval_at(start + 10 * MS, 10 * MS);
        assert!(timeout(4 * MS, every.tick()).await.is_err());
        assert_eq!(every.tick().await, start + 10 * MS);
    });
}

#[test]
#[should_panic(expected = "period longer than zero")]
fn an_interval_of_no_time_is_refused() {
    let _ = interval(Duration::ZERO);
}

#[test]
fn select_in_a_loop_starves_neither_a_ready_branch_nor_the_timer() {
    // A turn looks at timers after at most 8 polls, of 0.1 ms each here.
    let event_loop = EventLoop::builder()
        .virtual_time(true)
        .turn_budget(8)
        .build();
    event_loop.unwrap().block_on(async {
        let start = now();
        let (mut ticks, mut spins) = (0, 0);
        let mut every = interval(MS);
        while since(start) < 20 * MS {
            match select((yield_now(), every.tick())).await {
                Either::First(()) => {
                    spins += 1;
                    busy(MS / 10);
                }
                Either::Second(_) => ticks += 1,
            }
        }
        assert!(ticks >= 18 && spins >= 180, "{ticks} ticks, {spins} spins");
    });
}

#[test]
fn a_hundred_thousand_sleeps_end_in_order() {
    virtual_time(async {
        let last = Rc::new(Cell::new(0));
        let start = now();
        let sleeps = (0..100_000_u64).map(|n| {
            let (last, ns) = (last.clone(), n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 30);
            async move {
                sleep_until(start + Duration::from_nanos(ns)).await;
                assert!(last.replace(ns) <= ns);
                assert!(since(start) >= Duration::from_nanos(ns));
            }
        });
        let tasks: Vec<_> = sleeps.map(spawn).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}
