//! `join`: what a fork costs that nobody steals, and what is gained when somebody
//! does.
//!
//! chili runs the second closure first and its documentation builds on that, so
//! it stands only in rows whose order is right branch first, and in those where
//! the order makes no difference.

use std::num::NonZero;
use std::time::{Duration, Instant};

use super::both;
use super::engines::{Pool, on_every_pool};
use crate::workload::{Bar, Ctx, Unit, Workload};

/// chili with the caller and so many threads more that `workers` compute.
fn chili(workers: usize) -> chili::ThreadPool {
    chili::ThreadPool::with_config(chili::Config {
        thread_count: NonZero::new((workers - 1).max(1)),
        ..chili::Config::default()
    })
}

/// The usual: no cut-off, a fork at every call.
fn fib<P: Pool>(n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let (a, b) = P::join(|| fib::<P>(n - 1), || fib::<P>(n - 2));
    a + b
}

fn fib_chili(scope: &mut chili::Scope<'_>, n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let (a, b) = scope.join(|s| fib_chili(s, n - 1), |s| fib_chili(s, n - 2));
    a + b
}

#[inline(never)]
fn fib_plain(n: u32) -> u64 {
    if n < 2 {
        u64::from(n)
    } else {
        fib_plain(n - 1) + fib_plain(n - 2)
    }
}

/// The Fibonacci number of a smoke-size run.
const SMOKE: u32 = 22;

/// `fib(n)`, and how many times it forks: `fib(n + 1) - 1`.
fn fib_and_forks(n: u32) -> (u64, u64) {
    let (mut a, mut b) = (0, 1);
    for _ in 0..n {
        (a, b) = (b, a + b);
    }
    (a, b - 1)
}

/// Runs a Fibonacci number and returns nanoseconds for each fork.
fn per_fork(ctx: &Ctx, mut run: impl FnMut(u32) -> u64) -> f64 {
    let n = ctx.size.pick(SMOKE, 34, 38);
    let (expected, forks) = fib_and_forks(n);
    let began = Instant::now();
    for _ in 0..ctx.iters {
        assert_eq!(run(n), expected);
    }
    began.elapsed().as_secs_f64() * 1e9 / (forks * ctx.iters) as f64
}

fn join_fib<P: Pool>(ctx: &Ctx) -> f64 {
    let pool = P::new(ctx.workers);
    pool.install(|| fib::<P>(16));
    per_fork(ctx, |n| pool.install(|| fib::<P>(n)))
}

fn join_fib_chili(ctx: &Ctx) -> f64 {
    let pool = chili(ctx.workers);
    let mut scope = pool.scope();
    fib_chili(&mut scope, 16);
    per_fork(ctx, |n| fib_chili(&mut scope, n))
}

fn join_fib_plain(ctx: &Ctx) -> f64 {
    per_fork(ctx, |n| fib_plain(std::hint::black_box(n)))
}

/// A full binary tree with a number in every node.
pub struct Node {
    value: u64,
    left: Option<Box<Node>>,
    right: Option<Box<Node>>,
}

impl Node {
    /// A tree of so many levels: `2^levels - 1` nodes.
    pub fn tree(levels: u32) -> Node {
        let child = || (levels > 1).then(|| Box::new(Node::tree(levels - 1)));
        Node {
            value: 1,
            left: child(),
            right: child(),
        }
    }
}

/// Left branch in the first closure, right in the second.
fn sum_left<P: Pool>(node: &Node) -> u64 {
    let (left, right) = P::join(
        || node.left.as_deref().map_or(0, sum_left::<P>),
        || node.right.as_deref().map_or(0, sum_left::<P>),
    );
    node.value + left + right
}

/// Right branch in the first closure, left in the second.
fn sum_right<P: Pool>(node: &Node) -> u64 {
    let (right, left) = P::join(
        || node.right.as_deref().map_or(0, sum_right::<P>),
        || node.left.as_deref().map_or(0, sum_right::<P>),
    );
    node.value + left + right
}

/// chili runs its second closure first: the right branch.
fn sum_chili(scope: &mut chili::Scope<'_>, node: &Node) -> u64 {
    let (left, right) = scope.join(
        |s| node.left.as_deref().map_or(0, |node| sum_chili(s, node)),
        |s| node.right.as_deref().map_or(0, |node| sum_chili(s, node)),
    );
    node.value + left + right
}

fn sum_plain(node: &Node) -> u64 {
    let left = node.left.as_deref().map_or(0, sum_plain);
    let right = node.right.as_deref().map_or(0, sum_plain);
    node.value + left + right
}

/// Sums a tree of 1,023 nodes again and again.
fn back_to_back(ctx: &Ctx, mut sum: impl FnMut(&Node) -> u64) -> Duration {
    let tree = Node::tree(10);
    let began = Instant::now();
    for _ in 0..ctx.iters {
        assert_eq!(sum(std::hint::black_box(&tree)), 1_023);
    }
    began.elapsed()
}

fn join_tree_1023<P: Pool>(ctx: &Ctx) -> Duration {
    let pool = P::new(ctx.workers);
    back_to_back(ctx, |tree| pool.run(|| sum_right::<P>(tree)))
}

/// rayon's users call `install`; `in_place_scope` would run the joins on the
/// global pool.
fn join_tree_1023_rayon(ctx: &Ctx) -> Duration {
    let pool = super::engines::Rayon::new(ctx.workers);
    back_to_back(ctx, |tree| {
        pool.install(|| sum_right::<super::engines::Rayon>(tree))
    })
}

fn join_tree_1023_chili(ctx: &Ctx) -> Duration {
    let pool = chili(ctx.workers);
    back_to_back(ctx, |tree| sum_chili(&mut pool.scope(), tree))
}

