//! All lanes of a pool: a table that grows while others read it, and a mark on
//! each lane that may have something to steal.
//!
//! Before this: `lane.rs`. After it: `seat.rs`, which says when lanes are marked.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use crate::switch::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::switch::{Mutex, Weakening, weakened};
use crate::thread::lane::LaneShared;

/// Lanes in a block: as many as a word has bits for their marks.
const BLOCK: usize = u64::BITS as usize;
/// Bucket `i` has `2^i` blocks. Together 64 million lanes; memory ends before.
const BUCKETS: usize = 20;

#[derive(Debug)]
struct Block {
    lanes: [OnceLock<Arc<LaneShared>>; BLOCK],
    /// Bit `i`: lane `i` may have something to steal.
    marks: AtomicU64,
}

impl Block {
    fn new() -> Self {
        Self {
            lanes: [const { OnceLock::new() }; BLOCK],
            marks: AtomicU64::new(0),
        }
    }
}

/// Every lane that a pool has had so far, by number; only grows.
///
/// Reading takes no lock and moves nothing, so that n threads that start don't
/// each copy what the ones before them have registered. And who looks for work
/// looks into marked lanes only: among 1,000 idle workers that is none.
///
/// Invariants:
/// - **N1** Lane `i` is there for whoever sees a `count` above `i`, or its mark.
/// - **N2** A lane that offers anything is marked before the fence of the
///   notification that tells of it. So a look at the marks may stand for the look
///   into every queue that `sleep.rs` asks for.
#[derive(Debug)]
pub struct Lanes {
    buckets: [OnceLock<Box<[Block]>>; BUCKETS],
    count: AtomicUsize,
    growing: Mutex<()>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self::new()
    }
}

impl Lanes {
    /// None yet.
    pub fn new() -> Self {
        Self {
            buckets: [const { OnceLock::new() }; BUCKETS],
            count: AtomicUsize::new(0),
            growing: Mutex::new(()),
        }
    }

    /// Adds what `make` makes, which is told its number, then calls `tell`: whoever goes
    /// through all lanes and sleeps doesn't know this one. O(1) amortized.
    ///
    /// # Panics
    /// Beyond 64 million lanes.
    pub fn add<T>(
        &self,
        make: impl FnOnce(usize) -> (T, Arc<LaneShared>),
        tell: impl FnOnce(),
    ) -> T {
        if weakened(Weakening::TellBeforeAdding) {
            tell();
            return self.append(make);
        }
        let made = self.append(make);
        tell();
        made
    }

    fn append<T>(&self, make: impl FnOnce(usize) -> (T, Arc<LaneShared>)) -> T {
        let _growing = self.growing.lock().unwrap();
        let index = self.count();
        let (made, shared) = make(index);
        let (bucket, at) = place(index / BLOCK);
        let blocks =
            self.buckets[bucket].get_or_init(|| (0..1 << bucket).map(|_| Block::new()).collect());
        let fresh = blocks[at].lanes[index % BLOCK].set(shared);
        debug_assert!(fresh.is_ok(), "every number is given once");
        self.count.store(index + 1, Ordering::Release); // with `count`: N1
        made
    }

    /// Lanes so far.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Lane `index`, which must be there.
    pub fn get(&self, index: usize) -> &LaneShared {
        self.block(index / BLOCK).lanes[index % BLOCK]
            .get()
            .expect("N1: numbers of lanes come from the table")
    }

    /// Every lane, in the order of numbers.
    pub fn iter(&self) -> impl Iterator<Item = &LaneShared> {
        (0..self.count()).map(|index| self.get(index))
    }

    /// Lane `index` may have something to steal.
    pub fn mark(&self, index: usize) {
        let bit = 1 << (index % BLOCK);
        // Release: N1, for those who see the mark and not the count.
        self.block(index / BLOCK)
            .marks
            .fetch_or(bit, Ordering::Release);
    }

