//! Starting a worker: memory, bells, and this program once more.
//!
//! The child gets its first three descriptors and a socket, default signal
//! dispositions, a process group of its own, and by that socket what makes it a worker
//! ([`super::request`]): the pool makes that while the process comes up. There are
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
use crate::process::page::{Mapping, RESULTS, RingBytes, SharedFile};
use crate::process::request::{self, Equipment, Forked};
use crate::process::ring::Writer;
use crate::process::worker::hook::{MARKER, Marker, fd};
use crate::switch::Ordering;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use threeply_runtime::sys::eventfd::EventFd;
use threeply_runtime::sys::pidfd;
use threeply_runtime::sys::pipe;
use threeply_runtime::sys::scm;
use threeply_runtime::sys::spawn::{Exec, Spawned};

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
    /// fork: half a millisecond a worker, however large this process is; and half of that
    /// for the first that is started after a pause, since one child more than
    /// there are workers always waits in advance (`threeply-spare` in lists of processes;
    /// half a megabyte, no processor time).
    ///
    /// Workers have environment, working directory, limits and processor affinity of
    /// the moment when the fork server was started (with the first pool that uses
    /// one; it ends with the last), and memory addresses in common.
    ForkServer,
}

/// A process that was begun, to become a worker. Dropped before that, it is killed and
/// reaped.
#[derive(Debug)]
pub struct Begun {
    slot: usize,
    nonce: u64,
    given: Outlets,
    group: Option<ControlGroup>,
    process: Unequipped,
    socket: OwnedFd,
}

impl Begun {
    /// Begins a process. **Blocks** for some hundred microseconds; for longer if the fork
    /// server doesn't answer, until `given_up` says that nobody wants the worker any more.
    ///
    /// # Errors
    /// [`Error::Resources`], [`Error::Start`] and [`Error::ForkServer`].
    pub fn new(
        slot: usize,
        options: &Options,
        given_up: &dyn Fn() -> bool,
    ) -> Result<Begun, Error> {
        let given = Outlets {
            stdout: Given::new(&options.stdout, Stream::Stdout).map_err(need(NO_PIPE))?,
            stderr: Given::new(&options.stderr, Stream::Stderr).map_err(need(NO_PIPE))?,
        };
        let nonce = RandomState::new().hash_one(slot);
        let group = options.control_groups.then(|| ControlGroup::new(nonce));
        let group = group.transpose().map_err(need(NO_GROUP))?;
        let (spawned, socket) = match &options.fork_server {
            Some(server) => server.fork(given_up)?,
            None => exec(nonce, options, &given)?,
        };
        let process = Unequipped(Some(spawned));
        // Nothing of the user's runs in it before its first job.
        if let Some(group) = &group {
            group.take_in(process.pid()).map_err(need(NO_GROUP))?;
        }
        Ok(Begun {
            slot,
            nonce,
            given,
            group,
            process,
            socket,
        })
    }

    /// Makes it a worker: gives it memory and bells.
    ///
    /// # Errors
    /// [`Error::Resources`]
    pub fn equip(
        self,
        options: &Options,
        arguments: &SharedFile,
        supervisor: &EventFd,
        outputs: &Outputs,
    ) -> Result<(Link, Writer<RingBytes>), Error> {
        let Begun {
            nonce,
            given,
            process,
            socket,
            ..
        } = self;
        let file = SharedFile::new(c"threeply-worker", RESULTS, RESULTS + limits::ARENA)
            .map_err(need("no memory file for a worker"))?;
        let memory = file
            .map(true)
            .map_err(need("no address space for a worker's memory"))?;
        tell_wishes(&memory, options);
        // The worker's end blocks (that is how it sleeps), ours never does.
        let (bell_read, bell) = pipe::pipe().map_err(need(NO_PIPE))?;
        pipe::set_nonblocking(&bell, true).map_err(need(NO_PIPE))?;
        let caller = EventFd::new().map_err(need("no eventfd for a worker"))?;
        pipe::set_nonblocking(&caller, false).map_err(need("no eventfd for a worker"))?;
        let equipment = Equipment {
            bell: bell_read.as_fd(),
            caller: caller.as_fd(),
            supervisor: supervisor.as_fd(),
            memory: file.as_fd(),
            arguments: arguments.as_fd(),
        };
        let forked = options.fork_server.is_some().then(|| Forked {
            name: name(options),
            outputs: [given.stdout.as_fd(), given.stderr.as_fd()],
        });
        match request::send(&socket, nonce, &equipment, forked.as_ref()) {
            // It has died already, which whoever watches it will see.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            sent => sent.map_err(need("a worker's descriptors can't be sent to it"))?,
        }
        let Spawned { pid, pidfd } = process.equipped();
        let source = |given: Given| {
            let source = Arc::new(given.source(pid, nonce)?);
            outputs.add(Arc::clone(&source));
            Some(source)
        };
        Ok(Link::new(Parts {
            outputs: [source(given.stdout), source(given.stderr)],
            pid,
            slot: self.slot,
            nonce,
            memory,
            pidfd,
            group: self.group,
            bell,
            caller,
            passing: socket,
        }))
    }
}

/// A process that nobody watches over yet.
#[derive(Debug)]
struct Unequipped(Option<Spawned>);

impl Unequipped {
    fn pid(&self) -> u32 {
        self.0.as_ref().map_or(0, |spawned| spawned.pid)
    }

    fn equipped(mut self) -> Spawned {
        self.0.take().expect("taken once, here")
    }
}

impl Drop for Unequipped {
    fn drop(&mut self) {
        if let Some(spawned) = &self.0 {
            let _ = pidfd::send_signal(&spawned.pidfd, libc::SIGKILL);
            let _ = pidfd::wait_exit(&spawned.pidfd);
        }
    }
}

const NO_PIPE: &str = "no pipe for a worker";
const NO_GROUP: &str = "no control group for a worker (`control_groups(true)` asks for one; it takes \
     version 2, mounted, and the right to make directories in this process's own group)";

fn need(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Resources { what, source }
}

fn name(options: &Options) -> &str {
    options.name.as_deref().unwrap_or("threeply-worker")
}

/// Where what it writes goes.
#[derive(Debug)]
struct Outlets {
    stdout: Given,
    stderr: Given,
}

/// Starts this program once more, which will wait at its end of a socket.
fn exec(nonce: u64, options: &Options, given: &Outlets) -> Result<(Spawned, OwnedFd), Error> {
    let (socket, its_own) = scm::pair().map_err(need("no sockets for a worker"))?;
    let null = File::open("/dev/null").map_err(need("/dev/null can't be opened"))?;
    let marker = Marker {
        parent: std::process::id(),
        nonce,
        in_main: options.start_in_main,
        forks: false,
    };
    let spawned = Exec::new("/proc/self/exe")
        .arg0(name(options))
        .env(MARKER, marker.to_value())
        .env(kin::KIN, kin::value_for(nonce))
        .process_group(0)
        .spawn(&[
            (null.as_fd(), 0),
            (given.stdout.as_fd(), 1),
            (given.stderr.as_fd(), 2),
            (its_own.as_fd(), fd::SOCKET),
        ])
        .map_err(Error::Start)?;
    Ok((spawned, socket))
}

/// Puts into the memory of a worker how it is to be, before it sees it.
fn tell_wishes(memory: &Mapping, options: &Options) {
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
    let marks = u32::from(options.stdout.is_marked()) + 2 * u32::from(options.stderr.is_marked());
    words.marks.store(marks, Ordering::Relaxed);
}
