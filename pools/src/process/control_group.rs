//! A control group for each worker, for pools that ask for it: nothing gets out.
//!
//! What jobs start is found by process group and by environment ([`super::kin`]), and
//! whoever has left both escapes. A control group can't be left without the right to
//! write to another one, and the kernel kills all that is in it at once:
//!
//! ```text
//!   <our own group>/                        version 2 of the hierarchy
//!     threeply-<our pid>-<nonce>/           made before the worker starts
//!       cgroup.procs    ◀─ its pid           before it gets its first request, so
//!                                            before anything of the user's runs
//!       cgroup.kill     ◀─ 1                 at its death, or to kill it
//!       cgroup.events   ─▶ populated 0       then the directory is removed
//! ```
//!
//! A worker that was told to exit leaves what it has started alone, as always: that
//! moves to our own group. If this process is killed, empty directories stay behind;
//! the next pool that makes one of these removes them.
//!
//! Only on request, because few programs may make control groups.
//!
//! What escapes: a process that moves itself elsewhere, for which it needs the same
//! right as we; and what a worker has started, if its parent dies by SIGKILL (the
//! worker's guardian knows its process group alone).

use crate::process::limits;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Where version 2 is usually mounted: alone, or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// What our directories begin with.
const PREFIX: &str = "threeply-";

/// How long to wait before looking again whether a group is empty.
const LOOK_AGAIN: Duration = Duration::from_micros(200);

/// See the head of this file.
#[derive(Debug)]
pub struct ControlGroup {
    directory: PathBuf,
    ours: PathBuf,
}

impl ControlGroup {
    /// Makes one for the worker with this nonce.
    ///
    /// # Errors
    /// `NotFound` without version 2 or where our own group isn't mounted, `Unsupported`
    /// before Linux 5.14, `PermissionDenied` or `ReadOnlyFilesystem` where our own
    /// group isn't delegated to us.
    pub fn new(nonce: u64) -> io::Result<ControlGroup> {
        let ours = our_own()?;
        let name = format!("{PREFIX}{}-{nonce:016x}", std::process::id());
        let group = ControlGroup {
            directory: ours.join(name),
            ours,
        };
        fs::create_dir(&group.directory)?;
        if !group.directory.join("cgroup.kill").exists() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(group)
    }

    /// Takes a process in, with all that it starts from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take_in(&self, pid: u32) -> io::Result<()> {
        fs::write(self.directory.join("cgroup.procs"), pid.to_string())
    }

    /// Ends all that is in it, and waits until it is gone.
    ///
    /// # Errors
    /// The kernel's; `TimedOut` if something in it can't be killed.
    pub fn kill(&self) -> io::Result<()> {
        fs::write(self.directory.join("cgroup.kill"), "1")?;
        let give_up_at = Instant::now() + limits::GROUP_PATIENCE;
        loop {
            let events = fs::read_to_string(self.directory.join("cgroup.events"))?;
            if events.lines().any(|line| line == "populated 0") {
                return Ok(());
            }
            if Instant::now() >= give_up_at {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Removes it; whatever is left in it moves to our own group. May be called again.
    ///
    /// Once isn't enough: a member may start another while it is moved, and one that is
    /// about to end can't be moved any more, but holds the group for a moment yet.
    /// **Blocks** for as long as that takes, up to [`limits::GROUP_PATIENCE`].
    pub fn disband(&self) {
        let give_up_at = Instant::now() + limits::GROUP_PATIENCE;
        while !self.remove() {
            self.move_out();
            if self.remove() || Instant::now() >= give_up_at {
                return;
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Whether it could be removed, or can't be, whatever is done about its members.
    fn remove(&self) -> bool {
        let removed = fs::remove_dir(&self.directory);
        removed.map_or_else(
            |error| error.kind() != io::ErrorKind::ResourceBusy,
            |()| true,
        )
    }

    /// Moves the members to our own group.
    fn move_out(&self) {
        let members = fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
        for member in members.lines() {
            // It may have ended meanwhile.
            let _ = fs::write(self.ours.join("cgroup.procs"), member);
        }
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        self.disband();
    }
}

/// The directory of the group that this process is in.
fn our_own() -> io::Result<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let path = path.ok_or(io::ErrorKind::NotFound)?;
    // In a container the path may be one that only the host has, and our own group be
    // the root; or the path begins at the container's own group, and the mount at the
    // host's root. So only what has us in it is believed.
    let candidates = MOUNTS.iter().flat_map(|mount| {
        let inside = Path::new(mount).join(path.trim_start_matches('/'));
        [inside, PathBuf::from(mount)]
    });
    let mut ours = candidates.filter(|path| is_in(path, std::process::id()));
    ours.next().ok_or(io::ErrorKind::NotFound.into())
}

/// Whether this is a group of version 2 that has a process in it.
fn is_in(group: &Path, pid: u32) -> bool {
    group.join("cgroup.controllers").exists()
        && fs::read_to_string(group.join("cgroup.procs"))
            .is_ok_and(|members| members.lines().any(|member| member.parse() == Ok(pid)))
}

/// Removes what processes that are no more have left behind: empty, or it stays. For a
/// pool that begins; it goes through our whole group.
pub fn sweep() {
    if let Ok(ours) = our_own() {
        sweep_in(&ours);
    }
}

fn sweep_in(ours: &Path) {
    let Ok(entries) = fs::read_dir(ours) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| {
            let (pid, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
            pid.parse::<u32>().ok()
        });
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_believed_to_be_ours_if_it_has_us_in_it() {
        let group = tempfile::tempdir().unwrap();
        let (controllers, members) = ("cgroup.controllers", "cgroup.procs");
        let is_ours = || is_in(group.path(), 12);
        assert!(!is_ours());
        fs::write(group.path().join(members), "1\n12\n").unwrap();
        assert!(!is_ours(), "of version 1");
        fs::write(group.path().join(controllers), "").unwrap();
        assert!(is_ours());
        fs::write(group.path().join(members), "1\n123\n").unwrap();
        assert!(!is_ours(), "others'");
    }

    #[test]
    fn what_the_dead_left_is_removed_and_nothing_else() {
        let ours = tempfile::tempdir().unwrap();
        let me = std::process::id();
        // Beyond the largest number that a process can have.
        let dead = 1 << 23;
        let stay = [
            format!("{PREFIX}{me}-00"),
            "other".into(),
            format!("{PREFIX}x-00"),
        ];
        for name in stay.iter().chain([&format!("{PREFIX}{dead}-00")]) {
            fs::create_dir(ours.path().join(name)).unwrap();
        }
        sweep_in(ours.path());
        let left = fs::read_dir(ours.path()).unwrap().flatten();
        let mut left: Vec<_> = left
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        left.sort();
        let mut stay = stay.to_vec();
        stay.sort();
        assert_eq!(left, stay);
    }
}
