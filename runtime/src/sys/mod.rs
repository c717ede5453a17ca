//! What the runtime asks of the kernel and `std` doesn't offer: the ground floor.
//!
//! Read this first, then [`pipe`], [`eventfd`], [`timerfd`] and [`scm`] (a page each),
//! then [`spawn`], which is where care is needed, and [`pidfd`], which ends what
//! `spawn` began. Nothing here knows the event loop: every call is plain, and
//! those that may block say so. `process` makes async children of it,
//! and the process pool starts its workers with it.
//!
//! Rejected:
//! - `std::process::Command` underneath: it offers neither a pidfd on stable
//!   Rust nor placement of file descriptors beyond 0, 1 and 2, and it lets every
//!   descriptor that somebody opened without `O_CLOEXEC` leak into the child.
//! - `waitpid(-1)` or a `SIGCHLD` handler: both are global, and steal the
//!   children of other libraries in the process. A pidfd is one's own.

pub mod eventfd;
pub mod pidfd;
pub mod pipe;
pub mod scm;
pub mod spawn;
pub mod timerfd;
