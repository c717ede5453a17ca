//! `--instructions`: what callgrind counts for one operation.
//!
//! Where time is too noisy, instructions aren't: the same binary on the same
//! input executes the same number of them, to a few in a million. Each child is
//! run twice, with `n` and with `3n` operations, and the difference is divided
//! by `2n`, which takes out start-up and everything else that happens once. A row
//! that does a fixed amount of work does it once and three times.
//! Instructions aren't time: they don't see cache misses, mispredicted branches,
//! system calls or atomics, which cost an order of magnitude more than others.

use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::runner::{CHILD, finish};
use crate::tracing::Tracing;
use crate::workload::{Entry, Pin, Run, Workload};

/// The first thing after [`CHILD`] for a run of exactly so many operations.
pub const EXACTLY: &str = "--exactly";

/// Whether counting makes sense: one party, operation by operation (unless two are
/// placed, which talk to each other), or with a known number of them. The kernel's part
/// and waiting for others aren't counted, so rows with two parties aren't.
pub fn counts(workload: &Workload, entry: &Entry) -> bool {
    let is_told = match entry.run {
        Run::PerOp(_) => workload.pin == Pin::Free,
        Run::Once(_) => workload.once_does > 0,
        Run::Python { .. } => false,
    };
    is_told && workload.workers == 1
}

/// Whether valgrind is there.
pub fn available() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Instructions for one operation.
///
/// # Errors
///
/// In words, when a run under callgrind ended badly or said nothing.
pub fn per_op(workload: &Workload, entry: &Entry, trace: Tracing) -> Result<f64, String> {
    let (base, operations) = match entry.run {
        Run::Once(_) => (1, workload.once_does),
        _ => {
            let base = (1_000 / workload.grain).max(1) * workload.grain;
            (base, base)
        }
    };
    let once = total(workload, entry, trace, base)?;
    let thrice = total(workload, entry, trace, 3 * base)?;
    Ok((thrice.saturating_sub(once)) as f64 / (2 * operations) as f64)
}

fn total(workload: &Workload, entry: &Entry, trace: Tracing, iters: u64) -> Result<u64, String> {
    let binary = env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("valgrind");
    command
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--log-fd=1",
        ])
        .arg(binary)
        .args([
            CHILD,
            EXACTLY,
            &iters.to_string(),
            workload.group.name(),
            &workload.name,
        ])
        .args([entry.engine, entry.variant]);
    trace.pass_on(&mut command);
    let finished = finish(&mut command, Instant::now() + Duration::from_secs(300))?;
    parse(&finished.stdout).ok_or_else(|| "callgrind told no count".to_owned())
}

/// `==123== Collected : 4567`.
fn parse(log: &str) -> Option<u64> {
    log.lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, count)| count.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    #[test]
    fn count_is_read_from_the_log() {
        let log = "==7== Events    : Ir\n==7== Collected : 123456\n==7== \n";
        assert_eq!(super::parse(log), Some(123_456));
        assert_eq!(super::parse("==7== nothing"), None);
    }
}
