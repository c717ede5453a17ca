//! Kernels, unbalanced trees, sorting and the article's sums: inputs, sequential
//! versions, and the rows. The parallel versions are in `kernel_bodies.rs`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::both;
use super::engines::Pool;
use super::uts::{self, Node, Tree};
use super::{on_rayon, on_threeply};
use crate::stats::{Random, median};
use crate::workload::{Bar, Ctx, Size, Unit, Workload};

/// A field of cells, row after row.
pub type Grid = Vec<u8>;

/// The inputs: the same for every engine, drawn from a fixed seed.
pub struct Scale {
    /// For `map_sum` and `filter`.
    pub numbers: Vec<u64>,
    /// Queens and the side of their board.
    pub queens: usize,
    /// Side of the matrices.
    pub matrix: usize,
    /// The left factor.
    pub left: Vec<f64>,
    /// The right factor.
    pub right: Vec<f64>,
    /// Side of the picture.
    pub picture: usize,
    /// At the start.
    pub bodies: Vec<Body>,
    /// How often the bodies move.
    pub steps: usize,
    /// Side of the torus.
    pub grid: usize,
    /// At the start.
    pub cells: Grid,
    /// How often the cells change.
    pub generations: usize,
    /// Primes are counted below this.
    pub sieve: usize,
    /// Places to visit.
    pub cities: Vec<(f64, f64)>,
}

impl Scale {
    fn new(size: Size) -> Scale {
        let small = size == Size::Smoke;
        let pick = |smoke: usize, real: usize| if small { smoke } else { real };
        let mut random = Random(7);
        let mut unit = || random.below(1 << 52) as f64 / (1u64 << 52) as f64;
        let matrix = pick(64, 448);
        let grid = pick(64, 1_024);
        let square: Vec<f64> = (0..2 * matrix * matrix).map(|_| unit()).collect();
        let bodies = (0..pick(64, 1_500))
            .map(|_| Body::at([unit(), unit(), unit()]))
            .collect();
        let cities = (0..pick(6, 11)).map(|_| (unit(), unit())).collect();
        let cells = (0..grid * grid).map(|_| u8::from(unit() < 0.3)).collect();
        let mut random = Random(11);
        Scale {
            numbers: (0..pick(10_000, 10_000_000))
                .map(|_| random.next_u64())
                .collect(),
            queens: pick(6, 13),
            matrix,
            left: square[..matrix * matrix].to_vec(),
            right: square[matrix * matrix..].to_vec(),
            picture: pick(32, 400),
            bodies,
            steps: pick(1, 5),
            grid,
            cells,
            generations: pick(2, 20),
            sieve: pick(100_000, 20_000_000),
            cities,
        }
    }
}

