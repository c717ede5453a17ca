//! The descriptors by which a worker sleeps and wakes others.
//!
//! When they are needed, the words in the shared memory tell ([`crate::process::bell`]).
//!
//! Read after this: [`super::serve`] and [`super::reply`].

use crate::process::worker::end::Gone;
use std::os::fd::OwnedFd;

/// The descriptors by which a worker wakes and is woken.
#[derive(Debug)]
pub struct Bells {
    pub(super) own: OwnedFd,
    pub(super) caller: OwnedFd,
    pub(super) supervisor: OwnedFd,
    pub(super) passing: OwnedFd,
}

impl Bells {
    /// Sleeps until rung. A ring that came before counts.
    pub fn sleep(&self) -> Result<(), Gone> {
        let mut rings = [0; 64];
        loop {
            match nix::unistd::read(&self.own, &mut rings) {
                Ok(0) => return Err(Gone::Told),
                Ok(_) => return Ok(()),
                Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return Err(Gone::Deaf),
            }
        }
    }

    /// Wakes a caller that waits for a reply itself: an eventfd, too.
    pub fn ring_caller(&self) -> Result<(), Gone> {
        ring(&self.caller, &1u64.to_ne_bytes())
    }

    /// The socket for descriptors.
    pub fn passing(&self) -> &OwnedFd {
        &self.passing
    }

    /// Wakes the supervisor: an eventfd, which takes eight bytes, and which nobody
    /// empties ([`EventFd::notify_undrained`]).
    ///
    /// [`EventFd::notify_undrained`]: threeply_runtime::sys::eventfd::EventFd::notify_undrained
    pub fn ring_supervisor(&self) -> Result<(), Gone> {
        ring(&self.supervisor, &1u64.to_ne_bytes())
    }
}

fn ring(bell: &OwnedFd, bytes: &[u8]) -> Result<(), Gone> {
    loop {
        match nix::unistd::write(bell, bytes) {
            Ok(_) => return Ok(()),
            // Full: nobody drains the supervisor's.
            Err(nix::errno::Errno::EAGAIN) => drop(nix::unistd::read(bell, &mut [0; 8])),
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return Err(Gone::Deaf),
        }
    }
}
