//! The field's usual kernels, once for all engines with parallel iterators.
//!
//! `kernels.rs` loads this file once for each engine, with the engine's prelude
//! and its `join` as `super`: the names and laws of the iterators are the same,
//! so the text is the same. Each returns a checksum that must agree with the
//! sequential version in `kernels.rs`.

use super::super::kernels::{
    Body, Grid, Scale, acceleration, board, escape_time, live_or_die, mix, segment, shortest,
};
use super::super::uts::{Node, Tree};
#[allow(
    unused_imports,
    reason = "engines differ in which traits these methods need"
)]
use super::prelude::*;

/// Sum of a mixed value over a vector.
pub fn map_sum(scale: &Scale) -> u64 {
    scale.numbers.par_iter().map(|&x| mix(x) >> 32).sum()
}

/// Those that pass, in order.
pub fn filter(scale: &Scale) -> u64 {
    let kept: Vec<u64> = scale
        .numbers
        .par_iter()
        .copied()
        .filter(|&x| mix(x).is_multiple_of(3))
        .collect();
    kept.len() as u64 ^ kept.last().copied().unwrap_or(0)
}

/// Ways to place `n` queens: the first two rows fan out, the rest is plain.
pub fn nqueens(scale: &Scale) -> u64 {
    let n = scale.queens;
    (0..n * n)
        .into_par_iter()
        .map(|i| board(n, i / n, i % n))
        .sum()
}

/// Product of two square matrices, row by row.
pub fn matmul(scale: &Scale) -> u64 {
    let n = scale.matrix;
    let (a, b) = (&scale.left, &scale.right);
    let mut product = vec![0f64; n * n];
    product.par_chunks_mut(n).enumerate().for_each(|(i, row)| {
        for k in 0..n {
            let factor = a[i * n + k];
            for (to, from) in row.iter_mut().zip(&b[k * n..(k + 1) * n]) {
                *to += factor * from;
            }
        }
    });
    product.iter().sum::<f64>().to_bits()
}

/// Escape times, row by row: rows differ much in cost.
pub fn mandelbrot(scale: &Scale) -> u64 {
    let side = scale.picture;
    let mut picture = vec![0u32; side * side];
    picture
        .par_chunks_mut(side)
        .enumerate()
        .for_each(|(y, row)| {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = escape_time(x, y, side);
            }
        });
    picture.iter().map(|&pixel| u64::from(pixel)).sum()
}

/// Every body attracts every other; a few steps.
pub fn nbody(scale: &Scale) -> u64 {
    let mut bodies: Vec<Body> = scale.bodies.clone();
    for _ in 0..scale.steps {
        let pulls: Vec<[f64; 3]> = bodies
            .par_iter()
            .map(|body| acceleration(body, &bodies))
            .collect();
        bodies
            .par_iter_mut()
            .zip(pulls.par_iter())
            .for_each(|(body, pull)| body.step(pull));
    }
    bodies
        .iter()
        .map(|body| body.place[0])
        .sum::<f64>()
        .to_bits()
}

/// Conway's game on a torus, row by row.
pub fn life(scale: &Scale) -> u64 {
    let side = scale.grid;
    let mut now: Grid = scale.cells.clone();
    let mut next = vec![0u8; side * side];
    for _ in 0..scale.generations {
        next.par_chunks_mut(side)
            .enumerate()
            .for_each(|(y, row)| live_or_die(&now, side, y, row));
        std::mem::swap(&mut now, &mut next);
    }
    now.iter().map(|&cell| u64::from(cell)).sum()
}

/// Primes below a bound, segment by segment.
pub fn sieve(scale: &Scale) -> u64 {
    let segments = scale.sieve.div_ceil(segment::LENGTH);
    let small = segment::small_primes(scale.sieve);
    (0..segments)
        .into_par_iter()
        .map(|i| segment::count(i, scale.sieve, &small))
        .sum()
}

/// The shortest round trip: the first two cities fan out, the rest is branch and
/// bound within each.
pub fn tsp(scale: &Scale) -> u64 {
    let n = scale.cities.len();
    (0..n * n)
        .into_par_iter()
        .map(|i| shortest(&scale.cities, i / n, i % n))
        .min()
        .expect("there are trips")
}

/// Walks an unbalanced tree.
pub fn uts(tree: &Tree) -> u64 {
    count(tree, &Node::root(tree), 0, None)
}

/// The node and its children from `from` on, halved until one is left: joins
/// only, so that a thief gets half of what remains.
fn count(tree: &Tree, node: &Node, from: u32, until: Option<u32>) -> u64 {
    match until {
        None => {
            let children = node.children(tree);
            1 + if children == 0 {
                0
            } else {
                count(tree, node, 0, Some(children))
            }
        }
        Some(until) if until - from == 1 => count(tree, &node.child(from), 0, None),
        Some(until) => {
            let middle = from + (until - from) / 2;
            let (a, b) = super::join(
                || count(tree, node, from, Some(middle)),
                || count(tree, node, middle, Some(until)),
            );
            a + b
        }
    }
}

/// Sorts, stably or not, and returns the middle element.
pub fn sort(numbers: &mut [u64], stable: bool) -> u64 {
    if stable {
        numbers.par_sort();
    } else {
        numbers.par_sort_unstable();
    }
    numbers[numbers.len() / 2]
}
