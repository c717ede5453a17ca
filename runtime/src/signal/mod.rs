//! Signals to this process, as something to await.
//!
//! ```text
//!   kernel ──▶ handler (any thread) ──bit + eventfd──▶ slot ──▶ Signals (its loop)
//! ```
//! A handler may do next to nothing: no lock, no allocation. Ours walks a fixed
//! table of slots; each slot that wants the signal gets a bit set and its eventfd
//! written, which wakes the loop that waits for it.
//!
//! Rules that make this sound:
//! 1. The table is made once and its slots' eventfds are never closed, so the
//!    handler can't write to a descriptor that has become somebody else's.
//! 2. Only atomics are shared with the handler; [`post`] holds the protocol: a
//!    signal may wake in vain, but never goes unseen.
//! 3. Taking and giving back slots and dispositions happens under one mutex, which
//!    the handler never touches.
//!
//! Rejected: `signalfd`. It needs the signals blocked in *every* thread, those of
//! other libraries included, and children inherit the mask.
#![allow(unsafe_code)] // Installing a handler: the table and rules above are the argument.

pub mod post;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use futures_core::Stream;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};

use self::post::Post;
use crate::inspect::{self, WaitsFor};
use crate::io::Async;
use crate::limits::SIGNAL_STREAMS;
use crate::sys::eventfd::EventFd;

/// A signal that can be awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

impl Signal {
    /// Ctrl-C on the terminal (`SIGINT`).
    pub const INTERRUPT: Signal = Signal(libc::SIGINT);
    /// The polite request to end, as of `kill` and of service managers (`SIGTERM`).
    pub const TERMINATE: Signal = Signal(libc::SIGTERM);
    /// The terminal has gone; to daemons, "read your configuration again" (`SIGHUP`).
    pub const HANGUP: Signal = Signal(libc::SIGHUP);
    /// Ctrl-\ on the terminal (`SIGQUIT`).
    pub const QUIT: Signal = Signal(libc::SIGQUIT);
    /// A child has ended, stopped or gone on (`SIGCHLD`).
    pub const CHILD: Signal = Signal(libc::SIGCHLD);
    /// For programs' own use (`SIGUSR1`).
    pub const USER_1: Signal = Signal(libc::SIGUSR1);
    /// For programs' own use (`SIGUSR2`).
    pub const USER_2: Signal = Signal(libc::SIGUSR2);
    /// The terminal's size has changed (`SIGWINCH`).
    pub const WINDOW: Signal = Signal(libc::SIGWINCH);

