//! Groups on a loop with virtual time.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::time::tests::virtual_time;
use crate::time::{now, sleep, timeout};
use crate::yield_now;

const MS: Duration = Duration::from_millis(1);

/// Counts destructors.
#[derive(Clone, Default)]
struct Drops(Rc<Cell<usize>>);

struct Counted(Rc<Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

impl Drops {
    fn one(&self) -> Counted {
        Counted(self.0.clone())
    }

    fn count(&self) -> usize {
        self.0.get()
    }
}

/// A child that waits for ever, and counts its drop.
async fn waits<E>(drops: Counted) -> Result<(), E> {
    let _drops = drops;
    pending().await
}

#[test]
fn a_group_waits_for_all_its_children_and_gives_what_the_body_returned() {
    virtual_time(async {
        let (start, ended) = (now(), Drops::default());
        let output = task_group(async |group| {
            for n in 1..=10 {
                let ended = ended.one();
                group.spawn(async move {
                    let _ended = ended;
                    sleep(n * MS).await;
                    Ok::<_, ()>(())
                });
            }
            assert_eq!(group.running(), 10);
            Ok("body")
        })
        .await;
        assert_eq!(output.unwrap(), "body");
        assert_eq!(now() - start, 10 * MS);
        assert_eq!(ended.count(), 10);
    });
}

#[test]
fn handles_give_the_childrens_values() {
    virtual_time(async {
        let sum = task_group(async |group| {
            let handles: Vec<_> = (1..=3)
                .map(|n| {
                    group.spawn(async move {
                        sleep(n * MS).await;
                        Ok::<u32, std::io::Error>(n)
                    })
                })
                .collect();
            let mut sum = 0;
            for handle in handles {
                sum += handle.await?;
            }
            Ok(sum)
        });
        assert_eq!(sum.await.unwrap(), 6);
    });
}

#[test]
fn the_first_failure_cancels_siblings_and_body_and_all_are_waited_for() {
    virtual_time(async {
        let (start, dropped) = (now(), Drops::default());
        let result = task_group(async |group| {
            for _ in 0..3 {
                group.spawn(waits(dropped.one()));
            }
            let _in_body = dropped.one();
            group.spawn_named("bad", async {
                sleep(MS).await;
                Err::<(), _>("broken")
            });
            pending::<()>().await;
            Ok(())
        })
        .await;
        let error = result.unwrap_err();
        assert_eq!(dropped.count(), 4);
        assert_eq!(now() - start, MS);
        assert_eq!(error.errors().len(), 1);
        assert_eq!(error.errors()[0].error(), Some(&"broken"));
        let text = error.to_string();
        assert!(
            text.starts_with("in a task group, task ") && text.ends_with(" 'bad' failed: broken"),
            "{text}"
        );
    });
}

#[test]
fn errors_that_come_while_the_group_is_ending_are_gathered_too() {
    virtual_time(async {
        let error = task_group(async |group| {
            // Two panics in one turn: the group learns of both when it is polled.
            for n in 0..2 {
                group.spawn(async move {
                    sleep(MS).await;
                    if n < 2 {
                        panic!("panic {n}");
                    }
                    Ok(())
                });
            }
            // And an error before it is.
            group.spawn(async {
                sleep(MS).await;
                Err::<(), _>("error")
            });
            pending::<()>().await;
            Ok(())
        })
        .await
        .unwrap_err();
        let text = error.to_string();
        assert_eq!(error.errors().len(), 3, "{text}");
        assert!(text.starts_with("3 failures in a task group: "), "{text}");
        for part in ["panic 0", "panic 1", "failed: error"] {
            assert!(text.contains(part), "{text}");
        }
    });
}

#[test]
fn a_group_may_go_on_after_failures_and_tell_all_at_the_end() {
    virtual_time(async {
        let start = now();
        let error = task_group(async |group| {
            group.on_failure(OnFailure::GoOn);
            for n in [3, 1, 2] {
                group.spawn(async move {
                    sleep(n * MS).await;
                    if n < 3 { Err(n) } else { Ok(()) }
                });
            }
            Err::<(), _>(0)
        })
        .await
        .unwrap_err();
        assert_eq!(now() - start, 3 * MS);
        let errors: Vec<_> = error
            .errors()
            .iter()
            .filter_map(ChildError::error)
            .collect();
        assert_eq!(errors, [&0, &1, &2]);
    });
}

#[test]
fn a_panic_of_a_child_is_an_error_of_the_group() {
    virtual_time(async {
        let dropped = Drops::default();
        let result = task_group(async |group| {
            group.spawn(waits(dropped.one()));
            group.spawn(async {
                yield_now().await;
                if true {
                    panic!("on purpose");
                }
                Ok::<_, std::io::Error>(())
            });
            Ok(())
        })
        .await;
        let error = result.unwrap_err();
        assert_eq!(dropped.count(), 1);
        assert!(
            matches!(error.errors(), [ChildError::Panicked(panic)] if panic.reason() == "on purpose")
        );
        assert!(std::error::Error::source(&error).is_some());
    });
}

#[test]
fn a_panic_of_the_body_waits_for_the_children_and_goes_on() {
    let dropped = Drops::default();
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
        virtual_time(async {
            task_group(async |group: TaskGroup<()>| {
                group.spawn(waits(dropped.one()));
                yield_now().await;
                if true {
                    panic!("body");
                }
                Ok(())
            })
            .await
        })
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"body"));
    assert_eq!(dropped.count(), 1);
}

