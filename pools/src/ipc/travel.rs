//! Descriptors that travel with a message.
//!
//! A handle of this module ([`Queue`](super::Queue), [`Channel`](super::Channel),
//! …) is a descriptor, and bytes can't carry one. So while a message is encoded, a
//! collector stands by on this thread: a handle's `Serialize` puts a copy of its
//! descriptor there ([`pack`]) and writes the copy's number into the bytes. The
//! collected [`Baggage`] goes beside the bytes, by whichever way there is, and
//! while they are decoded it stands by on that thread ([`unpacking`]), where the
//! handle's `Deserialize` takes the descriptor of that number out.
//!
//! ```text
//!   sender                                        receiver
//!   packing(|| encode(args)) ─▶ bytes ──────────▶ unpacking(fds, || decode(bytes))
//!        │ pack(fd) = 0         Baggage ─ fds ──▶      │ unpack(0) = fd
//!        ▼                        │                    ▼
//!    Serialize of a handle        └─ tickets to Deserialize of a handle
//!                                    seats: see `members`
//! ```
//!
//! A message that isn't encoded under a collector can't carry handles; the handle's
//! `Serialize` says so then.
//!
//! Read before this: nothing. Read after it: [`threeply_runtime::sys::scm`], one such way.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::os::fd::OwnedFd;

use super::segment::Ticket;

/// What travels beside a message's bytes.
///
/// Dropping it before the other side has decoded the bytes voids the tickets
/// for seats in shared objects (see [`super::members`]): those who wait on such an
/// object might then be told that nobody else is there. Keep it until the message
/// has been decoded or given up.
#[derive(Debug, Default)]
pub struct Baggage {
    fds: Vec<OwnedFd>,
    tickets: Vec<Ticket>,
}

impl Baggage {
    /// The descriptors, in the order of their numbers.
    pub fn fds(&self) -> &[OwnedFd] {
        &self.fds
    }

    /// How many descriptors there are.
    pub fn len(&self) -> usize {
        self.fds.len()
    }

    /// Whether the message is bytes alone.
    pub fn is_empty(&self) -> bool {
        self.fds.is_empty() && self.tickets.is_empty()
    }

    /// Hands the tickets to the process that is going to decode the message: they
    /// hold as long as it lives, whatever becomes of this one.
    pub fn hand_to(&mut self, pid: u32) {
        for ticket in self.tickets.drain(..) {
            ticket.hand_to(pid);
        }
    }

    /// Lets the tickets hold until they are taken or this process ends: for a way
    /// on which nobody learns when, or by whom, the message is decoded.
    pub fn let_go(&mut self) {
        for ticket in self.tickets.drain(..) {
            ticket.let_go();
        }
    }
}

/// Why a handle can't go along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is no collector.
    NoBaggage,
    /// The message has no descriptor of this number, or it was taken already.
    Missing(u32),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::NoBaggage => f.write_str(
                "a handle to something shared between processes can travel as an argument of a \
                 Process, of a job of the process pool, or in a message of a Channel, and in \
                 nothing else: it is a descriptor, and this way takes bytes only",
            ),
            Refused::Missing(index) => write!(
                f,
                "the message came without descriptor {index}: it was not sent by the same way, or \
                 it is decoded for the second time"
            ),
        }
    }
}

impl std::error::Error for Refused {}

enum Collected {
    Packed(Baggage),
    ToUnpack(Vec<Option<OwnedFd>>),
}

/// What goes on on this thread. Most messages are bytes alone: for those, this is all
/// that is looked at and changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Now {
    doing: Doing,
    /// Whether [`COLLECTED`] is about this message.
    collected: bool,
    /// Whether there is something in [`REFUSAL`].
    refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Nothing,
    Packing,
    Unpacking,
}

