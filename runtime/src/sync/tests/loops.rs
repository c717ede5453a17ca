//! Both families where they belong: on a loop, between loops, and between
//! loops and plain threads.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use super::watchdog;
use crate::sync::{local, shared};
use crate::{block_on, spawn, yield_now};

/// Threads, tasks and items of the tests below: enough for every path to be
/// taken, little enough for a second in all.
const THREADS: usize = 4;
const ITEMS: usize = 2_000;

#[test]
fn a_channel_that_is_always_ready_does_not_starve_other_tasks() {
    block_on(async {
        let (sender, mut receiver) = local::mpsc::unbounded_channel();
        (0..100_000).for_each(|n| sender.send(n).unwrap());
        drop(sender);
        let others_turn = Rc::new(Cell::new(None));
        let seen = others_turn.clone();
        let left = Rc::new(Cell::new(100_000));
        let reader = spawn({
            let left = left.clone();
            async move {
                while receiver.recv().await.is_some() {
                    left.set(left.get() - 1);
                }
            }
        });
        drop(spawn(async move { seen.set(Some(left.get())) }));
        reader.await.unwrap();
        assert!(
            others_turn.get().unwrap() > 90_000,
            "it had to wait too long"
        );
    });
}

#[test]
fn a_free_lock_taken_in_a_loop_does_not_starve_other_tasks() {
    block_on(async {
        let done = Rc::new(Cell::new(false));
        let flag = done.clone();
        drop(spawn(async move { flag.set(true) }));
        let mutex = local::Mutex::new(0_u64);
        while !done.get() {
            *mutex.lock().await += 1;
        }
        assert!(mutex.into_inner() > 0);
    });
}

#[test]
fn blocking_on_the_thread_of_a_loop_panics_with_advice() {
    block_on(async {
        let (sender, mut receiver) = shared::mpsc::channel::<u8>(1);
        let panic = catch_unwind(AssertUnwindSafe(|| receiver.blocking_recv())).unwrap_err();
        let advice = panic.downcast::<String>().unwrap();
        assert!(
            advice.contains("`mpsc::Receiver::blocking_recv` would block"),
            "{advice}"
        );
        assert!(advice.contains("use `recv().await` instead"), "{advice}");
        // Also where it wouldn't have to wait: a test finds it, not a rare day.
        let full = catch_unwind(AssertUnwindSafe(|| sender.blocking_send(1)));
        assert!(full.is_err());
        let mutex = shared::Mutex::new(());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(mutex.blocking_lock()))).is_err());
    });
}

#[test]
fn threads_send_to_a_loop_through_channels_of_both_kinds() {
    let _watchdog = watchdog();
    let (unbounded, mut from_unbounded) = shared::mpsc::unbounded_channel();
    let (bounded, mut from_bounded) = shared::mpsc::channel(3);
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (unbounded, bounded) = (unbounded.clone(), bounded.clone());
            thread::spawn(move || {
                for n in 0..ITEMS {
                    unbounded.send((thread, n)).unwrap();
                    bounded.blocking_send((thread, n)).unwrap();
                }
            })
        })
        .collect();
    drop((unbounded, bounded));
    block_on(async {
        let bounded = spawn(async move {
            let mut next = [0; THREADS];
            while let Some((thread, n)) = from_bounded.recv().await {
                assert_eq!(n, next[thread], "in the order of each sender");
                next[thread] += 1;
            }
            next
        });
        let mut next = [0; THREADS];
        while let Some((thread, n)) = from_unbounded.recv().await {
            assert_eq!(n, next[thread], "in the order of each sender");
            next[thread] += 1;
        }
        assert_eq!(next, [ITEMS; THREADS]);
        assert_eq!(bounded.await.unwrap(), [ITEMS; THREADS]);
    });
    threads.into_iter().for_each(|t| t.join().unwrap());
}

