//! Starting a worker: memory, bells, and this program once more.
//!
//! The child gets exactly eight descriptors ([`fd`]), default signal
//! dispositions, a process group of its own, and the marker that diverts it
//! before `main` ([`super::worker::hook`]). The program is `/proc/self/exe`, so
//! a file that was replaced meanwhile does no harm. How the kernel is asked for
//! it stands in [`threeply_runtime::sys::spawn`].

use crate::process::builder::Options;
use crate::process::error::Error;
use crate::process::limits;
use crate::process::link::{Link, Parts};
use crate::process::page::{RESULTS, RingBytes, SharedFile};
use crate::process::ring::Writer;
use crate::process::worker::hook::{MARKER, Marker, fd};
use crate::switch::Ordering;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::AsFd;
use threeply_runtime::sys::eventfd::EventFd;
use threeply_runtime::sys::pipe;
use threeply_runtime::sys::spawn::Exec;

/// Starts one worker. **Blocks** for about a millisecond.
///
/// # Errors
/// [`Error::Resources`] and [`Error::Start`].
pub fn start(
    slot: usize,
    options: &Options,
    arguments: &SharedFile,
    supervisor: &EventFd,
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
    let pipes = "no pipe for a worker";
    // The worker's end blocks (that is how it sleeps), ours never does.
    let (bell_read, bell) = pipe::pipe().map_err(need(pipes))?;
    pipe::set_nonblocking(&bell, true).map_err(need(pipes))?;
    let caller = pipe::nonblocking().map_err(need(pipes))?;
    let null = File::open("/dev/null").map_err(need("/dev/null can't be opened"))?;
    let nonce = RandomState::new().hash_one(slot);
    let marker = Marker {
        parent: std::process::id(),
        nonce,
        in_main: options.start_in_main,
    };
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let spawned = Exec::new("/proc/self/exe")
        .arg0(options.name.as_deref().unwrap_or("threeply-worker"))
        .env(MARKER, marker.to_value())
        .process_group(0)
        .spawn(&[
            (null.as_fd(), 0),
            (stdout.as_fd(), 1),
            (stderr.as_fd(), 2),
            (bell_read.as_fd(), fd::BELL),
            (caller.1.as_fd(), fd::CALLER),
            (supervisor.as_fd(), fd::SUPERVISOR),
            (file.as_fd(), fd::MEMORY),
            (arguments.as_fd(), fd::ARGUMENTS),
        ])
        .map_err(Error::Start)?;
    Ok(Link::new(Parts {
        pid: spawned.pid,
        slot,
        nonce,
        memory,
        pidfd: spawned.pidfd,
        bell,
        caller,
    }))
}
