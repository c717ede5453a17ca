//! Parallel iterators against std's: random data through random pipelines.

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use threeply_pools::thread::ThreadPool;
use threeply_pools::thread::prelude::*;

use crate::random::Random;
use crate::watchdog;

fn pool() -> ThreadPool {
    ThreadPool::new(3).unwrap()
}

fn numbers(random: &mut Random) -> Vec<u64> {
    let len = match random.below(4) {
        0 => random.below(4),
        1 => random.below(100),
        _ => random.below(3000),
    };
    (0..len).map(|_| random.next() % 1000).collect()
}

/// One step of a pipeline, done by std and by us.
fn step(random: &mut Random, items: &[u64]) -> (Vec<u64>, Vec<u64>) {
    let k = random.below(7) + 1;
    let cut = random.below(items.len() + 2);
    match random.below(15) {
        0 => (
            items.iter().map(|x| x * 3).collect(),
            items.par_iter().map(|x| x * 3).collect(),
        ),
        1 => (
            items.iter().copied().filter(|x| x % 3 == 0).collect(),
            items.par_iter().copied().filter(|x| x % 3 == 0).collect(),
        ),
        2 => (
            items.iter().flat_map(|x| 0..x % 5).collect(),
            items.par_iter().flat_map(|x| 0..x % 5).collect(),
        ),
        3 => (
            items.chunks(k).map(|c| c.iter().sum()).collect(),
            items.par_chunks(k).map(|c| c.iter().sum()).collect(),
        ),
        4 => (
            items.windows(k).map(|w| w[0] + w[k - 1]).collect(),
            items.par_windows(k).map(|w| w[0] + w[k - 1]).collect(),
        ),
        5 => (
            items
                .iter()
                .enumerate()
                .map(|(i, x)| i as u64 ^ x)
                .collect(),
            items
                .par_iter()
                .enumerate()
                .map(|(i, x)| i as u64 ^ x)
                .collect(),
        ),
        6 => (
            items
                .iter()
                .zip(items.iter().skip(k))
                .map(|(a, b)| a ^ b)
                .collect(),
            items
                .par_iter()
                .zip(items.par_iter().skip(k.min(items.len())))
                .map(|(a, b)| a ^ b)
                .collect(),
        ),
        7 => (
            items.iter().rev().copied().collect(),
            items.par_iter().rev().copied().collect(),
        ),
        8 => (
            items.iter().step_by(k).copied().collect(),
            items.par_iter().step_by(k).copied().collect(),
        ),
        9 => (
            items.iter().take(cut).copied().collect(),
            items.par_iter().take(cut).copied().collect(),
        ),
        10 => (
            items
                .iter()
                .chain(&items[cut.min(items.len())..])
                .copied()
                .collect(),
            items
                .par_iter()
                .chain(&items[cut.min(items.len())..])
                .copied()
                .collect(),
        ),
        11 => (
            items.iter().map(|x| x + 1).collect(),
            items.to_vec().into_par_iter().map(|x| x + 1).collect(),
        ),
        12 => (
            items
                .chunks(k)
                .flat_map(|c| c.iter().rev())
                .copied()
                .collect(),
            items
                .par_iter()
                .copied()
                .chunks(k)
                .flat_map_iter(|c| c.into_iter().rev())
                .collect(),
        ),
        13 => (
            items.iter().filter_map(|x| x.checked_sub(500)).collect(),
            items
                .par_iter()
                .filter_map(|x| x.checked_sub(500))
                .collect(),
        ),
        _ => (
            (0..items.len() as u64).map(|x| x * 2).collect(),
            (0..items.len() as u64)
                .into_par_iter()
                .with_max_len(k)
                .map(|x| x * 2)
                .collect(),
        ),
    }
}

#[test]
fn random_pipelines_give_what_stds_give() {
    let _watchdog = watchdog();
    let mut random = Random::new("random_pipelines");
    let pool = pool();
    for round in 0..150 {
        let mut items = numbers(&mut random);
        for _ in 0..4 {
            let (expected, got) = pool.run(|| step(&mut random, &items));
            assert_eq!(expected, got, "round {round}");
            items = got;
        }
        pool.run(|| results_agree(&items));
    }
}

