//! Wait for all: `join_all`, `try_join_all`.
//!
//! *Next*: [`super::children`], the engine; [`mod@super::gather`], the same for
//! futures that should be tasks of their own.

use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::children::Children;

/// Runs all futures together, on the task that awaits it, and returns their
/// outputs in the order of the futures.
///
/// The futures take turns inside one task: a panic in one is a panic of that
/// task, and dropping `JoinAll` drops them all. [`gather`](super::gather()) makes
/// each a task instead.
///
/// **Cost.** Up to 32 futures are all polled at each wake. More of them get a
/// waker each, and only those are polled that were woken.
///
/// **Cancel safety.** None: outputs that are there already are lost with it.
///
/// ```
/// use threeply_runtime::{block_on, future::join_all};
///
/// let squares = block_on(join_all((1..4).map(|n| async move { n * n })));
/// assert_eq!(squares, [1, 4, 9]);
/// ```
pub fn join_all<I>(futures: I) -> JoinAll<I::Item>
where
    I: IntoIterator<Item: Future>,
{
    let children = Children::new(futures);
    JoinAll {
        outputs: places(children.len()),
        children,
    }
}

/// The future of [`join_all`].
#[must_use = "futures do nothing unless awaited"]
pub struct JoinAll<F: Future> {
    children: Children<F>,
    outputs: Vec<Option<F::Output>>,
}

// The children are pinned in an allocation of their own; outputs never are.
impl<F: Future> Unpin for JoinAll<F> {}

impl<F: Future> Future for JoinAll<F> {
    type Output = Vec<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let JoinAll { children, outputs } = &mut *self;
        let _: ControlFlow<()> = children.poll_round(cx, |child, output| {
            outputs[child] = Some(output);
            ControlFlow::Continue(())
        });
        if children.left() > 0 {
            return Poll::Pending;
        }
        Poll::Ready(collect(outputs))
    }
}

/// Like [`join_all`] for fallible futures: the first error is returned at once
/// and the other futures are dropped.
///
/// "First" is the first to be seen; of several that fail in one poll of the task
/// it is one of them. To learn of every error, use a
/// [`task_group`](crate::group::task_group).
///
/// **Cancel safety.** None, as with [`join_all`].
///
/// ```
/// use threeply_runtime::{block_on, future::try_join_all};
///
/// let parse = |text: &'static str| async move { text.parse::<u8>() };
/// assert_eq!(block_on(try_join_all(["1", "2"].map(parse))), Ok(vec![1, 2]));
/// assert!(block_on(try_join_all(["1", "two"].map(parse))).is_err());
/// ```
pub fn try_join_all<I, T, E>(futures: I) -> TryJoinAll<I::Item, T>
where
    I: IntoIterator<Item: Future<Output = Result<T, E>>>,
{
    let children = Children::new(futures);
    TryJoinAll {
        outputs: places(children.len()),
        children: Some(children),
    }
}

/// The future of [`try_join_all`].
#[must_use = "futures do nothing unless awaited"]
pub struct TryJoinAll<F, T> {
    children: Option<Children<F>>,
    outputs: Vec<Option<T>>,
}

impl<F: Future + Unpin, T> TryJoinAll<F, T> {
    /// The futures themselves, before any was polled.
    pub(super) fn into_futures(self) -> impl Iterator<Item = F> {
        let futures = self.children.map(Children::into_futures);
        futures.into_iter().flatten()
    }
}

// As for `JoinAll`.
impl<F, T> Unpin for TryJoinAll<F, T> {}

impl<F, T, E> Future for TryJoinAll<F, T>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<Vec<T>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let TryJoinAll { children, outputs } = &mut *self;
        let running = children
            .as_mut()
            .expect("`TryJoinAll` polled after it was ready");
        let round = running.poll_round(cx, |child, output| match output {
            Ok(output) => {
                outputs[child] = Some(output);
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        });
        let left = running.left();
        match round {
            ControlFlow::Break(error) => {
                *children = None;
                Poll::Ready(Err(error))
            }
            ControlFlow::Continue(()) if left == 0 => Poll::Ready(Ok(collect(outputs))),
            ControlFlow::Continue(()) => Poll::Pending,
        }
    }
}

fn places<T>(count: usize) -> Vec<Option<T>> {
    (0..count).map(|_| None).collect()
}

fn collect<T>(outputs: &mut Vec<Option<T>>) -> Vec<T> {
    std::mem::take(outputs)
        .into_iter()
        .map(|output| output.expect("every child has finished, and once"))
        .collect()
}

impl<F: Future> fmt::Debug for JoinAll<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "JoinAll({} of {} left)",
            self.children.left(),
            self.children.len()
        )
    }
}

impl<F: Future, T> fmt::Debug for TryJoinAll<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.children.as_ref().map_or(0, Children::left);
        write!(f, "TryJoinAll({left} of {} left)", self.outputs.len())
    }
}
