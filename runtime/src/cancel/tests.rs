//! Tokens without a loop, polled by hand; scopes and shields in virtual time.

use std::cell::Cell;
use std::future::{pending, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::*;
use crate::time::tests::{busy, virtual_time};
use crate::time::{now, sleep, timeout};
use crate::{spawn, yield_now};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll<F: Future>(future: Pin<&mut F>, count: &Arc<Count>) -> Poll<F::Output> {
    let waker = Waker::from(count.clone());
    future.poll(&mut Context::from_waker(&waker))
}

#[test]
fn cancelling_wakes_all_who_wait_and_gives_the_reason() {
    let (token, wakes) = (CancellationToken::new(), Arc::<Count>::default());
    let mut waits: Vec<_> = (0..3).map(|_| token.cancelled()).collect();
    for wait in &mut waits {
        assert!(poll(Pin::new(wait), &wakes).is_pending());
        assert!(poll(Pin::new(wait), &wakes).is_pending());
    }
    assert!(token.clone().cancel_with("enough"));
    assert_eq!(wakes.0.load(Ordering::Relaxed), 3);
    for wait in &mut waits {
        assert_eq!(poll(Pin::new(wait), &wakes), Poll::Ready("enough".into()));
    }
    assert!(!token.cancel_with("again"));
    assert_eq!(token.reason().as_deref(), Some("enough"));
    assert_eq!(token.check().unwrap_err().reason(), "enough");
}

#[test]
fn a_wait_that_is_dropped_leaves_no_waker_behind() {
    let (token, wakes) = (CancellationToken::new(), Arc::<Count>::default());
    {
        let mut wait = token.cancelled();
        assert!(poll(Pin::new(&mut wait), &wakes).is_pending());
        assert_eq!(Arc::strong_count(&wakes), 2);
    }
    assert_eq!(Arc::strong_count(&wakes), 1);
}

#[test]
fn a_wait_that_moves_to_another_task_wakes_the_new_one() {
    let token = CancellationToken::new();
    let (old, new) = (Arc::<Count>::default(), Arc::<Count>::default());
    let mut wait = token.cancelled();
    assert!(poll(Pin::new(&mut wait), &old).is_pending());
    assert!(poll(Pin::new(&mut wait), &new).is_pending());
    assert_eq!(Arc::strong_count(&old), 1);
    token.cancel();
    assert_eq!(old.0.load(Ordering::Relaxed), 0);
    assert_eq!(new.0.load(Ordering::Relaxed), 1);
}

#[test]
fn cancelling_goes_down_the_tree_and_never_up() {
    let root = CancellationToken::new();
    let child = root.child_token();
    let (grandchild, sibling) = (child.child_token(), root.child_token());
    child.cancel_with("branch");
    assert_eq!(grandchild.reason().as_deref(), Some("branch"));
    assert!(!root.is_cancelled() && !sibling.is_cancelled());
    root.cancel_with("root");
    assert_eq!(sibling.reason().as_deref(), Some("root"));
    assert_eq!(child.reason().as_deref(), Some("branch"));
    assert_eq!(root.child_token().reason().as_deref(), Some("root"));
}

#[test]
fn a_long_chain_of_tokens_is_cancelled_and_dropped_without_recursion() {
    for cancel in [true, false] {
        let root = CancellationToken::new();
        let mut last = root.child_token();
        for _ in 0..200_000 {
            last = last.child_token();
        }
        if cancel {
            root.cancel();
            assert!(last.is_cancelled());
        }
    }
}

#[test]
fn a_child_that_is_gone_is_forgotten_by_its_parent() {
    let root = CancellationToken::new();
    let kept = root.child_token();
    for _ in 0..10_000 {
        drop(root.child_token());
    }
    // Otherwise the parent of a server's requests would grow for ever.
    assert!(root.places() <= 2);
    root.cancel();
    assert!(kept.is_cancelled());
}

#[test]
fn run_prefers_the_token_to_a_future_that_is_ready() {
    let (token, wakes) = (CancellationToken::new(), Arc::<Count>::default());
    assert_eq!(poll(pin!(token.run(ready(1))), &wakes), Poll::Ready(Ok(1)));
    assert!(poll(pin!(token.run(pending::<()>())), &wakes).is_pending());
    token.cancel();
    let cancelled = Cancelled::requested("requested".into());
    assert_eq!(
        poll(pin!(token.run(ready(1))), &wakes),
        Poll::Ready(Err(cancelled))
    );
}

#[test]
fn a_guard_cancels_unless_disarmed() {
    let token = CancellationToken::new();
    token.clone().drop_guard().disarm();
    assert!(!token.is_cancelled());
    drop(token.clone().drop_guard());
    assert!(token.is_cancelled());
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_scope_is_cancelled_by_hand_with_its_reason_and_name() {
    virtual_time(async {
        let scope = CancelScope::new("request");
        let button = scope.clone();
        drop(spawn(async move {
            sleep(MS).await;
            button.cancel_with("stop");
            button.cancel_with("too late");
        }));
        let start = now();
        let error = scope.run(pending::<()>()).await.unwrap_err();
        assert_eq!(now() - start, MS);
        assert_eq!(
            (error.reason(), error.scope_name()),
            ("stop", Some("request"))
        );
        assert!(!error.is_deadline());
        assert!(
            error
                .to_string()
                .starts_with("cancelled: stop (scope 'request' made at ")
        );
        assert!(scope.run(async { unreachable!() }).await.is_err());
    });
}

#[test]
fn a_scopes_deadline_can_be_moved_while_it_runs() {
    virtual_time(async {
        for (first, moved, expected) in [
            (Some(5), Some(9), Some(9)),
            (Some(9), Some(5), Some(5)),
            (None, Some(3), Some(3)),
            (Some(5), None, None),
        ] {
            let (scope, start) = (CancelScope::new("moved"), now());
            if let Some(first) = first {
                scope.set_timeout(first * MS);
            }
            let mover = scope.clone();
            drop(spawn(async move {
                sleep(2 * MS).await;
                match moved {
                    Some(moved) => mover.set_deadline(start + moved * MS),
                    None => mover.clear_deadline(),
                }
            }));
            let result = scope.run(sleep(20 * MS)).await;
            assert_eq!(result.is_err(), expected.is_some());
            assert_eq!(now() - start, expected.unwrap_or(20) * MS);
            assert!(result.is_ok() || result.unwrap_err().is_deadline());
        }
    });
}

#[test]
fn code_may_move_its_own_deadline_and_cancel_its_own_scope() {
    virtual_time(async {
        let (scope, start) = (CancelScope::new("own"), now());
        let own = scope.clone();
        let result = scope.run(async move {
            own.set_timeout(3 * MS);
            pending::<()>().await;
        });
        assert!(result.await.unwrap_err().is_deadline());
        assert_eq!(now() - start, 3 * MS);
        let scope = CancelScope::new("own");
        let own = scope.clone();
        let result = scope.run(async move {
            own.cancel();
            pending::<()>().await;
        });
        assert_eq!(result.await.unwrap_err().reason(), "requested");
    });
}

#[test]
fn nested_deadlines_belong_to_their_own_scopes() {
    virtual_time(async {
        for (outer, inner, middle, expected) in [
            (9, 5, 7, "inner"),
            (5, 9, 7, "outer"),
            (9, 7, 5, "middle"),
            (5, 5, 5, "outer"),
        ] {
            // On an idle loop, and on one that wakes up when all have run out.
            for busy_ms in [0, 20] {
                let scopes = [("outer", outer), ("middle", middle), ("inner", inner)];
                let [outer, middle, inner] = scopes.map(|(name, ms)| {
                    let scope = CancelScope::new(name);
                    scope.set_timeout(ms * MS);
                    scope
                });
                let work = async {
                    sleep(MS).await;
                    busy(busy_ms * MS);
                    pending::<()>().await;
                };
                let who = match outer.run(middle.run(inner.run(work))).await {
                    Err(error) => error.scope_name(),
                    Ok(Err(error)) => error.scope_name(),
                    Ok(Ok(Err(error))) => error.scope_name(),
                    Ok(Ok(Ok(()))) => None,
                };
                assert_eq!(who, Some(expected), "busy for {busy_ms} ms");
            }
        }
    });
}

#[test]
fn a_scope_inside_a_timeout_and_a_timeout_inside_a_scope_report_their_own() {
    virtual_time(async {
        let work = || async {
            sleep(MS).await;
            busy(20 * MS);
            pending::<()>().await;
        };
        let scope = CancelScope::new("scope");
        scope.set_timeout(9 * MS);
        assert!(timeout(5 * MS, scope.run(work())).await.is_err());
        scope.set_timeout(9 * MS);
        assert!(scope.run(timeout(5 * MS, work())).await.unwrap().is_err());
        scope.set_timeout(5 * MS);
        assert!(scope.run(timeout(9 * MS, work())).await.is_err());
    });
}

#[test]
fn one_scope_may_hold_many_tasks() {
    virtual_time(async {
        let scope = CancelScope::new("all");
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let scope = scope.clone();
                spawn(async move { scope.run(pending::<()>()).await })
            })
            .collect();
        yield_now().await;
        scope.cancel();
        for task in tasks {
            assert!(task.await.unwrap().is_err());
        }
    });
}

