//! The driver alone, then against a naive model under random use.

use super::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::task::Wake;

/// A waker that writes its number into a log.
struct Note(u64, Arc<Mutex<Vec<u64>>>);

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0);
    }
}

#[derive(Default)]
struct Log(Arc<Mutex<Vec<u64>>>);

impl Log {
    fn waker(&self, number: u64) -> Waker {
        Arc::new(Note(number, self.0.clone())).into()
    }

    fn expire(&self, driver: &mut TimerDriver, now: u64) -> Vec<u64> {
        let mut wakers = Vec::new();
        let fired = driver.expire(now, &mut wakers);
        assert_eq!(fired, wakers.len());
        wakers.into_iter().for_each(Waker::wake);
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// xorshift64*: enough for tests, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A duration of any order of magnitude.
    fn span(&mut self) -> u64 {
        self.next() >> self.below(64)
    }
}

#[test]
fn timers_fire_in_deadline_order_to_the_nanosecond_and_never_early() {
    let (mut driver, log) = (TimerDriver::new(), Log::default());
    let deadlines = [1, 65_535, 65_536, 65_537, 100_000, 100_001, 5_000_000_000];
    for &deadline in deadlines.iter().rev() {
        let _ = driver.insert(deadline, log.waker(deadline));
    }
    for &deadline in &deadlines {
        assert_eq!(driver.next_deadline(), Some(deadline));
        assert_eq!(log.expire(&mut driver, deadline - 1), []);
        assert_eq!(log.expire(&mut driver, deadline), [deadline]);
    }
    assert_eq!(driver.next_deadline(), None);
}

#[test]
fn a_clock_that_goes_far_ahead_fires_all_in_order() {
    let (mut driver, log) = (TimerDriver::new(), Log::default());
    for number in (0..64).rev() {
        let _ = driver.insert(1 << number, log.waker(number));
    }
    let all: Vec<u64> = (0..64).collect();
    assert_eq!(log.expire(&mut driver, u64::MAX), all);
    let _ = driver.insert(u64::MAX, log.waker(7));
    assert_eq!(log.expire(&mut driver, u64::MAX), [7]);
}

#[test]
fn equal_deadlines_fire_in_the_order_in_which_they_were_made() {
    let (mut driver, log) = (TimerDriver::new(), Log::default());
    let deadline = 70_000_000_000;
    for number in 0..50 {
        let _ = driver.insert(deadline, log.waker(number));
        // Brings the deadline's window nearer, level by level, and opens it.
        log.expire(
            &mut driver,
            deadline - (1_000_000_000_000_u64 >> number).clamp(1, deadline),
        );
    }
    let all: Vec<u64> = (0..50).collect();
    assert_eq!(log.expire(&mut driver, deadline), all);
}

#[test]
fn the_past_fires_at_the_next_expire_and_not_before() {
    let (mut driver, log) = (TimerDriver::new(), Log::default());
    log.expire(&mut driver, 1_000_000_000);
    let key = driver.insert(5, log.waker(5));
    assert!(!driver.has_fired(&key));
    assert_eq!(driver.next_deadline(), Some(5));
    assert_eq!(log.expire(&mut driver, 1_000_000_000), [5]);
    assert!(driver.has_fired(&key));
    assert!(driver.cancel(key).is_none());
}

#[test]
fn a_fired_timer_keeps_its_key_until_it_is_given_back() {
    let (mut driver, log) = (TimerDriver::new(), Log::default());
    let first = driver.insert(1, log.waker(1));
    log.expire(&mut driver, 1);
    let second = driver.insert(2, log.waker(2));
    assert!(driver.has_fired(&first));
    assert!(!driver.has_fired(&second));
    driver.cancel(first);
    assert_eq!(log.expire(&mut driver, 2), [2]);
    driver.cancel(second);
    assert_eq!(driver.timers.len(), 2);
}

#[test]
fn a_waker_may_be_replaced_until_the_timer_fires() {
    let (mut driver, log) = (TimerDriver::new(), Log::default());
    let key = driver.insert(10, log.waker(1));
    let waker = log.waker(2);
    assert!(!driver.will_wake(&key, &waker));
    assert!(driver.set_waker(&key, waker.clone()).is_some());
    assert!(driver.will_wake(&key, &waker));
    assert_eq!(log.expire(&mut driver, 10), [2]);
    assert!(
        driver
            .set_waker(&key, waker.clone())
            .unwrap()
            .will_wake(&waker)
    );
    assert!(driver.cancel(key).is_none());
}

#[test]
fn a_million_timers_made_and_cancelled_leave_no_trace() {
    let (mut driver, log) = (TimerDriver::new(), Log::default());
    let keys: Vec<TimerKey> = (0..1_000_000)
        .map(|number| driver.insert(1 << 40 | number << 10, Waker::noop().clone()))
        .collect();
    // Oldest first: none is the last of its slot, all entries stay behind.
    for key in keys {
        driver.cancel(key);
    }
    assert!(driver.is_empty());
    assert_eq!(driver.next_deadline(), None);
    assert!(driver.entries <= TOLERATED_DEAD);
    assert_eq!(log.expire(&mut driver, u64::MAX), []);
    assert_eq!(driver.entries, 0);
    assert!(driver.wheel.is_empty());
}

#[test]
fn making_and_cancelling_one_timer_stores_one_entry() {
    let mut driver = TimerDriver::new();
    for deadline in 1 << 30..(1 << 30) + 10_000 {
        let key = driver.insert(deadline, Waker::noop().clone());
        assert!(driver.cancel(key).is_some());
        assert_eq!(driver.entries, 0);
    }
    assert_eq!(driver.timers.len(), 1);
}

#[test]
fn next_deadline_is_exact_when_few_timers_were_cancelled() {
    let mut driver = TimerDriver::new();
    let early = driver.insert(1_000_000_000, Waker::noop().clone());
    let _late = driver.insert(1_000_000_001, Waker::noop().clone());
    driver.cancel(early);
    assert_eq!(driver.next_deadline(), Some(1_000_000_001));
}

/// Inserts, cancels, changes wakers and lets time pass, at random, beside a
/// `BTreeMap` from (deadline, insertion) to number that does the same.
fn compare_with_model(seed: u64, steps: u64, population: usize) {
    let (mut driver, log) = (TimerDriver::new(), Log::default());
    let mut random = Random(seed);
    let mut now = random.span() >> 8;
    let mut keys: Vec<(u64, TimerKey)> = Vec::new();
    let mut model: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let mut place: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    log.expire(&mut driver, now);
    for step in 0..steps {
        match random.below(8) {
            0..=3 if keys.len() < population => {
                let mut deadline = now.saturating_add(random.span() >> random.below(40));
                // Often several timers of one deadline, sometimes one of the past.
                match random.below(8) {
                    0 => deadline &= !0xf_ffff,
                    1 => deadline = now.saturating_sub(random.span() >> 30),
                    _ => {}
                }
                keys.push((step, driver.insert(deadline, log.waker(step))));
                model.insert((deadline, step), step);
                place.insert(step, (deadline, step));
            }
            4 | 5 if !keys.is_empty() => {
                let at = random.below(keys.len() as u64) as usize;
                let (number, key) = keys.swap_remove(at);
                let waits = place
                    .remove(&number)
                    .is_some_and(|at| model.remove(&at).is_some());
                assert_eq!(driver.has_fired(&key), !waits, "seed {seed}, step {step}");
                assert_eq!(driver.cancel(key).is_some(), waits);
            }
            6 if !keys.is_empty() => {
                let at = random.below(keys.len() as u64) as usize;
                let (number, key) = &keys[at];
                driver.set_waker(key, log.waker(step));
                if let Some(waits) = model.get_mut(&place[number]) {
                    *waits = step;
                }
            }
            _ => {
                // To the next deadline, just short of it, or anywhere.
                now = match (random.below(3), driver.next_deadline()) {
                    (0, Some(next)) => now.max(next),
                    (1, Some(next)) => now.max(next.saturating_sub(1)),
                    _ => now.saturating_add(random.span() >> random.below(50)),
                };
                let mut due = Vec::new();
                while let Some(first) = model.first_entry()
                    && first.key().0 <= now
                {
                    due.push(first.remove());
                }
                let fired = log.expire(&mut driver, now);
                assert_eq!(fired, due, "seed {seed}, step {step}, now {now}");
            }
        }
        assert_eq!(driver.len(), model.len(), "seed {seed}, step {step}");
        let next = driver.next_deadline();
        let first = model.first_key_value().map(|(at, _)| at.0);
        if population <= 32 {
            assert_eq!(next, first, "seed {seed}, step {step}");
        } else {
            assert!(next <= first && next.is_some() == first.is_some());
        }
        assert!(driver.entries <= 2 * driver.len() + TOLERATED_DEAD + 1);
    }
}

#[test]
fn random_use_agrees_with_an_ordered_map() {
    for seed in 1..40 {
        compare_with_model(seed, 2_000, 30);
        compare_with_model(seed << 32, 2_000, 1_000);
    }
}