#[test]
fn a_loop_and_threads_contend_for_one_lock_and_one_semaphore() {
    let _watchdog = watchdog();
    let total = Arc::new(shared::Mutex::new(0));
    let permits = Arc::new(shared::Semaphore::new(2));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (total, permits) = (total.clone(), permits.clone());
            thread::spawn(move || {
                for _ in 0..ITEMS / 4 {
                    let _permit = permits.blocking_acquire().unwrap();
                    *total.blocking_lock() += 1;
                }
            })
        })
        .collect();
    block_on(async {
        let tasks: Vec<_> = (0..THREADS)
            .map(|_| {
                let (total, permits) = (total.clone(), permits.clone());
                spawn(async move {
                    for n in 0..ITEMS / 4 {
                        let _permit = permits.acquire().await.unwrap();
                        let mut total = total.lock().await;
                        // Held across an await, and some waits given up.
                        yield_now().await;
                        *total += 1;
                        if n % 5 == 0 {
                            let mut given_up = Box::pin(permits.acquire());
                            let _ = poll_once(given_up.as_mut()).await;
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(*total.try_lock().unwrap(), 2 * THREADS * (ITEMS / 4));
    assert_eq!(permits.available_permits(), 2);
}

async fn poll_once<T>(mut future: impl Future<Output = T> + Unpin) -> Option<T> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut future).poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[test]
fn two_loops_talk_through_oneshots() {
    let _watchdog = watchdog();
    let (ask, mut asked) = shared::mpsc::unbounded_channel();
    let other = thread::spawn(move || {
        block_on(async {
            while let Some((n, answer)) = asked.recv().await {
                let answer: shared::oneshot::Sender<usize> = answer;
                answer.send(n * 2).unwrap();
            }
        });
    });
    block_on(async {
        for n in 0..ITEMS / 4 {
            let (answer, answered) = shared::oneshot::channel();
            ask.send((n, answer)).unwrap();
            assert_eq!(answered.await, Ok(n * 2));
        }
    });
    drop(ask);
    other.join().unwrap();
}

#[test]
fn a_queue_between_threads_is_worked_off_and_joined() {
    let _watchdog = watchdog();
    let queue = Arc::new(shared::Queue::new(8));
    let workers: Vec<_> = (0..THREADS)
        .map(|_| {
            let queue = queue.clone();
            thread::spawn(move || {
                let mut sum = 0;
                while let Ok(n) = queue.blocking_get() {
                    sum += n;
                    queue.task_done();
                }
                sum
            })
        })
        .collect();
    block_on(async {
        for n in 0..ITEMS {
            queue.put(n).await.unwrap();
        }
        queue.join().await;
        queue.shutdown();
    });
    let sum: usize = workers.into_iter().map(|w| w.join().unwrap()).sum();
    assert_eq!(sum, ITEMS * (ITEMS - 1) / 2);
}

#[test]
fn threads_meet_at_barriers_and_condition_variables() {
    let _watchdog = watchdog();
    let barrier = Arc::new(shared::Barrier::new(THREADS));
    let turn = Arc::new((shared::Mutex::new(0), shared::Condvar::new()));
    let threads: Vec<_> = (0..THREADS)
        .map(|me| {
            let (barrier, turn) = (barrier.clone(), turn.clone());
            thread::spawn(move || {
                let mut led = 0;
                for round in 0..50 {
                    led += usize::from(barrier.blocking_wait().is_leader());
                    // In the order of their numbers, each round.
                    let (mutex, condvar) = &*turn;
                    let mut next = condvar.blocking_wait_while(mutex.blocking_lock(), |next| {
                        *next != round * THREADS + me
                    });
                    *next += 1;
                    condvar.notify_all();
                }
                led
            })
        })
        .collect();
    let led: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
    assert_eq!(led, 50, "one leader a round");
    assert_eq!(*turn.0.try_lock().unwrap(), 50 * THREADS);
}

#[test]
fn every_thread_sees_what_is_broadcast_and_watched() {
    let _watchdog = watchdog();
    let (news, _) = shared::broadcast::channel(ITEMS);
    let (state, watching) = shared::watch::channel(0);
    let (event, cell) = (
        Arc::new(shared::Event::new()),
        Arc::new(shared::OnceCell::new()),
    );
    let threads: Vec<_> = (0..THREADS)
        .map(|me| {
            let (mut news, mut watching) = (news.subscribe(), watching.clone());
            let (event, cell) = (event.clone(), cell.clone());
            thread::spawn(move || {
                event.blocking_wait();
                let first = *cell.blocking_get_or_init(|| me);
                let mut sum = 0;
                while let Ok(n) = news.blocking_recv() {
                    sum += n;
                }
                while *watching.borrow_and_update() < ITEMS {
                    watching.blocking_changed().unwrap();
                }
                (first, sum)
            })
        })
        .collect();
    block_on(async {
        event.set();
        for n in 1..=ITEMS {
            news.send(n).unwrap();
            state.send(n).unwrap();
        }
    });
    drop(news);
    let seen: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert!(seen.iter().all(|(_, sum)| *sum == ITEMS * (ITEMS + 1) / 2));
    assert!(seen.iter().all(|(first, _)| *first == seen[0].0));
}
