//! Splits a source and a consumer, forks, and merges the results.

use crate::limits::PIECES_PER_THREAD;
use crate::thread::iter::{Consumer, IndexedParallelIterator};
use crate::thread::seat::Seat;
use crate::thread::sites::Site;
use crate::thread::{ThreadPool, context, fork};

/// How much further a piece may be split.
///
/// Some pieces per thread from the beginning, as an unstolen fork costs next to
/// nothing; and that many again for a piece that was stolen, since a thief means
/// that somebody is out of work. The rule is rayon's, with more pieces.
#[derive(Debug, Clone, Copy)]
struct Splitter {
    pieces: usize,
    threads: usize,
    min: usize,
}

impl Splitter {
    fn new(threads: usize, len: usize, min: usize, max: usize) -> Self {
        Self {
            pieces: (threads * PIECES_PER_THREAD).max(len / max.max(1)),
            threads,
            min: min.max(1),
        }
    }

    fn may_split(&mut self, len: usize, stolen: bool) -> bool {
        if len / 2 < self.min {
            return false;
        }
        self.pieces = if stolen {
            (self.pieces / 2).max(self.threads)
        } else {
            self.pieces / 2
        };
        self.pieces > 0
    }
}

/// Runs `source` into `consumer` on the current pool.
pub fn bridge<P, C>(source: P, consumer: C) -> C::Result
where
    P: IndexedParallelIterator,
    C: Consumer<P::Item>,
{
    in_pool(Site::of_type::<(P, C)>(), |seat| {
        let len = source.len();
        let threads = seat.registry.config.threads;
        let splitter = Splitter::new(threads, len, source.min_len(), source.max_len());
        piece(seat, source, len, consumer, splitter, false)
    })
}

/// Runs `f` with a seat in the current pool, or the global one.
pub fn in_pool<R>(site: Site, f: impl FnOnce(&Seat) -> R) -> R {
    context::with(|seat| match seat {
        Some(seat) => f(seat),
        None => ThreadPool::global().take_part(site, f),
    })
}

/// Runs `a` and `b` as forks of the current pool.
pub fn join<RA: Send, RB: Send>(
    a: impl FnOnce() -> RA + Send,
    b: impl FnOnce() -> RB + Send,
) -> (RA, RB) {
    crate::thread::join(a, b)
}

fn piece<P, C>(
    seat: &Seat,
    source: P,
    len: usize,
    consumer: C,
    mut splitter: Splitter,
    stolen: bool,
) -> C::Result
where
    P: IndexedParallelIterator,
    C: Consumer<P::Item>,
{
    if consumer.is_full() {
        return consumer.consume(std::iter::empty());
    }
    if !splitter.may_split(len, stolen) {
        return consumer.consume(source.into_seq());
    }
    let at = len / 2;
    let (left, right) = source.split_at(at);
    let (to_left, to_right) = consumer.split(at);
    let (left, right) = fork::join_pieces(
        seat,
        |stolen| on_seat(|seat| piece(seat, left, at, to_left, splitter, stolen)),
        |stolen| on_seat(|seat| piece(seat, right, len - at, to_right, splitter, stolen)),
    );
    consumer.merge(left, right)
}

/// The seat of whoever runs the piece: a thief has another one.
fn on_seat<R>(f: impl FnOnce(&Seat) -> R) -> R {
    context::with(|seat| f(seat.expect("a fork runs on a thread with a seat")))
}
