//! What the loop knows about one descriptor: whether it is worth trying, and who
//! waits for it.
//!
//! Read [`super`] first; [`crate::io::Async`] is the user of this.
//!
//! # Readiness is a guess that is checked by trying
//! Each direction has a flag, and the life of a read (a write is the same) is
//!
//! ```text
//!             ┌──────────── 1 event: there is something ◀───────────┐
//!             ▼                                                     │
//!         ┌───────┐  2 the call says "would block"             ┌────┴────┐
//!  new ──▶│ ready │ ───────────────────────────────────────▶   │  empty  │
//!         └───────┘  3 a short read emptied it                 └─────────┘
//! ```
//! 1. `Source::event`; 2. [`Source::clear`]; 3. [`Source::drained`].
//!
//! A new source counts as ready, so the first call is tried at once; only one
//! that would block makes us register with epoll ([`Source::wait`]). Many
//! sockets never do. Registration is edge-triggered, for both directions at once,
//! so there is one `epoll_ctl` in the life of a socket, and closing the
//! descriptor undoes it.
//!
//! Why no event is lost: the flag is cleared only after the kernel has said that
//! there is nothing, and every change after that is an edge, which epoll keeps
//! until the loop's next turn. Registering reports what is there already. The
//! exception is a *short read*: it proves that the socket was empty, but not
//! that the peer's end (FIN) hadn't come before, whose edge may be spent. So an
//! event that tells of the end makes the flag stick (`ended`), and transition 3
//! doesn't apply any more.
//!
//! # Who waits
//! `poll_read` and `poll_write` are for one task each: the last one that asked is
//! woken. `async` functions on `&self` (`accept`, `recv_from`, `readable`) may be
//! awaited by any number of tasks: all are woken, and try again.
//!
//! Nearly always it is one task, and an idle connection should cost little
//! memory. So each direction has one seat for a waker, and only those who find it
//! taken by another task go into a list, which is allocated then. Who polls may
//! take the seat from whoever polled before, but not from an `async` function: that
//! one moves to the list. Wakers that nobody waits for any more may stay in the
//! seat, for one wake in vain; those in the list leave with their futures.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use super::Reactor;
use crate::trace::{Kind, emit_at_once, is_on};

/// What one waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Something to read, a connection to accept, or the end.
    Read,
    /// Room to write, a connection that stands, or an error.
    Write,
}

/// The loop's knowledge of one descriptor; shared by its owner and the reactor.
///
/// The owner must call [`Source::forget`] before it gives the descriptor away
/// open. One that closes it needn't.
pub struct Source {
    fd: RawFd,
    /// Where it is registered, if it is.
    home: RefCell<Option<Home>>,
    read: Side,
    write: Side,
    /// Most sources never need it.
    waiters: Cell<Option<Box<Waiters>>>,
}

struct Home {
    reactor: Weak<Reactor>,
    token: usize,
}

struct Side {
    ready: Cell<bool>,
    /// The end or an error has been announced: trying never blocks again.
    ended: Cell<bool>,
    /// Who waits, if it is one task.
    seat: Cell<Option<Waker>>,
    /// Whether an `async` function sits there.
    reserved: Cell<bool>,
}

/// Those who found the seat taken. Ids are above zero and never come again: once
/// made, the list stays, since a future whose entry was taken out by an event must
/// not take somebody else for itself.
#[derive(Default)]
struct Waiters {
    last_id: u64,
    list: Vec<(u64, Direction, Waker)>,
}

impl Side {
    fn new() -> Side {
        Side {
            ready: Cell::new(true),
            ended: Cell::new(false),
            seat: Cell::new(None),
            reserved: Cell::new(false),
        }
    }

    /// Seats the task that polls; returns the waker of an `async` function that has
    /// to stand up for it.
    fn seat_poller(&self, waker: &Waker) -> Option<Waker> {
        match self.seat.take() {
            Some(seated) if seated.will_wake(waker) => {
                self.seat.set(Some(seated));
                None
            }
            former => {
                self.seat.set(Some(waker.clone()));
                let reserved = self.reserved.replace(false);
                former.filter(|_| reserved)
            }
        }
    }

