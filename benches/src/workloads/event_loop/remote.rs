//! Wake-ups and items from another thread.
//!
//! glommio is left out: executors of different threads talk by its own shared
//! channels only, and foreign wake-ups hung in a part of the runs.

use std::cell::RefCell;
use std::future::poll_fn;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::engines::{Compio, Engine, Monoio, Smol, Threeply, TokioLocal, TokioPlain};
use super::primitives::{OfSmol, Shared, TokioInLocalSet, TokioSpawned, Unbounded};
use crate::sys;
use crate::workload::Run::PerOp;
use crate::workload::{Bar, Ctx, Group, Pin, Unit, Workload};

/// What a task and another thread share: a request, and how to wake the task.
#[derive(Default)]
struct Cell {
    asked: AtomicU64,
    answered: AtomicU64,
    waker: OnceLock<Waker>,
}

impl Cell {
    /// Waits until one more was asked for than was answered; the caller answers.
    async fn next(&self) {
        poll_fn(|cx| {
            // A task keeps its waker for life in all of these engines.
            self.waker.get_or_init(|| cx.waker().clone());
            if self.asked.load(SeqCst) > self.answered.load(SeqCst) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    fn ask(&self) {
        self.asked.fetch_add(1, SeqCst);
        self.waker().wake_by_ref();
    }

    fn waker(&self) -> &Waker {
        loop {
            match self.waker.get() {
                Some(waker) => return waker,
                None => thread::yield_now(),
            }
        }
    }
}

fn pin_first(pin: Pin) {
    if pin == Pin::Apart {
        sys::pin(0);
    }
}

fn pin_second(pin: Pin) {
    match pin {
        Pin::Apart => sys::pin(1),
        Pin::Same => sys::pin(0),
        Pin::Free => sys::unpin(),
    }
}

fn signal(fd: &OwnedFd) {
    sys::write(fd.as_fd(), &1u64.to_ne_bytes()).expect("an eventfd takes a one");
}

fn wait(fd: &OwnedFd) {
    let mut count = [0; 8];
    sys::read(fd.as_fd(), &mut count).expect("a blocking eventfd");
}

/// Another thread wakes the task, the task answers by an eventfd on which the
/// thread sleeps; per round trip.
fn remote_wake<E: Engine>(ctx: &Ctx) -> Duration {
    let (iters, pin) = (ctx.iters, ctx.pin);
    let cell = Arc::new(Cell::default());
    let answer = Arc::new(sys::eventfd());
    let theirs = (cell.clone(), answer.clone());
    pin_first(pin);
    let other = thread::spawn(move || {
        pin_second(pin);
        let (cell, answer) = theirs;
        cell.waker();
        let began = Instant::now();
        for _ in 0..iters {
            cell.ask();
            wait(&answer);
        }
        began.elapsed()
    });
    E::run(async move {
        for _ in 0..iters {
            cell.next().await;
            cell.answered.fetch_add(1, SeqCst);
            signal(&answer);
        }
    });
    other.join().expect("the other thread ends")
}

/// Two threads in turns over two eventfds, both asleep while they wait.
fn eventfd_pingpong(ctx: &Ctx) -> Duration {
    let (iters, pin) = (ctx.iters, ctx.pin);
    let fds = Arc::new((sys::eventfd(), sys::eventfd()));
    let theirs = fds.clone();
    pin_first(pin);
    let other = thread::spawn(move || {
        pin_second(pin);
        let began = Instant::now();
        for _ in 0..iters {
            signal(&theirs.0);
            wait(&theirs.1);
        }
        began.elapsed()
    });
    for _ in 0..iters {
        wait(&fds.0);
        signal(&fds.1);
    }
    other.join().expect("the other thread ends")
}

/// Items from another thread through a channel that both may use.
fn remote_send_million<F>(ctx: &Ctx) -> Duration
where
    F: Unbounded,
    F::Sender: Send,
{
    let iters = ctx.iters;
    F::Engine::run(async move {
        let (sender, mut receiver) = F::unbounded();
        let began = Instant::now();
        let other = thread::spawn(move || {
            for i in 0..iters {
                F::push(&sender, i);
            }
        });
        let mut sum = 0;
        for _ in 0..iters {
            sum += F::pop(&mut receiver).await;
        }
        let elapsed = began.elapsed();
        other.join().expect("the other thread ends");
        assert_eq!(sum, iters * (iters - 1) / 2);
        elapsed
    })
}

/// Wakes over 64 tasks from another thread, each acknowledged before the next to
/// the same task.
fn remote_wake_million<E: Engine>(ctx: &Ctx) -> Duration {
    let iters = ctx.iters;
    let cells: Arc<Vec<Cell>> = Arc::new((0..64).map(|_| Cell::default()).collect());
    let began = Arc::new(OnceLock::new());
    let theirs = (cells.clone(), began.clone());
    let other = thread::spawn(move || {
        let (cells, began) = theirs;
        for cell in cells.iter() {
            cell.waker();
        }
        began.get_or_init(Instant::now);
        for i in 0..iters {
            let cell = &cells[i as usize % 64];
            let turn = i / 64;
            let mut tries = 0u32;
            while cell.answered.load(SeqCst) < turn {
                tries += 1;
                if tries.is_multiple_of(64) {
                    thread::yield_now();
                } else {
                    std::hint::spin_loop();
                }
            }
            cell.ask();
        }
    });
    let elapsed = E::run(async move {
        let sum = Rc::new(RefCell::new(0u64));
        let handles: Vec<_> = (0..64)
            .map(|index| {
                let (cells, sum) = (cells.clone(), sum.clone());
                E::spawn(async move {
                    let turns = iters / 64 + u64::from(index < iters as usize % 64);
                    for _ in 0..turns {
                        cells[index].next().await;
                        cells[index].answered.fetch_add(1, SeqCst);
                    }
                    // Registers the waker also when there is no turn for it.
                    if turns == 0 {
                        poll_fn(|cx| {
                            cells[index].waker.get_or_init(|| cx.waker().clone());
                            Poll::Ready(())
                        })
                        .await;
                    }
                    *sum.borrow_mut() += turns;
                })
            })
            .collect();
        for handle in handles {
            E::join(handle).await;
        }
        assert_eq!(*sum.borrow(), iters);
        began.get().expect("the other thread has begun").elapsed()
    });
    other.join().expect("the other thread ends");
    elapsed
}

fn row_of_wakes(name: &'static str, pin: Pin) -> Workload {
    let what = "another thread wakes the task, the task answers by an eventfd; per round trip";
    Workload::new(Group::Loop, name, Unit::Us, what)
        .pin(pin)
        .per_op("threeply", remote_wake::<Threeply>)
        .variant("tokio", "LocalSet", PerOp(remote_wake::<TokioLocal>))
        .variant("tokio", "spawn", PerOp(remote_wake::<TokioPlain>))
        .per_op("smol", remote_wake::<Smol>)
        .per_op("monoio", remote_wake::<Monoio>)
        .per_op("compio", remote_wake::<Compio>)
        .per_op("limit", eventfd_pingpong)
        .without(
            "glommio",
            "its executor doesn't take wake-ups from foreign threads reliably",
        )
}

/// The rows of this file.
pub fn workloads() -> Vec<Workload> {
    let judged = |row: Workload| row.bar(Bar::OfLimit(1.15)).bar(Bar::NotBehind("tokio"));
    vec![
        judged(row_of_wakes("remote_wake_same", Pin::Same)),
        judged(row_of_wakes("remote_wake_apart", Pin::Apart)),
        row_of_wakes("remote_wake", Pin::Free),
        Workload::new(
            Group::Loop,
            "remote_send_million",
            Unit::Ns,
            "10^6 items from another thread through a channel; per item",
        )
        .grain(1_000_000)
        .bar(Bar::Times("tokio", 3.0))
        .per_op("threeply", remote_send_million::<Shared>)
        .variant(
            "tokio",
            "LocalSet",
            PerOp(remote_send_million::<TokioInLocalSet>),
        )
        .variant("tokio", "spawn", PerOp(remote_send_million::<TokioSpawned>))
        .per_op("smol", remote_send_million::<OfSmol>)
        .without("monoio", "local-sync stays on one thread")
        .without(
            "glommio",
            "its shared channels need glommio on both threads",
        )
        .without("compio", "brings no channels of its own"),
        Workload::new(
            Group::Loop,
            "remote_wake_million",
            Unit::Ns,
            "10^6 wakes over 64 tasks from another thread, each acknowledged before the next to \
             the same task; per wake",
        )
        .grain(1_000_000)
        .bar(Bar::Times("tokio", 1.3))
        .per_op("threeply", remote_wake_million::<Threeply>)
        .variant(
            "tokio",
            "LocalSet",
            PerOp(remote_wake_million::<TokioLocal>),
        )
        .variant("tokio", "spawn", PerOp(remote_wake_million::<TokioPlain>))
        .per_op("smol", remote_wake_million::<Smol>)
        .per_op("monoio", remote_wake_million::<Monoio>)
        .per_op("compio", remote_wake_million::<Compio>)
        .without(
            "glommio",
            "its executor doesn't take wake-ups from foreign threads reliably",
        ),
    ]
}
