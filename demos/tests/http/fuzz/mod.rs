//! Everything that listens to the network, fed with anything: valid messages that are
//! bent, cut, spliced and blown up, in pieces of any size, from peers that close,
//! reset, fall silent, never read, or lie. No panic, no hang, no memory beyond the
//! limits, no descriptor left behind.
//!
//! This file is how it is done; the cases are in [`messages`] (client and server),
//! [`files`], [`downloads`], [`sockets`] (the chat) and [`tls`].
//!
//! Short by default; `THREEPLY_FUZZ=<seconds>` goes on for that long, with another
//! seed in each run. Each case has a seed of its own; a case that fails names it,
//! and `THREEPLY_SEED=<number>` begins with that case.
//!
//! Time is virtual: what waits for a timeout costs nothing, and a wait without one
//! is found at once, because the case's own limit is then the next deadline. A
//! watchdog finds what turns in a circle. Peak memory belongs to a whole process,
//! so each test runs in one of its own: this binary, started once more for it.

mod downloads;
mod files;
mod messages;
mod sockets;
mod tls;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_io::AsyncWrite;
use threeply_demos::http::stream::write_all;
use threeply_runtime::sys::pipe::open_fds;
use threeply_runtime::time::timeout;
use threeply_runtime::{EventLoop, yield_now};

use crate::kit::{is_alone, once_more};

/// No conversation lasts longer, by the virtual clock: every wait in it has a limit
/// of its own, of a minute at most, and no case has more than some dozens of them.
const CASE_LIMIT: Duration = Duration::from_secs(4 * 3_600);

/// Nor by the real one.
const CASE_REAL_LIMIT: Duration = Duration::from_secs(30);

/// How much larger the process may become: some times what the limits of client and
/// server allow, and less than the larger cases send.
const GROWTH_KIB: u64 = 4 * 1024;

struct Random {
    state: u64,
    /// Whether nothing is blown up yet: the first cases warm code and allocator.
    calm: bool,
}

impl Random {
    /// SplitMix64: seeds that follow each other give unrelated numbers.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
    /// Another one, for another task.
    fn fork(&mut self) -> Random {
        Random {
            state: self.next(),
            calm: self.calm,
        }
    }
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
    fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next() as u8).collect()
    }
}

/// Calls `case` so many times, or for as long as the environment says, in a process
/// of its own.
fn fuzz(name: &str, cases: u64, mut case: impl FnMut(&mut Random)) {
    if !is_alone() {
        return print!("{}", once_more(name, None, None));
    }
    let number = |name| {
        let text = std::env::var(name).ok()?;
        Some(
            text.parse::<u64>()
                .unwrap_or_else(|_| panic!("{name} is a number")),
        )
    };
    let until = number("THREEPLY_FUZZ").map(|s| Instant::now() + Duration::from_secs(s));
    let seed = number("THREEPLY_SEED").unwrap_or_else(|| match until {
        None => 5_000_000,
        Some(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
    });
    let current = Arc::new(AtomicU64::new(seed));
    watch(current.clone());
    let (mut before, mut fds) = (0, 0);
    let mut done = 0;
    while done < cases || until.is_some_and(|until| Instant::now() < until) {
        let seed = seed + done;
        current.store(seed, Ordering::Relaxed);
        let calm = done < cases / 10;
        let mut random = Random { state: seed, calm };
        let outcome = catch_unwind(AssertUnwindSafe(|| case(&mut random)));
        if calm {
            (before, fds) = (peak_kib(), open_fds().unwrap());
        }
        // The kernel's peak may fall by some pages: it sums counters of several cores.
        let grown = peak_kib().saturating_sub(before);
        let left = left_behind(fds);
        if outcome.is_err() || grown > GROWTH_KIB || left > 0 {
            panic!(
                "case {done} (grown by {grown} KiB, {left} descriptors left open) fails: \
                 THREEPLY_SEED={seed} repeats it"
            );
        }
        done += 1;
    }
    println!(
        "{done} cases from {seed}, grown by {} KiB",
        peak_kib().saturating_sub(before)
    );
}

/// Ends the process when one case takes too long.
fn watch(current: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        let mut since = (Instant::now(), current.load(Ordering::Relaxed));
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let now = current.load(Ordering::Relaxed);
            if now != since.1 {
                since = (Instant::now(), now);
            } else if since.0.elapsed() > CASE_REAL_LIMIT {
                eprintln!("a case hangs: THREEPLY_SEED={now} repeats it");
                std::process::abort();
            }
        }
    });
}

