//! How many threads fit this machine, and on which processors.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Threads that can run at the same time: what the process's affinity allows,
/// and no more than its cgroup's CPU quota. At least 1.
///
/// std reads both, cgroup v1 and v2 alike; a quota of 2.5 processors counts as 2.
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The processors this process may use, by number.
pub fn allowed() -> Vec<usize> {
    match sched_getaffinity(Pid::from_raw(0)) {
        Ok(set) => (0..CpuSet::count())
            .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
            .collect(),
        Err(_) => Vec::new(),
    }
}

/// Pins the current thread to the `index`-th processor that it may use, counted
/// round; does nothing if the system refuses.
pub fn pin_current_thread(index: usize) {
    let allowed = allowed();
    if allowed.is_empty() {
        return;
    }
    let mut set = CpuSet::new();
    if set.set(allowed[index % allowed.len()]).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_pinned_thread_may_use_one_processor() {
        let before = super::allowed();
        let after = std::thread::spawn(|| {
            super::pin_current_thread(1);
            super::allowed()
        })
        .join()
        .unwrap();
        assert_eq!(after, [before[1 % before.len()]]);
    }
}