/// Mixes the bits of a number: a few nanoseconds of work that nothing can skip.
pub fn mix(x: u64) -> u64 {
    let mut x = x;
    for _ in 0..4 {
        x = (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    x
}

/// Ways to complete a board whose queens of the first two rows are given.
pub fn board(n: usize, first: usize, second: usize) -> u64 {
    if first.abs_diff(second) <= 1 {
        return 0;
    }
    let (a, b) = (1u32 << first, 1u32 << second);
    let mask = (1 << n) - 1;
    queens(n, 2, a | b, ((a << 1 | b) << 1) & mask, (a >> 1 | b) >> 1)
}

fn queens(n: usize, row: usize, columns: u32, left: u32, right: u32) -> u64 {
    if row == n {
        return 1;
    }
    let mask = (1u32 << n) - 1;
    let mut free = !(columns | left | right) & mask;
    let mut ways = 0;
    while free != 0 {
        let queen = free & free.wrapping_neg();
        free ^= queen;
        ways += queens(
            n,
            row + 1,
            columns | queen,
            ((left | queen) << 1) & mask,
            (right | queen) >> 1,
        );
    }
    ways
}

/// Iterations until a point of the plane escapes.
pub fn escape_time(x: usize, y: usize, side: usize) -> u32 {
    let scale = |i: usize, from: f64, width: f64| from + width * i as f64 / side as f64;
    let (re, im) = (scale(x, -2.0, 2.5), scale(y, -1.25, 2.5));
    let (mut a, mut b) = (0.0f64, 0.0f64);
    for i in 0..1_000 {
        let (aa, bb) = (a * a, b * b);
        if aa + bb > 4.0 {
            return i;
        }
        (a, b) = (aa - bb + re, 2.0 * a * b + im);
    }
    1_000
}

/// A point of mass one.
#[derive(Debug, Clone)]
pub struct Body {
    /// Where it is.
    pub place: [f64; 3],
    speed: [f64; 3],
}

impl Body {
    fn at(place: [f64; 3]) -> Body {
        Body {
            place,
            speed: [0.0; 3],
        }
    }

    /// Moves on.
    pub fn step(&mut self, pull: &[f64; 3]) {
        for (axis, pull) in pull.iter().enumerate() {
            self.speed[axis] += pull * 1e-6;
            self.place[axis] += self.speed[axis];
        }
    }
}

/// The pull of all bodies on one.
pub fn acceleration(body: &Body, all: &[Body]) -> [f64; 3] {
    let mut pull = [0.0; 3];
    for other in all {
        let d = [0, 1, 2].map(|axis| other.place[axis] - body.place[axis]);
        let square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2] + 1e-3;
        let strength = 1.0 / (square * square.sqrt());
        for axis in 0..3 {
            pull[axis] += d[axis] * strength;
        }
    }
    pull
}

/// The next generation of one row.
pub fn live_or_die(now: &[u8], side: usize, y: usize, row: &mut [u8]) {
    let line = |y: usize| &now[(y % side) * side..(y % side + 1) * side];
    let (above, here, below) = (line(y + side - 1), line(y), line(y + 1));
    for (x, cell) in row.iter_mut().enumerate() {
        let (l, r) = ((x + side - 1) % side, (x + 1) % side);
        let around =
            above[l] + above[x] + above[r] + here[l] + here[r] + below[l] + below[x] + below[r];
        *cell = u8::from(around == 3 || (around == 2 && here[x] == 1));
    }
}

/// One segment of the sieve of Eratosthenes.
pub mod segment {
    /// Numbers in a segment.
    pub const LENGTH: usize = 1 << 16;

    /// The primes up to the square root of `bound`.
    pub fn small_primes(bound: usize) -> Vec<usize> {
        let root = bound.isqrt();
        (2..=root)
            .filter(|n| (2..=n.isqrt()).all(|d| !n.is_multiple_of(d)))
            .collect()
    }

    /// How many primes the `index`-th segment has below `bound`.
    pub fn count(index: usize, bound: usize, small: &[usize]) -> u64 {
        let from = index * LENGTH;
        let until = (from + LENGTH).min(bound);
        let mut composite = vec![false; until - from];
        for &prime in small {
            let first = (prime * prime).max(from.div_ceil(prime) * prime);
            let mut number = first;
            while number < until {
                composite[number - from] = true;
                number += prime;
            }
        }
        (from..until)
            .filter(|&number| number >= 2 && !composite[number - from])
            .count() as u64
    }
}

/// The shortest trip from city 0 by `first` and `second` through all others and
/// back, in millionths; the largest number where there is none.
pub fn shortest(cities: &[(f64, f64)], first: usize, second: usize) -> u64 {
    if first == 0 || second == 0 || first == second {
        return u64::MAX;
    }
    let way = |a: usize, b: usize| {
        ((cities[a].0 - cities[b].0).hypot(cities[a].1 - cities[b].1) * 1e6) as u64
    };
    fn go(
        way: &impl Fn(usize, usize) -> u64,
        n: usize,
        at: usize,
        seen: u32,
        so_far: u64,
        best: &mut u64,
    ) {
        if so_far >= *best {
            return;
        }
        if seen == (1 << n) - 1 {
            *best = (so_far + way(at, 0)).min(*best);
            return;
        }
        for next in 1..n {
            if seen & (1 << next) == 0 {
                go(way, n, next, seen | 1 << next, so_far + way(at, next), best);
            }
        }
    }
    let mut best = u64::MAX;
    let seen = 1 | 1 << first | 1 << second;
    go(
        &way,
        cities.len(),
        second,
        seen,
        way(0, first) + way(first, second),
        &mut best,
    );
    best
}

/// The kernels without any pool, with iterators of std: what the others must agree
/// with, and the row `sequential`.
mod plain {
    use super::{Scale, acceleration, board, escape_time, live_or_die, mix, segment, shortest};

    pub(super) fn map_sum(scale: &Scale) -> u64 {
        scale.numbers.iter().map(|&x| mix(x) >> 32).sum()
    }
    pub(super) fn filter(scale: &Scale) -> u64 {
        let kept: Vec<u64> = scale
            .numbers
            .iter()
            .copied()
            .filter(|&x| mix(x).is_multiple_of(3))
            .collect();
        kept.len() as u64 ^ kept.last().copied().unwrap_or(0)
    }
    pub(super) fn nqueens(scale: &Scale) -> u64 {
        let n = scale.queens;
        (0..n * n).map(|i| board(n, i / n, i % n)).sum()
    }
    pub(super) fn matmul(scale: &Scale) -> u64 {
        let n = scale.matrix;
        let mut product = vec![0f64; n * n];
        for (i, row) in product.chunks_mut(n).enumerate() {
            for k in 0..n {
                let factor = scale.left[i * n + k];
                for (to, from) in row.iter_mut().zip(&scale.right[k * n..(k + 1) * n]) {
                    *to += factor * from;
                }
            }
        }
        product.iter().sum::<f64>().to_bits()
    }
    pub(super) fn mandelbrot(scale: &Scale) -> u64 {
        let side = scale.picture;
        (0..side * side)
            .map(|i| u64::from(escape_time(i % side, i / side, side)))
            .sum()
    }
    pub(super) fn nbody(scale: &Scale) -> u64 {
        let mut bodies = scale.bodies.clone();
        for _ in 0..scale.steps {
            let pulls: Vec<_> = bodies
                .iter()
                .map(|body| acceleration(body, &bodies))
                .collect();
            for (body, pull) in bodies.iter_mut().zip(&pulls) {
                body.step(pull);
            }
        }
        bodies
            .iter()
            .map(|body| body.place[0])
            .sum::<f64>()
            .to_bits()
    }
    pub(super) fn life(scale: &Scale) -> u64 {
        let side = scale.grid;
        let mut now = scale.cells.clone();
        let mut next = vec![0u8; side * side];
        for _ in 0..scale.generations {
            for (y, row) in next.chunks_mut(side).enumerate() {
                live_or_die(&now, side, y, row);
            }
            std::mem::swap(&mut now, &mut next);
        }
        now.iter().map(|&cell| u64::from(cell)).sum()
    }
    pub(super) fn sieve(scale: &Scale) -> u64 {
        let small = segment::small_primes(scale.sieve);
        (0..scale.sieve.div_ceil(segment::LENGTH))
            .map(|i| segment::count(i, scale.sieve, &small))
            .sum()
    }
    pub(super) fn tsp(scale: &Scale) -> u64 {
        let n = scale.cities.len();
        (0..n * n)
            .map(|i| shortest(&scale.cities, i / n, i % n))
            .min()
            .expect("there are trips")
    }
}

/// Runs a kernel a few times and returns the median in milliseconds; the first
/// run warms up and is compared with the sequential version.
fn timed(size: Size, expected: u64, mut kernel: impl FnMut() -> u64) -> f64 {
    assert_eq!(
        kernel(),
        expected,
        "the parallel version computed something else"
    );
    let times: Vec<f64> = (0..size.pick(1, 3, 5))
        .map(|_| {
            let began = Instant::now();
            black_box(kernel());
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    median(&times)
}

/// The row of one kernel, for one and two workers.
macro_rules! kernel {
    ($all:ident, $name:ident, $what:expr) => {{
        fn ours(ctx: &Ctx) -> f64 {
            let scale = Scale::new(ctx.size);
            let pool = super::engines::Threeply::new(ctx.workers);
            let expected = plain::$name(&scale);
            timed(ctx.size, expected, || {
                pool.install(|| on_threeply::bodies::$name(&scale))
            })
        }
        fn rayons(ctx: &Ctx) -> f64 {
            let scale = Scale::new(ctx.size);
            let pool = super::engines::Rayon::new(ctx.workers);
            let expected = plain::$name(&scale);
            timed(ctx.size, expected, || {
                pool.install(|| on_rayon::bodies::$name(&scale))
            })
        }
        fn sequential(ctx: &Ctx) -> f64 {
            let scale = Scale::new(ctx.size);
            let expected = plain::$name(&scale);
            timed(ctx.size, expected, || plain::$name(&scale))
        }
        $all.extend(both(stringify!($name), Unit::Ms, $what, |row, workers| {
            judged_at_2(row, workers, Bar::Times("rayon", 0.95))
                .once("threeply", ours)
                .once("rayon", rayons)
                .once("sequential", sequential)
                .without("chili", "has no parallel iterators")
        }));
    }};
}

fn judged_at_2(row: Workload, workers: usize, bar: Bar) -> Workload {
    if workers == 2 { row.bar(bar) } else { row }
}

fn tree(ctx: &Ctx, real: Tree, small: Tree) -> Tree {
    if ctx.size != Size::Smoke {
        return real;
    }
    Tree {
        nodes: uts::count_plain(&small, &Node::root(&small)),
        ..small
    }
}

fn uts_on<P: Pool>(ctx: &Ctx, tree: Tree, walk: fn(&Tree) -> u64) -> f64 {
    let pool = P::new(ctx.workers);
    let began = Instant::now();
    let nodes = pool.install(|| walk(&tree));
    let elapsed = began.elapsed();
    assert_eq!(nodes, tree.nodes);
    elapsed.as_secs_f64() * 1e3
}

fn uts_plain(tree: Tree) -> f64 {
    let walk = move || {
        let began = Instant::now();
        assert_eq!(uts::count_plain(&tree, &Node::root(&tree)), tree.nodes);
        began.elapsed().as_secs_f64() * 1e3
    };
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(walk);
    thread.expect("a thread starts").join().expect("it ends")
}

/// Random numbers, sorted; nanoseconds for each element.
fn sorted(ctx: &Ctx, sort: impl Fn(&mut [u64]) -> u64) -> f64 {
    let count = ctx.size.pick(10_000, 10_000_000, 10_000_000);
    let mut random = Random(3);
    let numbers: Vec<u64> = (0..count).map(|_| random.next_u64()).collect();
    let times: Vec<f64> = (0..ctx.size.pick(1, 1, 3))
        .map(|_| {
            let mut copy = numbers.clone();
            let began = Instant::now();
            let middle = sort(&mut copy);
            let elapsed = began.elapsed();
            assert!(copy.is_sorted() && copy[count / 2] == middle);
            elapsed.as_secs_f64() * 1e9 / count as f64
        })
        .collect();
    median(&times)
}

fn sort_on<P: Pool>(ctx: &Ctx, sort: fn(&mut [u64], bool) -> u64, stable: bool) -> f64 {
    let pool = P::new(ctx.workers);
    sorted(ctx, |numbers| pool.install(|| sort(numbers, stable)))
}

/// The article's job.
fn sum_to(n: u64) -> u64 {
    (0..n).fold(0, |sum, i| black_box(sum + i))
}

/// Four sums on two threads.
fn article(ctx: &Ctx, mut four: impl FnMut(u64) -> [u64; 4]) -> Duration {
    let n = ctx.size.pick(100_000, 10_000_000, 10_000_000);
    let began = Instant::now();
    for _ in 0..ctx.iters {
        assert_eq!(four(black_box(n)), [n * (n - 1) / 2; 4]);
    }
    began.elapsed()
}

fn article_on<P: Pool>(ctx: &Ctx) -> Duration {
    let pool = P::new(2);
    article(ctx, |n| {
        pool.install(|| {
            let pair = || P::join(|| sum_to(n), || sum_to(n));
            let ((a, b), (c, d)) = P::join(pair, pair);
            [a, b, c, d]
        })
    })
}

/// Two threads that are there already, two sums each.
fn article_limit(ctx: &Ctx) -> Duration {
    use std::sync::mpsc::sync_channel;
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (ask, asked) = sync_channel::<u64>(1);
            let (answer, answered) = sync_channel::<[u64; 2]>(1);
            std::thread::spawn(move || {
                for n in asked {
                    let _ = answer.send([sum_to(n), sum_to(n)]);
                }
            });
            (ask, answered)
        })
        .collect();
    article(ctx, |n| {
        for (ask, _) in &threads {
            ask.send(n).expect("the thread listens");
        }
        let pairs: Vec<[u64; 2]> = threads
            .iter()
            .map(|(_, answered)| answered.recv().expect("it answers"))
            .collect();
        [pairs[0][0], pairs[0][1], pairs[1][0], pairs[1][1]]
    })
}

fn article_plain(ctx: &Ctx) -> Duration {
    article(ctx, |n| [sum_to(n), sum_to(n), sum_to(n), sum_to(n)])
}

/// The rows of this file.
pub fn workloads() -> Vec<Workload> {
    use super::engines::{Rayon, Threeply};
    let mut all = Vec::new();
    all.extend(both(
        "sort_unstable",
        Unit::Ns,
        "10^7 random u64, unstable; per element",
        |row, workers| {
            judged_at_2(row.takes(2.5), workers, Bar::Times("rayon", 1.1))
                .once("threeply", |ctx| {
                    sort_on::<Threeply>(ctx, on_threeply::bodies::sort, false)
                })
                .once("rayon", |ctx| {
                    sort_on::<Rayon>(ctx, on_rayon::bodies::sort, false)
                })
                .once("sequential", |ctx| {
                    sorted(ctx, |numbers| {
                        numbers.sort_unstable();
                        numbers[numbers.len() / 2]
                    })
                })
        },
    ));
    all.extend(both(
        "sort_stable",
        Unit::Ns,
        "10^7 random u64, stable; per element",
        |row, workers| {
            judged_at_2(row.takes(2.5), workers, Bar::Times("rayon", 1.1))
                .once("threeply", |ctx| {
                    sort_on::<Threeply>(ctx, on_threeply::bodies::sort, true)
                })
                .once("rayon", |ctx| {
                    sort_on::<Rayon>(ctx, on_rayon::bodies::sort, true)
                })
                .once("sequential", |ctx| {
                    sorted(ctx, |numbers| {
                        numbers.sort();
                        numbers[numbers.len() / 2]
                    })
                })
        },
    ));
    kernel!(all, map_sum, "sum of a mixed value over 10^7 numbers");
    kernel!(all, filter, "a third of 10^7 numbers, collected in order");
    kernel!(all, nqueens, "ways to place 13 queens");
    kernel!(all, matmul, "product of two 448 x 448 matrices");
    kernel!(
        all,
        mandelbrot,
        "400 x 400 points, rows of very different cost"
    );
    kernel!(all, nbody, "1,500 bodies, 5 steps");
    kernel!(all, life, "1,024 x 1,024 cells, 20 generations");
    kernel!(all, sieve, "primes below 2 x 10^7");
    kernel!(
        all,
        tsp,
        "shortest trip through 11 cities by branch and bound"
    );
    all.extend(both(
        "uts_t1",
        Unit::Ms,
        "unbalanced tree search on T1: 4,130,071 nodes",
        |row, workers| {
            judged_at_2(row.takes(1.5), workers, Bar::Times("rayon", 0.95))
                .once("threeply", |ctx| {
                    uts_on::<Threeply>(
                        ctx,
                        tree(ctx, uts::T1, uts::SMALL_T1),
                        on_threeply::bodies::uts,
                    )
                })
                .once("rayon", |ctx| {
                    uts_on::<Rayon>(
                        ctx,
                        tree(ctx, uts::T1, uts::SMALL_T1),
                        on_rayon::bodies::uts,
                    )
                })
                .once("sequential", |ctx| {
                    uts_plain(tree(ctx, uts::T1, uts::SMALL_T1))
                })
        },
    ));
    all.extend(both(
        "uts_t3",
        Unit::Ms,
        "unbalanced tree search on T3: 4,112,897 nodes",
        |row, workers| {
            judged_at_2(row.takes(1.5), workers, Bar::Times("rayon", 0.95))
                .once("threeply", |ctx| {
                    uts_on::<Threeply>(
                        ctx,
                        tree(ctx, uts::T3, uts::SMALL_T3),
                        on_threeply::bodies::uts,
                    )
                })
                .once("rayon", |ctx| {
                    uts_on::<Rayon>(
                        ctx,
                        tree(ctx, uts::T3, uts::SMALL_T3),
                        on_rayon::bodies::uts,
                    )
                })
                .once("sequential", |ctx| {
                    uts_plain(tree(ctx, uts::T3, uts::SMALL_T3))
                })
        },
    ));
    all.push(
        Workload::new(
            crate::workload::Group::Threads,
            "article_cpu",
            Unit::Ms,
            "four sums to 10^7 on two threads (limit: two std threads that wait for them)",
        )
        .workers(2)
        .bar(Bar::OfLimit(1.03))
        .per_op("threeply", article_on::<Threeply>)
        .per_op("rayon", article_on::<Rayon>)
        .per_op("limit", article_limit)
        .per_op("sequential", article_plain),
    );
    all
}
