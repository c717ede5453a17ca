//! The memory of one shared object, as one process sees it.
//!
//! ```text
//!   one memfd for each object, sealed: its size is final
//!   0      ┌──────────────────────────────────────────┐
//!          │ Header: kind, sizes, table of members    │
//!   1 KiB  ├──────────────────────────────────────────┤
//!          │ the object's words (`S`)                 │
//!          ├──────────────────────────────────────────┤ aligned to 64
//!          │ its data                                 │
//!          └──────────────────────────────────────────┘
//! ```
//!
//! A segment is mapped once for each handle that was made or decoded; clones share
//! it. It holds one seat in the table from then until it is dropped. As an argument
//! it is its descriptor and a ticket ([`super::travel`]).
//!
//! Read before this: [`super::monitor`]. Read after it: [`super::mutex`], the
//! simplest object.
#![allow(unsafe_code)] // looks at mapped memory as words and data

use super::Error;
use super::identity::Identity;
use super::kernel::{Deadline, Party, Slept};
use super::limits::MEMBERS;
use super::lookout;
use super::members::{Booking, Table, Token};
use super::monitor::{Door, GaveUp, Monitor, News};
use super::travel;
use super::words::Words;
use crate::process::page::{Mapping, SharedFile};
use crate::switch::{AtomicU32, AtomicU64, Ordering};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::Arc;

/// Where the object's words are.
const WORDS: usize = 1024;
/// Where data begins is a multiple of this, and no type may ask for more.
const ALIGN: usize = 64;

/// What every segment begins with.
#[derive(Debug)]
#[repr(C)]
struct Header {
    /// Which object it is: the words' [`Words::KIND`].
    kind: AtomicU64,
    /// Bytes of one element of data, and how many.
    element: AtomicU64,
    elements: AtomicU64,
    members: Table<MEMBERS>,
}

/// A shared object's memory; see the head of this file.
///
/// Invariant 1: the mapping is at least as long as header, words and data, it
/// doesn't shrink, and it stays until the last clone is dropped.
pub(crate) struct Segment<S: Words> {
    file: SharedFile,
    mapping: Arc<Mapping>,
    token: Token,
    identity: Identity,
    elements: usize,
    kind: PhantomData<S>,
}

impl<S: Words> Segment<S> {
    const DATA: usize = (WORDS + size_of::<S>()).next_multiple_of(ALIGN);

    /// Makes an object of zeros, with room for so many elements of type `T`.
    pub(crate) fn new<T>(elements: usize) -> Result<Segment<S>, Error> {
        const { assert!(align_of::<T>() <= ALIGN && align_of::<S>() <= ALIGN) };
        assert!(size_of::<Header>() <= WORDS);
        let len = Self::len::<T>(elements).ok_or(Error::TooLarge {
            len: elements,
            max: isize::MAX as usize / size_of::<T>().max(1),
        })?;
        let file = SharedFile::new(c"threeply-shared", len, len).map_err(Error::Memory)?;
        let mapping = file.map(true).map_err(Error::Memory)?;
        let header = header(&mapping);
        header
            .kind
            .store(u64::from_le_bytes(S::KIND), Ordering::Relaxed);
        header
            .element
            .store(size_of::<T>() as u64, Ordering::Relaxed);
        header.elements.store(elements as u64, Ordering::Relaxed);
        let identity = Identity::mine();
        let token = header.members.attach(identity, Identity::is_alive);
        Ok(Segment {
            token: token.ok_or(Error::TooManyProcesses)?,
            file,
            mapping,
            identity,
            elements,
            kind: PhantomData,
        })
    }

    fn len<T>(elements: usize) -> Option<usize> {
        let data = size_of::<T>().checked_mul(elements)?;
        let len = Self::DATA.checked_add(data)?;
        (len < isize::MAX as usize / 2).then(|| len.next_multiple_of(4096))
    }

