//! What a pool was asked to be, as its parts read it.
//!
//! Read before this: [`super`], which says what each wish means.

use crate::ipc::message;
use crate::ipc::travel::Baggage;
use crate::process::arena::Arena;
use crate::process::codec::{CodecError, check_baggage};
use crate::process::encode::locate;
use crate::process::error::Error;
use crate::process::fork_server::ForkServer;
use crate::process::job::{Arguments, Job, Target};
use crate::process::limits;
use crate::process::output::Output;
use crate::process::sink::Sink;
use crate::process::stall::OnStall;
use crate::process::start::StartMethod;
use crate::process::terms::Terms;
use crate::process::trampoline::Call;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::panic::Location;
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
    call: [u64; 2],
    /// Its length and its bytes, as an element of a frame.
    argument: Arc<[u8]>,
    baggage: Option<Arc<Baggage>>,
}

impl Initializer {
    /// # Errors
    /// [`Error::NotInExecutable`], [`Error::Argument`], [`Error::TooLarge`].
    pub(super) fn new<A>(function: fn(A), argument: &A) -> Result<Initializer, Error>
    where
        A: Serialize + DeserializeOwned,
    {
        let refused = |reason: String| Error::Argument { reason };
        let call = locate(Call::of(function))?;
        let mut bytes = vec![0; 4];
        let baggage = message::encode(argument, &mut bytes);
        let baggage = baggage.map_err(|error| refused(error.to_string()))?;
        check_baggage(&baggage).map_err(|error| refused(error.to_string()))?;
        let (len, max) = (bytes.len() - 4, u32::MAX as usize);
        let prefix = u32::try_from(len).map_err(|_| Error::TooLarge { len, max })?;
        bytes[..4].copy_from_slice(&prefix.to_le_bytes());
        Ok(Initializer {
            call,
            argument: bytes.into(),
            baggage: (!baggage.is_empty()).then(|| Arc::new(baggage)),
        })
    }

    /// The job of one worker; its argument goes through `arena` if it is large.
    ///
    /// # Errors
    /// [`CodecError::TooLarge`] if there is no room.
    pub(crate) fn job(
        &self,
        target: Arc<dyn Target>,
        arena: &Arc<Arena>,
    ) -> Result<Job, CodecError> {
        let mut sink = Sink::new(arena, usize::MAX);
        sink.put(&self.argument)?;
        Ok(Job {
            target,
            call: self.call,
            arguments: Arguments::new(sink.finish(), arena),
            index: 0,
            count: 1,
            terms: None,
            site: Location::caller(),
            attempt: 1,
            baggage: self.baggage.clone(),
        })
    }
}
