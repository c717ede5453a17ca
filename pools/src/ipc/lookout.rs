//! Waiting for a word without blocking the thread: a thread that sleeps for futures.
//!
//! The kernel's futex stops a thread; a future needs somebody to be stopped in its
//! place. For each word that futures of this process wait on there is one thread,
//! which sleeps on the word as any process would, and wakes the futures when it
//! changes or when a pulse is over. It ends when nobody has come for a while.
//!
//! ```text
//!   poll ──▶ list of the word ──▶ thread: sleep(word) ─▶ changed, or a pulse: wake all
//!   drop ──▶ off the list                    ▲                       │
//!                                            └── still somebody ─────┘
//! ```
//!
//! The futures run on any executor and may be dropped at any time.
//!
//! Read before this: [`super::monitor`].
//!
//! Rejected: *the blocking pool* (a thread for each waiting future, kept from
//! files and name lookups); *`futex_waitv`* (one thread for all words, but Linux
//! 5.16 and no way to add a word while it sleeps); *a descriptor to be rung* (the
//! descriptors of all sleepers would have to be with all who may wake them).
#![allow(unsafe_code)] // goes back from the address of a word to the word

use super::kernel::{Deadline, Slept, futex_wait};
use super::limits::LINGER;
use crate::process::page::Mapping;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::switch::{AtomicU32, Ordering};

/// A word in shared memory that stays mapped.
///
/// Invariant 1: the word lies in the mapping.
#[derive(Debug, Clone)]
struct Watched {
    /// Held, not used.
    _mapping: Arc<Mapping>,
    word: NonNull<AtomicU32>,
}

// SAFETY: atomics may be shared between threads, and the mapping belongs to none.
unsafe impl Send for Watched {}

impl Watched {
    fn word(&self) -> &AtomicU32 {
        // SAFETY: mapped as long as `_mapping` lives (invariant 1).
        unsafe { self.word.as_ref() }
    }
}

#[derive(Debug)]
struct Sleeper {
    number: u64,
    seen: u32,
    /// How it ended, once it has.
    slept: Option<Slept>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Lists {
    /// By the word's address. An entry exists exactly as long as its thread.
    by_word: HashMap<usize, Vec<Sleeper>>,
    next: u64,
}

#[derive(Debug, Default)]
struct Lookout {
    lists: Mutex<Lists>,
    newcomers: Condvar,
}

fn lookout() -> &'static Lookout {
    static LOOKOUT: OnceLock<Lookout> = OnceLock::new();
    LOOKOUT.get_or_init(Lookout::default)
}

fn lock() -> MutexGuard<'static, Lists> {
    let lists = &lookout().lists;
    lists.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A future that ends when a word is no longer what it was, or after a pulse.
///
/// Cancel-safe: dropping it takes it off the list.
#[derive(Debug)]
#[must_use = "a future does nothing unless awaited"]
pub(crate) struct Sleep {
    watched: Watched,
    seen: u32,
    number: Option<u64>,
}

// SAFETY: `Watched` is only reached through `&mut self`.
unsafe impl Sync for Sleep {}

impl Sleep {
    /// Waits while `word`, which lies in the mapping, is `seen`.
    pub(crate) fn new(mapping: Arc<Mapping>, word: &AtomicU32, seen: u32) -> Sleep {
        let word = NonNull::from(word);
        Sleep {
            watched: Watched {
                _mapping: mapping,
                word,
            },
            seen,
            number: None,
        }
    }

    fn address(&self) -> usize {
        self.watched.word.as_ptr() as usize
    }
}

impl Future for Sleep {
    type Output = Slept;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Slept> {
        let mut lists = lock();
        let address = self.address();
        if let Some(number) = self.number {
            let list = lists.by_word.entry(address).or_default();
            let Some(place) = list.iter().position(|sleeper| sleeper.number == number) else {
                return Poll::Ready(Slept::Woken);
            };
            if let Some(slept) = list[place].slept {
                list.swap_remove(place);
                self.number = None;
                return Poll::Ready(slept);
            }
            list[place].waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        if self.watched.word().load(Ordering::Relaxed) != self.seen {
            return Poll::Ready(Slept::Woken);
        }
        let number = lists.next;
        lists.next += 1;
        let is_new = !lists.by_word.contains_key(&address);
        if is_new {
            let watched = self.watched.clone();
            let thread = std::thread::Builder::new().name("threeply-lookout".to_owned());
            if thread.spawn(move || watch(&watched)).is_err() {
                // No thread to be had: better to stop this one for a pulse than to
                // look without end.
                drop(lists);
                return Poll::Ready(futex_wait(self.watched.word(), self.seen, Deadline::NEVER));
            }
        }
        lists.by_word.entry(address).or_default().push(Sleeper {
            number,
            seen: self.seen,
            slept: None,
            waker: cx.waker().clone(),
        });
        self.number = Some(number);
        drop(lists);
        lookout().newcomers.notify_all();
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let address = self.address();
            if let Some(list) = lock().by_word.get_mut(&address) {
                list.retain(|sleeper| sleeper.number != number);
            }
        }
    }
}

/// The life of a word's thread.
fn watch(watched: &Watched) {
    let address = watched.word.as_ptr() as usize;
    let mut lists = lock();
    loop {
        let now = watched.word().load(Ordering::Relaxed);
        let list = lists.by_word.entry(address).or_default();
        let woken = end_where(list, |sleeper| {
            (sleeper.seen != now).then_some(Slept::Woken)
        });
        let waits = list.iter().any(|sleeper| sleeper.slept.is_none());
        if waits {
            drop(lists);
            woken.into_iter().for_each(Waker::wake);
            let slept = futex_wait(watched.word(), now, Deadline::NEVER);
            lists = lock();
            let list = lists.by_word.entry(address).or_default();
            let woken = end_where(list, |_| Some(slept));
            drop(lists);
            woken.into_iter().for_each(Waker::wake);
            lists = lock();
            continue;
        }
        drop(lists);
        woken.into_iter().for_each(Waker::wake);
        lists = lock();
        let idle = |lists: &mut Lists| {
            let list = lists.by_word.entry(address).or_default();
            list.iter().all(|sleeper| sleeper.slept.is_some())
        };
        let (again, time) = lookout()
            .newcomers
            .wait_timeout_while(lists, LINGER, idle)
            .unwrap_or_else(PoisonError::into_inner);
        lists = again;
        // What has ended and wasn't asked yet finds no list, which says "woken".
        if time.timed_out() && idle(&mut lists) {
            lists.by_word.remove(&address);
            return;
        }
    }
}

/// Ends the sleepers for which `how` says so; returns their wakers, to be woken
/// without the lock.
fn end_where(list: &mut [Sleeper], how: impl Fn(&Sleeper) -> Option<Slept>) -> Vec<Waker> {
    let mut wakers = Vec::new();
    for sleeper in list.iter_mut().filter(|sleeper| sleeper.slept.is_none()) {
        if let Some(slept) = how(sleeper) {
            sleeper.slept = Some(slept);
            wakers.push(sleeper.waker.clone());
        }
    }
    wakers
}