/// How many descriptors more than `before` stay open. One that the blocking pool had
/// when its case ended may be closed a moment later.
fn left_behind(before: usize) -> usize {
    let since = Instant::now();
    loop {
        let left = open_fds().unwrap().saturating_sub(before);
        if left == 0 || since.elapsed() > Duration::from_secs(5) {
            return left;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The most memory that this process has had.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What one side says: some bytes, and some that come again and again.
struct Speech {
    bytes: Vec<u8>,
    /// Where `again` comes in.
    at: usize,
    again: Vec<u8>,
    times: usize,
}

/// Bends one of `corpus`, with the words that mean something here.
fn speech(random: &mut Random, corpus: &[Vec<u8>], words: &[&[u8]]) -> Speech {
    let mut bytes = match random.below(20) {
        0 => random.bytes(300),
        // The last one is a bomb, where there is one.
        _ => corpus[random.below(corpus.len() - usize::from(random.calm))].clone(),
    };
    for _ in 0..random.below(5) {
        let at = random.below(bytes.len() + 1);
        let to = at + random.below(bytes.len() - at + 1).min(20);
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] = random.next() as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..to)),
            4 => {
                let twice = bytes[at..to].to_vec();
                drop(bytes.splice(at..at, twice));
            }
            5 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            6 => drop(bytes.splice(at..at, random.bytes(8))),
            _ => drop(bytes.splice(at..to, random.of(words).to_vec())),
        }
    }
    // Now and then it is blown up, to some megabytes at most.
    let again = match random.below(3) {
        0 => random.bytes(64),
        _ => random.of(words).to_vec(),
    };
    let most = match random.below(40) {
        _ if random.calm => 0,
        0 => 6 << 20,
        1..8 => 100_000,
        _ => 0,
    };
    Speech {
        at: random.below(bytes.len() + 1),
        bytes,
        times: most / again.len().max(1),
        again,
    }
}

impl Speech {
    /// Says it all, in pieces, as long as anybody listens.
    async fn say<S: AsyncWrite + Unpin>(&self, stream: &mut S, random: &mut Random) -> bool {
        let (first, last) = self.bytes.split_at(self.at);
        let many = self.again.repeat(8_192 / self.again.len().max(1));
        let blocks = self.times * self.again.len() / many.len().max(1);
        let middle = std::iter::repeat_n(&many[..], blocks);
        for part in [first].into_iter().chain(middle).chain([last]) {
            let mut rest = part;
            while !rest.is_empty() {
                let most = [1, 7, 100, 100_000][random.below(4)];
                let (piece, others) = rest.split_at(rest.len().min(most));
                if write_all(stream, piece).await.is_err() {
                    return false;
                }
                // So that the other side sees the pieces.
                if most < 1_000 {
                    yield_now().await;
                }
                rest = others;
            }
        }
        true
    }
}

fn virtual_time<F: Future>(test: F) -> F::Output {
    let event_loop = EventLoop::builder().virtual_time(true).build().unwrap();
    event_loop
        .block_on(async { timeout(CASE_LIMIT, test).await })
        .expect("it waits for ever")
}

/// For cases that wait for files: virtual time would pass while nothing but another
/// thread works. What they wait for otherwise is there or comes at once.
fn real_time<F: Future>(test: F) -> F::Output {
    let event_loop = EventLoop::new().unwrap();
    event_loop
        .block_on(async { timeout(CASE_REAL_LIMIT, test).await })
        .expect("it waits for ever")
}