    /// The object's words.
    #[inline]
    pub(crate) fn words(&self) -> &S {
        let words = self.mapping.at(WORDS, size_of::<S>());
        let words = words.expect("a segment is longer than its words");
        // SAFETY: mapped and aligned (invariant 1, and a mapping begins at a page);
        // atomics may be shared, and any bytes are valid ones (`Words`' promise).
        unsafe { words.cast::<S>().as_ref() }
    }

    /// A future that ends when `word`, one of the object's, is no longer `seen`, or
    /// after a pulse.
    pub(crate) fn sleep_async(&self, word: &AtomicU32, seen: u32) -> lookout::Sleep {
        lookout::Sleep::new(Arc::clone(&self.mapping), word, seen)
    }

    /// [`Monitor::wait_until`] without blocking the thread, on any executor; without
    /// a deadline, since a future can be dropped.
    pub(crate) async fn wait_until<'a, R>(
        &'a self,
        monitor: &'a Monitor,
        news: &'a News,
        repair: impl Fn(),
        mut look_around: impl FnMut(&mut Door<'a, Segment<S>>),
        mut attempt: impl FnMut(&mut Door<'a, Segment<S>>) -> Option<R>,
    ) -> Result<R, GaveUp> {
        let mut slept = Slept::Woken;
        loop {
            let seen = {
                let mut door = monitor.enter(self, &repair);
                if slept == Slept::Elapsed {
                    look_around(&mut door);
                }
                if let Some(result) = attempt(&mut door) {
                    return Ok(result);
                }
                if slept == Slept::Elapsed && !self.has_peers() {
                    return Err(GaveUp::PeersGone);
                }
                news.await_next()
            };
            let _counted = OnDrop(|| {
                let _door = monitor.enter(self, &repair);
                news.stop_waiting();
            });
            slept = self.sleep_async(news.word(), seen).await;
        }
    }

    /// Whether both are views of one object.
    pub(crate) fn is_same_object(&self, other: &Segment<S>) -> bool {
        let number = |segment: &Segment<S>| {
            let file = nix::sys::stat::fstat(&segment.file).ok()?;
            Some((file.st_dev, file.st_ino))
        };
        number(self).is_some_and(|this| number(other) == Some(this))
    }

    /// Where the elements are, and how many.
    #[inline]
    pub(crate) fn data<T>(&self) -> (NonNull<T>, usize) {
        let data = self.mapping.at(Self::DATA, self.elements * size_of::<T>());
        let data = data.expect("a segment is as long as its data");
        (data.cast(), self.elements)
    }

    /// The segment that came as descriptor `index` of the message being decoded.
    fn arrived<T>(index: u32, booking: Booking) -> Result<Segment<S>, String> {
        let fd = travel::unpack(index).map_err(|refused| refused.to_string())?;
        if !is_sealed(&fd) {
            return Err(format!("descriptor {index} is no {}", S::NAME));
        }
        let file = SharedFile::inherited(fd).map_err(|error| error.to_string())?;
        let mapping = file
            .map(true)
            .map_err(|error| format!("no room to map a {}: {error}", S::NAME))?;
        if mapping.len() < WORDS {
            return Err(format!("descriptor {index} is no {}", S::NAME));
        }
        let header = header(&mapping);
        let elements = header.elements.load(Ordering::Relaxed) as usize;
        let same = header.kind.load(Ordering::Relaxed) == u64::from_le_bytes(S::KIND)
            && header.element.load(Ordering::Relaxed) == size_of::<T>() as u64
            && Self::len::<T>(elements).is_some_and(|len| len <= mapping.len());
        if !same {
            return Err(format!("descriptor {index} is no {} of this type", S::NAME));
        }
        let identity = Identity::mine();
        let token = header
            .members
            .redeem(booking, identity, Identity::is_alive)
            .ok_or_else(|| Error::TooManyProcesses.to_string())?;
        Ok(Segment {
            token,
            file,
            mapping,
            identity,
            elements,
            kind: PhantomData,
        })
    }

    /// Serializes a handle: number of its descriptor in the message, and the ticket.
    pub(crate) fn pack<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let refuse = |text: String| {
            travel::note_refusal(text.clone());
            serde::ser::Error::custom(text)
        };
        let fd = self.file.as_fd().try_clone_to_owned();
        let fd = fd.map_err(|error| refuse(format!("no descriptor for a handle: {error}")))?;
        let index = travel::pack(fd).map_err(|refused| refuse(refused.to_string()))?;
        let members = &header(&self.mapping).members;
        let booking = members
            .book(self.identity, Identity::is_alive)
            .ok_or_else(|| refuse(Error::TooManyProcesses.to_string()))?;
        travel::pack_ticket(Ticket {
            mapping: Arc::clone(&self.mapping),
            booking: Some(booking),
        });
        (index, booking.seat, booking.generation).serialize(serializer)
    }

