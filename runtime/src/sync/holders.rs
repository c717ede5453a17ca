//! Who has permits of a semaphore, for a dump.
//!
//! A lock that one holder has for itself remembers that one in a word. Permits, and
//! the readers' side of a read-write lock, go to many: each guard carries the word of
//! the task that took it and crosses it out here when it is dropped, wherever that
//! happens.
//!
//! ```text
//!   enter: first is 0?  ── yes ──▶ first = word        leave: first is word? ──▶ first = 0
//!                 └──── no ──▶ rest (cold)                              └─ no ─▶ rest (cold)
//! ```
//! So a semaphore of one permit and a lock with one reader pay a comparison and a
//! store each time. The rest is a box that exists once there have been two holders at
//! a time, and knows [`HOLDERS_KNOWN`]` - 1` of them; of those beyond it knows the
//! number.
//!
//! Rejected: a list of all holders (a semaphore of a thousand permits would search it
//! at each return); a list through the guards (they move); the sum of the holders'
//! words, of which one or two could be told by trying all tasks (too clever, and a sum
//! is worth nothing once there are four).
//!
//! Read before: `wait_queue.rs`; after: `permits.rs`.

use crate::limits::HOLDERS_KNOWN;

/// What holders are called that have no word: who takes a permit outside of all
/// tasks, or polls by a waker without data.
const NAMELESS: usize = 1;

/// Words of wakers, or `NAMELESS`; see the [module](self).
///
/// Invariant: the words that stand here, and as many more as `rest.more`, are those
/// with which [`enter`](Self::enter) was called and [`leave`](Self::leave) wasn't yet.
#[derive(Debug)]
pub struct Holders {
    /// 0 for nobody.
    first: usize,
    rest: Option<Box<Rest>>,
}

#[derive(Debug, Default)]
struct Rest {
    words: [usize; HOLDERS_KNOWN - 1],
    more: u32,
}

impl Default for Holders {
    fn default() -> Self {
        Self::new()
    }
}

impl Holders {
    /// Nobody.
    pub const fn new() -> Holders {
        Holders {
            first: 0,
            rest: None,
        }
    }

    /// Somebody has taken something.
    #[inline(always)]
    pub fn enter(&mut self, word: usize) {
        if self.first == 0 {
            self.first = word;
        } else {
            self.enter_rest(word);
        }
    }

    /// Somebody who took something by this word has it no more.
    #[inline(always)]
    pub fn leave(&mut self, word: usize) {
        if self.first == word {
            self.first = 0;
        } else {
            self.leave_rest(word);
        }
    }

    #[cold]
    #[inline(never)]
    fn enter_rest(&mut self, word: usize) {
        let rest = self.rest.get_or_insert_default();
        match rest.words.iter_mut().find(|slot| **slot == 0) {
            Some(slot) => *slot = word.max(NAMELESS),
            None => rest.more += 1,
        }
    }

    #[cold]
    #[inline(never)]
    fn leave_rest(&mut self, word: usize) {
        let Some(rest) = &mut self.rest else { return };
        let word = word.max(NAMELESS);
        match rest.words.iter_mut().find(|slot| **slot == word) {
            Some(slot) => *slot = 0,
            None => rest.more = rest.more.saturating_sub(1),
        }
    }

    /// Those that are known, and whether these are all.
    pub fn look(&self) -> (Vec<usize>, bool) {
        let rest = self.rest.as_deref();
        let words = rest.map_or(&[][..], |rest| &rest.words);
        let known = [self.first].into_iter().chain(words.iter().copied());
        let known = known.filter(|word| *word != 0).collect();
        (known, rest.is_none_or(|rest| rest.more == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(holders: &Holders) -> Vec<usize> {
        let mut known = holders.look().0;
        known.sort_unstable();
        known
    }

    #[test]
    fn whoever_leaves_is_crossed_out_in_any_order() {
        let mut holders = Holders::new();
        for word in [10, 20, 20, 30] {
            holders.enter(word);
        }
        assert_eq!(
            (known(&holders), holders.look().1),
            (vec![10, 20, 20, 30], true)
        );
        for (word, left) in [
            (20, vec![10, 20, 30]),
            (10, vec![20, 30]),
            (30, vec![20]),
            (20, vec![]),
        ] {
            holders.leave(word);
            assert_eq!(known(&holders), left);
        }
    }

    #[test]
    fn of_a_crowd_it_knows_a_few_and_that_there_are_more() {
        let mut holders = Holders::new();
        for word in 1..=100 {
            holders.enter(word * 16);
        }
        assert_eq!(holders.look().0.len(), HOLDERS_KNOWN);
        assert!(!holders.look().1);
        for word in (1..=100).rev() {
            assert!(!holders.look().0.is_empty());
            holders.leave(word * 16);
        }
        assert_eq!(holders.look(), (vec![], true));
    }

    #[test]
    fn whoever_has_no_word_is_nobodys_undoing() {
        let mut holders = Holders::new();
        for word in [0, 16, 0, 0] {
            holders.enter(word);
        }
        for word in [0, 0, 0] {
            holders.leave(word);
        }
        assert_eq!(known(&holders), [16]);
        holders.leave(16);
        assert_eq!(holders.look(), (vec![], true));
    }
}
