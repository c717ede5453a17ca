//! Two ends that talk to each other: `multiprocessing.Pipe`, typed.
//!
//! A channel is a pair of connected sockets, so the kernel keeps the books: a
//! message is in its buffers or not at all, an end that is under way within a
//! message counts as open, and when the last copy of one end is gone, by whatever
//! death, the other learns it at once.
//!
//! ```text
//!   first packet of a message       further packets, if it is longer
//!   ┌──────────┬───────────────┐    ┌─────────────────────────┐
//!   │ len: u64 │ bytes …       │    │ bytes …                 │  each ≤ PACKET
//!   └──────────┴───────────────┘    └─────────────────────────┘
//!     + descriptors of handles in it (SCM_RIGHTS)
//! ```
//!
//! Packets arrive whole and in order. An end whose owner dies between two packets
//! of a message leaves a beginning that the other end reports as
//! [`Error::Truncated`].
//!
//! Read before this: [`threeply_runtime::sys::scm`] and [`super::message`].
//!
//! Rejected: *rings in shared memory* (faster for tiny messages, but descriptors
//! can't go that way, and neither side would learn of a death without looking); *a
//! stream socket* (a reader who is killed halfway leaves the next one amid a
//! message; packets have seams).

use super::error::Error;
use super::limits::{MESSAGE_MAX, PACKET};
use super::message;
use super::travel;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use threeply_runtime::io::Async;
use threeply_runtime::sys::scm;

use super::kernel::Deadline;

/// A pair of connected ends, each of which sends and receives values of type `T`.
///
/// ```
/// use threeply_pools::ipc::{Channel, Process, channel};
///
/// fn shout(peer: Channel<String>) {
///     while let Ok(word) = peer.recv() {
///         peer.send(&word.to_uppercase()).unwrap();
///     }
/// }
///
/// let (here, there) = channel::<String>()?;
/// let process = Process::spawn(shout, there)?;
/// here.send(&"hello".to_owned())?;
/// assert_eq!(here.recv()?, "HELLO");
/// drop(here); // so that its `recv` fails, and it returns
/// assert!(process.join()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Io`]: descriptors have run out.
pub fn channel<T>() -> Result<(Channel<T>, Channel<T>), Error> {
    duplex()
}

/// The two ends of a channel.
pub type Pair<A, B> = (Channel<A, B>, Channel<B, A>);

/// A pair of connected ends; what one sends the other receives: the first sends
/// `A`, the second `B`.
///
/// # Errors
/// [`Error::Io`]: descriptors have run out.
pub fn duplex<A, B>() -> Result<Pair<A, B>, Error> {
    let (a, b) = scm::pair().map_err(Error::Io)?;
    Ok((Channel::new(a), Channel::new(b)))
}

/// One end of a channel: sends `S`, receives `R`.
///
/// It may be used by several threads at once; messages don't mix. It belongs to one
/// process at a time: as an argument it moves there when it is dropped here.
pub struct Channel<S, R = S> {
    socket: OwnedFd,
    /// Held while a message is sent, which may take several packets.
    sending: Mutex<Vec<u8>>,
    /// Held while one is received.
    incoming: Mutex<Incoming>,
    types: PhantomData<fn(S) -> R>,
}

/// What has arrived of a message so far.
#[derive(Debug, Default)]
struct Incoming {
    /// Its length, once the first packet is there.
    len: Option<usize>,
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
    packet: Vec<u8>,
}

/// A message as it arrived.
type Parcel = (Vec<u8>, Vec<OwnedFd>);

impl<S, R> Channel<S, R> {
    fn new(socket: OwnedFd) -> Channel<S, R> {
        Channel {
            socket,
            sending: Mutex::default(),
            incoming: Mutex::default(),
            types: PhantomData,
        }
    }

    /// Whether a `recv` would return at once (a message or the end), waiting for
    /// that up to `timeout`; zero only looks.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn poll(&self, timeout: Duration) -> Result<bool, Error> {
        self.wait_for(PollFlags::POLLIN, Deadline::after(timeout))
    }

    fn wait_for(&self, flags: PollFlags, deadline: Deadline) -> Result<bool, Error> {
        loop {
            let timeout = match deadline.remaining() {
                None => PollTimeout::NONE,
                // Rounded up, so that the deadline has passed afterwards.
                Some(left) => PollTimeout::try_from(left + Duration::from_micros(999))
                    .unwrap_or(PollTimeout::MAX),
            };
            let mut socket = [PollFd::new(self.socket.as_fd(), flags)];
            match nix::poll::poll(&mut socket, timeout) {
                Ok(0) if deadline.has_passed() => return Ok(false),
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(Error::Io(error.into())),
            }
        }
    }
}

