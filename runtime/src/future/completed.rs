//! Take results as they come: `as_completed`, and `race` for the first alone.
//!
//! *Read after* [`super::join`]; *next* [`super::children`], the engine.

use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use super::children::Children;

/// Runs all futures together, on the task that awaits it, and gives their
/// outputs as they come: a `Stream`, with [`next`](AsCompleted::next) for those
/// who have no stream library at hand.
///
/// To know which future an output belongs to, let it say so:
/// `futures.enumerate().map(|(i, f)| async move { (i, f.await) })`.
///
/// **Cost.** As for [`join_all`](super::join_all).
///
/// **Cancel safety.** `next` is cancel-safe: an output not handed out stays. A
/// dropped `AsCompleted` drops its futures.
///
/// ```
/// use threeply_runtime::{block_on, future::as_completed, time::sleep};
/// use std::time::Duration;
///
/// block_on(async {
///     let mut done = as_completed([3, 1, 2].map(|n| async move {
///         sleep(Duration::from_millis(n)).await;
///         n
///     }));
///     while let Some(n) = done.next().await {
///         println!("{n}"); // 1, 2, 3
///     }
/// });
/// ```
pub fn as_completed<I>(futures: I) -> AsCompleted<I::Item>
where
    I: IntoIterator<Item: Future>,
{
    AsCompleted {
        children: Children::new(futures),
    }
}

/// The stream of [`as_completed`].
#[must_use = "streams do nothing unless polled"]
pub struct AsCompleted<F> {
    children: Children<F>,
}

// The children are pinned in an allocation of their own.
impl<F> Unpin for AsCompleted<F> {}

impl<F: Future> AsCompleted<F> {
    /// The next output, or `None` after the last one. Cancel-safe: an output that
    /// wasn't returned comes at the next call.
    pub async fn next(&mut self) -> Option<F::Output> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// How many outputs are still to come.
    pub fn left(&self) -> usize {
        self.children.left()
    }
}

impl<F: Future> Stream for AsCompleted<F> {
    type Item = F::Output;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        if self.children.left() == 0 {
            return Poll::Ready(None);
        }
        match self
            .children
            .poll_round(cx, |_, output| ControlFlow::Break(output))
        {
            ControlFlow::Break(output) => Poll::Ready(Some(output)),
            ControlFlow::Continue(()) => Poll::Pending,
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.children.left(), Some(self.children.left()))
    }
}

impl<F: Future> FusedStream for AsCompleted<F> {
    fn is_terminated(&self) -> bool {
        self.children.left() == 0
    }
}

/// The output of the first future to finish; the others are dropped.
///
/// Takes any number of futures of one type. For different types see
/// [`select`](super::select()). Of several that are ready at the same poll the
/// first in order wins (asyncio: `wait(…, return_when=FIRST_COMPLETED)`).
///
/// **Cancel safety.** The losers are cancelled, so each should be cancel-safe in
/// what it does, or be a task of its own whose `JoinHandle` races.
///
/// # Panics
/// When awaited without any future: nobody could win.
pub fn race<I>(futures: I) -> Race<I::Item>
where
    I: IntoIterator<Item: Future>,
{
    Race {
        children: Some(Children::new(futures)),
    }
}

/// The future of [`race`].
#[must_use = "futures do nothing unless awaited"]
pub struct Race<F> {
    children: Option<Children<F>>,
}

// The children are pinned in an allocation of their own.
impl<F> Unpin for Race<F> {}

impl<F: Future> Future for Race<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let children = self
            .children
            .as_mut()
            .expect("`Race` polled after it was ready");
        assert!(
            !children.is_empty(),
            "`race` without a future has no winner"
        );
        match children.poll_round(cx, |_, output| ControlFlow::Break(output)) {
            ControlFlow::Break(output) => {
                self.children = None; // The losers go before the winner is seen.
                Poll::Ready(output)
            }
            ControlFlow::Continue(()) => Poll::Pending,
        }
    }
}

impl<F: Future> fmt::Debug for AsCompleted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "AsCompleted({} of {} left)",
            self.children.left(),
            self.children.len()
        )
    }
}

impl<F: Future> fmt::Debug for Race<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Race({})",
            self.children.as_ref().map_or(0, Children::len)
        )
    }
}
