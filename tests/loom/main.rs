//! Loom models of every protocol between threads, and a broken twin of each.
//!
//! This file is the one place of this crate that knows `cfg(loom)`: without it
//! the models are not compiled and this test binary is empty.
#![cfg(loom)]
