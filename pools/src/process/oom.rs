//! Was it the kernel, for want of memory?
//!
//! A process that the kernel kills because memory has run out just dies of
//! SIGKILL. The control group counts such kills: if its counter has moved since we
//! last looked, the death was most probably one of them.
//!
//! | control groups | where our own is named | the counter |
//! |---|---|---|
//! | version 2 | `0::<path>` | `oom_kill` in `memory.events` |
//! | version 1 | `<n>:memory:<path>` | `oom_kill` in `memory.oom_control` |

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counter of our control group, if it can be read.
#[derive(Debug, Default)]
pub struct OomCounter(OnceLock<Option<Counter>>);

#[derive(Debug)]
struct Counter {
    path: PathBuf,
    seen: AtomicU64,
}

impl OomCounter {
    /// Finds the counter and notes its value. To be called soon after workers were first
    /// started, not before: it takes 12 system calls.
    pub fn note(&self) {
        self.0.get_or_init(Counter::find);
    }

    /// Whether it has moved since the last look.
    pub fn has_killed(&self) -> bool {
        let Some(noted) = self.0.get() else {
            self.note(); // How far it was before that death, nobody knows.
            return false;
        };
        let Some(counter) = noted else {
            return false;
        };
        let now = read(&counter.path);
        now.is_some_and(|now| counter.seen.swap(now, Ordering::Relaxed) < now)
    }
}

impl Counter {
    fn find() -> Option<Counter> {
        let (path, seen) = find()?;
        let seen = AtomicU64::new(seen);
        Some(Counter { path, seen })
    }
}

fn find() -> Option<(PathBuf, u64)> {
    let groups = text_of(Path::new("/proc/self/cgroup"))?;
    candidates(&groups)
        .into_iter()
        .find_map(|path| read(&path).map(|count| (path, count)))
}

/// What a file of the kernel's says. In one read (and one that finds the end): such files
/// don't tell their length, so std would begin with 32 bytes.
fn text_of(path: &Path) -> Option<String> {
    let mut text = String::with_capacity(4096);
    fs::File::open(path).ok()?.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Where the counter may be, for the text of `/proc/self/cgroup`. In a container
/// the path may be one that only the host has, and our own group be the root.
fn candidates(groups: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (root, counter) = if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", "memory.oom_control")
        } else if number == "0" && controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.events")
        } else {
            continue;
        };
        found.push(PathBuf::from(format!("{root}{path}")).join(counter));
        found.push(PathBuf::from(root).join(counter));
    }
    found
}

fn read(path: &Path) -> Option<u64> {
    let events = text_of(path)?;
    let line = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_found_in_both_versions() {
        let second = candidates("0::/user.slice/x\n");
        assert_eq!(
            second[0].to_str(),
            Some("/sys/fs/cgroup/user.slice/x/memory.events")
        );
        let first = candidates("5:cpu,cpuacct:/a\n4:memory:/b\n0::/c\n");
        assert_eq!(
            first[0].to_str(),
            Some("/sys/fs/cgroup/memory/b/memory.oom_control")
        );
        assert_eq!(first.len(), 4, "and the roots, and version 2");
    }
}
