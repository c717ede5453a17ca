//! Where the outcomes of all chunks of one map meet: in the order of the inputs, or as
//! they come.
//!
//! Read before this: [`super`].

use crate::process::cell::Outcome;
use crate::process::job::Target;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use threeply_runtime::inspect::{WaitsFor, blocked};

/// Where the outcomes of all chunks of one map meet.
pub(super) struct Results {
    inner: Mutex<Inner>,
    more: Condvar,
}

struct Inner {
    /// Outcomes that nobody has taken. In order of input: the first belongs to
    /// input `base`, and `None` isn't there yet.
    ordered: VecDeque<Option<Outcome>>,
    base: usize,
    /// In order of completion, if that is what was asked for.
    unordered: Option<VecDeque<(usize, Outcome)>>,
    sleeping: bool,
    abandoned: bool,
}

impl Results {
    pub(super) fn new(ordered: bool) -> Results {
        Results {
            inner: Mutex::new(Inner {
                ordered: VecDeque::new(),
                base: 0,
                unordered: (!ordered).then(VecDeque::new),
                sleeping: false,
                abandoned: false,
            }),
            more: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves what is ready to `out`; waits if nothing is.
    pub(super) fn take(&self, out: &mut VecDeque<(usize, Outcome)>) {
        let mut told = None;
        let mut inner = self.lock();
        loop {
            inner.move_ready(out);
            if !out.is_empty() {
                return;
            }
            told.get_or_insert_with(|| {
                blocked::until(vec![WaitsFor::other("a result of a process pool's `map`")])
            });
            inner.sleeping = true;
            inner = self
                .more
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
            inner.sleeping = false;
        }
    }

    /// Nobody will take any more: what is there and what is still to come is dropped.
    pub(super) fn abandon(&self) {
        let mut inner = self.lock();
        inner.abandoned = true;
        let ordered = std::mem::take(&mut inner.ordered);
        let unordered = inner.unordered.take();
        drop(inner);
        drop((ordered, unordered)); // Outside of the lock.
    }

    /// As `take`, but doesn't wait.
    pub(super) fn try_take(&self, out: &mut VecDeque<(usize, Outcome)>) {
        self.lock().move_ready(out);
    }
}

impl Inner {
    fn move_ready(&mut self, out: &mut VecDeque<(usize, Outcome)>) {
        if let Some(unordered) = &mut self.unordered {
            out.append(unordered);
            return;
        }
        while let Some(Some(_)) = self.ordered.front() {
            let outcome = self
                .ordered
                .pop_front()
                .flatten()
                .expect("looked at just now");
            out.push_back((self.base, outcome));
            self.base += 1;
        }
    }

    fn has_ready(&self) -> bool {
        match &self.unordered {
            Some(unordered) => !unordered.is_empty(),
            None => matches!(self.ordered.front(), Some(Some(_))),
        }
    }
}

impl Target for Results {
    fn deliver(&self, index: usize, outcome: Outcome) {
        let mut inner = self.lock();
        if inner.abandoned {
            drop(inner);
            return; // With the outcome, outside of the lock.
        }
        if let Some(unordered) = &mut inner.unordered {
            unordered.push_back((index, outcome));
            return;
        }
        let at = index - inner.base;
        if inner.ordered.len() <= at {
            inner.ordered.resize_with(at + 1, || None);
        }
        inner.ordered[at] = Some(outcome);
    }

    fn delivered(&self) {
        let inner = self.lock();
        if inner.sleeping && inner.has_ready() {
            self.more.notify_one();
        }
    }

    fn is_unwanted(&self) -> bool {
        self.lock().abandoned
    }
}
