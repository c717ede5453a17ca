//! The parent's end of one worker: its memory, its bells, its process.
//!
//! Two rights come with a link, and each has at most one holder at a time:
//!
//! 1. **To write requests**: the [`Writer`] lives in the pool's state, under the
//!    pool's lock.
//! 2. **To read replies**: the [`ReplyReader`] is a value that is *taken* from
//!    the link and *left* with it again. The supervisor takes it when its bell
//!    rings; a caller that waits for a result takes it to read the reply itself,
//!    without a thread in between (direct dispatch).
//!
//! Whoever leaves the reader looks once more for what may have come meanwhile
//! ([`super::role`]): those who found it taken have gone away and rely on it.
//!
//! Read before this: [`super::page`] and [`super::reader`]. Read after it: [`super::pump`].

use crate::process::control_group::ControlGroup;
use crate::process::job::Job;
use crate::process::kin;
use crate::process::output::stream::Source;
use crate::process::page::{Mapping, RingBytes, Words, reply_counters};
use crate::process::passing::{self, Lost};
use crate::process::reader::ReplyReader;
use crate::process::ring::Writer;
use crate::process::role::Role;
use crate::process::traced::adopt_worker;
use crate::process::worker::last_words::LastWords;
use crate::spin::Spin;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use threeply_runtime::sys::eventfd::EventFd;
use threeply_runtime::sys::pidfd;
use threeply_runtime::trace::session::Adoption;

/// One worker, seen from its parent.
#[derive(Debug)]
pub struct Link {
    /// Process id, for messages only.
    pub pid: u32,
    /// Which of the pool's places it occupies.
    pub slot: usize,
    /// What it must say in the handshake.
    pub nonce: u64,
    memory: Arc<Mapping>,
    outputs: [Option<Arc<Source>>; 2],
    pidfd: OwnedFd,
    /// Where it lives with all that it starts, if the pool has asked for that.
    group: Option<ControlGroup>,
    /// Wakes the worker.
    bell: OwnedFd,
    /// Wakes a caller that reads replies itself. Reading it blocks.
    caller_bell: EventFd,
    /// Our end of the way for descriptors.
    passing: OwnedFd,
    /// The right to read replies.
    pub reader: Role<ReplyReader>,
    /// How well looking for its replies has paid off.
    pub spin: Spin,
    /// Set once the process has ended: nothing new will come.
    ended: AtomicBool,
    status: Mutex<Option<ExitStatus>>,
    /// Set when it sent garbage.
    garbage: AtomicBool,
    /// Why it can't be used, if its initializer said so.
    refused: Mutex<Option<String>>,
    /// Its place in our traces, for as long as it lives.
    _traced: Option<Adoption>,
    /// Rooms of large results that are to be given back with the next request.
    returned: Mutex<Vec<[u64; 3]>>,
    /// Whether there may be any: most requests have none to give back.
    has_returned: AtomicBool,
}

/// What a link is made of.
#[derive(Debug)]
pub struct Parts {
    /// Process id.
    pub pid: u32,
    /// Its place in the pool.
    pub slot: usize,
    /// What it must say in the handshake.
    pub nonce: u64,
    /// What it writes, where the pool reads that: stdout, stderr.
    pub outputs: [Option<Arc<Source>>; 2],
    /// The shared memory.
    pub memory: Arc<Mapping>,
    /// The process.
    pub pidfd: OwnedFd,
    /// Its control group, if it has one of its own.
    pub group: Option<ControlGroup>,
    /// Write end of the worker's bell.
    pub bell: OwnedFd,
    /// The bell for callers.
    pub caller: EventFd,
    /// Our end of the way for descriptors.
    pub passing: OwnedFd,
}

impl Link {
    /// Makes the link and the writer of its requests.
    pub fn new(parts: Parts) -> (Link, Writer<RingBytes>) {
        let writer = Writer::new(RingBytes::requests(&parts.memory));
        let reader = ReplyReader::new(RingBytes::replies(&parts.memory));
        let traced = adopt_worker(parts.pid, &parts.memory);
        let link = Link {
            _traced: traced,
            pid: parts.pid,
            slot: parts.slot,
            nonce: parts.nonce,
            memory: parts.memory,
            outputs: parts.outputs,
            pidfd: parts.pidfd,
            group: parts.group,
            bell: parts.bell,
            caller_bell: parts.caller,
            passing: parts.passing,
            reader: Role::new(reader),
            spin: Spin::default(),
            ended: AtomicBool::new(false),
            status: Mutex::new(None),
            garbage: AtomicBool::new(false),
            refused: Mutex::default(),
            returned: Mutex::default(),
            has_returned: AtomicBool::new(false),
        };
        (link, writer)
    }

