//! What waits for what, and what is wrong with that.

use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::*;
use crate::future::join_all;
use crate::sync::{local, shared};
use crate::task::{self, TaskState};
use crate::time::{sleep, timeout};
use crate::{EventLoop, JoinHandle, block_on, spawn, yield_now};

/// Lets all others come to where they wait.
async fn settle() {
    for _ in 0..5 {
        yield_now().await;
    }
}

fn named<F: Future + 'static>(name: &'static str, future: F) -> JoinHandle<F::Output> {
    task::Builder::new().name(name).spawn(future)
}

fn own_id() -> crate::TaskId {
    task::current().expect("in a task").id
}

/// A dump in which nobody is ready: a waker of a former loop with the same number,
/// of another test, may wake tasks in vain.
async fn calm_dump() -> Dump {
    loop {
        settle().await;
        let dump = dump().await;
        if dump
            .tasks
            .iter()
            .all(|task| task.state == TaskState::Parked)
        {
            return dump;
        }
    }
}

/// The texts of what a lone task waits for in `future`.
fn waits(future: impl Future + 'static) -> Vec<String> {
    block_on(async {
        let task = spawn(async move {
            future.await;
        });
        let dump = calm_dump().await;
        let info = dump.task(task.id()).expect("it waits");
        info.waits_for.iter().map(ToString::to_string).collect()
    })
}

#[track_caller]
fn assert_waits(future: impl Future + 'static, expected: &[&str]) {
    let waits = waits(future);
    assert_eq!(waits.len(), expected.len(), "{waits:?}");
    for expected in expected {
        assert!(
            waits.iter().any(|wait| wait.contains(expected)),
            "{expected:?} is not in {waits:?}"
        );
    }
}

#[test]
fn every_primitive_says_that_one_waits_for_it() {
    assert_waits(pending::<()>(), &[]);
    assert_waits(
        async { local::Notify::new().notified().await },
        &["a notification"],
    );
    assert_waits(
        async { shared::Notify::new().notified().await },
        &["a notification"],
    );
    assert_waits(async { local::Event::new().wait().await }, &["an event"]);
    assert_waits(
        async {
            local::Barrier::new(3).wait().await;
        },
        &["1 of 3 are there"],
    );
    assert_waits(
        async {
            let mutex = local::Mutex::new(());
            let _guard = local::Condvar::new().wait(mutex.lock().await).await;
        },
        &["a condition variable"],
    );
    assert_waits(
        async {
            let _ = local::Semaphore::new(2).acquire_many(3).await;
        },
        &["a permit of a semaphore"],
    );
    assert_waits(
        async {
            let limiter = local::Limiter::new(0);
            let _token = limiter.acquire().await;
        },
        &["a token of a limiter"],
    );
    assert_waits(
        async {
            let cell = shared::OnceCell::new();
            cell.get_or_init(pending::<()>).await;
        },
        &[],
    );
    assert_waits(
        async {
            let lock = shared::RwLock::new(());
            let _reader = lock.read().await;
            let _writer = lock.write().await;
        },
        &["a read-write lock"],
    );
}

#[test]
fn every_channel_says_that_one_waits_for_it_and_on_which_side() {
    assert_waits(
        async {
            let (_sender, receiver) = local::oneshot::channel::<()>();
            let _ = receiver.await;
        },
        &["the value of a oneshot channel"],
    );
    assert_waits(
        async {
            let (mut sender, _receiver) = shared::oneshot::channel::<()>();
            sender.closed().await;
        },
        &["the receiver of a oneshot channel"],
    );
    assert_waits(
        async {
            let (_one, mut receiver) = shared::mpsc::channel::<()>(1);
            let _two = _one.clone();
            receiver.recv().await;
        },
        &["a message of an mpsc channel"],
    );
    assert_waits(
        async {
            let (sender, _receiver) = local::mpsc::channel(1);
            let _ = sender.send(1).await;
            let _ = sender.send(2).await;
        },
        &["room in an mpsc channel"],
    );
    assert_waits(
        async {
            let (_sender, mut receiver) = local::broadcast::channel::<()>(1);
            let _ = receiver.recv().await;
        },
        &["a message of a broadcast channel"],
    );
    assert_waits(
        async {
            let (_sender, mut receiver) = local::watch::channel(());
            let _ = receiver.changed().await;
        },
        &["a change of a watch channel"],
    );
    assert_waits(
        async {
            let queue = local::Queue::<()>::new(1);
            let _ = queue.get().await;
        },
        &["an item of a queue"],
    );
    assert_waits(
        async {
            let queue = local::Queue::new(1);
            let _ = queue.put(1).await;
            queue.join().await;
        },
        &["1 items aren't done"],
    );
}

