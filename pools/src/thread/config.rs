//! What a pool's builder decided.
//!
//! Read `registry.rs` next.

use std::time::Duration;

use crate::error::JobError;
use crate::limits;
use crate::thread::watchdog::OnStall;

/// What the builder decided.
pub struct Config {
    /// Permits: threads that run at the same time.
    pub threads: usize,
    /// Threads beyond that, lent while others block.
    pub max_spares: usize,
    /// The pool's name, and the prefix of its threads' names.
    pub name: String,
    /// A thread's name, by index; else `name-index`.
    pub thread_name: Option<Box<dyn Fn(usize) -> String + Send + Sync>>,
    /// Stack size of the threads, in bytes; std's default if `None`.
    pub stack_size: Option<usize>,
    /// Called on each thread when it starts.
    pub on_start: Option<Box<dyn Fn(usize) + Send + Sync>>,
    /// Called on each thread when it ends.
    pub on_exit: Option<Box<dyn Fn(usize) + Send + Sync>>,
    /// Called with the panic of a job whose handle was dropped.
    pub on_panic: Option<Box<dyn Fn(JobError) + Send + Sync>>,
    /// Ends a thread that was idle for so long; it is started again when needed.
    pub idle_exit: Option<Duration>,
    /// Pins worker `i` to the `i`-th processor this process may use.
    pub pin: bool,
    /// Workers publish what they run.
    pub publish_running: bool,
    /// After how long a stall of all workers is reported.
    pub watchdog: Option<Duration>,
    /// To whom; stderr if `None`.
    pub on_stall: Option<Box<OnStall>>,
}

impl Default for Config {
    /// The defaults; the number of threads is left to whoever builds the pool.
    fn default() -> Config {
        Config {
            threads: 0,
            max_spares: limits::MAX_SPARES,
            name: "pool".to_owned(),
            thread_name: None,
            stack_size: None,
            on_start: None,
            on_exit: None,
            on_panic: None,
            idle_exit: None,
            pin: false,
            publish_running: false,
            watchdog: None,
            on_stall: None,
        }
    }
}

impl Config {
    /// The name of the thread of lane `index`.
    pub fn name_of(&self, index: usize) -> String {
        match &self.thread_name {
            Some(name) => name(index),
            None => format!("{}-{index}", self.name),
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("threads", &self.threads)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
