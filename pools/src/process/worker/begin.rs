//! How a process becomes a worker: it waits for the request that says so, maps the memory
//! that came with it, and begins to live.
//!
//! ```text
//!                exec                                      fork
//!   main thread                            main thread            thread "threeply-worker"
//!     waits for the request                  starts it ─────────────▶ takes its page faults
//!     sets up                                guards                   waits for the request
//!     starts the thread ──▶ lives                                     sets up
//!     guards                                                          lives
//! ```
//!
//! One that was started by `exec` finds its request there; a **spare** of the fork server
//! waits for long, and has everything behind it by then that can be done without a request:
//! a thread to run jobs, its signal stack, its heap, and the page faults of all that (a fork
//! shares its pages until it writes to them). Only a request that wants another stack, or a
//! limit of memory, gets a new thread.
//!
//! Read before this: [`super::hook`] and [`crate::process::request`]. Read after it:
//! [`super::serve`].
#![allow(unsafe_code)] // takes over descriptors by number

use crate::process::kin;
use crate::process::limits::{FRAME, STACK};
use crate::process::page::{Mapping, SharedFile};
use crate::process::request::{self, Request};
use crate::process::worker::bells::Bells;
use crate::process::worker::end::{complain, exit, guard, leave};
use crate::process::worker::hook::{Marker, fd};
use crate::process::worker::serve::{Parts, Worker};
use crate::process::worker::{last_words, panics};
use crate::switch::Ordering;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use threeply_runtime::sys::pidfd;
use threeply_runtime::trace;

/// Lives as a worker that was started by `exec`, and exits; never returns.
pub fn worker(marker: Marker) -> ! {
    ignore_broken_pipes();
    let parent = pidfd::open(marker.parent).ok();
    leave_if_orphaned(marker);
    let socket = socket();
    // Another process may hold the other end: that the parent has ended, its pidfd tells.
    let request = loop {
        match request::receive(&socket, false) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(Some(request)) => break request,
            Ok(None) => leave(exit::DONE),
            Err(error) => complain("cannot receive what it needs", &error),
        }
        let all = std::iter::once(&socket).chain(&parent);
        let mut waited: Vec<_> = all
            .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN))
            .collect();
        let _ = nix::poll::poll(&mut waited, PollTimeout::NONE);
        leave_if_orphaned(marker);
    };
    match Equipped::new(marker, request, socket) {
        Ok(equipped) => equipped.begin_on_a_new_thread(),
        Err(error) => complain("cannot set itself up", &error),
    }
    guard(marker.parent, parent)
}

/// Lives as a spare of the fork server, until it is made a worker, and then as that.
/// Never returns.
pub fn spare(marker: Marker) -> ! {
    ignore_broken_pipes();
    leave_if_orphaned(marker);
    // SAFETY: the fork server placed it for us, and nobody else knows of it.
    let parent = unsafe { OwnedFd::from_raw_fd(fd::PARENT) };
    let socket = socket();
    on_a_thread(STACK, move || {
        let desk = Desk::prepare();
        let mut request = match request::receive(&socket, true) {
            Ok(Some(request)) => request,
            Ok(None) => leave(exit::DONE),
            Err(error) => complain("cannot receive what it needs", &error),
        };
        if let Err(error) = take_up(&mut request) {
            complain("cannot place its descriptors", &error);
        }
        match Equipped::new(marker, request, socket) {
            Ok(equipped) if equipped.is_usual() => equipped.begin(desk),
            Ok(equipped) => equipped.begin_on_a_new_thread(),
            Err(error) => complain("cannot set itself up", &error),
        }
    });
    guard(marker.parent, Some(parent))
}

