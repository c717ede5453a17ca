//! Who waits for children whose [`Child`](super::Child) was dropped.
//!
//! The kernel keeps a dead child's status until somebody asks for it: a zombie.
//! The loop that started it may be gone by then, so a thread does it, which exists
//! only while there are such children. It sleeps in `poll` on their pidfds and on
//! an eventfd that announces newcomers.
//!
//! Rejected: a list that is looked through now and then, at the next start of a
//! child, say. A program that starts no further child would keep its zombies.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::eventfd::EventFd;
use crate::sys::pidfd;

/// The children that were handed over since the thread last looked, and how to
/// reach the thread, if there is one.
struct Orphans {
    new: Vec<OwnedFd>,
    thread: Option<Arc<EventFd>>,
}

static ORPHANS: Mutex<Orphans> = Mutex::new(Orphans {
    new: Vec::new(),
    thread: None,
});

fn lock() -> MutexGuard<'static, Orphans> {
    ORPHANS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sees to it that the child behind `pidfd` is reaped when it ends. Doesn't wait.
///
/// For whoever has started one by [`sys::spawn`](crate::sys::spawn) and doesn't
/// want to hear of it any more.
pub fn adopt(pidfd: OwnedFd) {
    if ended(&pidfd) {
        return;
    }
    let mut orphans = lock();
    orphans.new.push(pidfd);
    let thread = match &orphans.thread {
        Some(thread) => thread.clone(),
        None => match start() {
            Ok(thread) => orphans.thread.insert(thread).clone(),
            // No thread or no descriptor to be had: the next child that is
            // dropped tries again.
            Err(_) => return,
        },
    };
    drop(orphans);
    let _ = thread.notify();
}

/// Whether the child has ended; it is reaped then.
fn ended(pidfd: &OwnedFd) -> bool {
    // An error means that somebody else has reaped it.
    !matches!(pidfd::try_wait_exit(pidfd), Ok(None))
}

fn start() -> io::Result<Arc<EventFd>> {
    let event = Arc::new(EventFd::new()?);
    let own = event.clone();
    thread::Builder::new()
        .name("child-reaper".to_owned())
        .spawn(move || reap(&own))?;
    Ok(event)
}

fn reap(event: &EventFd) {
    let mut children: Vec<OwnedFd> = Vec::new();
    loop {
        let _ = event.drain();
        {
            let mut orphans = lock();
            children.append(&mut orphans.new);
            children.retain(|child| !ended(child));
            if children.is_empty() {
                // Under the lock, so nobody can count on this thread any more.
                orphans.thread = None;
                return;
            }
        }
        let mut fds: Vec<PollFd<'_>> = std::iter::once(event.as_fd())
            .chain(children.iter().map(AsFd::as_fd))
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            // Out of memory, say. Look again soon rather than never.
            Err(_) => thread::sleep(std::time::Duration::from_millis(50)),
        }
    }
}