thread_local! {
    static NOW: Cell<Now> = const {
        Cell::new(Now { doing: Doing::Nothing, collected: false, refused: false })
    };
    static COLLECTED: RefCell<Option<Box<Collected>>> = const { RefCell::new(None) };
    static REFUSAL: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Puts back what went on before, also when encoding panics. A message within a
/// message (a job that submits from a `Serialize`) has its own.
struct Outer {
    doing: Doing,
    collected: Option<Box<Collected>>,
    ended: bool,
}

impl Outer {
    #[inline]
    fn begin(doing: Doing) -> Outer {
        let outer = NOW.replace(Now {
            doing,
            collected: false,
            refused: false,
        });
        Outer {
            doing: outer.doing,
            collected: match outer.collected || outer.refused {
                true => set_aside(outer),
                false => None,
            },
            ended: false,
        }
    }

    /// Ends the inner message and returns what it has left.
    #[inline]
    fn end(&mut self) -> Option<Box<Collected>> {
        self.ended = true;
        let inner = NOW.get();
        NOW.set(Now {
            doing: self.doing,
            collected: self.collected.is_some(),
            ..inner
        });
        match inner.collected || self.collected.is_some() {
            true => put_back(self.collected.take()),
            false => None,
        }
    }
}

/// Takes away what the outer message has collected, and what was refused before.
#[cold]
fn set_aside(outer: Now) -> Option<Box<Collected>> {
    if outer.refused {
        REFUSAL.take();
    }
    outer.collected.then(|| COLLECTED.take()).flatten()
}

/// Puts back what the outer message has collected; returns what the inner one has.
#[cold]
fn put_back(outer: Option<Box<Collected>>) -> Option<Box<Collected>> {
    COLLECTED.replace(outer)
}

impl Drop for Outer {
    #[inline]
    fn drop(&mut self) {
        if !self.ended {
            // It panicked. A value in there may have a destructor that comes here: it is
            // dropped outside.
            drop(self.end());
        }
    }
}

/// Calls `encode` and returns what handles put aside meanwhile. Allocates nothing
/// if there are none.
#[inline]
pub fn packing<R>(encode: impl FnOnce() -> R) -> (R, Baggage) {
    let mut outer = Outer::begin(Doing::Packing);
    let result = encode();
    let baggage = match outer.end().map(|collected| *collected) {
        Some(Collected::Packed(baggage)) => baggage,
        _ => Baggage::default(),
    };
    (result, baggage)
}

/// Calls `decode` with the descriptors that came along. Those that nobody took
/// are closed.
#[inline]
pub fn unpacking<R>(fds: Vec<OwnedFd>, decode: impl FnOnce() -> R) -> R {
    let mut outer = Outer::begin(Doing::Unpacking);
    if !fds.is_empty() {
        collect(Collected::ToUnpack(fds.into_iter().map(Some).collect()));
    }
    let result = decode();
    drop(outer.end());
    result
}

/// Begins to collect for the present message.
#[cold]
fn collect(first: Collected) {
    NOW.set(Now {
        collected: true,
        ..NOW.get()
    });
    COLLECTED.replace(Some(Box::new(first)));
}

/// Puts a descriptor aside; returns its number in this message.
///
/// # Errors
/// [`Refused::NoBaggage`]
pub fn pack(fd: OwnedFd) -> Result<u32, Refused> {
    let now = NOW.get();
    if now.doing != Doing::Packing {
        return Err(refuse(Refused::NoBaggage));
    }
    if !now.collected {
        collect(Collected::Packed(Baggage::default()));
    }
    COLLECTED.with_borrow_mut(|collected| match collected.as_deref_mut() {
        Some(Collected::Packed(baggage)) => {
            baggage.fds.push(fd);
            Ok(baggage.fds.len() as u32 - 1)
        }
        _ => Err(refuse(Refused::NoBaggage)),
    })
}

/// Puts the ticket for a seat beside the descriptor that was packed with it.
pub(crate) fn pack_ticket(ticket: Ticket) {
    if !NOW.get().collected {
        return; // The descriptor was refused.
    }
    COLLECTED.with_borrow_mut(|collected| {
        if let Some(Collected::Packed(baggage)) = collected.as_deref_mut() {
            baggage.tickets.push(ticket);
        }
    });
}

/// Takes a descriptor out by its number.
///
/// # Errors
/// [`Refused`]
pub fn unpack(index: u32) -> Result<OwnedFd, Refused> {
    let now = NOW.get();
    if now.doing != Doing::Unpacking {
        return Err(refuse(Refused::NoBaggage));
    }
    if !now.collected {
        return Err(refuse(Refused::Missing(index)));
    }
    COLLECTED.with_borrow_mut(|collected| match collected.as_deref_mut() {
        Some(Collected::ToUnpack(fds)) => fds
            .get_mut(index as usize)
            .and_then(Option::take)
            .ok_or_else(|| refuse(Refused::Missing(index))),
        _ => Err(refuse(Refused::NoBaggage)),
    })
}

fn refuse(refused: Refused) -> Refused {
    note_refusal(refused.to_string());
    refused
}

/// Keeps the text of an error for [`refusal`].
pub(crate) fn note_refusal(text: String) {
    REFUSAL.replace(Some(text));
    NOW.set(Now {
        refused: true,
        ..NOW.get()
    });
}

/// Why a handle refused to be encoded or decoded just now, on this thread; told
/// once. postcard drops the text of such errors, so it is kept here.
pub fn refusal() -> Option<String> {
    NOW.set(Now {
        refused: false,
        ..NOW.get()
    });
    REFUSAL.take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsRawFd;

    fn fd() -> OwnedFd {
        File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn descriptors_are_numbered_by_message_and_taken_once() {
        let (a, b) = (fd(), fd());
        let numbers = [a.as_raw_fd(), b.as_raw_fd()];
        let ((), baggage) = packing(|| {
            assert_eq!(pack(a), Ok(0));
            let (inner, other) = packing(|| pack(fd()));
            assert_eq!(inner, Ok(0), "a message within a message has its own");
            assert_eq!(other.len(), 1);
            assert_eq!(pack(b), Ok(1));
        });
        let packed = baggage.fds.iter().map(AsRawFd::as_raw_fd);
        assert!(packed.eq(numbers));
        unpacking(baggage.fds, || {
            assert_eq!(unpack(1).unwrap().as_raw_fd(), numbers[1]);
            assert_eq!(unpack(1).unwrap_err(), Refused::Missing(1));
            assert_eq!(unpack(2).unwrap_err(), Refused::Missing(2));
        });
    }

    #[test]
    fn a_message_within_a_message_that_panics_leaves_the_outer_one_alone() {
        let ((), baggage) = packing(|| {
            let inner = || {
                packing(|| {
                    pack(fd()).unwrap();
                    panic!("no")
                })
            };
            assert!(std::panic::catch_unwind(inner).is_err());
            assert_eq!(pack(fd()), Ok(0));
            assert_eq!(
                unpacking(Vec::new(), || unpack(0)).map(drop),
                Err(Refused::Missing(0))
            );
            assert_eq!(pack(fd()), Ok(1));
        });
        assert_eq!(baggage.len(), 2);
    }

    #[test]
    fn without_a_collector_the_refusal_says_where_a_handle_may_go() {
        assert_eq!(pack(fd()), Err(Refused::NoBaggage));
        assert!(refusal().unwrap().contains("argument of a Process"));
        assert_eq!(refusal(), None, "told once");
    }

    #[test]
    fn a_panic_while_encoding_leaves_no_collector_behind() {
        let caught = std::panic::catch_unwind(|| packing(|| panic!("no")));
        assert!(caught.is_err());
        assert_eq!(pack(fd()), Err(Refused::NoBaggage));
    }
}
