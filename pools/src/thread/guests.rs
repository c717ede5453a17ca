//! Guests: threads from outside that take part in a pool for the length of a call.
//!
//! Before this: `staff.rs`. After it: `seat.rs`. A guest borrows a seat, since its lane
//! must have a number that thieves know, and gives it back; the next guest uses it.

use std::sync::Arc;

use crate::switch::atomic::Ordering;
use crate::thread::context;
use crate::thread::registry::Registry;
use crate::thread::seat::Seat;
use crate::thread::sites::Site;

impl Registry {
    /// Runs `f` on this thread with a seat in the pool: its own, if it has one
    /// here, else one it borrows. `site` names the work, for [`sites`](crate::thread::sites).
    #[inline]
    pub fn take_part<R>(self: &Arc<Self>, site: Site, f: impl FnOnce(&Seat) -> R) -> R {
        context::with(|seat| match seat {
            Some(seat) if Arc::ptr_eq(&seat.registry, self) => f(seat),
            _ => self.as_guest(site, f),
        })
    }

    fn as_guest<R>(self: &Arc<Self>, site: Site, f: impl FnOnce(&Seat) -> R) -> R {
        struct Leave<'a>(&'a Arc<Registry>, Option<Box<Seat>>);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                let seat = self.1.take().expect("left once");
                seat.unmark();
                if seat.lane.spares_due().is_some() {
                    seat.lane.free_spares();
                }
                let mut free = self.0.free_guests.lock().unwrap();
                self.0
                    .guests
                    .store(self.0.guests.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
                if self.0.gate.is_open() {
                    free.push(seat);
                } else {
                    // Who ends the pool waits for the last guest.
                    drop(free);
                    drop(seat);
                    self.0.sleep.wake_all();
                }
            }
        }
        assert!(!self.born.is_foreign(), "{}", crate::Error::Forked);
        let seat = {
            let mut free = self.free_guests.lock().unwrap();
            self.guests
                .store(self.guests.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            free.pop()
        };
        let seat = seat.unwrap_or_else(|| {
            Box::new(Seat {
                lane: self.new_lane(false),
                registry: self.clone(),
            })
        });
        let leave = Leave(self, Some(seat));
        let seat = leave.1.as_deref().expect("just put there");
        let _root = seat.begin_root(site);
        context::occupy(seat, || f(seat))
    }

    /// Guests at work now.
    pub fn guests(&self) -> usize {
        self.guests.load(Ordering::Relaxed)
    }
}