    /// Deserializes a handle of elements of type `T`.
    pub(crate) fn unpack<'de, T, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Segment<S>, D::Error> {
        let (index, seat, generation) = Deserialize::deserialize(deserializer)?;
        Segment::arrived::<T>(index, Booking { seat, generation }).map_err(|text| {
            travel::note_refusal(text.clone());
            serde::de::Error::custom(text)
        })
    }
}

impl<S: Words> Party for Segment<S> {
    fn sleep(&self, word: &AtomicU32, expected: u32, deadline: Deadline) -> Slept {
        super::kernel::futex_wait(word, expected, deadline)
    }

    fn wake(&self, word: &AtomicU32, count: u32) {
        super::kernel::futex_wake(word, count);
    }

    #[inline]
    fn me(&self) -> Token {
        self.token
    }

    fn is_alive(&self, token: Token) -> bool {
        header(&self.mapping)
            .members
            .is_alive(token, Identity::is_alive)
    }

    fn sweep(&self) -> u32 {
        header(&self.mapping).members.sweep(Identity::is_alive)
    }

    fn deaths(&self) -> u32 {
        header(&self.mapping).members.deaths()
    }

    fn has_peers(&self) -> bool {
        header(&self.mapping)
            .members
            .has_peers(self.identity, Identity::is_alive)
    }
}

impl<S: Words> Drop for Segment<S> {
    fn drop(&mut self) {
        // A child made by plain `fork` has its parent's seat in its memory, but it
        // isn't its own to leave.
        if Identity::mine() == self.identity {
            header(&self.mapping).members.detach(self.token);
        }
    }
}

impl<S: Words> std::fmt::Debug for Segment<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct(S::NAME).finish_non_exhaustive()
    }
}

fn header(mapping: &Mapping) -> &Header {
    let start = mapping.at(0, WORDS).expect("checked when it was mapped");
    // SAFETY: mapped, aligned to a page, and atomics of any bytes are valid.
    unsafe { start.cast::<Header>().as_ref() }
}

/// Whether the file can't be shrunk under us.
fn is_sealed(fd: &impl AsFd) -> bool {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    fcntl(fd.as_fd(), FcntlArg::F_GET_SEALS)
        .is_ok_and(|seals| SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_SHRINK))
}

/// Calls a function when it is dropped, in whichever way.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A seat that is booked for whoever decodes a message; dropping it voids it, if
/// nobody has taken it.
#[derive(Debug)]
pub struct Ticket {
    mapping: Arc<Mapping>,
    booking: Option<Booking>,
}

impl Ticket {
    /// It holds as long as process `pid` lives.
    pub(crate) fn hand_to(mut self, pid: u32) {
        if let Some(booking) = self.booking.take() {
            let members = &header(&self.mapping).members;
            members.hand_to(booking, Identity::of(pid));
        }
    }

    /// It holds as long as this process lives, unless it is redeemed before.
    pub(crate) fn let_go(mut self) {
        self.booking = None;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(booking) = self.booking {
            header(&self.mapping).members.void(booking);
        }
    }
}