    /// The signal of this number.
    ///
    /// # Errors
    /// `InvalidInput` for numbers that are none (or real-time signals), for `SIGKILL` and `SIGSTOP`,
    /// which nobody can catch, and for those that tell of a fault in this very
    /// thread (`SIGSEGV`, `SIGBUS`, `SIGFPE`, `SIGILL`), after which there is
    /// nothing left to await.
    pub fn from_number(number: i32) -> io::Result<Signal> {
        let refused = [
            libc::SIGKILL,
            libc::SIGSTOP,
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
        ];
        let known = nix::sys::signal::Signal::try_from(number).is_ok();
        if !known || refused.contains(&number) {
            let message = format!("signal {number} can't be awaited");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(Signal(number))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    fn bit(self) -> u64 {
        1 << self.0
    }

    fn nix(self) -> io::Result<nix::sys::signal::Signal> {
        Ok(nix::sys::signal::Signal::try_from(self.0)?)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match nix::sys::signal::Signal::try_from(self.0) {
            Ok(signal) => f.write_str(signal.as_str()),
            Err(_) => write!(f, "signal {}", self.0),
        }
    }
}

/// Waits for Ctrl-C (`SIGINT`), once.
///
/// From the first poll until this future is dropped, `SIGINT` doesn't end the
/// process; afterwards it does again. To go on watching, hold a [`Signals`].
///
/// # Cancel safety
/// Safe.
///
/// # Errors
/// As [`Signals::new`].
pub async fn ctrl_c() -> io::Result<()> {
    Signals::new(&[Signal::INTERRUPT])?.recv().await.map(drop)
}

/// Waits for a request to end the program: Ctrl-C or `SIGTERM`; returns which.
///
/// # Cancel safety
/// Safe.
///
/// # Errors
/// As [`Signals::new`].
pub async fn shutdown_requested() -> io::Result<Signal> {
    Signals::new(&[Signal::INTERRUPT, Signal::TERMINATE])?
        .recv()
        .await
}

/// A stream of the signals asked for, as they come.
///
/// While it lives, they don't have their usual effect. Several streams may ask for
/// the same signal: each gets it. When the last one is dropped the signal's former
/// disposition is put back. A signal that comes again before it was received is
/// received once, as the kernel itself has it.
pub struct Signals {
    slot: &'static Slot,
    io: Async<&'static EventFd>,
    /// The signals of which this stream is counted as a catcher.
    installed: u64,
}

/// One stream's share of the table (rules 1 and 2).
#[derive(Default)]
struct Slot {
    post: Post,
    event: OnceLock<EventFd>,
}

/// Made before the first handler is installed.
static SLOTS: OnceLock<Box<[Slot]>> = OnceLock::new();

fn slots() -> &'static [Slot] {
    SLOTS.get_or_init(|| (0..SIGNAL_STREAMS).map(|_| Slot::default()).collect())
}

/// For each signal that is caught: by how many streams, and what it did before.
static CAUGHT: Mutex<BTreeMap<i32, (usize, SigAction)>> = Mutex::new(BTreeMap::new());

fn caught() -> MutexGuard<'static, BTreeMap<i32, (usize, SigAction)>> {
    CAUGHT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs on whatever thread the kernel picks, between any two of its instructions.
extern "C" fn handler(signal: i32) {
    // SAFETY: returns the address of this thread's errno, which is always valid.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above. Kept, since the code that was interrupted may look at it.
    let before = unsafe { *errno };
    let bit = 1_u64 << (signal & 63);
    for slot in SLOTS.get().into_iter().flatten() {
        slot.post.deliver(bit, || {
            if let Some(event) = slot.event.get() {
                let _ = event.notify();
            }
        });
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

impl Signals {
    /// Begins to catch `signals`.
    ///
    /// # Errors
    /// `QuotaExceeded` if [`SIGNAL_STREAMS`] streams exist already; the kernel's.
    pub fn new(signals: &[Signal]) -> io::Result<Signals> {
        let wanted = signals.iter().fold(0, |all, signal| all | signal.bit());
        let mut table = caught();
        let Some(slot) = slots().iter().find(|slot| slot.post.is_free()) else {
            let message = format!(
                "{SIGNAL_STREAMS} streams of signals exist already: share one, or drop some"
            );
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
        };
        let event = match slot.event.get() {
            Some(event) => event,
            None => {
                let event = EventFd::new()?;
                slot.event.get_or_init(|| event)
            }
        };
        let _ = event.drain(); // What a former stream left.
        let io = Async::new(event)?;
        slot.post.reset(wanted);
        let mut stream = Signals {
            slot,
            io,
            installed: 0,
        };
        for signal in signals {
            if stream.installed & signal.bit() != 0 {
                continue; // Named twice.
            }
            if let Err(error) = catch(&mut table, *signal) {
                drop(table); // Dropping the stream takes it.
                return Err(error);
            }
            stream.installed |= signal.bit();
        }
        Ok(stream)
    }

    /// Waits for the next signal. If several have come, the lowest number first.
    ///
    /// # Cancel safety
    /// Safe: a signal that wasn't returned is there for the next call.
    ///
    /// # Errors
    /// If the descriptor beneath can't be watched.
    pub async fn recv(&mut self) -> io::Result<Signal> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// A signal that has come already, if any.
    pub fn try_recv(&mut self) -> Option<Signal> {
        // Acquire: pairs with the handler's Release.
        let number = self.slot.post.take(self.installed)?;
        Some(Signal(number.cast_signed()))
    }

    fn caught(&self) -> impl Iterator<Item = Signal> {
        let caught = (1..64).filter(|number| self.installed & (1 << number) != 0);
        caught.map(Signal)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Signal>> {
        loop {
            if let Some(signal) = self.try_recv() {
                return Poll::Ready(Ok(signal));
            }
            let drained = self.io.poll_read_with(cx, |event| match event.drain()? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            });
            if drained.is_pending() {
                inspect::note(|| WaitsFor::Signals(self.caught().collect()));
            }
            std::task::ready!(drained)?;
        }
    }
}

/// Counts one stream more for `signal`, and installs the handler for the first.
fn catch(table: &mut BTreeMap<i32, (usize, SigAction)>, signal: Signal) -> io::Result<()> {
    if let Some((streams, _)) = table.get_mut(&signal.0) {
        *streams += 1;
        return Ok(());
    }
    // SA_RESTART: other code's system calls go on as if nothing had happened.
    let action = SigAction::new(
        SigHandler::Handler(handler),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    // SAFETY: the handler keeps to rules 1 and 2, so it may run at any moment.
    let before = unsafe { sigaction(signal.nix()?, &action) }?;
    table.insert(signal.0, (1, before));
    Ok(())
}

/// Counts one stream less, and puts back what was before for the last.
fn release(table: &mut BTreeMap<i32, (usize, SigAction)>, number: i32) {
    let Some((streams, before)) = table.get_mut(&number) else {
        return;
    };
    *streams -= 1;
    if *streams > 0 {
        return;
    }
    if let Ok(signal) = Signal(number).nix() {
        // SAFETY: what the kernel said was installed before us.
        let _ = unsafe { sigaction(signal, before) };
    }
    table.remove(&number);
}

impl Drop for Signals {
    fn drop(&mut self) {
        let mut table = caught();
        for number in (1..64).filter(|number| self.installed & (1 << number) != 0) {
            release(&mut table, number);
        }
        self.slot.post.reset(0);
    }
}

impl Stream for Signals {
    type Item = io::Result<Signal>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Some)
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals")
            .field("caught", &self.caught().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_on;
    use std::time::Duration;

    fn raise(signal: Signal) {
        nix::sys::signal::raise(signal.nix().unwrap()).unwrap();
    }

    /// The table of slots and the dispositions belong to the whole process.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    fn run<F: Future>(test: F) -> F::Output {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        block_on(crate::time::timeout(Duration::from_secs(20), test)).expect("the test hangs")
    }

    /// What `/proc` says: whether this process catches `signal`.
    fn is_caught(signal: Signal) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))
            .unwrap();
        let mask = u64::from_str_radix(line.trim(), 16).unwrap();
        mask & (1 << (signal.number() - 1)) != 0
    }