fn join_tree_1023_plain(ctx: &Ctx) -> Duration {
    back_to_back(ctx, sum_plain)
}

/// Sums one large tree three times and returns the nanoseconds for each node of
/// the middle one.
fn per_node(ctx: &Ctx, mut sum: impl FnMut(&Node) -> u64) -> f64 {
    let levels = ctx.size.pick(16, 22, 24);
    let tree = Node::tree(levels);
    let nodes = (1u64 << levels) - 1;
    let mut times: Vec<f64> = (0..3)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(sum(std::hint::black_box(&tree)), nodes);
            began.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    // The process ends next; walking 16.7 million boxes once more gains nothing.
    std::mem::forget(tree);
    times[1] * 1e9 / nodes as f64
}

fn join_tree_16m_right<P: Pool>(ctx: &Ctx) -> f64 {
    let pool = P::new(ctx.workers);
    per_node(ctx, |tree| pool.install(|| sum_right::<P>(tree)))
}

fn join_tree_16m_left<P: Pool>(ctx: &Ctx) -> f64 {
    let pool = P::new(ctx.workers);
    per_node(ctx, |tree| pool.install(|| sum_left::<P>(tree)))
}

fn join_tree_16m_chili(ctx: &Ctx) -> f64 {
    let pool = chili(ctx.workers);
    per_node(ctx, |tree| sum_chili(&mut pool.scope(), tree))
}

fn join_tree_16m_plain(ctx: &Ctx) -> f64 {
    per_node(ctx, sum_plain)
}

/// About 50 ms of computing that no optimizer can shorten.
pub(super) fn compute(rounds: u64) -> u64 {
    let mut x = 1u64;
    for i in 0..std::hint::black_box(rounds) {
        x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i));
    }
    x
}

fn two_big(ctx: &Ctx, mut run: impl FnMut(u64) -> (u64, u64)) -> Duration {
    // 50 ms where a round takes about 2 ns.
    let rounds = ctx.size.pick(1_000_000, 25_000_000, 25_000_000);
    let expected = compute(rounds);
    let began = Instant::now();
    for _ in 0..ctx.iters {
        assert_eq!(run(rounds), (expected, expected));
    }
    began.elapsed()
}

fn join_two_big<P: Pool>(ctx: &Ctx) -> Duration {
    let pool = P::new(ctx.workers);
    two_big(ctx, |rounds| {
        pool.install(|| P::join(|| compute(rounds), || compute(rounds)))
    })
}

fn join_two_big_chili(ctx: &Ctx) -> Duration {
    let pool = chili(ctx.workers);
    two_big(ctx, |rounds| {
        pool.scope().join(|_| compute(rounds), |_| compute(rounds))
    })
}

fn join_two_big_limit(ctx: &Ctx) -> Duration {
    two_big(ctx, |rounds| {
        std::thread::scope(|scope| {
            let first = scope.spawn(|| compute(rounds));
            let second = scope.spawn(|| compute(rounds));
            (
                first.join().expect("it ends"),
                second.join().expect("it ends"),
            )
        })
    })
}

/// The rows of this file.
pub fn workloads() -> Vec<Workload> {
    let mut all = both(
        "join_fib",
        Unit::Ns,
        "fib(38), a fork at every call; per fork",
        |row, _| {
            on_every_pool!(
                row.takes(2.0)
                    .does(fib_and_forks(SMOKE).1)
                    .bar(Bar::Times("rayon", 2.5))
                    .bar(Bar::NotBehind("chili")),
                Once,
                join_fib
            )
            .once("chili", join_fib_chili)
            .once("sequential", join_fib_plain)
        },
    );
    all.extend(both(
        "join_tree_1023",
        Unit::Us,
        "sum a tree of 1,023 nodes, called from outside, back to back (ours and chili's caller \
         takes part)",
        |row, _| {
            row.bar(Bar::Times("rayon", 5.0))
                .bar(Bar::Times("chili", 1.2))
                .per_op("threeply", join_tree_1023::<super::engines::Threeply>)
                .per_op("rayon", join_tree_1023_rayon)
                .per_op("chili", join_tree_1023_chili)
                .per_op("sequential", join_tree_1023_plain)
        },
    ));
    all.extend(both(
        "join_tree_16m_right",
        Unit::Ns,
        "sum a tree of 16.7M nodes, right branch first; per node",
        |row, _| {
            on_every_pool!(
                row.takes(2.5)
                    .bar(Bar::Times("rayon", 2.0))
                    .bar(Bar::NotBehind("chili")),
                Once,
                join_tree_16m_right
            )
            .once("chili", join_tree_16m_chili)
            .once("sequential", join_tree_16m_plain)
        },
    ));
    all.extend(both(
        "join_tree_16m_left",
        Unit::Ns,
        "sum a tree of 16.7M nodes, left branch first; per node",
        |row, _| {
            on_every_pool!(
                row.takes(2.5).bar(Bar::Times("rayon", 1.5)),
                Once,
                join_tree_16m_left
            )
            .once("sequential", join_tree_16m_plain)
            .without("chili", "runs the right branch first by design")
        },
    ));
    all.extend(both(
        "join_two_big",
        Unit::Ms,
        "join(50 ms, 50 ms) of computing",
        |row, workers| {
            let row = if workers == 2 {
                row.bar(Bar::OfLimit(1.1))
            } else {
                row
            };
            on_every_pool!(row, PerOp, join_two_big)
                .per_op("chili", join_two_big_chili)
                .per_op("limit", join_two_big_limit)
        },
    ));
    all
}
