//! Loom models of every protocol between threads, and a broken twin of each.
//!
//! Run them by `cargo loom` (`tests/src/bin/loom.rs`), which builds this binary
//! with `--cfg loom` and compares what ran with the table in
//! `tests/src/models.rs`. A model drives the shipped source; its twin is the
//! same model under a named weakening of the crate's switch file, and must fail
//! with the model's own assertion.
//!
//! This file is the one place of this crate that knows `cfg(loom)`: without it
//! the models are not compiled and this test binary is empty.
#![cfg(loom)]

mod delivery;
mod explore;
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
