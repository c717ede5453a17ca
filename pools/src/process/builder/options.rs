//! What a pool was asked to be, as its parts read it.
//!
//! Read before this: [`super`], which says what each wish means.

use crate::ipc::travel::Baggage;
use crate::process::arena::Arena;
use crate::process::codec::Bytes;
use crate::process::encode::{encode, locate};
use crate::process::error::Error;
use crate::process::fork_server::ForkServer;
use crate::process::job::Arguments;
use crate::process::limits;
use crate::process::output::Output;
use crate::process::page::SharedFile;
use crate::process::stall::OnStall;
use crate::process::start::StartMethod;
use crate::process::terms::Terms;
use crate::process::trampoline::Call;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// How a pool is to be; see [`Builder`](super::Builder) for what each means.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many workers there are to be; of a builder that wasn't told, zero.
    pub workers: usize,
    pub(crate) name: Option<String>,
    pub(crate) stack_size: usize,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) control_groups: bool,
    pub(crate) start_in_main: bool,
    pub(crate) start_method: StartMethod,
    /// There while the pool lives, if that is its start method.
    pub(crate) fork_server: Option<Arc<ForkServer>>,
    pub(crate) spinning: bool,
    /// How many jobs may wait for a worker.
    pub queue_jobs: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) jobs_per_worker: u64,
    pub(crate) recycle_above: Option<u64>,
    /// After how long without a job a worker goes.
    pub idle_exit: Option<Duration>,
    pub(crate) stdout: Output,
    /// Where the stderr of workers goes.
    pub stderr: Output,
    pub(crate) terms: Terms,
    pub(crate) initializer: Option<Initializer>,
    pub(crate) watchdog: Option<Duration>,
    pub(crate) on_stall: Option<OnStall>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            workers: 0,
            name: None,
            stack_size: limits::STACK,
            memory_limit: None,
            control_groups: false,
            start_in_main: false,
            start_method: StartMethod::Exec,
            fork_server: None,
            spinning: true,
            queue_jobs: limits::QUEUE_JOBS,
            queue_bytes: limits::QUEUE_BYTES,
            jobs_per_worker: u64::MAX,
            recycle_above: None,
            idle_exit: None,
            stdout: Output::inherit(),
            stderr: Output::relay(),
            terms: Terms::default(),
            initializer: None,
            watchdog: None,
            on_stall: None,
        }
    }
}

/// Runs first in every worker.
#[derive(Debug, Clone)]
pub(crate) struct Initializer {
    pub(crate) call: [u64; 2],
    pub(crate) argument: Bytes,
    pub(crate) baggage: Option<Arc<Baggage>>,
}

impl Initializer {
    /// # Errors
    /// [`Error::NotInExecutable`], [`Error::Argument`], [`Error::TooLarge`].
    pub(super) fn new<A>(function: fn(A), argument: &A) -> Result<Initializer, Error>
    where
        A: Serialize + DeserializeOwned,
    {
        // An arena of its own, too small for anything: the argument stays inline.
        let none = SharedFile::new(c"threeply-none", limits::PAGE, limits::PAGE)
            .and_then(|file| file.map(true))
            .map_err(|source| Error::Resources {
                what: "no memory for the initializer's argument",
                source,
            })?;
        let arena = Arena::new(none, 0);
        let call = locate(Call::of(function))?;
        let (argument, baggage) = encode(argument, &Arc::new(arena))?;
        match argument {
            Arguments::Inline(argument) => Ok(Initializer {
                call,
                argument,
                baggage,
            }),
            Arguments::Large { .. } => unreachable!("the arena has no room"),
        }
    }
}
