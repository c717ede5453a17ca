//! What waits to be sent to one member: a bounded queue, and what happens when
//! it is full.
//!
//! A member who takes nothing must cost neither memory without end nor the
//! others' time. So whoever speaks never waits: the queue gives way.
//!
//! ```text
//!             1 full, Slow::Drop: the oldest goes, `missed` grows
//!            ┌───┐
//!            │   ▼     2 full, Slow::Disconnect
//!  (new) ──▶ Open ─────────────────────────────▶ Closing(TooSlow), emptied
//!             │        3 close                     │ 4 next
//!             └──────────▶ Closing(why) ───────────┴──▶ told when empty
//! ```
//! 1, 2: [`Outbox::push`]; 3: [`Outbox::close`]; 4: [`Outbox::next`].

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use async_tungstenite::tungstenite::Utf8Bytes;
use clap::ValueEnum;
use threeply_runtime::sync::local::{Event, Notify};

use super::member::End;

/// What becomes of a member who doesn't take what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Slow {
    /// The oldest lines are left out, and the member is told how many.
    Drop,
    /// The connection is closed.
    Disconnect,
}

/// What is to be sent next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// This frame.
    Text(Utf8Bytes),
    /// That so many were left out.
    Missed(u64),
    /// Nothing any more.
    Close(End),
}

/// The queue. Used by the tasks of one loop.
#[derive(Debug)]
pub struct Outbox {
    queue: RefCell<VecDeque<Utf8Bytes>>,
    /// Left out since that was last told.
    missed: Cell<u64>,
    closing: Cell<Option<End>>,
    most: usize,
    slow: Slow,
    changed: Notify,
    hopeless: Event,
}

impl Outbox {
    /// An empty queue for `most` frames.
    pub fn new(most: usize, slow: Slow) -> Outbox {
        Outbox {
            queue: RefCell::default(),
            missed: Cell::new(0),
            closing: Cell::new(None),
            most,
            slow,
            changed: Notify::new(),
            hopeless: Event::new(),
        }
    }

    /// Adds a frame; never waits. O(1).
    pub fn push(&self, text: Utf8Bytes) {
        if self.closing.get().is_some() {
            return;
        }
        let mut queue = self.queue.borrow_mut();
        if queue.len() >= self.most {
            match self.slow {
                Slow::Drop => {
                    queue.pop_front();
                    self.missed.set(self.missed.get() + 1);
                }
                Slow::Disconnect => {
                    queue.clear();
                    self.closing.set(Some(End::TooSlow));
                    self.hopeless.set();
                    self.changed.notify_one();
                    return;
                }
            }
        }
        queue.push_back(text);
        self.changed.notify_one();
    }

    /// Lets the connection end when what waits has been sent. The first reason
    /// counts.
    pub fn close(&self, why: End) {
        if self.closing.get().is_none() {
            self.closing.set(Some(why));
            self.changed.notify_one();
        }
    }

    /// What is to be sent next, when there is something. Cancel-safe.
    pub async fn next(&self) -> Next {
        loop {
            if self.missed.get() > 0 {
                return Next::Missed(self.missed.take());
            }
            if let Some(text) = self.queue.borrow_mut().pop_front() {
                return Next::Text(text);
            }
            if let Some(why) = self.closing.get() {
                return Next::Close(why);
            }
            self.changed.notified().await;
        }
    }

    /// Waits until the member was given up as too slow: then whatever is being
    /// sent has to be left.
    pub async fn is_hopeless(&self) {
        self.hopeless.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use threeply_runtime::block_on;

    fn filled(slow: Slow) -> Outbox {
        let outbox = Outbox::new(3, slow);
        for text in ["1", "2", "3", "4", "5"] {
            outbox.push(text.into());
        }
        outbox
    }

    #[test]
    fn the_oldest_are_left_out_and_counted() {
        let outbox = filled(Slow::Drop);
        block_on(async {
            assert_eq!(outbox.next().await, Next::Missed(2));
            for text in ["3", "4", "5"] {
                assert_eq!(outbox.next().await, Next::Text(text.into()));
            }
        });
    }

    #[test]
    fn or_the_member_is_given_up() {
        let outbox = filled(Slow::Disconnect);
        block_on(async {
            outbox.is_hopeless().await;
            assert_eq!(outbox.next().await, Next::Close(End::TooSlow));
        });
        outbox.push("6".into());
        assert!(outbox.queue.borrow().is_empty());
    }

    #[test]
    fn what_waits_is_sent_before_the_end() {
        let outbox = Outbox::new(3, Slow::Drop);
        outbox.push("last".into());
        outbox.close(End::Stopping);
        outbox.close(End::TooFast);
        outbox.push("too late".into());
        block_on(async {
            assert_eq!(outbox.next().await, Next::Text("last".into()));
            assert_eq!(outbox.next().await, Next::Close(End::Stopping));
        });
    }
}
