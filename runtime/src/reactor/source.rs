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
//! awaited by any number of tasks: each has an entry in a list, all are woken,
//! and try again in the order in which they came.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use super::Reactor;

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
    waiters: RefCell<Option<Box<Waiters>>>,
}

struct Home {
    reactor: Weak<Reactor>,
    token: usize,
}

struct Side {
    ready: Cell<bool>,
    /// The end or an error has been announced: trying never blocks again.
    ended: Cell<bool>,
    /// The task that polls.
    poller: Cell<Option<Waker>>,
}

#[derive(Default)]
struct Waiters {
    next_id: u64,
    list: Vec<(u64, Direction, Waker)>,
}

impl Side {
    fn new() -> Side {
        Side {
            ready: Cell::new(true),
            ended: Cell::new(false),
            poller: Cell::new(None),
        }
    }

    fn poll_by(&self, waker: &Waker) {
        let current = match self.poller.take() {
            Some(current) if current.will_wake(waker) => current,
            _ => waker.clone(),
        };
        self.poller.set(Some(current));
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
            waiters: RefCell::new(None),
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
        self.side(direction).poll_by(cx.waker());
        Reactor::with_current(|reactor| self.settle(reactor))
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
            id: None,
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

    /// What an event says about one direction: try (again).
    pub(super) fn event(&self, direction: Direction, ended: bool) {
        let side = self.side(direction);
        side.ready.set(true);
        if ended {
            side.ended.set(true);
        }
        if let Some(waker) = side.poller.take() {
            waker.wake();
        }
        if self.waiters.borrow().is_some() {
            for waker in self.take_waiters(direction) {
                waker.wake(); // Outside the borrow: a foreign waker may do anything.
            }
        }
    }

    fn take_waiters(&self, direction: Direction) -> Vec<Waker> {
        let mut waiters = self.waiters.borrow_mut();
        let Some(waiters) = waiters.as_mut() else {
            return Vec::new();
        };
        waiters
            .list
            .extract_if(.., |entry| entry.1 == direction)
            .map(|entry| entry.2)
            .collect()
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
    /// The entry in the list, which may have been taken out by an event.
    id: Option<u64>,
}

impl Future for Ready<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.source.is_ready(self.direction) {
            return Poll::Ready(Ok(()));
        }
        Reactor::with_current(|reactor| self.source.settle(reactor))?;
        let mut waker = cx.waker().clone();
        let mut waiters = self.source.waiters.borrow_mut();
        let list = waiters.get_or_insert_default();
        let own = list.list.iter_mut().find(|entry| Some(entry.0) == self.id);
        match own {
            Some(entry) => std::mem::swap(&mut entry.2, &mut waker),
            None => {
                let id = list.next_id;
                list.next_id += 1;
                list.list.push((id, self.direction, waker));
                self.id = Some(id);
                return Poll::Pending;
            }
        }
        drop(waiters); // Before the old waker is.
        Poll::Pending
    }
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let mut waiters = self.source.waiters.borrow_mut();
        let Some(list) = waiters.as_mut() else { return };
        let own = list.list.iter().position(|entry| entry.0 == id);
        let own = own.map(|index| list.list.remove(index));
        drop(waiters); // Before the waker is.
        drop(own);
    }
}
