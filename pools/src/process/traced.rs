//! A worker's place in its parent's trace: its board lies in the memory that the
//! two share, so what it noted is there also when it was killed.
//!
//! Read before this: [`super::page`]. How it is recorded and read:
//! `runtime/src/trace`.

use crate::process::page::Mapping;
use std::sync::Arc;
use threeply_runtime::trace::board::AtomicWord;
use threeply_runtime::trace::session::{Adoption, Area, adopt};

struct WorkersMemory(Arc<Mapping>);

impl Area for WorkersMemory {
    fn words(&self) -> &[AtomicWord] {
        self.0.trace_words()
    }
}

/// Takes a worker that was just started into this process's traces.
pub fn adopt_worker(pid: u32, memory: &Arc<Mapping>) -> Option<Adoption> {
    adopt(pid, WorkersMemory(Arc::clone(memory)))
}