    /// Lane `index` has nothing to steal, says its owner, and isn't marked any
    /// more; unless `has_work` finds what others have put there meanwhile.
    pub fn found_empty(&self, index: usize, has_work: impl FnOnce() -> bool) {
        let bit = 1 << (index % BLOCK);
        let marks = &self.block(index / BLOCK).marks;
        if marks.load(Ordering::Relaxed) & bit == 0 {
            return;
        }
        // Acquire: with the Release of `mark`. Either that mark comes after this, and
        // stays; or it was there already, and we see what it was set for.
        marks.fetch_and(!bit, Ordering::Acquire);
        if !weakened(Weakening::SkipMarkRecheck) && has_work() {
            self.mark(index);
        }
    }

    /// Visits the marked lanes in the order of numbers, round from `start`, until
    /// `visit` breaks. Without marks it costs a load for each 64 lanes.
    pub fn visit_marked<R>(
        &self,
        start: usize,
        mut visit: impl FnMut(&LaneShared) -> ControlFlow<R>,
    ) -> Option<R> {
        let blocks = self.count().div_ceil(BLOCK);
        if blocks == 0 {
            return None;
        }
        let first = start / BLOCK % blocks;
        let from_start = u64::MAX << (start % BLOCK);
        for step in 0..=blocks {
            let block = self.block((first + step) % blocks);
            let mut marks = block.marks.load(Ordering::Acquire); // with `mark`
            if step == 0 {
                marks &= from_start;
            } else if step == blocks {
                marks &= !from_start; // the first block's other part
            }
            while marks != 0 {
                let lane = block.lanes[marks.trailing_zeros() as usize].get();
                marks &= marks - 1;
                if let ControlFlow::Break(found) = visit(lane.expect("N1: it was marked")) {
                    return Some(found);
                }
            }
        }
        None
    }

    fn block(&self, number: usize) -> &Block {
        let (bucket, at) = place(number);
        &self.buckets[bucket].get().expect("N1")[at]
    }
}

/// Bucket of a block, and where it is in there.
fn place(block: usize) -> (usize, usize) {
    let bucket = (block + 1).ilog2() as usize;
    (bucket, block + 1 - (1 << bucket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::lane::Lane;

    fn table(count: usize) -> Lanes {
        let lanes = Lanes::new();
        for _ in 0..count {
            lanes.add(|index| ((), Lane::new(index, true).shared), || ());
        }
        lanes
    }

    fn marked_from(lanes: &Lanes, start: usize) -> Vec<usize> {
        let mut seen = Vec::new();
        lanes.visit_marked(start, |lane| {
            seen.push(lane.index);
            ControlFlow::<()>::Continue(())
        });
        seen
    }

    #[test]
    fn lanes_are_found_by_number_across_blocks() {
        let lanes = table(1000);
        assert_eq!(lanes.count(), 1000);
        assert!((0..1000).all(|index| lanes.get(index).index == index));
        assert!(lanes.iter().map(|lane| lane.index).eq(0..1000));
    }

    #[test]
    fn only_marked_lanes_are_visited_each_once_round_from_the_start() {
        let lanes = table(200);
        assert_eq!(marked_from(&lanes, 0), []);
        for index in [0, 63, 64, 130, 199] {
            lanes.mark(index);
        }
        assert_eq!(marked_from(&lanes, 0), [0, 63, 64, 130, 199]);
        assert_eq!(marked_from(&lanes, 64), [64, 130, 199, 0, 63]);
        assert_eq!(marked_from(&lanes, 131), [199, 0, 63, 64, 130]);
        assert_eq!(marked_from(&lanes, 1), [63, 64, 130, 199, 0]);
        lanes.found_empty(63, || false);
        lanes.found_empty(5, || unreachable!("it was not marked"));
        lanes.found_empty(64, || true);
        assert_eq!(marked_from(&lanes, 1 << 20).len(), 4);
    }

    #[test]
    fn a_visit_ends_where_it_breaks() {
        let lanes = table(3);
        lanes.mark(1);
        lanes.mark(2);
        let found = lanes.visit_marked(0, |lane| ControlFlow::Break(lane.index));
        assert_eq!(found, Some(1));
        assert_eq!(
            Lanes::new().visit_marked(0, |_| ControlFlow::Break(())),
            None
        );
    }
}
