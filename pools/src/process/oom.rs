//! Was it the kernel, for want of memory?
//!
//! A process that the kernel kills because memory has run out just dies of
//! SIGKILL. The control group counts such kills: if its counter has moved since we
//! last looked, the death was most probably one of them.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counter of our control group, if it can be read.
#[derive(Debug)]
pub struct OomCounter {
    path: Option<PathBuf>,
    seen: AtomicU64,
}

impl OomCounter {
    /// Finds the counter and notes its value.
    pub fn new() -> OomCounter {
        let path = find();
        let seen = path.as_ref().and_then(read).unwrap_or(0);
        OomCounter {
            path,
            seen: AtomicU64::new(seen),
        }
    }

    /// Whether it has moved since the last look.
    pub fn has_killed(&self) -> bool {
        let Some(now) = self.path.as_ref().and_then(read) else {
            return false;
        };
        self.seen.swap(now, Ordering::Relaxed) < now
    }
}

impl Default for OomCounter {
    fn default() -> OomCounter {
        OomCounter::new()
    }
}

fn find() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let path = PathBuf::from(format!("/sys/fs/cgroup{own}")).join("memory.events");
    path.exists().then_some(path)
}

fn read(path: &PathBuf) -> Option<u64> {
    let events = fs::read_to_string(path).ok()?;
    let line = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    line.trim().parse().ok()
}
