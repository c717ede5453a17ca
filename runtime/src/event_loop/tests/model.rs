//! Random sequences of spawn, wake, abort, sleep, join and drop, against a model
//! so naive that it is right: a list of tasks in the order of their wakes.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::task::JoinHandle;
use crate::time::{Sleep, sleep};
use crate::{EventLoop, spawn, yield_now};

/// A small generator of its own, so that a printed seed is enough to repeat.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Output(u32),
    Aborted,
}

/// What tasks and the model both write: who was polled, and who was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Polled(u32),
    Dropped(u32),
}

#[derive(Default)]
struct World {
    log: Vec<Event>,
    wakers: BTreeMap<u32, Waker>,
    /// Tasks that are to be ready at their next poll.
    finishing: Vec<u32>,
    timers: BTreeMap<u32, Pin<Box<Sleep>>>,
}

struct Subject {
    number: u32,
    world: Rc<RefCell<World>>,
}

impl Future for Subject {
    type Output = u32;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u32> {
        let number = self.number;
        let mut world = self.world.borrow_mut();
        world.log.push(Event::Polled(number));
        world.wakers.insert(number, cx.waker().clone());
        if let Some(mut timer) = world.timers.remove(&number)
            && timer.as_mut().poll(cx).is_pending()
        {
            world.timers.insert(number, timer);
        }
        if world.finishing.contains(&number) {
            return Poll::Ready(number);
        }
        Poll::Pending
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let number = self.number;
        self.world.borrow_mut().log.push(Event::Dropped(number));
    }
}

/// What should happen.
#[derive(Default)]
struct Naive {
    queue: VecDeque<u32>,
    alive: Vec<u32>,
    aborted: Vec<u32>,
    finishing: Vec<u32>,
    /// Deadlines in ms, in the order in which they were armed.
    timers: Vec<(u64, u32)>,
    ends: BTreeMap<u32, End>,
    log: Vec<Event>,
    now: u64,
}

impl Naive {
    fn wake(&mut self, task: u32) {
        if self.alive.contains(&task) && !self.queue.contains(&task) {
            self.queue.push_back(task);
        }
    }

    /// Everything that is queued now, once.
    fn run(&mut self) {
        for _ in 0..self.queue.len() {
            let task = self.queue.pop_front().unwrap();
            let end = if self.aborted.contains(&task) {
                End::Aborted
            } else {
                self.log.push(Event::Polled(task));
                if !self.finishing.contains(&task) {
                    continue;
                }
                End::Output(task)
            };
            self.log.push(Event::Dropped(task));
            self.alive.retain(|&alive| alive != task);
            self.timers.retain(|timer| timer.1 != task);
            self.ends.insert(task, end);
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        let now = self.now;
        let mut due: Vec<_> = self.timers.extract_if(.., |timer| timer.0 <= now).collect();
        due.sort_by_key(|timer| timer.0);
        for (_, task) in due {
            self.wake(task);
        }
    }
}

fn check(seed: u64) {
    let event_loop = EventLoop::builder().virtual_time(true).build().unwrap();
    let world: Rc<RefCell<World>> = Rc::default();
    let mut naive = Naive::default();
    let mut handles: BTreeMap<u32, JoinHandle<u32>> = BTreeMap::new();
    let mut random = Random(seed | 1);
    let ends = event_loop.block_on(async {
        let mut next = 0;
        for _ in 0..300 {
            let task = random.below(u64::from(next) + 1) as u32;
            match random.below(10) {
                0..3 => {
                    let world = world.clone();
                    let number = next;
                    next += 1;
                    handles.insert(number, spawn(Subject { number, world }));
                    naive.alive.push(number);
                    naive.wake(number);
                }
                3..5 => {
                    let waker = world.borrow().wakers.get(&task).cloned();
                    if let Some(waker) = waker {
                        waker.wake();
                        naive.wake(task);
                    }
                }
                5 => {
                    world.borrow_mut().finishing.push(task);
                    naive.finishing.push(task);
                }
                6 => {
                    let aborted = naive.aborted.contains(&task);
                    if let Some(handle) = handles.get(&task) {
                        handle.abort();
                        if naive.alive.contains(&task) && !aborted {
                            naive.aborted.push(task);
                            naive.wake(task);
                        }
                    }
                }
                7 => {
                    // Armed by the task itself, at its next poll.
                    let after = 1 + random.below(20);
                    if naive.alive.contains(&task) && !naive.aborted.contains(&task) {
                        let timer = Box::pin(sleep(Duration::from_millis(after)));
                        world.borrow_mut().timers.insert(task, timer);
                        naive.timers.retain(|timer| timer.1 != task);
                        naive.timers.push((naive.now + after, task));
                        let waker = world.borrow().wakers.get(&task).cloned();
                        if let Some(waker) = waker {
                            waker.wake();
                        }
                        naive.wake(task);
                        yield_now().await;
                        naive.run();
                    }
                }
                8 => {
                    // Two at the same time would be told apart by when they began.
                    naive.run();
                    yield_now().await;
                    let ms = 1 + random.below(10);
                    sleep_in_steps(&mut naive, ms).await;
                }
                _ => {
                    yield_now().await;
                    naive.run();
                }
            }
        }
        // Everything ends.
        for (&number, handle) in &handles {
            if naive.alive.contains(&number) && !naive.aborted.contains(&number) {
                naive.aborted.push(number);
                naive.wake(number);
            }
            handle.abort();
        }
        yield_now().await;
        naive.run();
        let mut ends = BTreeMap::new();
        for (number, handle) in std::mem::take(&mut handles) {
            let end = match handle.await {
                Ok(output) => End::Output(output),
                Err(error) => {
                    assert!(error.is_cancelled());
                    End::Aborted
                }
            };
            ends.insert(number, end);
        }
        world.borrow_mut().timers.clear();
        ends
    });
    assert_eq!(world.borrow().log, naive.log, "seed {seed}: events");
    assert_eq!(ends, naive.ends, "seed {seed}: outcomes");
    let stats = event_loop.stats();
    assert_eq!(stats.tasks_alive, 0, "seed {seed}: tasks are left");
}

/// Lets virtual time pass ms by ms, so that the order of timers that fire in one
/// jump doesn't depend on how far it goes.
async fn sleep_in_steps(naive: &mut Naive, ms: u64) {
    for _ in 0..ms {
        sleep(Duration::from_micros(1_000)).await;
        naive.pass(1);
        // What fired may have been queued before or after us: let it run.
        yield_now().await;
        naive.run();
    }
}

#[test]
fn random_sequences_do_what_the_naive_model_says() {
    for seed in 1..=200 {
        check(seed * 0x9e37_79b9);
    }
}