    #[test]
    fn every_stream_gets_each_signal_until_the_last_is_dropped() {
        run(async {
            let mut one = Signals::new(&[Signal::USER_1, Signal::USER_1]).unwrap();
            let mut two = Signals::new(&[Signal::USER_1, Signal::WINDOW]).unwrap();
            assert_eq!(one.try_recv(), None);
            raise(Signal::USER_1);
            raise(Signal::USER_1);
            assert_eq!(one.recv().await.unwrap(), Signal::USER_1);
            assert_eq!(two.recv().await.unwrap(), Signal::USER_1);
            assert_eq!(one.try_recv(), None);
            drop(one);
            let waiting = crate::spawn(async move {
                let first = two.recv().await.unwrap();
                (first, two.recv().await.unwrap())
            });
            crate::time::sleep(Duration::from_millis(1)).await;
            raise(Signal::USER_1);
            crate::time::sleep(Duration::from_millis(1)).await;
            raise(Signal::WINDOW);
            let both = waiting.await.unwrap();
            assert_eq!(both, (Signal::USER_1, Signal::WINDOW));
            assert!(!is_caught(Signal::USER_1));
        });
    }

    #[test]
    fn a_cancelled_recv_loses_no_signal() {
        run(async {
            let mut signals = Signals::new(&[Signal::USER_2]).unwrap();
            let nothing = crate::time::timeout(Duration::from_millis(1), signals.recv()).await;
            assert!(nothing.is_err());
            raise(Signal::USER_2);
            assert_eq!(signals.recv().await.unwrap(), Signal::USER_2);
        });
    }

    #[test]
    fn signals_that_cannot_be_awaited_are_refused() {
        for number in [0, -1, 64, libc::SIGKILL, libc::SIGSEGV] {
            assert!(Signal::from_number(number).is_err());
        }
        assert_eq!(
            Signal::from_number(libc::SIGTERM).unwrap(),
            Signal::TERMINATE
        );
        assert_eq!(Signal::TERMINATE.to_string(), "SIGTERM");
    }

    #[test]
    fn streams_are_limited_and_slots_come_back() {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..2 {
            let mut streams = Vec::new();
            let error = loop {
                match Signals::new(&[Signal::CHILD]) {
                    Ok(stream) => streams.push(stream),
                    Err(error) => break error,
                }
                assert!(streams.len() <= SIGNAL_STREAMS);
            };
            assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        }
    }
}