#[test]
fn a_finished_run_leaves_its_scope_no_waker_and_no_timer() {
    virtual_time(async {
        let scope = CancelScope::new("done");
        scope.set_timeout(1000 * MS);
        scope.run(sleep(MS)).await.unwrap();
        let timers = crate::context::with(|core| core.timers().clone());
        assert!(timers.driver().borrow().is_empty());
    });
}

#[test]
fn a_shielded_future_survives_its_waiter() {
    virtual_time(async {
        let saved = Rc::new(Cell::new(false));
        let save = {
            let saved = saved.clone();
            async move {
                sleep(2 * MS).await;
                saved.set(true);
                7
            }
        };
        assert!(timeout(MS, shield(save)).await.is_err());
        assert!(!saved.get());
        sleep(2 * MS).await;
        assert!(saved.get());
        assert_eq!(shield(async { 7 }).await, 7);
    });
}

#[test]
#[should_panic(expected = "behind the shield")]
fn a_panic_behind_a_shield_reaches_who_awaits_it() {
    virtual_time(async { shield(async { panic!("behind the shield") }).await })
}

#[test]
fn a_token_cancels_tasks_of_several_loops_on_several_threads() {
    let token = CancellationToken::new();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let token = token.child_token();
            std::thread::spawn(move || crate::block_on(token.run(pending::<()>())))
        })
        .collect();
    token.cancel_with("all of you");
    for thread in threads {
        assert_eq!(thread.join().unwrap().unwrap_err().reason(), "all of you");
    }
}
