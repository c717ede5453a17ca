//! What a loop lets others see while it doesn't turn: the task that it runs.
//!
//! *Read after* [`super::round`]; *next* [`super::watchdog`].
//!
//! A blocked loop answers nobody, and its slab is nobody else's to read. So a loop
//! that was [asked](crate::Builder::publish_running) to writes, at each poll, the
//! number, the place and the beginning of the name of the task into a few words that
//! all may read: a seqlock with one writer.
//!
//! ```text
//!   loop:    1 sequence odd   2 fence   3 words         4 sequence even (Release)
//!   reader:  5 sequence (Acquire)   6 words   7 fence   8 sequence again
//! ```
//! **What was read belongs together** if 5 and 8 gave the same even number. A word
//! of a later writing in 6 was stored in 3 after fence 2, so by fence 7 step 8 sees
//! at least the odd number of step 1; a word of an earlier one can't be read, since
//! 5 reads from 4 with Acquire and so sees all that was written until then. Nobody
//! waits: the writer never, a reader looks again a few times and gives up.
//! The model, with its broken twin, is in `tests/loom/publish.rs`.

#![allow(unsafe_code)] // One pointer to a static, back to a reference.

use std::fmt;
use std::panic::Location;
use std::ptr;

use crate::limits::PUBLISHED_LOOKS;
use crate::switch::atomic::{AtomicPtr, AtomicU64, Ordering, fence};
use crate::switch::{IN_MODEL, PUBLISHED_NAME, Weakening, weakened};

/// The words; see the [module](self).
pub struct Published {
    sequence: AtomicU64,
    /// 0 while no task runs.
    task: AtomicU64,
    /// Null, or a `&'static Location`: nothing else is ever stored.
    site: AtomicPtr<Location<'static>>,
    name: [AtomicU64; PUBLISHED_NAME],
}

/// The task that a loop runs, as it publishes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Running {
    /// The [number](crate::TaskId) of the task.
    pub task: u64,
    /// Where it was spawned.
    pub site: Option<&'static Location<'static>>,
    /// The beginning of its name, at most 32 bytes; empty if it has none.
    pub name: String,
    /// Which of the loop's polls this is: equal numbers are the same poll.
    pub poll: u64,
}

impl Default for Published {
    fn default() -> Self {
        Self::new()
    }
}

impl Published {
    /// Nothing runs.
    #[must_use]
    pub fn new() -> Published {
        Published {
            sequence: AtomicU64::new(0),
            task: AtomicU64::new(0),
            site: AtomicPtr::new(ptr::null_mut()),
            name: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Task number `task` runs; 0 for none. By the loop alone.
    pub fn publish(&self, task: u64, site: Option<&'static Location<'static>>, name: &str) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        if !weakened(Weakening::PublishesUnmarked) {
            self.sequence.store(sequence + 1, Ordering::Relaxed);
            // Partner: the fence of `read`.
            fence(Ordering::Release);
        }
        self.task.store(task, Ordering::Relaxed);
        let site = site.map_or(ptr::null_mut(), |site| ptr::from_ref(site).cast_mut());
        self.site.store(site, Ordering::Relaxed);
        let mut bytes = name.bytes();
        for word in &self.name {
            let next = std::array::from_fn(|_| bytes.next().unwrap_or(0));
            word.store(u64::from_ne_bytes(next), Ordering::Relaxed);
        }
        // Partner: the Acquire of `read`.
        self.sequence.store(sequence + 2, Ordering::Release);
    }

    /// Nothing runs any more. By the loop alone.
    pub fn publish_idle(&self) {
        self.publish(0, None, "");
    }

    /// What runs; `None` if nothing does, or if it changes as fast as one looks.
    pub fn read(&self) -> Option<Running> {
        // A model looks once: each look more is only the same again.
        let looks = if IN_MODEL { 1 } else { PUBLISHED_LOOKS };
        let (task, site, name, poll) = (0..looks).find_map(|_| self.look())?;
        if task == 0 {
            return None;
        }
        let bytes: Vec<u8> = name.into_iter().flat_map(u64::to_ne_bytes).collect();
        let name = String::from_utf8_lossy(&bytes);
        Some(Running {
            task,
            // SAFETY: null, or from a `&'static Location`, of a store that `look`
            // has acquired.
            site: unsafe { site.as_ref() },
            // A character that was cut in two at the end goes, too.
            name: name.trim_end_matches(['\0', '\u{fffd}']).into(),
            poll,
        })
    }

    fn look(&self) -> Option<(u64, *const Location<'static>, [u64; PUBLISHED_NAME], u64)> {
        let before = self.sequence.load(Ordering::Acquire);
        let task = self.task.load(Ordering::Relaxed);
        let site = self.site.load(Ordering::Relaxed);
        let name = std::array::from_fn(|index| self.name[index].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let after = self.sequence.load(Ordering::Relaxed);
        (before == after && before.is_multiple_of(2)).then_some((
            task,
            site.cast_const(),
            name,
            before / 2,
        ))
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Published").field(&self.read()).finish()
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.task)?;
        if !self.name.is_empty() {
            write!(f, " '{}'", self.name)?;
        }
        match self.site {
            Some(site) => write!(f, " spawned at {site}"),
            None => Ok(()),
        }
    }
}
