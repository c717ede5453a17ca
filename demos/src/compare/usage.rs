//! What a process and its children have used, from the kernel's own books.
//!
//! A worker pool's children are alive between rounds, so the usual
//! `RUSAGE_CHILDREN`, which counts only children that have been waited for,
//! isn't enough: the CPU clocks of the living are added.
//!
//! Everything is `None` where `/proc` doesn't say, never a guess.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// CPU time of this process, of its living descendants, and of its children
/// that have ended.
pub fn cpu_of_tree() -> Option<Duration> {
    let own = Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok()?);
    let ended = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    let ended = time_val(ended.user_time()) + time_val(ended.system_time());
    // A child that ends just now has no clock any more, and counts as ended
    // at the next look.
    let living: Duration = descendants(std::process::id())?
        .into_iter()
        .filter_map(cpu_of)
        .sum();
    Some(own + ended + living)
}

/// The most memory that this process and its living descendants have held in
/// RAM, summed. Pages that processes share count once for each.
pub fn peak_rss_of_tree() -> Option<u64> {
    let own = status_bytes("self", "VmHWM:")?;
    let living = descendants(std::process::id())?;
    Some(
        own + living
            .iter()
            .filter_map(|pid| status_bytes(&pid.to_string(), "VmHWM:"))
            .sum::<u64>(),
    )
}

/// The private memory of process `pid`: pages that would be free if it ended.
pub fn private_memory_of(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let of = |key| field_bytes(&rollup, key);
    Some(of("Private_Clean:")? + of("Private_Dirty:")?)
}

/// Anonymous memory of this process that is in RAM: stacks and heap.
pub fn anonymous_memory() -> Option<u64> {
    status_bytes("self", "RssAnon:")
}

/// The processes that `pid` has started, and theirs.
pub fn descendants(pid: u32) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        // A thread that ends while we look has no children left.
        let Ok(children) = fs::read_to_string(thread.path().join("children")) else {
            continue;
        };
        for child in children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
        {
            found.push(child);
            found.extend(descendants(child).unwrap_or_default());
        }
    }
    Some(found)
}

fn cpu_of(pid: u32) -> Option<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.try_into().ok()?)).ok()?;
    clock_gettime(clock).ok().map(Duration::from)
}

fn status_bytes(pid: &str, key: &str) -> Option<u64> {
    field_bytes(
        &fs::read_to_string(format!("/proc/{pid}/status")).ok()?,
        key,
    )
}

/// The value of a line like `VmHWM:     1234 kB`.
fn field_bytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

fn time_val(t: nix::sys::time::TimeVal) -> Duration {
    Duration::from_secs(t.tv_sec().max(0) as u64) + Duration::from_micros(t.tv_usec().max(0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_living_child_is_found_and_counted() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        assert!(
            descendants(std::process::id())
                .unwrap()
                .contains(&child.id())
        );
        assert!(cpu_of(child.id()).is_some());
        assert!(private_memory_of(child.id()).unwrap() > 0);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(
            !descendants(std::process::id())
                .unwrap()
                .contains(&child.id())
        );
        assert!(cpu_of_tree().unwrap() > Duration::ZERO);
    }
}
