//! The processor time that a worker has used, asked of the kernel by its parent.
//!
//! Rejected: `RLIMIT_CPU` and timers in the worker. They count whole seconds, or
//! send a signal that a job may block or ignore; what the parent measures it
//! can't escape.

use nix::time::{clock_getcpuclockid, clock_gettime};
use std::time::Duration;

/// The processor time that a child of ours has used so far, all its threads
/// together; what its own children use isn't in it. `None` if it has ended.
pub fn used_by(pid: u32) -> Option<Duration> {
    // The number is the child's until we reap it.
    let clock = clock_getcpuclockid(nix::unistd::Pid::from_raw(pid.cast_signed())).ok()?;
    clock_gettime(clock).ok().map(Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_uses_is_counted() {
        let me = std::process::id();
        let before = used_by(me).unwrap();
        let mut after = before;
        while after <= before {
            after = used_by(me).unwrap();
        }
    }
}
