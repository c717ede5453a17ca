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

use std::cell::RefCell;
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

enum Collector {
    Packing(Baggage),
    Unpacking(Vec<Option<OwnedFd>>),
}

thread_local! {
    static COLLECTOR: RefCell<Option<Collector>> = const { RefCell::new(None) };
    static REFUSAL: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Puts the outer collector back, also when encoding panics. A message within a
/// message (a job that submits from a `Serialize`) has its own.
struct Outer(Option<Collector>);

impl Outer {
    fn replaced_by(collector: Collector) -> Outer {
        REFUSAL.with_borrow_mut(|refusal| *refusal = None);
        Outer(COLLECTOR.replace(Some(collector)))
    }

    fn end(mut self) -> Option<Collector> {
        let outer = self.0.take();
        std::mem::forget(self);
        COLLECTOR.replace(outer)
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        // A value in it may have a destructor that comes here: drop it outside.
        drop(COLLECTOR.replace(self.0.take()));
    }
}

/// Calls `encode` and returns what handles put aside meanwhile. Allocates nothing
/// if there are none.
pub fn packing<R>(encode: impl FnOnce() -> R) -> (R, Baggage) {
    let outer = Outer::replaced_by(Collector::Packing(Baggage::default()));
    let result = encode();
    match outer.end() {
        Some(Collector::Packing(baggage)) => (result, baggage),
        _ => unreachable!("every inner collector was put back"),
    }
}

/// Calls `decode` with the descriptors that came along. Those that nobody took
/// are closed.
pub fn unpacking<R>(fds: Vec<OwnedFd>, decode: impl FnOnce() -> R) -> R {
    let fds = fds.into_iter().map(Some).collect();
    let outer = Outer::replaced_by(Collector::Unpacking(fds));
    let result = decode();
    drop(outer.end());
    result
}

/// Puts a descriptor aside; returns its number in this message.
///
/// # Errors
/// [`Refused::NoBaggage`]
pub fn pack(fd: OwnedFd) -> Result<u32, Refused> {
    COLLECTOR.with_borrow_mut(|collector| match collector {
        Some(Collector::Packing(baggage)) => {
            baggage.fds.push(fd);
            Ok(baggage.fds.len() as u32 - 1)
        }
        _ => Err(refuse(Refused::NoBaggage)),
    })
}

/// Puts the ticket for a seat beside the descriptor that was packed with it.
pub(crate) fn pack_ticket(ticket: Ticket) {
    COLLECTOR.with_borrow_mut(|collector| {
        if let Some(Collector::Packing(baggage)) = collector {
            baggage.tickets.push(ticket);
        }
    });
}

/// Takes a descriptor out by its number.
///
/// # Errors
/// [`Refused`]
pub fn unpack(index: u32) -> Result<OwnedFd, Refused> {
    COLLECTOR.with_borrow_mut(|collector| match collector {
        Some(Collector::Unpacking(fds)) => fds
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
    REFUSAL.with_borrow_mut(|refusal| *refusal = Some(text));
}

/// Why a handle refused to be encoded or decoded just now, on this thread; told
/// once. postcard drops the text of such errors, so it is kept here.
pub fn refusal() -> Option<String> {
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
