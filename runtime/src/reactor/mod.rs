//! epoll's side of the loop: which descriptors are watched, and for whom.
//!
//! ```text
//!   io::Async ──Rc──▶ Source (readiness, wakers) ◀──Rc── slot ◀── token in epoll
//! ```
//! `README.md` beside this file tells the life of a read. Read [`source`] next: it
//! holds the rules of readiness. This file holds the table from epoll's tokens to
//! sources, and the poll itself.
//!
//! A token is a slot's number and the slot's generation. An event for a socket
//! that was closed in the same batch, or for a copy (`dup`) of it that lives on,
//! finds another generation and is dropped.
//!
//! The epoll instance is made when the first descriptor needs it: a loop that
//! only computes or sleeps starts without.
//!
//! Rejected: a slab of readiness inside the reactor, with indices in the sockets.
//! Every read would have to find the loop (a thread-local) before it could look at
//! its flag; a shared `Source` is reached directly, and the table is only needed
//! for events.

pub mod source;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Token};

use crate::limits::TRACE_TOLD_AT_ONCE;
use crate::trace::{self, Kind, emit_moment};

pub use source::{Direction, Source};

/// The table of watched descriptors, and epoll beneath it.
pub struct Reactor {
    poll: RefCell<Option<mio::Poll>>,
    slots: RefCell<Slots>,
    /// Slots that are taken.
    watched: Cell<usize>,
}

#[derive(Default)]
struct Slots {
    list: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    source: Option<Rc<Source>>,
}

fn token(index: u32, generation: u32) -> usize {
    (generation as usize) << 32 | index as usize
}

impl Slots {
    fn insert(&mut self, source: Rc<Source>) -> usize {
        let index = self.free.pop().unwrap_or_else(|| {
            self.list.push(Slot {
                generation: 0,
                source: None,
            });
            u32::try_from(self.list.len() - 1).expect("there are fewer descriptors than that")
        });
        let slot = &mut self.list[index as usize];
        slot.source = Some(source);
        token(index, slot.generation)
    }

    fn remove(&mut self, token: usize) -> Option<Rc<Source>> {
        let slot = self.slot(token)?;
        let source = slot.source.take()?;
        // The top bit stays clear: such tokens belong to the loop itself.
        slot.generation = (slot.generation + 1) & (u32::MAX >> 1);
        self.free.push(token as u32);
        Some(source)
    }

    /// The slot, unless another generation lives there.
    fn slot(&mut self, token: usize) -> Option<&mut Slot> {
        let slot = self.list.get_mut(token as u32 as usize)?;
        (slot.generation as usize == token >> 32).then_some(slot)
    }
}

/// The loop's own descriptors, whose events end a sleep and mean nothing else.
#[derive(Clone, Copy, Debug)]
pub enum Own {
    /// The eventfd that other threads ring.
    Bell,
    /// The timerfd.
    Timer,
}

impl Reactor {
    /// One that watches nothing yet. Costs no system call.
    #[must_use]
    pub fn new() -> Rc<Reactor> {
        Rc::new(Reactor {
            poll: RefCell::new(None),
            slots: RefCell::default(),
            watched: Cell::new(0),
        })
    }

    /// Runs `f` with the reactor of the loop that runs on this thread.
    pub(crate) fn with_current<R>(f: impl FnOnce(&Rc<Reactor>) -> R) -> R {
        crate::context::with(|core| f(core.reactor()))
    }