    /// The memory shared with the worker.
    pub fn memory(&self) -> &Arc<Mapping> {
        &self.memory
    }

    /// The words at its start.
    #[inline]
    pub fn words(&self) -> &Words {
        self.memory.words()
    }

    /// Readable once the process has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Wakes the worker if it sleeps, after something was published for it. Returns
    /// whether it slept.
    #[inline]
    pub fn ring_if_asleep(&self) -> bool {
        let sleeps = self.words().asleep.must_ring();
        if sleeps {
            self.ring();
        }
        sleeps
    }

    /// Wakes the worker.
    pub fn ring(&self) {
        // Full means rung already; broken means dead, which is noticed elsewhere.
        let _ = nix::unistd::write(&self.bell, &[1]);
    }

    /// Wakes the caller that has the reader, if there is one.
    pub fn nudge_caller(&self) {
        use nix::poll::{PollFd, PollFlags, PollTimeout};
        // Full means rung already. An honest worker can't fill it, and a broken one
        // mustn't make us wait.
        let mut room = [PollFd::new(self.caller_bell.as_fd(), PollFlags::POLLOUT)];
        if nix::poll::poll(&mut room, PollTimeout::ZERO) == Ok(1) {
            let _ = self.caller_bell.notify();
        }
    }

    /// Blocks until a reply that was asked for has come, the worker has ended,
    /// somebody has nudged, or the deadline has passed. For the reader's holder.
    ///
    /// `guarded` says that the supervisor has a thread of its own, where nothing keeps it
    /// from noticing the worker's end and nudging us. Then, and without a deadline, the
    /// bell is all that must be waited for: one system call a round trip less.
    pub fn sleep_for_reply(&self, deadline: Option<Instant>, guarded: bool) {
        use nix::poll::{PollFd, PollFlags, PollTimeout};
        if guarded && deadline.is_none() {
            // Any error (EINTR) is a superfluous wake-up.
            let _ = nix::unistd::read(&self.caller_bell, &mut [0; 8]);
            return;
        }
        let timeout = match deadline {
            None => PollTimeout::NONE,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                // Rounded up, so that the deadline has passed afterwards.
                let left = left.saturating_add(Duration::from_micros(999));
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut waited = [
            PollFd::new(self.caller_bell.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN),
        ];
        // Any error (EINTR) is a superfluous wake-up.
        if nix::poll::poll(&mut waited, timeout).is_ok() && waited[0].any() == Some(true) {
            let _ = nix::unistd::read(&self.caller_bell, &mut [0; 8]);
        }
        if waited[1].any() == Some(true) {
            self.look_at_process();
        }
    }

    /// Finds out whether the process has ended, and reaps it then. May be called
    /// by anybody at any time.
    pub fn look_at_process(&self) -> bool {
        let mut status = lock(&self.status);
        if status.is_none() && !self.has_ended() && self.is_zombie() {
            // What it has started and left behind goes with it. Its number can't
            // be given to anybody else before it is reaped, so this is its group.
            if let Ok(pid) = i32::try_from(self.pid) {
                let group = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
            }
            match pidfd::try_wait_exit(&self.pidfd) {
                Ok(Some(ended)) => {
                    *status = Some(ended);
                    self.ended.store(true, Ordering::Release);
                }
                Ok(None) => {}
                // Somebody else has reaped it (SIGCHLD ignored, for instance): how
                // it ended can't be known, that it did can.
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {
                    self.ended.store(true, Ordering::Release);
                }
                Err(_) => {}
            }
        }
        self.has_ended()
    }

    fn is_zombie(&self) -> bool {
        self.poll_process(nix::poll::PollTimeout::ZERO)
    }

    /// Blocks until the process has ended (after a kill: for a moment).
    pub fn wait_for_end(&self) -> bool {
        while !self.poll_process(nix::poll::PollTimeout::NONE) {}
        self.look_at_process()
    }

    fn poll_process(&self, timeout: nix::poll::PollTimeout) -> bool {
        use nix::poll::{PollFd, PollFlags};
        let mut waited = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        nix::poll::poll(&mut waited, timeout).is_ok() && waited[0].any() == Some(true)
    }

    /// Whether the process is known to have ended.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// How it ended, if that is known.
    pub fn status(&self) -> Option<ExitStatus> {
        *lock(&self.status)
    }

    /// What jobs from number `first` on are called, for whoever reads its output.
    #[inline]
    pub fn announce(&self, first: u64, job: &Job) {
        for output in self.outputs.iter().flatten() {
            output.announce(first, job);
        }
    }

    /// Takes that back: they weren't sent.
    pub fn retract(&self, first: u64) {
        for output in self.outputs.iter().flatten() {
            output.retract(first);
        }
    }

    /// The end of what it wrote to stderr, as far as the pool reads that; to be called
    /// once it has ended.
    pub fn last_output(&self) -> String {
        for output in self.outputs.iter().flatten() {
            output.worker_has_ended();
        }
        match &self.outputs {
            [_, Some(stderr)] => stderr.last_words(),
            _ => String::new(),
        }
    }

    /// What it could still say.
    pub fn last_words(&self) -> LastWords {
        LastWords::read(self.words())
    }

    /// Whether replies are there that nobody has read.
    pub fn has_replies(&self) -> bool {
        let counters = reply_counters(self.words());
        // Acquire: pairs with the worker's Release store of `tail`, as in the ring.
        let tail = counters.tail.load(crate::switch::Ordering::Acquire);
        counters.head.load(crate::switch::Ordering::Relaxed) != tail
    }

    /// Sends the descriptors of job `seq`. `false` if that can't be, which no later
    /// try would mend: then the worker is ended.
    pub fn pass(&self, seq: u64, fds: &[OwnedFd]) -> bool {
        let passed = passing::send(&self.passing, seq, fds).is_ok();
        if !passed {
            self.kill();
        }
        passed
    }

    /// Receives the descriptors of the result of job `seq`.
    ///
    /// # Errors
    /// [`Lost`]
    pub fn receive(&self, seq: u64) -> Result<Vec<OwnedFd>, Lost> {
        passing::receive(&self.passing, seq)
    }

    /// Notes that it sent what makes no sense, and ends it.
    pub fn condemn(&self) {
        self.garbage.store(true, Ordering::Relaxed);
        self.kill();
    }

    /// Whether it was condemned.
    pub fn sent_garbage(&self) -> bool {
        self.garbage.load(Ordering::Relaxed)
    }

    /// Notes why it can't be used and ends it.
    pub fn refuse(&self, reason: String) {
        *lock(&self.refused) = Some(reason);
        self.kill();
    }

    /// Why it can't be used, if so; told once.
    pub fn refused(&self) -> Option<String> {
        lock(&self.refused).take()
    }

    /// Ends the process by SIGKILL.
    pub fn kill(&self) {
        let _ = pidfd::send_signal(&self.pidfd, libc::SIGKILL);
    }

    /// Once it has ended: ends everything that descends from it, unless it was told to go.
    pub fn end_descendants(&self, dismissed: bool) {
        let killed = match &self.group {
            Some(group) if !dismissed => group.kill().is_ok(),
            _ => dismissed,
        };
        if !killed {
            kin::end(self.nonce);
        }
        if let Some(group) = &self.group {
            group.disband();
        }
    }

    /// Notes that a large result's room is free; the worker is told with the next
    /// request.
    pub fn give_back(&self, room: [u64; 3]) {
        lock(&self.returned).push(room);
        self.has_returned.store(true, Ordering::Relaxed);
    }

    /// The rooms that the worker is to be told about.
    #[inline]
    pub fn returned(&self) -> Option<Vec<[u64; 3]>> {
        // Relaxed: one that isn't seen yet goes along with the next request.
        if !self.has_returned.load(Ordering::Relaxed) {
            return None;
        }
        self.has_returned.store(false, Ordering::Relaxed);
        let mut returned = lock(&self.returned);
        (!returned.is_empty()).then(|| std::mem::take(&mut *returned))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|broken| broken.into_inner())
}
