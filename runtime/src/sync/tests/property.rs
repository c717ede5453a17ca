//! Random operations, cancellations at any moment among them, against naive
//! models that are too simple to be wrong.
//!
//! Each run draws its operations from a seed. A run that fails prints it, and
//! `SYNC_SEED=<seed> cargo test -p threeply-runtime property` repeats that run
//! alone.

mod channels;
mod locks;
mod meeting;
mod once;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::task::Poll;

use super::Driven;

/// A small generator (splitmix64); quality matters little here, repeatability
/// does.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % below as u64) as usize
    }
}

/// Runs `property` under many seeds, or under the one in `SYNC_SEED`.
fn check(runs: u64, property: impl Fn(&mut Dice)) {
    struct Tell(u64);
    impl Drop for Tell {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("this run is repeated by SYNC_SEED={}", self.0);
            }
        }
    }
    let one = std::env::var("SYNC_SEED").ok().map(|seed| {
        seed.parse()
            .expect("SYNC_SEED is the number that a failed run printed")
    });
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..runs,
    };
    for seed in seeds {
        let _tell = Tell(seed);
        property(&mut Dice(seed));
    }
}

/// The naive model of counted permits with a line in front.
#[derive(Default)]
struct Line {
    free: usize,
    waiting: VecDeque<(u32, usize)>,
    granted: BTreeMap<u32, usize>,
    let_go: BTreeSet<u32>,
    closed: bool,
}

impl Line {
    fn new(free: usize) -> Self {
        Line {
            free,
            ..Line::default()
        }
    }

    /// At once: `Some(true)` taken, `Some(false)` closed; `None`: it waits.
    fn ask(&mut self, id: u32, n: usize) -> Option<bool> {
        match self.try_ask(n) {
            None => {
                self.waiting.push_back((id, n));
                None
            }
            at_once => at_once,
        }
    }

    fn try_ask(&mut self, n: usize) -> Option<bool> {
        if self.closed {
            Some(false)
        } else if self.waiting.is_empty() && self.free >= n {
            self.free -= n;
            Some(true)
        } else {
            None
        }
    }

    /// What another poll of a waiter gives.
    fn poll(&mut self, id: u32) -> Option<bool> {
        if self.granted.remove(&id).is_some() {
            Some(true)
        } else if self.let_go.remove(&id) {
            Some(false)
        } else {
            None
        }
    }

    fn is_woken(&self, id: u32) -> bool {
        self.granted.contains_key(&id) || self.let_go.contains(&id)
    }

    fn cancel(&mut self, id: u32) {
        self.waiting.retain(|(other, _)| *other != id);
        self.let_go.remove(&id);
        let back = self.granted.remove(&id).unwrap_or(0);
        self.give(back);
    }

    fn give(&mut self, n: usize) {
        self.free += n;
        while let Some(&(id, n)) = self.waiting.front()
            && n <= self.free
        {
            self.free -= n;
            self.granted.insert(id, n);
            self.waiting.pop_front();
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.let_all_go();
    }

    fn let_all_go(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        self.let_go.extend(waiting.into_iter().map(|(id, _)| id));
    }
}

/// Waits in progress, each with the id that the model knows it by.
struct Waits<'a, T> {
    waits: Vec<(u32, Driven<'a, T>)>,
    next: u32,
}

impl<'a, T> Waits<'a, T> {
    fn new() -> Self {
        Waits {
            waits: Vec::new(),
            next: 0,
        }
    }

    /// Polls a new future for the first time; keeps it if it waits.
    fn start(&mut self, id: u32, mut future: Driven<'a, T>) -> Option<T> {
        match future.poll() {
            Poll::Ready(output) => Some(output),
            Poll::Pending => {
                self.waits.push((id, future));
                None
            }
        }
    }

    fn new_id(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Polls one of them again.
    fn poll_one(&mut self, dice: &mut Dice) -> Option<(u32, Option<T>)> {
        if self.waits.is_empty() {
            return None;
        }
        let index = dice.roll(self.waits.len());
        let id = self.waits[index].0;
        match self.waits[index].1.poll() {
            Poll::Ready(output) => {
                self.waits.swap_remove(index);
                Some((id, Some(output)))
            }
            Poll::Pending => Some((id, None)),
        }
    }

    /// Drops one of them.
    fn cancel_one(&mut self, dice: &mut Dice) -> Option<u32> {
        if self.waits.is_empty() {
            return None;
        }
        let index = dice.roll(self.waits.len());
        Some(self.waits.swap_remove(index).0)
    }

    /// Whoever has its turn was woken, and nobody else.
    #[track_caller]
    fn check_wakes(&self, line: &Line) {
        for (id, wait) in &self.waits {
            assert_eq!(wait.wakes() > 0, line.is_woken(*id), "wakes of wait {id}");
        }
    }
}

/// Takes a random element out.
fn take<T>(list: &mut Vec<T>, dice: &mut Dice) -> Option<T> {
    match list.len() {
        0 => None,
        len => Some(list.swap_remove(dice.roll(len))),
    }
}