/// What std does before main: a write to a closed socket is an error.
fn ignore_broken_pipes() {
    // SAFETY: no other thread exists yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Another parent means that ours has died meanwhile.
fn leave_if_orphaned(marker: Marker) {
    // SAFETY: getppid can't fail and touches no memory.
    if unsafe { libc::getppid() }.unsigned_abs() != marker.parent {
        leave(exit::SETUP);
    }
}

/// The socket by which the request comes. Closed on `exec`: a job's own children must not
/// inherit it.
fn socket() -> OwnedFd {
    // SAFETY: sets a flag of a descriptor.
    unsafe { libc::fcntl(fd::SOCKET, libc::F_SETFD, libc::FD_CLOEXEC) };
    // SAFETY: the pool, or the fork server, placed it for us, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(fd::SOCKET) }
}

/// What a forked process hasn't got from its start: outputs and environment. (Its name it
/// gets once it is at work.)
fn take_up(request: &mut Request) -> io::Result<()> {
    let outputs = request.outputs.take().into_iter().flatten();
    for (output, number) in outputs.zip([1, 2]) {
        // SAFETY: integers; what had that number was the fork server's.
        if unsafe { libc::dup2(output.as_raw_fd(), number) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let value = kin::value_for(request.nonce);
    // SAFETY: the only other thread is the guardian, which waits for the parent's end
    // and never looks at the environment.
    unsafe { std::env::set_var(kin::KIN, value) };
    Ok(())
}

/// What a request brings, as a worker uses it.
struct Equipped {
    memory: &'static Arc<Mapping>,
    arguments: Arc<Mapping>,
    bells: Bells,
    marker: Marker,
    name: Vec<u8>,
}

impl Equipped {
    fn new(marker: Marker, request: Request, socket: OwnedFd) -> io::Result<Equipped> {
        let Request {
            nonce,
            name,
            equipment,
            ..
        } = request;
        let memory = SharedFile::inherited(equipment.memory)?.map(true)?;
        // Mapped for ever: jobs may leave threads behind that write there.
        let memory: &'static Arc<Mapping> = Box::leak(Box::new(memory));
        trace::session::follow(memory.trace_words());
        Ok(Equipped {
            memory,
            arguments: SharedFile::inherited(equipment.arguments)?.map(false)?,
            bells: Bells {
                own: equipment.bell,
                caller: equipment.caller,
                supervisor: equipment.supervisor,
                passing: socket,
            },
            marker: Marker { nonce, ..marker },
            name,
        })
    }

    /// Whether a thread will do that was started before the pool's wishes were known.
    fn is_usual(&self) -> bool {
        let words = self.memory.words();
        words.stack.load(Ordering::Relaxed) == STACK as u64
            && words.data_limit.load(Ordering::Relaxed) == 0
    }

    /// Begins on a thread of the stack that the pool wants, within the limit that it sets.
    fn begin_on_a_new_thread(self) {
        let words = self.memory.words();
        let limit = words.data_limit.load(Ordering::Relaxed);
        let data = nix::sys::resource::Resource::RLIMIT_DATA;
        if limit != 0
            && let Err(error) = nix::sys::resource::setrlimit(data, limit, limit)
        {
            complain("cannot limit its memory", &error.into());
        }
        let stack = usize::try_from(words.stack.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        on_a_thread(stack, move || self.begin(Desk::prepare()));
    }

    /// Begins on this thread.
    fn begin(self, desk: Desk) -> ! {
        last_words::leave_in(self.memory);
        let worker = Worker::new(Parts {
            memory: self.memory,
            arguments: self.arguments,
            bells: self.bells,
            nonce: self.marker.nonce,
            parent: self.marker.parent,
            frame: desk.frame,
        });
        let name = self.name;
        worker.live(|| {
            if !name.is_empty() {
                // The main thread's name is the process's. Without `/proc`, it stays "spare".
                let _ = std::fs::write("/proc/self/comm", name);
            }
        })
    }
}

/// What a thread that runs jobs has before its first.
struct Desk {
    frame: Vec<u8>,
}

impl Desk {
    /// For this thread.
    fn prepare() -> Desk {
        if let Err(error) = last_words::watch_this_stack() {
            complain("cannot watch its stack", &error);
        }
        panics::take_notes_on_this_thread();
        Desk {
            frame: vec![0; FRAME],
        }
    }
}

fn on_a_thread(stack: usize, life: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().name("threeply-worker".to_owned());
    if let Err(error) = thread.stack_size(stack).spawn(life) {
        complain("cannot start the thread that runs jobs", &error);
    }
}
