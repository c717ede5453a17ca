//! The state of a task in one word: its stage, four flags, and how many refer to it.
//!
//! *Read after* `cell`, whose header it is a part of.
//!
//! ```text
//!    31                             6   5      4      3        2      1     0
//!   ┌─────────────────────────────────┬──────┬─────┬───────┬────────┬─────────┐
//!   │ references                      │LOCALS│EXTRA│ABORTED│JOINABLE│  stage  │
//!   └─────────────────────────────────┴──────┴─────┴───────┴────────┴─────────┘
//! ```
//! One word, because a poll asks for stage and abortion at once, and because a
//! header is paid for by every task. Nothing here is atomic: a task belongs to one
//! thread.

use std::cell::Cell;
use std::process::abort;

/// Where a task is in its life; drawn in `cell`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Waiting,
    Running,
    Finished,
    Empty,
}

const STAGE: u32 = 0b11;
/// Somebody may still take the output.
const JOINABLE: u32 = 1 << 2;
/// To be cancelled instead of polled.
const ABORTED: u32 = 1 << 3;
/// The header's last word is a box of what few tasks have (C6).
const EXTRA: u32 = 1 << 4;
/// And in that box are task-locals.
const LOCALS: u32 = 1 << 5;
const ONE: u32 = 1 << 6;

/// See the [module](self).
pub(super) struct State(Cell<u32>);

impl State {
    /// Waiting, with one reference.
    #[inline]
    pub(super) fn new(joinable: bool) -> State {
        let joinable = if joinable { JOINABLE } else { 0 };
        State(Cell::new(ONE | joinable | Stage::Waiting as u32))
    }

    #[inline]
    fn has(&self, flag: u32) -> bool {
        self.0.get() & flag != 0
    }

    #[inline]
    fn put(&self, flag: u32, on: bool) {
        let others = self.0.get() & !flag;
        self.0.set(if on { others | flag } else { others });
    }

    // ---- the stage ----

    #[inline]
    pub(super) fn stage(&self) -> Stage {
        match self.0.get() & STAGE {
            0 => Stage::Waiting,
            1 => Stage::Running,
            2 => Stage::Finished,
            _ => Stage::Empty,
        }
    }

    #[inline]
    pub(super) fn set_stage(&self, stage: Stage) {
        self.0.set(self.0.get() & !STAGE | stage as u32);
    }

    /// Waiting → Running; `false` if the task is to be cancelled, or doesn't wait.
    #[inline]
    pub(super) fn begin_poll(&self) -> bool {
        let word = self.0.get();
        if word & (STAGE | ABORTED) != Stage::Waiting as u32 {
            return false;
        }
        self.0.set(word + Stage::Running as u32);
        true
    }

    /// Running → Waiting; `false` if the task was aborted meanwhile.
    #[inline]
    pub(super) fn end_poll(&self) -> bool {
        debug_assert_eq!(self.stage(), Stage::Running);
        let word = self.0.get() - Stage::Running as u32;
        self.0.set(word);
        word & ABORTED == 0
    }

    // ---- the flags ----

    #[inline]
    pub(super) fn is_joinable(&self) -> bool {
        self.has(JOINABLE)
    }

    #[inline]
    pub(super) fn detach(&self) {
        self.put(JOINABLE, false);
    }

    /// Returns whether it was so already.
    pub(super) fn mark_aborted(&self) -> bool {
        let was = self.has(ABORTED);
        self.put(ABORTED, true);
        was
    }

    #[inline]
    pub(super) fn has_extra(&self) -> bool {
        self.has(EXTRA)
    }

    #[inline]
    pub(super) fn has_locals(&self) -> bool {
        self.has(LOCALS)
    }

    pub(super) fn set_extra(&self, extra: bool, locals: bool) {
        self.put(EXTRA, extra);
        self.put(LOCALS, locals);
    }

    // ---- what is usual, asked for at once ----

    /// Whether somebody may still take the output, and there is no extra.
    #[inline]
    pub(super) fn is_plain_and_joinable(&self) -> bool {
        self.0.get() & (JOINABLE | EXTRA) == JOINABLE
    }

    /// Whether the output was taken, and there is no extra.
    #[inline]
    pub(super) fn is_plain_and_empty(&self) -> bool {
        self.0.get() & (STAGE | EXTRA) == Stage::Empty as u32
    }

    // ---- the references ----

    #[inline]
    pub(super) fn add_reference(&self) {
        let word = self.0.get();
        match word.checked_add(ONE) {
            Some(word) => self.0.set(word),
            // 67 million handles of one task, forgotten rather than dropped: as
            // with `Rc`, going on would free what is in use.
            None => abort(),
        }
    }

    /// Returns whether that was the last one.
    #[inline]
    pub(super) fn drop_reference(&self) -> bool {
        let word = self.0.get() - ONE;
        self.0.set(word);
        word < ONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stage_flags_and_count_do_not_touch_each_other() {
        let state = State::new(true);
        assert!(state.begin_poll() && !state.begin_poll());
        state.add_reference();
        assert!(!state.mark_aborted() && state.mark_aborted());
        state.set_extra(true, false);
        assert_eq!(state.stage(), Stage::Running);
        assert!(!state.end_poll(), "aborted meanwhile");
        assert!(!state.begin_poll(), "to be cancelled");
        state.set_stage(Stage::Empty);
        assert!(state.is_joinable() && state.has_extra() && !state.has_locals());
        state.detach();
        state.set_extra(false, false);
        assert!(!state.is_joinable() && !state.has_extra());
        assert!(!state.drop_reference() && state.drop_reference());
        assert_eq!(state.stage(), Stage::Empty);
    }
}