#[test]
fn children_may_spawn_siblings() {
    virtual_time(async {
        let log = Rc::new(RefCell::new(Vec::new()));
        let result = task_group(async |group| {
            fn grow(group: TaskGroup<()>, depth: u32, log: Rc<RefCell<Vec<u32>>>) {
                let inner = group.clone();
                group.spawn(async move {
                    sleep(MS).await;
                    log.borrow_mut().push(depth);
                    if depth > 0 {
                        grow(inner, depth - 1, log);
                    }
                    Ok(())
                });
            }
            grow(group, 5, log.clone());
            Ok(())
        });
        result.await.unwrap();
        assert_eq!(log.take(), [5, 4, 3, 2, 1, 0]);
    });
}

#[test]
fn cancelled_by_hand_a_group_says_why_unless_its_work_was_done() {
    virtual_time(async {
        let dropped = Drops::default();
        let error = task_group(async |group| {
            group.spawn(waits(dropped.one()));
            let remote = group.clone();
            group.spawn(async move {
                sleep(MS).await;
                remote.cancel_with("enough");
                Ok(())
            });
            pending::<Result<(), ()>>().await
        })
        .await
        .unwrap_err();
        assert_eq!((error.reason(), error.errors().len()), (Some("enough"), 0));
        assert_eq!(dropped.count(), 1);

        let output = task_group(async |group| {
            group.spawn(waits(dropped.one()));
            yield_now().await;
            group.cancel();
            Ok::<_, ()>(5)
        });
        assert_eq!(output.await.unwrap(), 5);
        assert_eq!(dropped.count(), 2);
    });
}

#[test]
fn one_child_may_be_aborted_without_harm_to_the_others() {
    virtual_time(async {
        let output = task_group(async |group| {
            let never = group.spawn(pending::<Result<(), ()>>());
            let other = group.spawn(async {
                sleep(MS).await;
                Ok(())
            });
            yield_now().await;
            never.abort();
            assert!(never.await.is_err());
            other.await.unwrap();
            Ok(1)
        });
        assert_eq!(output.await.unwrap(), 1);
    });
}

#[test]
fn a_group_that_was_cancelled_or_has_ended_starts_nothing() {
    virtual_time(async {
        let kept = RefCell::new(None);
        task_group(async |group: TaskGroup<()>| {
            *kept.borrow_mut() = Some(group.clone());
            Ok(())
        })
        .await
        .unwrap();
        let group = kept.take().unwrap();
        assert!(group.is_cancelled());
        let handle = group.spawn(async { panic!("must not run") });
        assert!(handle.is_finished());
        let nothing: Result<(), _> = handle.await;
        assert!(nothing.is_err());
    });
}

#[test]
fn a_dropped_group_aborts_its_children() {
    virtual_time(async {
        let dropped = Drops::default();
        let group = task_group(async |group: TaskGroup<()>| {
            group.spawn(waits(dropped.one()));
            pending().await
        });
        let result: Result<Result<(), _>, _> = timeout(MS, group).await;
        assert!(result.is_err());
        yield_now().await;
        assert_eq!(dropped.count(), 1);
    });
}

#[test]
fn groups_nest_and_the_outer_waits_for_the_inner() {
    virtual_time(async {
        let dropped = Drops::default();
        let one = dropped.clone();
        let error = task_group(async |outer| {
            outer.spawn(async move {
                let inner = task_group(async |inner| {
                    inner.spawn(waits(one.one()));
                    inner.spawn(async {
                        sleep(MS).await;
                        Err::<(), _>("inner")
                    });
                    Ok::<(), _>(())
                });
                inner.await.map_err(|error| error.to_string())
            });
            outer.spawn(waits(dropped.one()));
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(dropped.count(), 2);
        assert!(error.to_string().contains("failed: inner"), "{error}");
    });
}

#[test]
fn a_long_lived_group_keeps_nothing_of_children_that_have_ended() {
    virtual_time(async {
        task_group(async |group| {
            for _ in 0..1_000 {
                group.spawn(async { Ok::<_, ()>(()) }).await.unwrap();
                yield_now().await;
            }
            assert!(group.state.children.borrow().len() <= 2);
            assert!(group.running() <= 1);
            Ok(())
        })
        .await
        .unwrap();
    });
}
