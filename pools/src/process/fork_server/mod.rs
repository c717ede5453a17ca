//! The fork server: a small, kept process that forks ready workers on request.
//!
//! ```text
//!  pool's process                 zygote: this executable,      worker
//!                                 started once by exec,
//!                                 one thread, no jobs
//!  ┌─────────────┐  request:      ┌───────────┐
//!  │ ForkServer  │  nonce, name,  │ 1 receive │
//!  │             │ ─ descriptors ▶│ 2 clone ──┼─ CLONE_PARENT ─▶ ┌────────────────┐
//!  │             │                │           │                  │ places its     │
//!  │             │◀─ pid, pidfd ──│ 3 answer  │                  │ descriptors,   │
//!  └─────────────┘                └───────────┘                  │ then lives as  │
//!    4 setpgid                                                   │ any worker     │
//!                                                                └────────────────┘
//! ```
//!
//! A worker by exec pays for the loader, the relocations and the page tables of a
//! whole program, about a millisecond; the zygote has paid once, and a fork of it
//! copies a few hundred kilobytes, however large the pool's own process has grown.
//! It has one thread and runs none of the user's code, so no lock can be held when
//! it forks: what makes plain `fork` unsound doesn't exist here.
//!
//! `CLONE_PARENT` makes a worker the child of the pool's process, not of the zygote:
//! it is awaited and reaped through its pidfd exactly as one that was started by
//! exec, and it looks for the same parent. The pidfd is opened by `clone` itself
//! and travels with the answer, so at no moment does a bare pid stand for a process.
//!
//! 1. **No worker without an owner.** A worker stays in the zygote's process group
//!    until the pool has the answer and moves it to one of its own. If the zygote
//!    dies in between, the pool kills and reaps that group ([`client`]), and with it
//!    any worker that it was never told about.
//! 2. **A request is made once.** What a failed request has named (memory, bells) is
//!    thrown away with it, since a worker might have got it; the pool tries again
//!    with new ones, and a new zygote.
//! 3. **The zygote ends** when its socket does or its parent's pidfd says so.
//!
//! What a forked worker has from the zygote and not from the moment of its start:
//! environment, working directory, resource limits, processor affinity, and the
//! addresses at which everything is loaded. The C library's record of the main
//! thread's number is the zygote's; jobs run on another thread, so only a job that
//! addresses the main thread by number (or changes the user id by `setuid`) could
//! notice.
//!
//! Read in this order: this file, [`message`], [`client`] (in the pool's process),
//! [`zygote`]. Then [`super::start`], which uses it.
//!
//! Rejected: *the zygote as the workers' parent* (their ends would have to be told
//! through a third process, which may die itself); *forking the pool's own process*
//! (its other threads hold locks at that moment, which nobody in the child
//! releases, and copying its page tables takes tens of milliseconds a gibibyte);
//! *a zygote for each pool* (its start would cost what a worker's by exec does).

pub mod client;
pub mod message;
pub mod zygote;

pub use client::ForkServer;