    /// Whether any descriptor but the loop's own is watched.
    #[inline]
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.watched.get() != 0
    }

    /// Tells `f` of everybody that waits for a descriptor. For dumps; O(n). `f`
    /// must not come back here.
    pub fn each_waiter(&self, mut f: impl FnMut(RawFd, Direction, &Waker)) {
        let slots = self.slots.borrow();
        for source in slots.list.iter().filter_map(|slot| slot.source.as_ref()) {
            source.each_waiter(&mut |direction, waker| f(source.fd(), direction, waker));
        }
    }

    /// Watches a descriptor of the loop itself.
    ///
    /// # Errors
    /// epoll's.
    pub fn watch_own(&self, fd: RawFd, own: Own) -> io::Result<()> {
        // The top bit, which tokens of sources never have.
        let token = Token(1 << (usize::BITS - 1) | own as usize);
        self.with_poll(|poll| {
            let registry = poll.registry();
            registry.register(&mut SourceFd(&fd), token, Interest::READABLE)
        })
    }

    fn with_poll<R>(&self, f: impl FnOnce(&mio::Poll) -> io::Result<R>) -> io::Result<R> {
        let mut poll = self.poll.borrow_mut();
        if poll.is_none() {
            *poll = Some(mio::Poll::new()?);
        }
        f(poll.as_ref().expect("made a line above"))
    }

    /// Watches `source`, edge-triggered and in both directions.
    pub(super) fn register(&self, source: &Rc<Source>) -> io::Result<usize> {
        let token = self.slots.borrow_mut().insert(source.clone());
        self.watched.set(self.watched.get() + 1);
        let fd = source.fd();
        let both = Interest::READABLE | Interest::WRITABLE;
        let watched = self.with_poll(|poll| {
            let registry = poll.registry();
            match registry.register(&mut SourceFd(&fd), Token(token), both) {
                // The very file was watched under this number before, and a copy
                // of it kept the entry alive: take the entry over.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    registry.reregister(&mut SourceFd(&fd), Token(token), both)
                }
                result => result,
            }
        });
        if let Err(error) = watched {
            self.release(token);
            return Err(explain(error));
        }
        Ok(token)
    }

    /// Stops watching a descriptor that stays open.
    pub(super) fn deregister(&self, token: usize, fd: RawFd) {
        self.release(token);
        // An error here means that the descriptor is closed, so not watched.
        let _ = self.with_poll(|poll| poll.registry().deregister(&mut SourceFd(&fd)));
    }

    /// Gives the slot back; events that still come for it are dropped.
    pub(super) fn release(&self, token: usize) {
        let source = self.slots.borrow_mut().remove(token);
        if source.is_some() {
            self.watched.set(self.watched.get() - 1);
        }
        drop(source); // Outside the borrow.
    }

    /// Waits for events, at most `timeout` (rounded up to whole milliseconds by
    /// epoll; `None` is for ever), and tells their sources. Returns how many
    /// there were.
    ///
    /// # Errors
    /// epoll's; being interrupted by a signal isn't one.
    pub fn poll(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        let mut poll = self.poll.borrow_mut();
        if poll.is_none() {
            *poll = Some(mio::Poll::new()?);
        }
        let waited = poll.as_mut().expect("made above").poll(events, timeout);
        drop(poll);
        match timeout {
            None => emit_moment(Kind::ParkEnd, line!(), 0, 0),
            Some(_) => trace::let_time_pass(),
        }
        match waited {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            result => result?,
        }
        for event in events.iter() {
            self.dispatch(event);
        }
        let count = events.iter().count();
        if count > TRACE_TOLD_AT_ONCE {
            trace::let_time_pass();
        }
        Ok(count)
    }

    /// Tells the source of `event` what has come.
    fn dispatch(&self, event: &Event) {
        let source = match self.slots.borrow_mut().slot(event.token().0) {
            Some(Slot {
                source: Some(source),
                ..
            }) => source.clone(),
            _ => return,
        };
        let error = event.is_error();
        let read_ended = event.is_read_closed() || error;
        if event.is_readable() || read_ended {
            source.event(Direction::Read, read_ended);
        }
        let write_ended = event.is_write_closed() || error;
        if event.is_writable() || write_ended {
            source.event(Direction::Write, write_ended);
        }
    }
}

/// What epoll's errors mean to somebody who didn't write the reactor.
fn explain(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EPERM) => io::Error::new(
            io::ErrorKind::Unsupported,
            "epoll can't watch regular files and directories, which are always ready: \
             use `unblock` for them",
        ),
        Some(libc::ENOSPC) => io::Error::new(
            io::ErrorKind::QuotaExceeded,
            "the user's limit on watched descriptors is reached: raise \
             /proc/sys/fs/epoll/max_user_watches",
        ),
        _ => error,
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.slots.borrow();
        f.debug_struct("Reactor")
            .field("epoll", &self.poll.borrow().is_some())
            .field("sources", &(slots.list.len() - slots.free.len()))
            .finish()
    }
}
