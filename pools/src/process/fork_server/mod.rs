//! The fork server: a small, kept process that forks workers, and always one in advance.
//!
//! ```text
//!  pool's process                 zygote: this executable,      spare, then worker
//!                                 started once by exec,
//!                                 one thread, no jobs
//!  ┌─────────────┐                ┌───────────┐
//!  │ ForkServer  │ ─── order ────▶│ 1 receive │
//!  │             │                │ 2 clone ──┼─ CLONE_PARENT ─▶ ┌────────────────┐
//!  │             │◀─ pid, pidfd, ─│ 3 answer  │                  │ takes its page │
//!  └─────────────┘   its socket   └───────────┘                  │ faults, starts │
//!    4 setpgid                                                   │ its thread,    │
//!    5 request: nonce, name, descriptors ───────────────────────▶│ waits; becomes │
//!                                                                │ a worker       │
//!                                                                └────────────────┘
//! ```
//!
//! A worker by exec pays for the loader, the relocations and the page tables of a
//! whole program, about a millisecond; the zygote has paid once, and a fork of it
//! copies a few hundred kilobytes, however large the pool's own process has grown.
//! It has one thread and runs none of the user's code, so no lock can be held when
//! it forks: what makes plain `fork` unsound doesn't exist here.
//!
//! Fork, first page faults and a thread are still some hundred microseconds. So the order is
//! given **in advance**: when a worker has come up (not before: the fork would compete with
//! it for processors), the supervisor has the next spare forked, and the next start finds it
//! waiting. Then steps 1 to 3 are over, and a start is one message. There is one spare,
//! whatever the number of pools: further workers of the same start are forked one by one. It
//! costs a process of half a megabyte that sleeps (80 KiB of it its alone).
//!
//! `CLONE_PARENT` makes a spare the child of the pool's process, not of the zygote:
//! it is awaited and reaped through its pidfd exactly as one that was started by
//! exec, and it looks for the same parent. The pidfd is opened by `clone` itself
//! and travels with the answer, so at no moment does a bare pid stand for a process.
//!
//! 1. **No worker without an owner.** A spare stays in the zygote's process group
//!    until a pool takes it and moves it to one of its own. Whatever is in that group when
//!    the zygote ends, or is ended, the pool's process kills and reaps with it ([`client`]).
//! 2. **A spare is no worker.** No pool counts it, and it holds nothing but its first three
//!    descriptors, its socket, and its parent's pidfd. It ends when the other end of its
//!    socket is closed, or its parent's pidfd says so, whichever comes first.
//! 3. **Its death costs nothing.** Whoever takes it looks at its pidfd first, and orders
//!    another. (One that dies after that look is a worker that died before it was ready.)
//!    Until somebody takes it or a pool's supervisor looks around, it is a zombie.
//! 4. **The zygote ends** when its socket does or its parent's pidfd says so.
//!
//! What a forked worker has from the zygote and not from the moment of its start:
//! environment, working directory, resource limits, processor affinity, and the
//! addresses at which everything is loaded. The C library's record of the main
//! thread's number is the zygote's; jobs run on another thread, so only a job that
//! addresses the main thread by number (or changes the user id by `setuid`) could
//! notice.
//!
//! Read in this order: this file, [`message`], [`client`] (in the pool's process),
//! [`zygote`], and [`super::worker::begin`] (in the spare). Then [`super::start`], which
//! uses it.
//!
//! Rejected: *the zygote as the workers' parent* (their ends would have to be told
//! through a third process, which may die itself); *forking the pool's own process*
//! (its other threads hold locks at that moment, which nobody in the child
//! releases, and copying its page tables takes tens of milliseconds a gibibyte);
//! *a zygote for each pool* (its start would cost what a worker's by exec does); *a spare
//! that waits at the zygote's own socket* (whether it or the zygote gets a request is then
//! decided by chance, and the pool wouldn't know whom it has got); *more spares* (each
//! costs memory, and pools that start many workers at once start seldom); *the next spare at
//! once* (its fork would compete with the start that it follows, on two processors with every
//! part of it).

pub mod client;
pub mod message;
pub mod zygote;

pub use client::ForkServer;
