//! A deadline behind a descriptor, to the nanosecond.
//!
//! epoll's own timeout counts whole milliseconds; a timerfd registered with it
//! brings the overshoot of a sleep from a millisecond to the scheduler's tens of
//! microseconds. Arming costs a syscall (about 360 ns), so the loop re-arms only
//! when its earliest deadline has moved.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd as Inner, TimerFlags, TimerSetTimeFlags};

/// A nonblocking timerfd on the monotonic clock, closed on `exec`.
#[derive(Debug)]
pub struct TimerFd(Inner);

impl TimerFd {
    /// Opens one that is not armed.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when descriptors run out.
    pub fn new() -> io::Result<TimerFd> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(TimerFd(Inner::new(ClockId::CLOCK_MONOTONIC, flags)?))
    }

    /// Makes the descriptor readable once, `after` from now; replaces what was
    /// armed before. Zero means at once (the kernel would read zero as "never",
    /// so a nanosecond is armed instead).
    ///
    /// # Errors
    /// Only if the descriptor is broken.
    pub fn arm(&self, after: Duration) -> io::Result<()> {
        // The kernel refuses seconds beyond i64; 2^62 of them are 146 billion years.
        let after = after.clamp(Duration::from_nanos(1), Duration::from_secs(1 << 62));
        let expiration = Expiration::OneShot(TimeSpec::from(after));
        Ok(self.0.set(expiration, TimerSetTimeFlags::empty())?)
    }

    /// Forgets what was armed.
    ///
    /// # Errors
    /// Only if the descriptor is broken.
    pub fn disarm(&self) -> io::Result<()> {
        Ok(self.0.unset()?)
    }

    /// Whether it has expired since the last call, without waiting.
    ///
    /// # Errors
    /// Only if the descriptor is broken.
    pub fn expired(&self) -> io::Result<bool> {
        let mut count = [0; 8];
        match nix::unistd::read(&self.0, &mut count) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for TimerFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for TimerFd {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    #[test]
    fn expires_once_and_only_when_armed() {
        let timer = TimerFd::new().unwrap();
        assert!(!timer.expired().unwrap());
        timer.arm(Duration::ZERO).unwrap();
        let mut fds = [PollFd::new(timer.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(10_000_u16)).unwrap(), 1);
        assert!(timer.expired().unwrap());
        assert!(!timer.expired().unwrap());
        timer.arm(Duration::MAX).unwrap();
        timer.disarm().unwrap();
        assert!(!timer.expired().unwrap());
    }
}
