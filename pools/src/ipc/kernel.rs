//! What the protocols ask of the world: sleep on a word, wake, who am I, who lives.
//!
//! Every protocol of this module is written against the trait [`Party`]. In a
//! program it is a segment ([`super::segment`]), whose sleep is the
//! kernel's futex and whose dead are dead processes; in a loom model it is a
//! stand-in whose sleep is a condition variable and whose dead are flags. So loom
//! drives the shipped source.
//!
//! Read before this: nothing. Read after it: [`super::members`].
#![allow(unsafe_code)] // the futex system call

use super::limits::PULSE;
use super::members::Token;
use crate::switch::{AtomicU32, futex_address};
use std::time::{Duration, Instant};

/// How a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slept {
    /// Woken, or the word had changed already, or for no reason at all.
    Woken,
    /// The time is over: look whether those you wait for are still alive.
    Elapsed,
}

/// One process (or model of one) that takes part in a shared object.
pub trait Party {
    /// Sleeps while `word` is `expected`, for at most a pulse, and not beyond the
    /// deadline.
    fn sleep(&self, word: &AtomicU32, expected: u32, deadline: Deadline) -> Slept;
    /// Wakes up to `count` of those who sleep on `word`.
    fn wake(&self, word: &AtomicU32, count: u32);
    /// By what others know this party.
    fn me(&self) -> Token;
    /// Whether the party of that token still takes part and lives.
    fn is_alive(&self, token: Token) -> bool;
    /// Removes the dead from the table. Returns how many deaths there have been.
    fn sweep(&self) -> u32;
    /// How many deaths have been noticed, without looking for more.
    fn deaths(&self) -> u32;
    /// Whether there is another living process in the table, or there has never
    /// been one.
    fn has_peers(&self) -> bool;
}

/// When to give up; or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Wait as long as it takes.
    pub const NEVER: Deadline = Deadline(None);

    /// So much later than now. What is too far away to be counted is never.
    pub fn after(timeout: Duration) -> Deadline {
        Deadline(Instant::now().checked_add(timeout))
    }

    /// Whether it has come.
    pub fn has_passed(self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }

    /// What is left until then, but at most `most`.
    pub fn left(self, most: Duration) -> Duration {
        match self.0 {
            None => most,
            Some(at) => at.saturating_duration_since(Instant::now()).min(most),
        }
    }

    /// What is left until then; `None` if it never comes.
    pub fn remaining(self) -> Option<Duration> {
        self.0
            .map(|at| at.saturating_duration_since(Instant::now()))
    }
}

/// [`Party::sleep`], by a futex that processes share.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> Slept {
    let time = deadline.left(PULSE);
    let timeout = libc::timespec {
        tv_sec: time.as_secs() as libc::time_t,
        tv_nsec: time.subsec_nanos().into(),
    };
    // SAFETY: the word is a mapped, aligned `u32` for as long as the reference
    // lives; the kernel only reads it and the timeout.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            futex_address(word),
            libc::FUTEX_WAIT,
            expected,
            &raw const timeout,
        )
    };
    let elapsed =
        result < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT);
    if elapsed {
        Slept::Elapsed
    } else {
        Slept::Woken
    }
}

/// [`Party::wake`], by a futex that processes share.
pub(crate) fn futex_wake(word: &AtomicU32, count: u32) {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    // SAFETY: the address is only looked up, not accessed.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            futex_address(word),
            libc::FUTEX_WAKE,
            count,
        )
    };
}
