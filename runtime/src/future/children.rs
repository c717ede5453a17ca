//! The engine under every combinator over many futures: poll those children that
//! may have something new, hand out what they return.
//!
//! *Read after* [`super::join`] (a user of it); *next* [`super::ready`].
//!
//! Up to [`SCANNED_CHILDREN`] children are all polled at each wake: they get the
//! parent's own waker and cost no memory. Beyond that each child has a waker of
//! its own and only those that were woken are polled: n children that finish one
//! after another cost n polls, not n²/2.

#![allow(unsafe_code)] // To pin the children in place; one block.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::ready::ReadySet;
use crate::inspect::round;

/// So many children at most are all polled at each wake. A poll of a pending
/// child costs a few ns, a child's waker an allocation and three atomic
/// read-modify-writes a wake, 40 to 60 ns: the two break even around here.
pub const SCANNED_CHILDREN: usize = 32;

/// A fixed set of futures, polled together. Memory: one allocation, plus 48
/// bytes a child if there are more than [`SCANNED_CHILDREN`].
pub struct Children<F> {
    /// A finished child's place is emptied at once, so its destructor runs then.
    places: Pin<Box<[Option<F>]>>,
    left: usize,
    policy: Policy,
}

enum Policy {
    /// Poll all, beginning at the place where the last round stopped.
    Scan { next: usize },
    Woken {
        ready: Arc<ReadySet>,
        wakers: Box<[Option<Waker>]>,
        /// The word that is being worked off and what is left of it.
        word: usize,
        bits: u64,
    },
}

/// The waker of one child.
struct ChildWaker {
    child: usize,
    ready: Arc<ReadySet>,
}

impl Wake for ChildWaker {
    fn wake(self: Arc<Self>) {
        self.ready.mark(self.child);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.mark(self.child);
    }
}

impl<F: Future> Children<F> {
    /// Takes the futures; polls none of them.
    pub fn new(futures: impl IntoIterator<Item = F>) -> Self {
        let places: Box<[Option<F>]> = futures.into_iter().map(Some).collect();
        let count = places.len();
        let policy = if count <= SCANNED_CHILDREN {
            Policy::Scan { next: 0 }
        } else {
            Policy::Woken {
                ready: Arc::new(ReadySet::all_ready(count)),
                wakers: (0..count).map(|_| None).collect(),
                word: 0,
                bits: 0,
            }
        };
        Children {
            places: Box::into_pin(places),
            left: count,
            policy,
        }
    }

    /// Children that were there at the beginning.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there never was a child.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Children that have not finished.
    pub fn left(&self) -> usize {
        self.left
    }

    /// The futures that have not finished, in order.
    pub fn into_futures(mut self) -> impl Iterator<Item = F>
    where
        F: Unpin,
    {
        let places = Pin::get_mut(self.places.as_mut());
        let left: Vec<F> = places.iter_mut().filter_map(Option::take).collect();
        left.into_iter()
    }

    /// One round: polls every child that may have something new, at most once,
    /// and gives the output of each that finishes to `done`, with its index. A
    /// `Break` from `done` ends the round early; the next one goes on after that
    /// child, so a child that is always ready starves no other.
    pub fn poll_round<B>(
        &mut self,
        cx: &mut Context<'_>,
        mut done: impl FnMut(usize, F::Output) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Children {
            places,
            left,
            policy,
        } = self;
        let count = places.len();
        let mut poll =
            |child: usize, cx: &mut Context<'_>| match poll_place(places.as_mut(), child, cx) {
                Some(output) => {
                    *left -= 1;
                    done(child, output)
                }
                None => ControlFlow::Continue(()),
            };
        match policy {
            Policy::Scan { next } => {
                let first = *next;
                for child in (first..count).chain(0..first) {
                    *next = (child + 1) % count;
                    poll(child, cx)?;
                }
            }
            Policy::Woken {
                ready,
                wakers,
                word,
                bits,
            } => {
                // A dump asks all children.
                let asked = round::is_asking();
                if asked {
                    (0..count).for_each(|child| ready.mark(child));
                }
                ready.begin(cx.waker());
                let words = count.div_ceil(64);
                // What an early end left over, then each word once.
                for step in 0..=words {
                    if step > 0 {
                        *word = (*word + 1) % words;
                        *bits = ready.take(*word);
                    }
                    while *bits != 0 {
                        let child = *word * 64 + bits.trailing_zeros() as usize;
                        *bits &= *bits - 1;
                        let waker = wakers[child].get_or_insert_with(|| {
                            let ready = ready.clone();
                            Arc::new(ChildWaker { child, ready }).into()
                        });
                        if asked {
                            round::alias(waker);
                        }
                        poll(child, &mut Context::from_waker(waker))?;
                    }
                }
                if asked {
                    // They were asked and did nothing: poll them again.
                    (0..count).for_each(|child| ready.mark(child));
                }
            }
        }
        ControlFlow::Continue(())
    }
}

impl<F> Drop for Children<F> {
    /// A child's waker may outlive us; the parent's should not with it.
    fn drop(&mut self) {
        if let Policy::Woken { ready, .. } = &self.policy {
            ready.forget_parent();
        }
    }
}

/// Polls one child if it hasn't finished; empties its place if it does.
fn poll_place<F: Future>(
    places: Pin<&mut [Option<F>]>,
    child: usize,
    cx: &mut Context<'_>,
) -> Option<F::Output> {
    // SAFETY: the place is a part of a pinned slice, and nothing else here moves
    // out of a place: the child is polled and dropped where it lies, by
    // `Pin::set`. The closure returns what lies inside its argument.
    let mut place = unsafe { places.map_unchecked_mut(|places| &mut places[child]) };
    match place.as_mut().as_pin_mut()?.poll(cx) {
        Poll::Ready(output) => {
            place.set(None);
            Some(output)
        }
        Poll::Pending => None,
    }
}
