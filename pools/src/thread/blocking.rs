//! [`blocking`]: tell the pool that this thread is about to wait.

use crate::thread::context;

/// Runs `f`, which may block, while the pool lends this thread's permit to run
/// to a spare thread if there is work for it.
///
/// For locks, channels, files and sockets inside a job: without it a blocked
/// worker is a core that the pool has lost, and jobs that wait for other jobs by
/// such means can deadlock. The number of spare threads is bounded
/// (`Builder::max_spares`); the permit is taken back afterwards, and a thread too
/// many ends its job and steps back. Outside a pool's worker this is just `f()`.
/// Costs about 0.1 µs if nobody needs the permit.
///
/// The idea is Go's hand-off of a processor around a system call, and tokio's
/// `block_in_place`.
pub fn blocking<R>(f: impl FnOnce() -> R) -> R {
    context::with(|seat| match seat {
        Some(seat) => seat.blocked(f),
        None => f(),
    })
}
