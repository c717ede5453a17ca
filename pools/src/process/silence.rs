//! Who is told of a worker's replies: its caller alone, or the supervisor too.
//!
//! A job that an idle worker gets is sent *quietly*: its caller will wait for the
//! reply and read it, so nobody else need be woken. That is a promise of the caller,
//! and whoever needs the reply for another reason breaks the silence:
//!
//! ```text
//!            begin (quiet)                      begin (not quiet)
//!                 ▼                                     ▼
//!            ┌─────────┐  end: asks for the bell   ┌─────────┐
//!            │ silent  │ ────────────────────────▶ │  heard  │
//!            └─────────┘  interrupt: somebody must └─────────┘
//!                         look in its stead
//! ```
//!
//! 1. All of this happens under the pool's lock; only [`Wake::silence`] by a caller that
//!    has the right to read doesn't, since that one asks anew when it leaves.
//! 2. A handle that isn't waited for by blocking *ends* the silence
//!    ([`Shared::watch`](super::shared::Shared::watch)), and looks after it has asked. One
//!    that is awaited does so when it is first polled: a worker on the loop's own processor
//!    has answered by then, and has rung nobody.
//! 3. A job that has to be queued *interrupts* every silence: the supervisor is rung, takes
//!    what right to read it gets, and ends the silence when it leaves. Where it gets none,
//!    the holder does.
//! 4. Of a worker's death a caller that sleeps on its bell alone hears from whoever notices
//!    ([`Role::take_or`](super::role::Role::take_or)).
//!
//! `tests/loom/process/silence.rs` has a model for each of 2, 3 and 4, and their twins.
//!
//! Read before this: [`super::bell`] and [`super::role`]. Read after it: [`super::pump`].

use crate::process::bell::Wake;
use crate::switch::{Weakening, weakened};

/// Whether a worker's replies ring nobody but the caller who has that job.
#[derive(Debug, Default)]
pub struct Silence(bool);

impl Silence {
    /// An idle worker gets job `seq`. If not `quiet`, its reply rings the supervisor.
    pub fn begin(&mut self, quiet: bool, seq: u64, supervisor: &Wake) {
        self.0 = quiet;
        if quiet {
            supervisor.silence();
        } else {
            supervisor.ask(seq);
        }
    }

    /// The supervisor is asked to be told, by whoever calls this.
    pub fn end(&mut self) {
        self.0 = false;
    }

    /// Whether there was silence; then the supervisor must be rung, to look and to end it.
    #[must_use]
    pub fn interrupt(&mut self) -> bool {
        std::mem::take(&mut self.0) && !weakened(Weakening::SilenceUnbroken)
    }
}
