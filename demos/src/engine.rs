//! The engines by the names that the command line and the JSON use.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// One after the other on the calling thread: what the others are measured against.
    Sequential,
    /// Two plain std threads with half of the work each: what two cores can give.
    #[value(skip)]
    Limit,
    /// The process pool.
    Processes,
    /// The work-stealing thread pool.
    Threads,
    /// The event loop, on one thread.
    Loop,
}

impl Engine {
    /// The name on the command line, in tables and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Sequential => "sequential",
            Engine::Limit => "limit",
            Engine::Processes => "processes",
            Engine::Threads => "threads",
            Engine::Loop => "loop",
        }
    }

    /// The article's word for it, as in "Multiprocessing took 0.52 seconds."
    pub fn article_name(self) -> &'static str {
        match self {
            Engine::Sequential => "Sequential",
            Engine::Limit => "Limit",
            Engine::Processes => "Multiprocessing",
            Engine::Threads => "Multithreading",
            Engine::Loop => "Asyncio",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