#[test]
fn a_wait_is_seen_through_combinators_and_child_wakers() {
    assert_waits(
        timeout(Duration::from_secs(60), async {
            local::Event::new().wait().await;
        }),
        &["an event", "a timer due in"],
    );
    let many = || (0..100).map(|_| async { sleep(Duration::from_secs(60)).await });
    let waits = waits(join_all(many()));
    assert!(
        !waits.is_empty() && waits.iter().all(|wait| wait.contains("a timer")),
        "{waits:?}"
    );
    assert_waits(
        async {
            let event = local::Event::new();
            join_all((0..100).map(|_| event.wait())).await;
        },
        &["an event"],
    );
    // Somebody else's combinator, which hands the waker on.
    assert_waits(
        async {
            let event = local::Event::new();
            let mut wait = pin!(event.wait());
            poll_fn(|cx| wait.as_mut().poll(cx)).await;
        },
        &["an event"],
    );
}

#[test]
fn children_that_were_asked_go_on_as_if_nothing_had_been() {
    block_on(async {
        let event = Rc::new(local::Event::new());
        let waiter = event.clone();
        let all = spawn(async move { join_all((0..100).map(|_| waiter.wait())).await.len() });
        settle().await;
        let _ = calm_dump().await;
        event.set();
        assert_eq!(all.await.unwrap(), 100);
    });
}

#[test]
fn threads_processes_and_groups_are_named() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    assert_waits(
        crate::unblock(move || wait.recv()),
        &["a call on a blocking thread"],
    );
    drop(release);
    assert_waits(
        async {
            let token = crate::cancel::CancellationToken::new();
            token.cancelled().await;
        },
        &["a token to be cancelled"],
    );
    assert_waits(
        crate::group::task_group(async |group| {
            group.spawn(pending::<Result<(), ()>>());
            Ok(())
        }),
        &["task "],
    );
    let mut child = block_on(async {
        crate::process::Command::new("sleep")
            .arg("60")
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    });
    let pid = child.id().unwrap();
    assert_waits(
        async move {
            let _ = child.wait().await;
        },
        &[&format!("the end of process {pid}"), "reading descriptor"],
    );
}

#[test]
fn a_deadlock_of_two_tasks_on_two_mutexes_is_found() {
    block_on(async {
        let (left, right) = (
            Rc::new(local::Mutex::new(())),
            Rc::new(local::Mutex::new(())),
        );
        let philosopher = |first: Rc<local::Mutex<()>>, second: Rc<local::Mutex<()>>| async move {
            let _first = first.lock().await;
            yield_now().await;
            let _second = second.lock().await;
        };
        let one = named("one", philosopher(left.clone(), right.clone()));
        let two = named("two", philosopher(right, left));
        let watcher = named("watcher", {
            let one = one.abort_handle();
            async move {
                while !one.is_finished() {
                    sleep(Duration::from_secs(9)).await
                }
            }
        });
        settle().await;
        let why = calm_dump().await.why(one.id()).unwrap();
        assert_eq!(
            why.findings,
            [Finding::Deadlock(vec![one.id().into(), two.id().into()])]
        );
        let text = why.to_string();
        assert!(
            text.contains("'one'") && text.contains("\n  task") && text.contains("'two'"),
            "{text}"
        );
        assert!(
            text.contains(&format!("held by task {}", two.id())),
            "{text}"
        );
        let dump = calm_dump().await;
        assert_eq!(dump.findings(), why.findings);
        assert!(super::why(one.id()).await.is_some());
        assert!(dump.why(watcher.id()).unwrap().findings.is_empty());
    });
}

#[test]
fn a_deadlock_of_locks_that_cross_threads_is_found_too() {
    block_on(async {
        let mutex = Rc::new(shared::Mutex::new(()));
        let inner = mutex.clone();
        let (send, receive) = local::oneshot::channel::<JoinHandle<()>>();
        let holder = spawn(async move {
            let _guard = inner.lock().await;
            let _ = receive.await.unwrap().await;
        });
        settle().await;
        let waiter = spawn(async move { drop(mutex.lock().await) });
        let id = waiter.id();
        assert!(send.send(waiter).is_ok());
        settle().await;
        let found = calm_dump().await.findings();
        assert_eq!(
            found,
            [Finding::Deadlock(vec![holder.id().into(), id.into()])]
        );
    });
}