impl<S: Serialize, R> Channel<S, R> {
    /// Sends a value; waits while the socket's buffer (some 200 KiB) is full.
    /// Encoding is done before anything is sent, so what can't be encoded sends
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Encode`]; [`Error::Closed`] if the other end is gone;
    /// [`Error::TooLarge`].
    pub fn send(&self, value: &S) -> Result<(), Error> {
        let mut buffer = lock(&self.sending);
        let mut outgoing = Outgoing::of(value, &mut buffer)?;
        while !outgoing.push(&self.socket, true)? {}
        Ok(())
    }

    /// Sends a value if the first packet of it (all of it, up to 64 KiB) finds room
    /// at once; a longer one then waits for the rest.
    ///
    /// # Errors
    /// [`Error::WouldBlock`]; otherwise as [`send`](Channel::send).
    pub fn try_send(&self, value: &S) -> Result<(), Error> {
        let mut buffer = lock(&self.sending);
        let mut outgoing = Outgoing::of(value, &mut buffer)?;
        let mut done = outgoing.push(&self.socket, false)?;
        while !done {
            done = outgoing.push(&self.socket, true)?;
        }
        Ok(())
    }

    /// [`send`](Channel::send) on the event loop of this thread.
    ///
    /// # Cancel safety
    /// **Not safe for messages of more than 64 KiB**: dropped in the middle of one,
    /// the channel can't be used for sending any more, and says so. Shorter ones are
    /// sent wholly or not at all.
    ///
    /// # Errors
    /// As [`send`](Channel::send).
    ///
    /// # Panics
    /// Outside an event loop.
    pub async fn send_async(&self, value: &S) -> Result<(), Error> {
        let mut buffer = Vec::new();
        let mut outgoing = Outgoing::of(value, &mut buffer)?;
        let mut socket = None;
        loop {
            match outgoing.push(&self.socket, false) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(Error::WouldBlock) => {
                    let socket = self.watched(&mut socket)?;
                    socket.writable().await.map_err(Error::Io)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl<S, R: DeserializeOwned> Channel<S, R> {
    /// Receives a value; waits for one.
    ///
    /// # Errors
    /// [`Error::Closed`] if the other end is gone and everything was received;
    /// [`Error::Truncated`] if it died in the middle of a message;
    /// [`Error::Decode`], and the message is consumed.
    pub fn recv(&self) -> Result<R, Error> {
        let parcel = lock(&self.incoming).pull(&self.socket, true)?;
        open(parcel)
    }

    /// Receives a value if one is there.
    ///
    /// # Errors
    /// [`Error::WouldBlock`]; otherwise as [`recv`](Channel::recv).
    pub fn try_recv(&self) -> Result<R, Error> {
        let parcel = lock(&self.incoming).pull(&self.socket, false)?;
        open(parcel)
    }

    /// Receives a value, if one comes within `timeout`. What has arrived of a long
    /// one by then isn't lost.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; otherwise as [`recv`](Channel::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<R, Error> {
        let deadline = Deadline::after(timeout);
        loop {
            let pulled = lock(&self.incoming).pull(&self.socket, false);
            match pulled {
                Err(Error::WouldBlock) => {
                    if !self.wait_for(PollFlags::POLLIN, deadline)? {
                        return Err(Error::TimedOut);
                    }
                }
                pulled => return open(pulled?),
            }
        }
    }

    /// [`recv`](Channel::recv) on the event loop of this thread.
    ///
    /// # Cancel safety
    /// Safe: what has arrived of a message stays with the channel.
    ///
    /// # Errors
    /// As [`recv`](Channel::recv).
    ///
    /// # Panics
    /// Outside an event loop.
    pub async fn recv_async(&self) -> Result<R, Error> {
        let mut socket = None;
        loop {
            let pulled = lock(&self.incoming).pull(&self.socket, false);
            match pulled {
                Err(Error::WouldBlock) => {
                    let socket = self.watched(&mut socket)?;
                    socket.readable().await.map_err(Error::Io)?;
                }
                pulled => return open(pulled?),
            }
        }
    }
}

impl<S, R> Channel<S, R> {
    /// The loop's view of the socket, made when it is first waited for.
    fn watched<'w>(
        &self,
        slot: &'w mut Option<Async<OwnedFd>>,
    ) -> Result<&'w Async<OwnedFd>, Error> {
        if slot.is_none() {
            let socket = self.socket.try_clone().map_err(Error::Io)?;
            *slot = Some(Async::shared(socket));
        }
        Ok(slot.as_ref().expect("filled above"))
    }
}

/// A message on its way out.
struct Outgoing<'b> {
    bytes: &'b [u8],
    sent: usize,
    baggage: travel::Baggage,
}

impl<'b> Outgoing<'b> {
    fn of<S: Serialize>(value: &S, buffer: &'b mut Vec<u8>) -> Result<Outgoing<'b>, Error> {
        buffer.clear();
        buffer.extend_from_slice(&[0; HEAD]);
        let baggage = message::encode(value, buffer)?;
        let len = buffer.len() - HEAD;
        if len > MESSAGE_MAX {
            return Err(Error::TooLarge {
                len,
                max: MESSAGE_MAX,
            });
        }
        buffer[..HEAD].copy_from_slice(&(len as u64).to_le_bytes());
        Ok(Outgoing {
            bytes: buffer,
            sent: 0,
            baggage,
        })
    }

    /// Sends one more packet; returns whether it was the last.
    fn push(&mut self, socket: &OwnedFd, wait: bool) -> Result<bool, Error> {
        let rest = &self.bytes[self.sent..];
        let packet = &rest[..rest.len().min(PACKET)];
        let none: &[OwnedFd] = &[];
        let fds = if self.sent == 0 {
            self.baggage.fds()
        } else {
            none
        };
        match scm::send(socket, &[IoSlice::new(packet)], fds, wait) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(Error::WouldBlock);
            }
            Err(error) if is_gone(&error) => return Err(Error::Closed),
            Err(error) => return Err(Error::Io(error)),
        }
        // Nobody tells us when, or by whom, it is decoded.
        self.baggage.let_go();
        self.sent += packet.len();
        Ok(self.sent == self.bytes.len())
    }
}

const HEAD: usize = 8;

impl Incoming {
    /// Receives packets until a message is complete. An error leaves what has
    /// arrived in place.
    fn pull(&mut self, socket: &OwnedFd, wait: bool) -> Result<Parcel, Error> {
        self.packet.resize(PACKET, 0);
        loop {
            if let Some(len) = self.len
                && self.bytes.len() == len
            {
                self.len = None;
                return Ok((
                    std::mem::take(&mut self.bytes),
                    std::mem::take(&mut self.fds),
                ));
            }
            let received = scm::recv(socket, &mut self.packet, wait);
            let end = if self.len.is_some() {
                Error::Truncated
            } else {
                Error::Closed
            };
            let packet = match received {
                Ok((0, _)) => return Err(end),
                Ok((len, fds)) => {
                    self.fds.extend(fds);
                    &self.packet[..len]
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(Error::WouldBlock);
                }
                Err(error) if is_gone(&error) => return Err(end),
                Err(error) => return Err(Error::Io(error)),
            };
            let bytes = match self.len {
                Some(_) => packet,
                None => {
                    let (head, bytes) = packet.split_first_chunk::<HEAD>().ok_or(GARBAGE)?;
                    let len = u64::from_le_bytes(*head) as usize;
                    if len > MESSAGE_MAX {
                        return Err(GARBAGE);
                    }
                    self.bytes.reserve_exact(len.min(1 << 24));
                    self.len = Some(len);
                    bytes
                }
            };
            if self
                .len
                .is_some_and(|len| self.bytes.len() + bytes.len() > len)
            {
                return Err(GARBAGE);
            }
            self.bytes.extend_from_slice(bytes);
        }
    }
}

const GARBAGE: Error = Error::Corrupt("a message's length");

fn open<R: DeserializeOwned>((bytes, fds): Parcel) -> Result<R, Error> {
    message::decode(&bytes, fds)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S, R> AsFd for Channel<S, R> {
    /// The socket: readable when a message or the end is there.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<S, R> fmt::Debug for Channel<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channel").field(&self.socket).finish()
    }
}

impl<S, R> Serialize for Channel<S, R> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let refuse = |text: String| {
            travel::note_refusal(text.clone());
            serde::ser::Error::custom(text)
        };
        if lock(&self.incoming).len.is_some() {
            return Err(refuse(
                "the channel's end has received a message in part: receive the rest before it is \
                 given to another process"
                    .to_owned(),
            ));
        }
        let socket = self.socket.try_clone();
        let socket = socket.map_err(|error| refuse(format!("no descriptor: {error}")))?;
        let index = travel::pack(socket).map_err(|refused| refuse(refused.to_string()))?;
        index.serialize(serializer)
    }
}

impl<'de, S, R> Deserialize<'de> for Channel<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = Deserialize::deserialize(deserializer)?;
        let socket = travel::unpack(index).map_err(serde::de::Error::custom)?;
        Ok(Channel::new(socket))
    }
}