fn results_agree(items: &[u64]) {
    let p = || items.par_iter().copied();
    let s = || items.iter().copied();
    assert_eq!(p().sum::<u64>(), s().sum());
    assert_eq!(p().count(), s().count());
    assert_eq!(p().min(), s().min());
    assert_eq!(p().max(), s().max());
    let key = |x: &u64| x % 10;
    assert_eq!(
        p().enumerate().min_by_key(|(_, x)| key(x)),
        s().enumerate().min_by_key(|(_, x)| key(x))
    );
    assert_eq!(
        p().enumerate().max_by_key(|(_, x)| key(x)),
        s().enumerate().max_by_key(|(_, x)| key(x))
    );
    let wanted = |x: &u64| x % 17 == 3;
    assert_eq!(p().find_first(wanted), s().find(wanted));
    assert_eq!(p().find_last(wanted), s().rfind(wanted));
    assert_eq!(p().find_any(wanted).is_some(), s().any(|x| wanted(&x)));
    assert_eq!(
        p().position_first(|x| wanted(&x)),
        s().position(|x| wanted(&x))
    );
    assert_eq!(p().any(|x| wanted(&x)), s().any(|x| wanted(&x)));
    assert_eq!(p().all(|x| x < 900), s().all(|x| x < 900));
    assert_eq!(p().reduce(|| 0, u64::max), s().fold(0, u64::max));
    assert_eq!(
        p().fold(|| 0, |a, x| a ^ x).reduce(|| 0, |a, b| a ^ b),
        s().fold(0, |a, x| a ^ x)
    );
    let (even, odd): (Vec<u64>, Vec<u64>) = p().partition(|x| x % 2 == 0);
    assert_eq!((even, odd), s().partition(|x| x % 2 == 0));
    let (a, b): (Vec<u64>, Vec<u64>) = p().map(|x| (x, x + 1)).unzip();
    assert_eq!((a, b), s().map(|x| (x, x + 1)).unzip());
    assert_eq!(p().collect::<HashSet<_>>(), s().collect());
    assert_eq!(
        p().map(|x| (x, x)).collect::<BTreeMap<_, _>>(),
        s().map(|x| (x, x)).collect()
    );
    let ok = |x: u64| if x < 990 { Ok(x) } else { Err(()) };
    assert_eq!(
        p().map(ok).collect::<Result<Vec<_>, _>>(),
        s().map(ok).collect()
    );
    assert_eq!(
        p().map(|x| ok(x).ok()).collect::<Option<Vec<_>>>(),
        s().map(|x| ok(x).ok()).collect()
    );
    assert_eq!(
        p().try_for_each(|x| ok(x).map(drop)),
        s().try_for_each(|x| ok(x).map(drop))
    );
    assert_eq!(
        p().map(Some).try_reduce(|| 0, |a, b| a.checked_add(b)),
        s().try_fold(0_u64, |a, b| a.checked_add(b))
    );
    let bridged: u64 = items.iter().par_bridge().sum();
    assert_eq!(bridged, s().sum());
}

#[test]
fn ranges_of_every_kind_cover_their_ends() {
    let _watchdog = watchdog();
    pool().run(|| {
        let all: Vec<i8> = (i8::MIN..=i8::MAX).into_par_iter().collect();
        assert_eq!(all, (i8::MIN..=i8::MAX).collect::<Vec<_>>());
        assert_eq!((5..5_i32).into_par_iter().count(), 0);
        #[allow(clippy::reversed_empty_ranges)]
        let backwards = (7..=5_u8).into_par_iter().count();
        assert_eq!(backwards, 0);
        assert_eq!(
            (-3..4_i64).into_par_iter().rev().collect::<Vec<_>>(),
            [3, 2, 1, 0, -1, -2, -3]
        );
        assert_eq!(
            (0..1_000_001_u64).into_par_iter().sum::<u64>(),
            500_000_500_000
        );
    });
}

/// Counts how many are alive.
#[derive(Debug)]
struct Counted<'a>(u64, &'a AtomicUsize);
impl<'a> Counted<'a> {
    fn new(value: u64, alive: &'a AtomicUsize) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self(value, alive)
    }
}
impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn a_panic_midway_drops_every_item_once() {
    let _watchdog = watchdog();
    let pool = pool();
    let alive = AtomicUsize::new(0);
    for at in [0, 1, 500, 999] {
        for indexed in [false, true] {
            let items: Vec<_> = (0..1000).map(|n| Counted::new(n, &alive)).collect();
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.run(|| {
                    let mapped = items.into_par_iter().map(|item| {
                        assert!(item.0 != at, "on purpose");
                        Counted::new(item.0, item.1)
                    });
                    if indexed {
                        drop(mapped.collect::<Vec<_>>());
                    } else {
                        drop(mapped.filter(|_| true).collect::<Vec<_>>());
                    }
                });
            }));
            assert!(outcome.is_err());
            assert_eq!(alive.load(Ordering::Relaxed), 0);
        }
    }
}

#[test]
fn sorts_are_stds_sorts() {
    let _watchdog = watchdog();
    let mut random = Random::new("sorts");
    let pool = pool();
    for len in [0, 1, 2, 10_000, 50_001] {
        for keys in [3_u64, 1000, u64::MAX] {
            let items: Vec<(u64, usize)> = (0..len).map(|at| (random.next() % keys, at)).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            let mut got = items.clone();
            pool.run(|| got.par_sort_by_key(|item| item.0));
            assert!(expected == got, "stable, {len} items, {keys} keys");
            let mut got = items.clone();
            pool.run(|| got.par_sort_by_cached_key(|item| item.0));
            assert!(expected == got, "cached, {len} items, {keys} keys");
            let mut got = items.clone();
            pool.run(|| got.par_sort_unstable_by(|a, b| b.cmp(a)));
            expected.sort_unstable_by(|a, b| b.cmp(a));
            assert!(expected == got, "unstable, {len} items, {keys} keys");
        }
    }
}

#[test]
fn a_comparison_that_panics_loses_no_item() {
    let _watchdog = watchdog();
    let mut random = Random::new("sort_panics");
    let pool = pool();
    let alive = AtomicUsize::new(0);
    for _ in 0..10 {
        let mut items: Vec<_> = (0..40_000)
            .map(|_| Counted::new(random.next() % 1000, &alive))
            .collect();
        let budget = AtomicUsize::new(random.below(900_000));
        let sum = items.iter().map(|item| item.0).sum::<u64>();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            pool.run(|| {
                items.par_sort_by(|a, b| {
                    let left = budget.fetch_sub(1, Ordering::Relaxed);
                    if left == 0 {
                        panic!("on purpose");
                    }
                    a.0.cmp(&b.0)
                });
            });
        }));
        if outcome.is_ok() {
            assert!(items.is_sorted_by_key(|item| item.0));
        }
        assert_eq!(items.iter().map(|item| item.0).sum::<u64>(), sum);
        drop(items);
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }
}
