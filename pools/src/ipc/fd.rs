//! [`Fd`]: a descriptor as part of a message.
//!
//! Read before this: [`super::travel`].

use super::travel;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// An open file, socket or pipe that can be part of what goes to another process: the
/// argument or result of a pool's job, an argument of a [`Process`](super::Process), a
/// message of a [`Channel`](super::Channel).
///
/// The other process gets a descriptor of its own for the same open file; ours stays
/// open until it is dropped.
///
/// ```
/// use std::io::{Read, Write};
/// use std::{fs::File, os::fd::OwnedFd};
/// use threeply_pools::ipc::Fd;
/// use threeply_pools::process::ProcessPool;
///
/// let pool = ProcessPool::new(1)?;
/// let (mut reader, writer) = std::io::pipe()?;
/// let write = |(fd, text): (Fd, String)| {
///     File::from(OwnedFd::from(fd)).write_all(text.as_bytes()).is_ok()
/// };
/// let sent = Fd::from(OwnedFd::from(writer));
/// assert!(pool.call(write, (sent, "from afar".to_owned()))??);
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "from afar");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Fd(OwnedFd);

impl From<OwnedFd> for Fd {
    fn from(fd: OwnedFd) -> Fd {
        Fd(fd)
    }
}

impl From<Fd> for OwnedFd {
    fn from(fd: Fd) -> OwnedFd {
        fd.0
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// # Errors
/// Anywhere but in what goes to another process with descriptors, and if none is left
/// for the copy.
impl Serialize for Fd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let copy = self.0.try_clone().map_err(|error| {
            travel::note_refusal(error.to_string());
            ser::Error::custom(error)
        })?;
        let number = travel::pack(copy).map_err(ser::Error::custom)?;
        serializer.serialize_u32(number)
    }
}

impl<'de> Deserialize<'de> for Fd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fd, D::Error> {
        let number = u32::deserialize(deserializer)?;
        travel::unpack(number).map(Fd).map_err(de::Error::custom)
    }
}
