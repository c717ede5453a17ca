//! Reading replies: the one way from a worker's ring to those who wait.
//!
//! Whoever holds a worker's [`ReplyReader`] calls [`Shared::pump`]: the supervisor
//! when its bell rings, or a caller that waits for a result and reads it itself.
//!
//! What keeps a reply from being overlooked when the right changes hands stands in
//! [`super::role`].
//!
//! Read before this: [`super::state`], [`super::link`] and [`super::role`]. Read after it:
//! [`super::death`] and [`super::supervisor`].

use crate::process::limits;
use crate::process::link::Link;
use crate::process::reader::ReplyReader;
use crate::process::shared::Shared;
use crate::process::state::{Delivery, Phase};
use std::sync::Arc;

impl Shared {
    /// Reads all replies that are there, settles them, sends the worker what it
    /// may run next, and tells those who wait.
    ///
    /// Returns whether there was anything.
    pub fn pump(&self, link: &Arc<Link>, reader: &mut ReplyReader) -> bool {
        let mut any = false;
        loop {
            let mut garbage = false;
            while reader.frames.len() < limits::BATCH {
                match reader.next(link.words()) {
                    Ok(Some(frame)) => reader.frames.push(frame),
                    Ok(None) => break,
                    Err(_) => {
                        garbage = true;
                        break;
                    }
                }
            }
            let ReplyReader {
                frames, deliveries, ..
            } = &mut *reader;
            if frames.is_empty() && !garbage {
                return any;
            }
            any = true;
            if link.words().stalled.must_ring() {
                link.ring();
            }
            let mut state = self.lock();
            garbage |= state.settle(link, frames, deliveries).is_err();
            let refilled = !garbage && state.refill(link.slot);
            let waited_for = self.is_waited_for(&state);
            let drained = state.phase != Phase::Open && state.outstanding == 0;
            drop(state);
            frames.clear();
            if refilled {
                link.ring_if_asleep();
            }
            if waited_for {
                self.tell_of_change();
            }
            if drained {
                self.ring_supervisor(); // It decides when the pool is done.
            }
            Delivery::deliver_all(deliveries);
            if garbage {
                // Nothing after this point can be believed.
                link.condemn();
                return any;
            }
        }
    }

    /// Reads what a worker, now dead, had answered before it sent garbage. Its counters
    /// can't be believed, but a worker publishes a reply before it claims the next job:
    /// so the replies of all it has claimed but the last stand in the ring, whole.
    pub fn salvage(&self, link: &Arc<Link>, reader: &mut ReplyReader) {
        loop {
            let mut state = self.lock();
            let front = state.worker(link).and_then(|worker| worker.front());
            let claimed = link.words().claim.first_unclaimed();
            let next = front.map(|sent| sent.next());
            let Some(next) = next.filter(|next| next + 1 < claimed) else {
                return;
            };
            let Some(frame) = reader.salvage(link.words(), next) else {
                return;
            };
            reader.frames.push(frame);
            let settled = state.settle(link, &mut reader.frames, &mut reader.deliveries);
            drop(state);
            Delivery::deliver_all(&mut reader.deliveries);
            if settled.is_err() {
                return;
            }
        }
    }

    /// Gives the right to read back, for the supervisor to go on with, and looks
    /// once more.
    pub fn leave(&self, link: &Arc<Link>, mut reader: ReplyReader) {
        loop {
            let ask = || {
                // Under the lock, as every change of these words.
                let mut state = self.lock();
                let words = link.words();
                words.wake_caller.silence();
                match state.wake_from(link) {
                    Some(seq) => words.wake_supervisor.ask(seq),
                    None => words.wake_supervisor.silence(),
                }
            };
            // Of a worker that sent garbage, only the end is still of interest.
            let look = || (link.has_replies() && !link.sent_garbage()) || link.has_ended();
            let Some(again) = link.reader.leave(reader, ask, look) else {
                return;
            };
            reader = again;
            if link.has_ended() {
                self.bury(link, reader);
                return;
            }
            self.pump(link, &mut reader);
        }
    }

    /// Pumps whatever nobody else does, for one who has nothing better to do.
    pub fn pump_what_is_there(&self) {
        for link in self.links() {
            if link.has_replies() {
                self.pump_if_free(&link);
            }
        }
    }

    /// Pumps if nobody else does.
    pub fn pump_if_free(&self, link: &Arc<Link>) {
        if let Some(mut reader) = link.reader.take() {
            self.pump(link, &mut reader);
            self.leave(link, reader);
        }
    }
}
