//! Loom models of every protocol between threads, and a broken twin of each.
//!
//! Run them by `cargo loom` (`tests/src/bin/loom.rs`), which builds this binary
//! with `--cfg loom` and compares what ran with the table in
//! `tests/src/models.rs`. A model drives the shipped source; its twin is the
//! same model under a named weakening of the crate's switch file, and must fail
//! with the model's own assertion.
//!
//! # What that proves, and what not
//!
//! A model that passes has no schedule of its two or three threads, with at most as many
//! forced switches as it states, and no value that a load may return under its ordering,
//! for which an assertion fails, two threads meet in an `UnsafeCell`, or all of them wait
//! for ever. That its twin fails shows that the model could have noticed.
//!
//! Not proved, and looked after by other means:
//!
//! - **More switches and more threads** than a model has. Stress and chaos tests.
//! - **`SeqCst` accesses**: loom takes them for `AcqRel`, so no protocol may need them
//!   (sequentially consistent *fences* it honours). And it never lets a store come
//!   before an earlier load, which `Relaxed` permits.
//! - **What lies behind the switch**: crossbeam's deque (models use
//!   `thread/deque_model.rs`, the same algorithm), the kernel's part of eventfd, epoll,
//!   pipes and futexes (a bell is a flag, here).
//! - **Other processes**: words in shared memory are driven by threads. That a process
//!   may die between any two instructions is a model's own case, or a chaos test.
//! - **Pointers**: aliasing, lifetimes, layouts. Numbered invariants beside each
//!   `unsafe`, and the loop's tests under AddressSanitizer (`.ci/run sanitize`).
//! - **Progress and speed**: that something happens soon, or costs little.
//!
//! This file is the one place of this crate that knows `cfg(loom)`: without it
//! the models are not compiled and this test binary is empty.
#![cfg(loom)]

mod delivery;
mod explore;
mod given_up;
mod ipc;
mod lanes;
mod process;
mod publish;
mod ready;
mod remote;
mod signal;
mod sync;
mod thread;
mod token;
mod trace;
