//! The idle sleepers of a pool, by age, each step in O(1).
//!
//! Read after this: `sleep.rs`, whose lock guards it.

use std::sync::Arc;

use crate::thread::parker::Parker;

/// No lane.
const NONE: usize = usize::MAX;

#[derive(Debug)]
struct Bed {
    /// Who sleeps here, if anybody does.
    parker: Option<Arc<Parker>>,
    older: usize,
    younger: usize,
}

/// A list in both directions, whose links are numbers of lanes: whoever gets up,
/// or finds that somebody woke it, needn't be searched among a thousand others.
#[derive(Debug)]
pub struct Sleepers {
    /// By lane.
    beds: Vec<Bed>,
    youngest: usize,
}

impl Default for Sleepers {
    fn default() -> Self {
        Self {
            beds: Vec::new(),
            youngest: NONE,
        }
    }
}

impl Sleepers {
    /// The thread of `lane` lies down, as the youngest. It must not lie there yet.
    pub fn push(&mut self, lane: usize, parker: Arc<Parker>) {
        while self.beds.len() <= lane {
            self.beds.push(Bed {
                parker: None,
                older: NONE,
                younger: NONE,
            });
        }
        let older = std::mem::replace(&mut self.youngest, lane);
        if let Some(bed) = self.beds.get_mut(older) {
            bed.younger = lane;
        }
        let bed = &mut self.beds[lane];
        debug_assert!(bed.parker.is_none(), "one lies down once");
        *bed = Bed {
            parker: Some(parker),
            older,
            younger: NONE,
        };
    }

    /// The lanes of those that lie here, in the order of numbers; O(n) in lanes.
    pub fn lanes(&self) -> impl Iterator<Item = usize> {
        let beds = self.beds.iter().enumerate();
        beds.filter_map(|(lane, bed)| bed.parker.as_ref().map(|_| lane))
    }

    /// Takes the youngest out: its caches are the warmest.
    pub fn pop(&mut self) -> Option<Arc<Parker>> {
        self.remove(self.youngest)
    }

    /// Takes the thread of `lane` out, if it lies there.
    pub fn remove(&mut self, lane: usize) -> Option<Arc<Parker>> {
        let bed = self.beds.get_mut(lane)?;
        let parker = bed.parker.take()?;
        let (older, younger) = (bed.older, bed.younger);
        if let Some(bed) = self.beds.get_mut(older) {
            bed.younger = younger;
        }
        match self.beds.get_mut(younger) {
            Some(bed) => bed.older = older,
            None => self.youngest = older,
        }
        Some(parker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_youngest_gets_up_first_and_anybody_may_leave() {
        let parkers: Vec<_> = (0..5).map(|_| Arc::new(Parker::new())).collect();
        let mut sleepers = Sleepers::default();
        assert!(sleepers.pop().is_none() && sleepers.remove(3).is_none());
        for lane in [3, 0, 4, 1] {
            sleepers.push(lane, parkers[lane].clone());
        }
        let mut left = vec![];
        assert!(sleepers.remove(0).is_some(), "from the middle");
        assert!(sleepers.remove(0).is_none(), "gone already");
        assert!(sleepers.remove(3).is_some(), "the oldest");
        sleepers.push(0, parkers[0].clone());
        while let Some(parker) = sleepers.pop() {
            left.push(parkers.iter().position(|p| Arc::ptr_eq(p, &parker)));
        }
        assert_eq!(left, [Some(0), Some(1), Some(4)]);
        assert_eq!(sleepers.youngest, NONE);
    }
}