    /// Seats the task of an `async` function, unless another sits there.
    fn reserve(&self, waker: &Waker) -> bool {
        let seated = self.seat.take();
        let free = seated.as_ref().is_none_or(|seated| seated.will_wake(waker));
        if free {
            self.reserved.set(true);
        }
        self.seat.set(seated.or_else(|| Some(waker.clone())));
        free
    }
}

impl Source {
    /// Of a descriptor that is nonblocking already.
    #[must_use]
    pub fn new(fd: RawFd) -> Rc<Source> {
        Rc::new(Source {
            fd,
            home: RefCell::new(None),
            read: Side::new(),
            write: Side::new(),
            waiters: Cell::new(None),
        })
    }

    fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Read => &self.read,
            Direction::Write => &self.write,
        }
    }

    /// The descriptor.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// Whether it is worth trying.
    #[inline]
    #[must_use]
    pub fn is_ready(&self, direction: Direction) -> bool {
        self.side(direction).ready.get()
    }

    /// The kernel has said "would block".
    #[inline]
    pub fn clear(&self, direction: Direction) {
        self.side(direction).ready.set(false);
    }

    /// A call did less than it was asked to, so the next would block: true of
    /// TCP and of pipes, for bytes; not of terminals, datagrams, or Unix sockets
    /// that pass descriptors.
    #[inline]
    pub fn drained(&self, direction: Direction) {
        let side = self.side(direction);
        if !side.ended.get() {
            side.ready.set(false);
        }
    }

    /// Makes the task of `cx` the one that is woken when `direction` may be
    /// worth trying, registering the descriptor with the current loop if it isn't.
    ///
    /// # Errors
    /// The kernel's reason not to watch the descriptor.
    ///
    /// # Panics
    /// Outside a loop.
    pub fn wait(self: &Rc<Self>, direction: Direction, cx: &Context<'_>) -> io::Result<()> {
        if let Some(other) = self.side(direction).seat_poller(cx.waker()) {
            self.enlist(direction, other);
        }
        Reactor::with_current(|reactor| self.settle(reactor))
    }

    /// Puts a waker into the list; returns how to find it there.
    fn enlist(&self, direction: Direction, waker: Waker) -> u64 {
        let mut waiters = self.waiters.take().unwrap_or_default();
        waiters.last_id += 1;
        let id = waiters.last_id;
        waiters.list.push((id, direction, waker));
        self.waiters.set(Some(waiters));
        id
    }

    /// Takes the waker of this id out of the list, if it is there.
    fn delist(&self, id: u64) -> Option<Waker> {
        let mut waiters = self.waiters.take()?;
        let index = waiters.list.iter().position(|entry| entry.0 == id);
        let waker = index.map(|index| waiters.list.remove(index).2);
        self.waiters.set(Some(waiters));
        waker
    }

    /// As [`wait`](Source::wait), for any number of tasks: a future that is ready
    /// once `direction` may be worth trying.
    ///
    /// # Cancel safety
    /// Safe: the entry goes with the future.
    pub fn ready(self: &Rc<Self>, direction: Direction) -> Ready<'_> {
        Ready {
            source: self,
            direction,
            id: 0,
        }
    }

    /// Registers with `reactor`, unless that is where it is registered.
    fn settle(self: &Rc<Self>, reactor: &Rc<Reactor>) -> io::Result<()> {
        if let Some(home) = &*self.home.borrow()
            && home.reactor.as_ptr() == Rc::as_ptr(reactor)
        {
            return Ok(());
        }
        self.forget(); // It was polled on another loop of this thread before.
        let token = reactor.register(self)?;
        let reactor = Rc::downgrade(reactor);
        *self.home.borrow_mut() = Some(Home { reactor, token });
        Ok(())
    }

    /// Undoes the registration, if there is one, while the descriptor stays open.
    pub fn forget(&self) {
        if let Some((reactor, token)) = self.leave_home() {
            reactor.deregister(token, self.fd);
        }
    }

    /// As [`forget`](Source::forget), for a descriptor that is being closed, which
    /// makes the kernel forget it too: saves a system call.
    pub fn closing(&self) {
        if let Some((reactor, token)) = self.leave_home() {
            reactor.release(token);
        }
    }

    fn leave_home(&self) -> Option<(Rc<Reactor>, usize)> {
        let home = self.home.borrow_mut().take()?;
        Some((home.reactor.upgrade()?, home.token))
    }

    /// Tells `f` of everybody that waits. For dumps; `f` must not come back here.
    pub(super) fn each_waiter(&self, f: &mut impl FnMut(Direction, &Waker)) {
        for direction in [Direction::Read, Direction::Write] {
            let seat = &self.side(direction).seat;
            let seated = seat.take();
            seated.iter().for_each(|waker| f(direction, waker));
            seat.set(seated);
        }
        let waiters = self.waiters.take();
        for (_, direction, waker) in waiters.iter().flat_map(|waiters| &waiters.list) {
            f(*direction, waker);
        }
        self.waiters.set(waiters);
    }

    /// What an event says about one direction: try (again).
    pub(super) fn event(&self, direction: Direction, ended: bool) {
        let side = self.side(direction);
        if is_on() {
            self.tell_of_event(direction);
        }
        side.ready.set(true);
        if ended {
            side.ended.set(true);
        }
        side.reserved.set(false);
        if let Some(waker) = side.seat.take() {
            waker.wake();
        }
        if let Some(waiters) = self.waiters.take() {
            self.wake_waiters(waiters, direction);
        }
    }

    /// But for what was known already and nobody waits for: mostly, that there is room
    /// to write.
    #[cold]
    #[inline(never)]
    fn tell_of_event(&self, direction: Direction) {
        if !self.side(direction).ready.get() || self.is_waited_for(direction) {
            emit_at_once(Kind::Ready, line!(), self.fd as u64, direction as u64);
        }
    }

    /// Perhaps: of several who wait it isn't looked who waits for what.
    fn is_waited_for(&self, direction: Direction) -> bool {
        let seat = &self.side(direction).seat;
        let seated = seat.take();
        let others = self.waiters.take();
        let is = seated.is_some() || others.is_some();
        seat.set(seated);
        self.waiters.set(others);
        is
    }

    #[cold]
    fn wake_waiters(&self, mut waiters: Box<Waiters>, direction: Direction) {
        let woken: Vec<_> = waiters
            .list
            .extract_if(.., |entry| entry.1 == direction)
            .collect();
        self.waiters.set(Some(waiters));
        for (_, _, waker) in woken {
            waker.wake(); // After all else: a foreign waker may do anything.
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("fd", &self.fd)
            .field("registered", &self.home.borrow().is_some())
            .field("readable", &self.read.ready.get())
            .field("writable", &self.write.ready.get())
            .finish_non_exhaustive()
    }
}

/// See [`Source::ready`].
#[must_use = "futures do nothing unless they are awaited"]
#[derive(Debug)]
pub struct Ready<'a> {
    source: &'a Rc<Source>,
    direction: Direction,
    /// The entry in the list, which an event may have taken out; or zero.
    id: u64,
}

impl Future for Ready<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (source, direction) = (self.source, self.direction);
        if source.is_ready(direction) {
            self.id = 0; // The event that made it ready has emptied the list.
            return Poll::Ready(Ok(()));
        }
        Reactor::with_current(|reactor| source.settle(reactor))?;
        if self.id != 0 || !source.side(direction).reserve(cx.waker()) {
            drop(source.delist(self.id));
            self.id = source.enlist(direction, cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        if self.id != 0 {
            drop(self.source.delist(self.id));
        }
    }
}