#[test]
fn a_cycle_that_a_timeout_will_break_is_no_deadlock() {
    block_on(async {
        let mutex = Rc::new(local::Mutex::new(()));
        let inner = mutex.clone();
        let waiter = spawn(async move {
            let _guard = inner.lock().await;
            let _ = timeout(Duration::from_secs(60), inner.lock()).await;
        });
        settle().await;
        let found = calm_dump().await.findings();
        assert!(
            found.contains(&Finding::Cycle(vec![waiter.id().into()])),
            "{found:?}"
        );
        assert!(
            !found
                .iter()
                .any(|found| matches!(found, Finding::Deadlock(_)))
        );
    });
}

#[test]
fn a_lock_that_a_future_holds_which_nobody_polls_is_named() {
    block_on(async {
        let mutex = Rc::new(local::Mutex::new(()));
        let held = mutex.clone().lock_owned().await;
        let inner = mutex.clone();
        let victim = named("victim", async move {
            let mut first = pin!(inner.lock());
            // A `select` that keeps the loser.
            poll_fn(|cx| {
                assert!(first.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            // The lock is handed to `first`, which waits in front.
            let _second = inner.lock().await;
        });
        settle().await;
        drop(held);
        settle().await;
        let why = calm_dump().await.why(victim.id()).unwrap();
        let WaitsFor::Sync(wait) = &why.task.waits_for[0] else {
            panic!("{why}");
        };
        assert_eq!(wait.handed_to, Some(Holder::Task(victim.id())), "{why}");
        let found = Finding::NotPolled {
            task: victim.id(),
            address: wait.address,
        };
        assert!(why.findings.contains(&found), "{why}");
        assert!(
            why.findings
                .contains(&Finding::Deadlock(vec![victim.id().into()])),
            "{why}"
        );
    });
}

#[test]
fn a_lock_handed_to_a_future_that_another_task_forgot_is_named() {
    block_on(async {
        let mutex = Rc::new(local::Mutex::new(()));
        let held = mutex.clone().lock_owned().await;
        let inner = mutex.clone();
        let forgetful = spawn(async move {
            let mut lock = pin!(inner.lock());
            poll_fn(|cx| {
                assert!(lock.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            sleep(Duration::from_secs(60)).await;
        });
        settle().await;
        let waiter = spawn(async move { drop(mutex.lock().await) });
        settle().await;
        drop(held);
        settle().await;
        let why = calm_dump().await.why(waiter.id()).unwrap();
        let found = |finding: &Finding| matches!(finding, Finding::NotPolled { task, .. } if *task == forgetful.id());
        assert!(why.findings.iter().any(found), "{why}");
    });
}

#[test]
fn a_task_that_joins_itself_is_found() {
    block_on(async {
        let own: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
        let inner = own.clone();
        let task = spawn(async move {
            let handle = inner.borrow_mut().take().unwrap();
            let _ = handle.await;
        });
        let id = task.id();
        *own.borrow_mut() = Some(task);
        settle().await;
        let why = calm_dump().await.why(id).unwrap();
        assert_eq!(why.findings, [Finding::Deadlock(vec![id.into()])]);
        assert!(why.to_string().contains("waits for itself"), "{why}");
    });
}

#[test]
fn a_receiver_whose_task_has_the_only_sender_is_named() {
    block_on(async {
        let task = spawn(async {
            let (_sender, mut receiver) = local::mpsc::channel::<()>(1);
            receiver.recv().await
        });
        let (sender, mut receiver) = local::mpsc::channel::<()>(1);
        let innocent = spawn(async move { receiver.recv().await });
        settle().await;
        let dump = calm_dump().await;
        let found = dump.why(task.id()).unwrap().findings;
        assert!(
            matches!(found[..], [Finding::OwnSender { task: found, .. }] if found == task.id()),
            "{found:?}"
        );
        assert!(dump.why(innocent.id()).unwrap().findings.is_empty());
        drop(sender);
    });
}

#[test]
fn permits_and_read_locks_have_holders_and_lead_into_cycles() {
    // Two tasks, each with one of two things in hand, wait for the other one.
    fn cross<G1: 'static, G2: 'static, A, B>(
        one: impl AsyncFn() -> G1 + 'static,
        one_more: impl AsyncFn() -> A + 'static,
        two: impl AsyncFn() -> G2 + 'static,
        two_more: impl AsyncFn() -> B + 'static,
    ) {
        block_on(async {
            let first = spawn(async move {
                let _held = one().await;
                yield_now().await;
                two_more().await;
            });
            let second = spawn(async move {
                let _held = two().await;
                yield_now().await;
                one_more().await;
            });
            settle().await;
            let dump = calm_dump().await;
            let deadlock = Finding::Deadlock(vec![first.id().into(), second.id().into()]);
            assert_eq!(dump.findings(), [deadlock], "{dump}");
        });
    }
    let permit = |semaphore: &Rc<local::Semaphore>| {
        let semaphore = semaphore.clone();
        async move || semaphore.clone().acquire_owned().await.unwrap()
    };
    let (a, b) = (
        Rc::new(local::Semaphore::new(1)),
        Rc::new(local::Semaphore::new(1)),
    );
    cross(permit(&a), permit(&a), permit(&b), permit(&b));

    let lock = Arc::new(shared::RwLock::new(()));
    let read = |lock: &Arc<shared::RwLock<()>>| {
        let lock = lock.clone();
        async move || lock.clone().read_owned().await
    };
    let writer = lock.clone();
    let write = async move || drop(writer.clone().write_owned().await);
    cross(read(&lock), write, permit(&a), permit(&a));
}

#[test]
fn one_holder_of_a_permit_who_can_go_on_is_enough_and_one_reader_who_cannot() {
    block_on(async {
        let semaphore = Rc::new(local::Semaphore::new(2));
        let lock = Rc::new(local::RwLock::new(()));
        let (permits, reads) = (semaphore.clone(), lock.clone());
        let _works = spawn(async move {
            let (_permit, _read) = (permits.acquire().await, reads.read().await);
            sleep(Duration::from_secs(60)).await;
        });
        let (permits, reads) = (semaphore.clone(), lock.clone());
        let (send, receive) = local::oneshot::channel::<JoinHandle<()>>();
        let stuck = spawn(async move {
            let (_permit, _read) = (permits.acquire().await, reads.read().await);
            let _ = receive.await.unwrap().await;
        });
        settle().await;
        let permits = semaphore.clone();
        let waits = spawn(async move { drop(permits.acquire().await) });
        let id = waits.id();
        assert!(send.send(waits).is_ok());
        settle().await;
        let dump = calm_dump().await;
        let cycle = Finding::Cycle(vec![stuck.id().into(), id.into()]);
        assert_eq!(dump.findings(), [cycle], "{dump}");

        // The same with the lock: a writer needs both readers gone.
        let reads = lock.clone();
        let (send, receive) = local::oneshot::channel::<JoinHandle<()>>();
        let inner = lock.clone();
        let stuck = spawn(async move {
            let _read = inner.read().await;
            let _ = receive.await.unwrap().await;
        });
        settle().await;
        let writes = spawn(async move { drop(reads.write().await) });
        let id = writes.id();
        assert!(send.send(writes).is_ok());
        settle().await;
        let deadlock = Finding::Deadlock(vec![stuck.id().into(), id.into()]);
        let dump = calm_dump().await;
        assert!(dump.findings().contains(&deadlock), "{dump}");
    });
}

#[test]
fn a_reader_who_asks_again_behind_a_writer_is_found_unless_the_writer_may_give_up() {
    for gives_up in [false, true] {
        block_on(async {
            let lock = Rc::new(local::RwLock::new(()));
            let (reads, writes) = (lock.clone(), lock);
            let reader = spawn(async move {
                let _first = reads.read().await;
                yield_now().await;
                yield_now().await;
                let _second = reads.read().await;
            });
            let writer = spawn(async move {
                if gives_up {
                    let _ = timeout(Duration::from_secs(60), writes.write()).await;
                } else {
                    drop(writes.write().await);
                }
            });
            settle().await;
            let dump = calm_dump().await;
            let parties = vec![reader.id().into(), writer.id().into()];
            let expected = match gives_up {
                true => Finding::Cycle(parties),
                false => Finding::Deadlock(parties),
            };
            assert_eq!(dump.findings(), [expected], "{dump}");
        });
    }
}

#[test]
fn a_permit_that_is_split_forgotten_or_given_to_another_task_is_told_as_it_is() {
    block_on(async {
        let semaphore = Rc::new(local::Semaphore::new(3));
        let held = async |what: &str| {
            let permits = semaphore.clone();
            let waits = spawn(async move { drop(permits.acquire_many(3).await) });
            settle().await;
            let dump = calm_dump().await;
            let told = dump.task(waits.id()).unwrap().to_string();
            assert!(told.contains(what), "{told}");
            waits.abort();
            settle().await;
        };
        let me = own_id();
        let mut permit = semaphore.acquire_many(2).await.unwrap();
        held(&format!("wait, held by task {me})")).await;
        let split = permit.split(1).unwrap();
        held(&format!("wait, held by task {me} and task {me})")).await;
        permit.merge(split);
        held(&format!("wait, held by task {me})")).await;
        let rest = permit.split(2).unwrap();
        drop(permit);
        held(&format!("wait, held by task {me})")).await;
        rest.forget();
        held("1 free, 1 wait)").await;
        let crowd = Rc::new(local::Semaphore::new(9));
        let all: Vec<_> = (0..9).map(|_| crowd.try_acquire().unwrap()).collect();
        let waits = spawn({
            let crowd = crowd.clone();
            async move { drop(crowd.acquire().await) }
        });
        settle().await;
        let dump = calm_dump().await;
        let told = dump.task(waits.id()).unwrap().to_string();
        assert_eq!(
            told.matches("task ").count(),
            1 + crate::limits::HOLDERS_KNOWN
        );
        assert!(told.ends_with("and others)"), "{told}");
        drop(all);
    });
}

#[test]
fn two_tasks_that_fill_each_others_channels_are_found() {
    block_on(async {
        let (to_b, mut at_b) = local::mpsc::channel::<u8>(1);
        let (to_a, mut at_a) = local::mpsc::channel::<u8>(1);
        let a = spawn(async move {
            let _ = to_b.send(0).await;
            at_a.recv().await;
            while to_b.send(0).await.is_ok() {}
        });
        let b = spawn(async move {
            let _ = to_a.send(0).await;
            at_b.recv().await;
            while to_a.send(0).await.is_ok() {}
        });
        settle().await;
        let why = calm_dump().await.why(a.id()).unwrap();
        let deadlock = Finding::Deadlock(vec![a.id().into(), b.id().into()]);
        assert_eq!(why.findings, [deadlock], "{why}");
        assert!(
            why.to_string()
                .contains(&format!("last received from by task {}", b.id())),
            "{why}"
        );
    });
}

#[test]
fn a_call_on_a_blocking_thread_that_waits_for_the_task_that_awaits_it_is_found() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    event_loop.block_on(async {
        let (send, receive) = std::sync::mpsc::channel::<crate::RemoteHandle<()>>();
        let task = handle.spawn(async move || {
            let call = crate::unblock(move || receive.recv().unwrap().wait());
            let _ = call.await;
        });
        assert!(send.send(task).is_ok());
        let (id, why) = loop {
            let dump = calm_dump().await;
            let other = |task: &&TaskInfo| task.id != own_id();
            let task = dump.tasks.iter().find(other).map(|task| task.id);
            // Both the task and the thread have come to where they wait.
            if let Some(id) = task
                && let Some(why) = super::why(id).await
                && !why.findings.is_empty()
            {
                break (id, why);
            }
        };
        let [Finding::Deadlock(parties)] = &why.findings[..] else {
            panic!("{why}")
        };
        assert_eq!(parties[0], Party::Task(id));
        assert!(matches!(parties[1..], [Party::Job(_)]), "{why}");
        let text = why.to_string();
        assert!(
            text.contains("on thread 'unblock-") && text.contains(&format!("remote task {id}")),
            "{text}"
        );
    });
}

#[test]
fn a_cycle_through_two_loops_is_found_from_either() {
    use std::sync::mpsc::channel;
    let (tell, other_handle) = channel();
    let stop = Arc::new(shared::Notify::new());
    let stopped = stop.clone();
    let other = std::thread::spawn(move || {
        let event_loop = EventLoop::new().unwrap();
        tell.send(event_loop.handle()).unwrap();
        event_loop.block_on(stopped.notified());
    });
    let other_handle = other_handle.recv().unwrap();
    let mutex = Arc::new(shared::Mutex::new(()));
    block_on(async {
        // A task has the lock, and waits for one of the other loop, which waits for it.
        let there = mutex.clone();
        let guard = mutex.clone().lock_owned().await;
        let remote = other_handle.spawn(async move || drop(there.lock().await));
        let holder = spawn(async move {
            let _guard = guard;
            let _ = remote.await;
        });
        let why = loop {
            let why = super::why(holder.id()).await.unwrap();
            if why.steps.len() > 1 {
                break why;
            }
        };
        // The guard was taken by the main task and passed on: no cycle, but the way is
        // shown, through the other loop and back.
        let me = own_id();
        assert!(why.findings.is_empty(), "{why}");
        assert_eq!(why.steps[1].leads_to, [Party::Task(me)], "{why}");
        holder.abort();
    });
    let mutex = Arc::new(shared::Mutex::new(()));
    block_on(async {
        let there = mutex.clone();
        let holder = spawn(async move {
            let _guard = mutex.lock().await;
            let there = there.clone();
            let remote = other_handle.spawn(async move || drop(there.lock().await));
            let _ = remote.await;
        });
        let found = loop {
            let why = super::why(holder.id()).await.unwrap();
            if let [Finding::Deadlock(parties)] = &why.findings[..] {
                break parties.clone();
            }
        };
        let [one, two] = found[..] else {
            panic!("{found:?}")
        };
        assert!(one == holder.id().into() || two == holder.id().into());
        // And from there.
        let Party::Task(there) = (if one == holder.id().into() { two } else { one }) else {
            panic!("{found:?}")
        };
        let why = other_handle.spawn(async move || super::why(there).await);
        let why = why.await.unwrap().unwrap();
        assert_eq!(why.findings, [Finding::Deadlock(found)], "{why}");
        holder.abort();
    });
    stop.notify_one();
    other.join().unwrap();
}

#[test]
fn a_dump_knows_names_places_and_states_and_the_main_future() {
    let event_loop = EventLoop::builder().name("the loop").build().unwrap();
    event_loop.block_on(async {
        let _parked = named("sleeper", sleep(Duration::from_secs(60)));
        settle().await;
        let dump = calm_dump().await;
        assert_eq!(dump.loop_name.as_deref(), Some("the loop"));
        assert_eq!(dump.tasks.len(), 2);
        let [main, sleeper] = &dump.tasks[..] else {
            unreachable!()
        };
        assert_eq!(main.name.as_deref(), Some("the loop"));
        assert_eq!(main.waits_for, [WaitsFor::other("this dump")]);
        assert_eq!(sleeper.state, TaskState::Parked);
        assert!(sleeper.id > main.id && sleeper.site.file() == file!());
    });
}

/// Asks again until there is an answer: when a thread falls asleep is the kernel's to say.
async fn asked_until<R>(answer: impl Fn(&Dump) -> Option<R>) -> R {
    loop {
        if let Some(answer) = answer(&dump().await) {
            return answer;
        }
        yield_now().await;
    }
}

#[test]
fn a_job_that_blocks_on_what_the_task_holds_that_awaits_it_is_a_deadlock() {
    type Holding = std::pin::Pin<Box<dyn Future<Output = ()>>>;
    async fn job(blocks: impl FnOnce() + Send + 'static) {
        drop(crate::unblock(blocks).await);
    }
    let mutex: Holding = Box::pin(async {
        let mutex = Arc::new(shared::Mutex::new(()));
        let _guard = mutex.lock().await;
        let theirs = mutex.clone();
        job(move || drop(theirs.blocking_lock())).await;
    });
    let writes: Holding = Box::pin(async {
        let lock = Arc::new(shared::RwLock::new(()));
        let _guard = lock.read().await;
        let theirs = lock.clone();
        job(move || drop(theirs.blocking_write())).await;
    });
    let reads: Holding = Box::pin(async {
        let lock = Arc::new(shared::RwLock::new(()));
        let _guard = lock.write().await;
        let theirs = lock.clone();
        job(move || drop(theirs.blocking_read())).await;
    });
    let permit: Holding = Box::pin(async {
        let permits = Arc::new(shared::Semaphore::new(1));
        let _permit = permits.acquire().await.unwrap();
        let theirs = permits.clone();
        job(move || drop(theirs.blocking_acquire())).await;
    });
    let cell: Holding = Box::pin(async {
        let cell = Arc::new(shared::OnceCell::new());
        let theirs = cell.clone();
        let init = job(move || *theirs.blocking_get_or_init(|| ()));
        cell.get_or_init(|| init).await;
    });
    for (what, holding) in [
        ("a mutex", mutex),
        ("a read-write lock", writes),
        ("a read-write lock", reads),
        ("a permit of a semaphore", permit),
        ("a once-cell that is being filled", cell),
    ] {
        block_on(async {
            let task = named("holder", holding);
            let why = asked_until(|dump| {
                let why = dump.why(task.id())?;
                (!why.findings.is_empty()).then_some(why)
            })
            .await;
            let [Finding::Deadlock(parties)] = &why.findings[..] else {
                panic!("{why}")
            };
            let [Party::Task(id), Party::Job(_)] = parties[..] else {
                panic!("{why}")
            };
            assert_eq!(id, task.id());
            let expected = format!("blocks and waits for {what} (");
            assert!(why.to_string().contains(&expected), "{why}");
            // So that the job's thread comes back.
            task.abort();
            drop(task.await);
        });
    }
}

#[test]
fn who_holds_what_a_thread_waits_for_is_asked_at_each_dump() {
    block_on(async {
        let mutex = Arc::new(shared::Mutex::new(()));
        let guard = mutex.lock().await;
        let (theirs, event) = (mutex.clone(), Rc::new(local::Event::new()));
        let until = event.clone();
        let next = named("next", async move {
            let _guard = theirs.lock().await;
            until.wait().await;
        });
        settle().await;
        let theirs = mutex.clone();
        let job = crate::unblock(move || drop(theirs.blocking_lock()));
        let job = named("awaits", job);
        let holder = |dump: &Dump| {
            let waits = dump.blocked.iter().flat_map(|thread| &thread.waits_for);
            let mut holders = waits.filter_map(|what| match what {
                WaitsFor::Sync(wait) if wait.kind == SyncKind::Mutex => wait.holders.first(),
                _ => None,
            });
            // Threads of other tests wait for locks of other loops.
            holders.find_map(|holder| match holder {
                Holder::Task(id) => Some(*id),
                _ => None,
            })
        };
        assert_eq!(asked_until(holder).await, own_id());
        drop(guard);
        settle().await;
        // It sleeps on, and nobody has told it anything.
        let dump = dump().await;
        assert_eq!(holder(&dump), Some(next.id()), "{dump}");
        assert!(dump.findings().is_empty(), "{dump}");
        let why = dump.why(job.id()).unwrap();
        let leads_to = |step: &Step| step.who == Party::Task(next.id());
        assert!(why.steps.iter().any(leads_to), "{why}");
        event.set();
        next.await.unwrap();
        job.await.unwrap().unwrap();
    });
}

#[test]
fn a_thread_that_blocks_in_any_primitive_is_listed_with_its_name() {
    type Blocks = Box<dyn FnOnce() + Send>;
    let (event, barrier) = (
        Arc::new(shared::Event::new()),
        Arc::new(shared::Barrier::new(2)),
    );
    let (queue, pair) = (
        Arc::new(shared::Queue::new(1)),
        shared::oneshot::channel::<u32>(),
    );
    let (sender, mut receiver) = shared::mpsc::channel(1);
    let (full, drained) = shared::mpsc::channel(1);
    full.try_send(1).unwrap();
    let (tells, mut hears) = shared::broadcast::channel::<u32>(1);
    let (sets, meets, puts) = (event.clone(), barrier.clone(), queue.clone());
    let blocks: [(SyncKind, Blocks, Blocks); 7] = [
        (
            SyncKind::Event,
            Box::new(move || event.blocking_wait()),
            Box::new(move || assert!(sets.set())),
        ),
        (
            SyncKind::Barrier,
            Box::new(move || assert!(!barrier.blocking_wait().is_leader())),
            Box::new(move || assert!(meets.blocking_wait().is_leader())),
        ),
        (
            SyncKind::QueueGet,
            Box::new(move || assert!(queue.blocking_get().is_ok())),
            Box::new(move || assert!(puts.blocking_put(1).is_ok())),
        ),
        (
            SyncKind::OneshotReceive,
            Box::new(move || assert!(pair.1.blocking_recv().is_ok())),
            Box::new(move || assert!(pair.0.send(1).is_ok())),
        ),
        (
            SyncKind::MpscReceive,
            Box::new(move || assert_eq!(receiver.blocking_recv(), Some(1))),
            Box::new(move || assert!(sender.blocking_send(1).is_ok())),
        ),
        (
            SyncKind::MpscSend,
            Box::new(move || assert!(full.blocking_send(2).is_err())),
            Box::new(move || drop(drained)),
        ),
        (
            SyncKind::BroadcastReceive,
            Box::new(move || assert!(hears.blocking_recv().is_ok())),
            Box::new(move || assert!(tells.send(1).is_ok())),
        ),
    ];
    for (kind, block, free) in blocks {
        let name = format!("blocks in {kind:?}");
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(block)
            .unwrap();
        block_on(async {
            asked_until(|dump| {
                let ours = |it: &&Blocked| it.thread.as_ref() == Some(&name);
                let blocked = dump.blocked.iter().find(ours)?;
                let [WaitsFor::Sync(wait)] = &blocked.waits_for[..] else {
                    panic!("{blocked}")
                };
                assert_eq!((wait.kind, blocked.job), (kind, None));
                let expected = format!("thread '{name}', blocks and waits for {}", kind.text());
                assert!(blocked.to_string().starts_with(&expected), "{blocked}");
                Some(())
            })
            .await
        });
        free();
        thread.join().unwrap();
        let dump = block_on(async { dump().await });
        let named = |it: &Blocked| it.thread.as_ref() == Some(&name);
        assert!(!dump.blocked.iter().any(named), "{dump}");
    }
}

#[test]
fn a_loop_that_stands_still_can_be_dumped_and_goes_on() {
    let event_loop = EventLoop::new().unwrap();
    let event = Rc::new(local::Event::new());
    let waiter = event.clone();
    let task = event_loop.spawn(async move { waiter.wait().await });
    event_loop.block_on(settle());
    for _ in 0..2 {
        let dump = event_loop.dump();
        let waits = &dump.task(task.id()).unwrap().waits_for;
        assert!(waits[0].to_string().contains("an event"), "{dump}");
        event_loop.block_on(settle());
    }
    event.set();
    event_loop.block_on(task).unwrap();
}

#[test]
fn the_report_of_a_shutdown_says_what_the_rest_waited_for() {
    let event_loop = EventLoop::new().unwrap();
    let stuck = event_loop.spawn(async {
        let mutex = local::Mutex::new(());
        let _one = mutex.lock().await;
        let _two = mutex.lock().await;
    });
    let report = event_loop.shutdown(Duration::ZERO);
    assert_eq!(report.cancelled.len(), 1);
    assert!(
        report
            .findings
            .contains(&Finding::Deadlock(vec![stuck.id().into()])),
        "{report}"
    );
    let text = report.to_string();
    assert!(
        text.contains("waits for a mutex") && text.contains("deadlock"),
        "{text}"
    );
}

#[test]
fn a_long_chain_of_joins_needs_no_stack() {
    let count = 20_000;
    block_on(async {
        let mut last = spawn(pending::<()>());
        for _ in 0..count {
            let next = last;
            last = spawn(async move { drop(next.await) });
        }
        settle().await;
        let dump = calm_dump().await;
        assert!(dump.findings().is_empty());
        let why = dump.why(last.id()).unwrap();
        assert_eq!(why.steps.len(), crate::limits::WHY_STEPS);
    });
}

#[test]
fn a_dump_can_be_had_from_outside() {
    let event_loop = EventLoop::builder().build().unwrap();
    let handle = event_loop.handle();
    event_loop.block_on(async {
        let _parked = named("waiter", async { local::Event::new().wait().await });
        let asked = crate::unblock(move || handle.dump(Duration::from_secs(60))).await;
        let dump = asked.unwrap().unwrap();
        assert_eq!(dump.tasks.len(), 2);
        let wait = &dump.tasks[0].waits_for[..];
        assert!(matches!(wait, [WaitsFor::Job { .. }]), "{dump}");
        let waiter = dump.tasks[1].to_string();
        assert!(
            waiter.contains("'waiter'") && waiter.contains("an event"),
            "{waiter}"
        );
    });
    drop(event_loop);
    assert!(matches!(handle.dump(Duration::ZERO), Err(DumpError::Ended)));
    assert_eq!(handle.running(), None);
}

#[test]
fn a_loop_that_is_blocked_says_at_least_what_it_runs() {
    let event_loop = EventLoop::builder().publish_running(true).build().unwrap();
    let handle = event_loop.handle();
    assert_eq!(handle.running(), None);
    let id = event_loop.block_on(async {
        let task = named("Größenwahn, very long indeed, ü", async move {
            // Blocks the loop for as long as that thread asks in vain.
            let asked = std::thread::spawn(move || handle.dump(Duration::from_millis(20)));
            let error = asked.join().unwrap().unwrap_err();
            assert!(error.to_string().contains("blocked by task"), "{error}");
            let DumpError::NotTurning(Some(running)) = error else {
                panic!("{error}")
            };
            running
        });
        let id = task.id();
        let running = task.await.unwrap();
        assert_eq!(running.task, id.get());
        assert_eq!(running.name, "Größenwahn, very long indeed, ");
        assert_eq!(running.site.unwrap().file(), file!());
        id
    });
    assert!(id.get() > 0);
    assert_eq!(handle.running(), None, "nothing runs between two calls");
}

/// What the process of the next test is to do.
const ROLE: &str = "THREEPLY_TEST_DUMP_ON_SIGNAL";

/// Not a test of its own: the process that [`a_signal_brings_a_dump`] starts.
#[test]
fn the_process_that_is_sent_a_signal() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let event_loop = EventLoop::builder()
        .dump_on_signal(crate::signal::Signal::USER_1)
        .build()
        .unwrap();
    event_loop.block_on(async {
        let _waiter = named("waiter", async { local::Event::new().wait().await });
        settle().await;
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGUSR1).unwrap();
        if role == "blocked" {
            // Until the other side of the pipe is closed.
            let _ = std::io::stdin().read_line(&mut String::new());
        }
        pending::<()>().await;
    });
}

#[test]
fn a_signal_brings_a_dump() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    for (role, expected) in [("turns", "'waiter'"), ("blocked", "blocked by task")] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "inspect::tests::the_process_that_is_sent_a_signal",
            ])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        // Up to the end if it ends without: then the assertion fails.
        let mut lines = stderr.lines().map_while(Result::ok);
        let found = lines.any(|line| line.contains(expected));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found, "{role}");
    }
}
