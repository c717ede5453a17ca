//! Lets the same `!Send` workloads run on tokio's plain `spawn`.
//!
//! `tokio::spawn` asks for `Send` also on the current-thread scheduler, which
//! never moves a task to another thread. A wrapper that costs nothing lets it run
//! the very code that the others run, instead of a second version with atomics.

// `Send` is promised by hand; the reason stands at the two places.
#![allow(unsafe_code)]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A value that stays on its thread whatever its type says.
#[derive(Debug)]
pub struct AssertSend<T>(T);

// SAFETY: values of this type are only given to a current-thread runtime, which
// polls, completes and drops its tasks on the thread that runs `block_on`; the
// handles are awaited there too.
unsafe impl<T> Send for AssertSend<T> {}

impl<T> AssertSend<T> {
    /// The caller is about to give the value to a current-thread runtime.
    pub(super) fn new(value: T) -> Self {
        Self(value)
    }

    /// The value.
    pub(super) fn into_inner(self) -> T {
        self.0
    }
}

impl<F: Future> Future for AssertSend<F> {
    type Output = AssertSend<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the field is pinned whenever the wrapper is and never moved out
        // of a pinned wrapper.
        let inner = unsafe { self.map_unchecked_mut(|this| &mut this.0) };
        inner.poll(cx).map(AssertSend)
    }
}
