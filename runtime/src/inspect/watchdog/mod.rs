//! A thread that notices that the loop hasn't turned for too long, and says who
//! blocks it, where, while it does.
//!
//! *Read after* [`super::publish`]; next [`capture`] (the blocked thread's part),
//! [`unwind`] (from a piece of stack to addresses), [`mod@symbols`] (to names).
//!
//! ```text
//!   watchdog's thread                        loop's thread (blocked)
//!   1 the same poll as `limit` ago?
//!   2 tgkill, a realtime signal ───────────▶ 3 handler: copies its registers and
//!   4 waits for DONE  ◀──────────────────────  a piece of its stack, by one
//!   5 unwinds the copy, finds the names        system call, to a fixed place
//!   6 calls the hook, or writes on stderr
//! ```
//! A signal handler must not lock or allocate: the thread that it interrupts may be
//! inside of the allocator. So ours neither unwinds (the unwinder takes the dynamic
//! linker's lock, and allocates) nor looks for names; it copies bytes. Unwinding the
//! copy afterwards, by the tables that every binary has for panics, gives the same
//! addresses, and needs no frame pointers, which Rust programs usually lack.
//!
//! # What it can't
//! - Show a thread that doesn't take signals: one in an uninterruptible system call,
//!   or one that has blocked all of them. Then it says so.
//! - Use the signal if the program uses the same one (the last but one realtime
//!   signal): then it says so, and leaves it alone.
//! - Unwind on machines other than x86-64: then it says so.
//! - Find names while the blocked thread holds the dynamic linker's lock, or a lock
//!   inside a global allocator that all threads share: the report comes when that is
//!   over. So the default report writes its first line, with the task, before.
//! - See a loop blocked between polls, by a destructor of a finished task, say: it
//!   names the last task that ran.
//!
//! Rejected: `std::backtrace` or `_Unwind_Backtrace` in the handler (see above); a
//! thread that reads the other's stack without stopping it (frames change under its
//! eyes); `ptrace` (needs another process, and permission).

pub mod capture;
mod machine;
mod memory;
pub mod symbols;
pub mod unwind;

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::publish::Running;
use super::watcher::{Stop, Watcher};
use crate::event_loop::Handle;
use crate::limits::WATCHDOG_LOOKS;
use capture::Victim;
pub use symbols::Frame;

/// A poll that takes too long, while it does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stall {
    /// The task that is being polled.
    pub running: Running,
    /// For how long the watchdog has seen it so.
    pub lasted: Duration,
    /// What it is doing, innermost first; or why that can't be told.
    pub backtrace: Result<Vec<Frame>, String>,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the event loop hasn't turned for {:?}: it is blocked by {}",
            self.lasted, self.running
        )?;
        self.fmt_backtrace(f)
    }
}

impl Stall {
    fn fmt_backtrace(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.backtrace {
            Ok(frames) => frames.iter().try_for_each(|frame| write!(f, "\n  {frame}")),
            Err(why) => write!(f, "\n  no backtrace: {why}"),
        }
    }
}

type Hook = dyn Fn(&Stall) + Send + Sync;

/// Who hears of stalls; stderr if nobody was named.
#[derive(Clone, Default)]
pub(crate) struct StallHook(Option<Arc<Hook>>);

impl StallHook {
    pub(crate) fn new(hook: impl Fn(&Stall) + Send + Sync + 'static) -> StallHook {
        StallHook(Some(Arc::new(hook)))
    }
}

impl fmt::Debug for StallHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "a function",
            None => "stderr",
        })
    }
}

/// Begins to watch the loop of the thread that calls this.
pub(crate) fn start(handle: Handle, limit: Duration, hook: StallHook) -> io::Result<Watcher> {
    let victim = Victim::this_thread();
    Watcher::start("threeply-watchdog", None, move |stop| {
        watch(stop, handle, limit, &victim, &hook);
    })
}

fn watch(stop: &Stop, handle: Handle, limit: Duration, victim: &Victim, hook: &StallHook) {
    let pause = (limit / WATCHDOG_LOOKS).max(Duration::from_millis(1));
    // The poll that was seen last, since when, and whether it was reported.
    let mut seen: Option<(u64, Instant, bool)> = None;
    while !stop.sleep(pause) {
        let Some(running) = handle.running() else {
            seen = None;
            continue;
        };
        match &mut seen {
            Some((poll, since, reported)) if *poll == running.poll => {
                if since.elapsed() >= limit && !*reported {
                    *reported = true;
                    report(running, since.elapsed(), victim, hook);
                }
            }
            _ => seen = Some((running.poll, Instant::now(), false)),
        }
    }
}

fn report(running: Running, lasted: Duration, victim: &Victim, hook: &StallHook) {
    let captured = capture::capture(victim);
    let mut stall = Stall {
        running,
        lasted,
        backtrace: Ok(Vec::new()),
    };
    if hook.0.is_none() {
        // Before names are looked for, which may have to wait.
        let _ = writeln!(io::stderr(), "threeply: {stall}");
    }
    stall.backtrace = captured
        .and_then(|captured| unwind::addresses(&captured))
        .map(|addresses| symbols::frames(&addresses));
    match &hook.0 {
        Some(hook) => hook(&stall),
        None => {
            struct Backtrace<'a>(&'a Stall);
            impl fmt::Display for Backtrace<'_> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.fmt_backtrace(f)
                }
            }
            let _ = writeln!(io::stderr(), "threeply: there:{}", Backtrace(&stall));
        }
    }
}

#[cfg(test)]
mod tests;
