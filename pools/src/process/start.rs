//! Starting a worker: memory, bells, and this program once more.
//!
//! The child gets exactly nine descriptors ([`fd`]), default signal
//! dispositions, a process group of its own, and what makes it a worker. There are
//! two ways to a new process ([`StartMethod`]):
//!
//! - **Exec**: the program is `/proc/self/exe`, so a file that was replaced meanwhile
//!   does no harm; a marker diverts it before `main` ([`super::worker::hook`]). How
//!   the kernel is asked for it stands in [`threeply_runtime::sys::spawn`].
//! - **Fork server**: [`super::fork_server`].
//!
//! Rejected: *plain `fork`* of the pool's process. The child has one thread, but the
//! memory of all: a lock that another thread held at that moment (the allocator's,
//! stdout's) stays locked in it for ever, and jobs would hang at random. It also
//! copies the page tables: 35 ms for a parent of 4 GiB.

use crate::process::builder::Options;
use crate::process::control_group::ControlGroup;
use crate::process::error::Error;
use crate::process::kin;
use crate::process::limits;
use crate::process::link::{Link, Parts};
use crate::process::output::Stream;
use crate::process::output::given::Given;
use crate::process::output::reader::Outputs;
use crate::process::page::{RESULTS, RingBytes, SharedFile};
use crate::process::ring::Writer;
use crate::process::worker::hook::{MARKER, Marker, fd};
use crate::switch::Ordering;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use threeply_runtime::sys::eventfd::EventFd;
use threeply_runtime::sys::pidfd;
use threeply_runtime::sys::pipe;
use threeply_runtime::sys::scm;
use threeply_runtime::sys::spawn::Exec;

/// How a pool comes by new processes; see [`Builder::start_method`].
///
/// Plain `fork` isn't offered: in the child, every lock that another thread held at
/// that moment stays locked for ever.
///
/// [`Builder::start_method`]: super::Builder::start_method
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartMethod {
    /// This executable is started once more for each worker: about a millisecond, and
    /// nothing is shared. The default.
    #[default]
    Exec,
    /// This executable is started once more as a small process that does nothing but
    /// fork: a few hundred microseconds a worker, however large this process is.
    ///
    /// Workers have environment, working directory, limits and processor affinity of
    /// the moment when the fork server was started (with the first pool that uses
    /// one; it ends with the last), and memory addresses in common.
    ForkServer,
}

/// Starts one worker. **Blocks** for about a millisecond; for longer if the fork server
/// doesn't answer, until `given_up` says that nobody wants the worker any more.
///
/// # Errors
/// [`Error::Resources`], [`Error::Start`] and [`Error::ForkServer`].
pub fn start(
    slot: usize,
    options: &Options,
    arguments: &SharedFile,
    supervisor: &EventFd,
    outputs: &Outputs,
    given_up: &dyn Fn() -> bool,
) -> Result<(Link, Writer<RingBytes>), Error> {
    let need = |what| move |source: io::Error| Error::Resources { what, source };
    let file = SharedFile::new(c"threeply-worker", RESULTS, RESULTS + limits::ARENA)
        .map_err(need("no memory file for a worker"))?;
    let memory = file
        .map(true)
        .map_err(need("no address space for a worker's memory"))?;
    memory.initialize();
    let words = memory.words();
    words
        .stack
        .store(options.stack_size as u64, Ordering::Relaxed);
    words
        .data_limit
        .store(options.memory_limit.unwrap_or(0), Ordering::Relaxed);
    words
        .recycle_above
        .store(options.recycle_above.unwrap_or(0), Ordering::Relaxed);
    let pipes = "no pipe for a worker";
    // The worker's end blocks (that is how it sleeps), ours never does.
    let (bell_read, bell) = pipe::pipe().map_err(need(pipes))?;
    pipe::set_nonblocking(&bell, true).map_err(need(pipes))?;
    let caller = EventFd::new().map_err(need("no eventfd for a worker"))?;
    pipe::set_nonblocking(&caller, false).map_err(need("no eventfd for a worker"))?;
    let (passing, its_passing) = scm::pair().map_err(need("no sockets for a worker"))?;
    let null = File::open("/dev/null").map_err(need("/dev/null can't be opened"))?;
    let nonce = RandomState::new().hash_one(slot);
    let marker = Marker {
        parent: std::process::id(),
        nonce,
        in_main: options.start_in_main,
        forks: false,
    };
    let stdout = Given::new(&options.stdout, Stream::Stdout).map_err(need(pipes))?;
    let stderr = Given::new(&options.stderr, Stream::Stderr).map_err(need(pipes))?;
    let marks = u32::from(options.stdout.is_marked()) + 2 * u32::from(options.stderr.is_marked());
    words.marks.store(marks, Ordering::Relaxed);
    let fds = [
        (null.as_fd(), 0),
        (stdout.as_fd(), 1),
        (stderr.as_fd(), 2),
        (bell_read.as_fd(), fd::BELL),
        (caller.as_fd(), fd::CALLER),
        (supervisor.as_fd(), fd::SUPERVISOR),
        (file.as_fd(), fd::MEMORY),
        (arguments.as_fd(), fd::ARGUMENTS),
        (its_passing.as_fd(), fd::PASSING),
    ];
    let no_group = "no control group for a worker (`control_groups(true)` asks for one; it takes \
         version 2, mounted, and the right to make directories in this process's own group)";
    let group = options.control_groups.then(|| ControlGroup::new(nonce));
    let group = group.transpose().map_err(need(no_group))?;
    let name = options.name.as_deref().unwrap_or("threeply-worker");
    let spawned = match &options.fork_server {
        Some(server) => server.fork(nonce, &fds, name, given_up)?,
        None => Exec::new("/proc/self/exe")
            .arg0(name)
            .env(MARKER, marker.to_value())
            .env(kin::KIN, kin::value_for(nonce))
            .process_group(0)
            .spawn(&fds)
            .map_err(Error::Start)?,
    };
    let taken_in = || {
        // Nothing of the user's runs in it before its first request.
        if let Some(group) = &group {
            group.take_in(spawned.pid).map_err(need(no_group))?;
        }
        let source = |given: Given| {
            let Some(source) = given.source(spawned.pid, nonce) else {
                return Ok(None);
            };
            let source = Arc::new(source);
            let added = outputs.add(Arc::clone(&source));
            added.map_err(need("no thread to read what workers write"))?;
            Ok(Some(source))
        };
        Ok([source(stdout)?, source(stderr)?])
    };
    let sources = taken_in().inspect_err(|_: &Error| {
        let _ = pidfd::send_signal(&spawned.pidfd, libc::SIGKILL);
        let _ = pidfd::wait_exit(&spawned.pidfd);
    })?;
    Ok(Link::new(Parts {
        outputs: sources,
        pid: spawned.pid,
        slot,
        nonce,
        memory,
        pidfd: spawned.pidfd,
        group,
        bell,
        caller,
        passing,
    }))
}
