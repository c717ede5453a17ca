//! A cancellation token: one flag that many tasks, on any thread, can await.
//!
//! *Next*: [`super::scope`], cancellation that belongs to one place of the code
//! and knows deadlines. The names are those of C#, Go's `context` and tokio-util.
//!
//! ```text
//!     root ──── cancel: self and all below        each node, under its lock:
//!    ╱    ╲                                       reason · waiters · children
//!  child  child          never upwards
//!    │
//!  grandchild
//! ```
//!
//! A node goes from *live* to *cancelled* once and stays so. Both the waiter that
//! looks and the canceller that tells do so under the node's lock: a waiter finds
//! the reason, or leaves its waker where the canceller finds it. (Two sections
//! instead of one lose the waiter that comes in between: the loom model
//! `token::cancel_against_wait_broken`.) No two nodes are locked at once: a child
//! is entered into its parent under the parent's lock alone, so either the
//! parent's canceller finds it or it finds the parent's reason.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use super::Cancelled;
use super::places::Places;
use crate::inspect::{self, WaitsFor};
use crate::switch::atomic::{AtomicBool, Ordering};
use crate::switch::{Mutex, MutexGuard, Weakening, weakened};
use crate::sync::after::After;

/// A flag to await, shared by many tasks and threads: clones are the same token.
///
/// Whoever holds one may [`cancel`](Self::cancel) it, any number may await
/// [`cancelled`](Self::cancelled) or put a future under it by [`run`](Self::run).
/// Cancelling a token cancels its [children](Self::child_token), not its parent.
///
/// **Complexity.** Asking is one atomic load; waiting and leaving are O(1) under
/// a short lock; cancelling is O(waiters + descendants).
///
/// ```
/// use threeply_runtime::block_on;
/// use threeply_runtime::cancel::CancellationToken;
///
/// let shutdown = CancellationToken::new();
/// let request = shutdown.child_token();
/// shutdown.cancel_with("Ctrl-C");
/// let error = block_on(request.run(std::future::pending::<()>())).unwrap_err();
/// assert_eq!(error.to_string(), "cancelled: Ctrl-C");
/// ```
#[derive(Clone)]
pub struct CancellationToken {
    node: Arc<Node>,
}

struct Node {
    /// Set under the lock, with the reason; read without it.
    cancelled: AtomicBool,
    state: Mutex<State>,
    /// Where we are entered in our parent.
    parent: Option<(Arc<Node>, usize)>,
}

/// After `reason` is set, the other two stay empty.
struct State {
    reason: Option<Cow<'static, str>>,
    waiters: Places<Waker>,
    children: Places<Weak<Node>>,
}

impl Node {
    fn new(reason: Option<Cow<'static, str>>, parent: Option<(Arc<Node>, usize)>) -> Self {
        Node {
            cancelled: AtomicBool::new(reason.is_some()),
            state: Mutex::new(State {
                reason,
                waiters: Places::new(),
                children: Places::new(),
            }),
            parent,
        }
    }

    #[track_caller] // So that lanes of a model tell who locks.
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that could panic half way runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_cancelled(&self) -> bool {
        // Acquire, with the Release of `cancel_with`.
        self.cancelled.load(Ordering::Acquire)
    }
}

impl Drop for Node {
    /// Leaves the parent. In a loop, not by recursion: a chain of a million
    /// tokens must not overflow the stack.
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some((node, place)) = parent {
            let entry = node.state().children.remove(place);
            drop(entry);
            parent = Arc::into_inner(node).and_then(|mut node| node.parent.take());
        }
    }
}

impl CancellationToken {
    /// A token that is not cancelled and has no parent.
    pub fn new() -> Self {
        CancellationToken {
            node: Arc::new(Node::new(None, None)),
        }
    }

    /// A token that is cancelled with this one, or alone. Of a cancelled token it
    /// is cancelled from the beginning, with the same reason.
    pub fn child_token(&self) -> Self {
        let parent = &self.node;
        // `new_cyclic` would build the child under the lock and run its `Drop`
        // there; so a place is taken first and filled once the child exists.
        let place = {
            let mut state = parent.state();
            if let Some(reason) = &state.reason {
                let node = Arc::new(Node::new(Some(reason.clone()), None));
                return CancellationToken { node };
            }
            state.children.insert(Weak::new())
        };
        let node = Arc::new(Node::new(None, Some((parent.clone(), place))));
        let child = CancellationToken { node };
        let reason = {
            let mut state = parent.state();
            if state.reason.is_none() {
                state.children.replace(place, Arc::downgrade(&child.node));
            }
            state.reason.clone()
        };
        if let Some(reason) = reason
            && !weakened(Weakening::TokenForgetsChild)
        {
            child.cancel_with(reason); // The parent was cancelled in between.
        }
        child
    }

    /// Cancels the token and all its descendants with the reason "requested".
    pub fn cancel(&self) -> bool {
        self.cancel_with("requested")
    }

    /// Cancels the token and all its descendants, and wakes who waits for any of
    /// them. Returns whether this call did it: a second one changes nothing, also
    /// not the reason.
    pub fn cancel_with(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        let reason = reason.into();
        let mut after = After::default();
        let mut nodes = vec![self.node.clone()];
        let mut first = None;
        while let Some(node) = nodes.pop() {
            let early = weakened(Weakening::TokenTakesEarly).then(|| node.state().waiters.take());
            let (waiters, children) = {
                let mut state = node.state();
                let live = state.reason.is_none();
                first.get_or_insert(live);
                if !live {
                    continue;
                }
                state.reason = Some(reason.clone());
                // Release, with the Acquire of `is_cancelled`.
                node.cancelled.store(true, Ordering::Release);
                let waiters = early.unwrap_or_else(|| state.waiters.take());
                (waiters, state.children.take())
            };
            nodes.extend(children.filter_map(|child| child.upgrade()));
            waiters.for_each(|waiter| after.wake(Some(waiter)));
        }
        first == Some(true)
    }

    /// Whether the token is cancelled. One atomic load.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }

    /// Why it was cancelled, if it was.
    pub fn reason(&self) -> Option<Cow<'static, str>> {
        if !self.is_cancelled() {
            return None;
        }
        self.node.state().reason.clone()
    }

    /// An error if the token is cancelled: for loops that compute, to be used
    /// with `?`.
    pub fn check(&self) -> Result<(), Cancelled> {
        self.reason()
            .map_or(Ok(()), |reason| Err(Cancelled::requested(reason)))
    }

    /// Waits until the token is cancelled; gives the reason. Cancel-safe.
    pub fn cancelled(&self) -> WaitForCancellation<'_> {
        WaitForCancellation {
            token: self,
            place: None,
        }
    }

    /// Runs a future until it finishes or the token is cancelled, which drops it.
    ///
    /// The token is asked first, at each poll: of a future that is ready and a
    /// token that is cancelled, the token wins. Nothing is polled under a token
    /// that was cancelled before.
    ///
    /// **Cancel safety.** That of the future.
    pub async fn run<F: Future>(&self, future: F) -> Result<F::Output, Cancelled> {
        use crate::future::{Either, select_biased};
        match select_biased((self.cancelled(), future)).await {
            Either::First(reason) => Err(Cancelled::requested(reason)),
            Either::Second(output) => Ok(output),
        }
    }

    /// Places for children, used or free.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.node.state().children.len()
    }

    /// A guard that cancels the token when it is dropped, unless disarmed.
    pub fn drop_guard(self) -> DropGuard {
        DropGuard { token: Some(self) }
    }
}

/// The future of [`CancellationToken::cancelled`].
#[must_use = "futures do nothing unless awaited"]
pub struct WaitForCancellation<'a> {
    token: &'a CancellationToken,
    /// Where our waker waits in the token.
    place: Option<usize>,
}

impl Future for WaitForCancellation<'_> {
    type Output = Cow<'static, str>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Cow<'static, str>> {
        let token = self.token;
        {
            let state = token.node.state();
            if let Some(reason) = &state.reason {
                return Poll::Ready(reason.clone());
            }
            let waits = self.place.and_then(|place| state.waiters.get(place));
            if waits.is_some_and(|waiter| waiter.will_wake(cx.waker())) {
                inspect::note(|| WaitsFor::Cancellation);
                return Poll::Pending;
            }
        }
        // Cloned and dropped without the lock: wakers may run any code.
        let waker = cx.waker().clone();
        let mut state = token.node.state();
        if let Some(reason) = &state.reason {
            return Poll::Ready(reason.clone());
        }
        let old = match self.place {
            Some(place) => state.waiters.replace(place, waker),
            None => {
                self.place = Some(state.waiters.insert(waker));
                None
            }
        };
        drop(state);
        drop(old);
        inspect::note(|| WaitsFor::Cancellation);
        Poll::Pending
    }
}

impl Drop for WaitForCancellation<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && !self.token.is_cancelled()
        {
            let waker = self.token.node.state().waiters.remove(place);
            drop(waker);
        }
    }
}

/// Cancels its token when dropped: see [`CancellationToken::drop_guard`].
#[must_use = "dropping the guard cancels the token at once"]
#[derive(Debug)]
pub struct DropGuard {
    token: Option<CancellationToken>,
}

impl DropGuard {
    /// Takes the token out; nothing is cancelled.
    pub fn disarm(mut self) -> CancellationToken {
        self.token.take().expect("only `disarm` takes it")
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            token.cancel_with("its guard was dropped");
        }
    }
}

impl Default for CancellationToken {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancellationToken")
            .field("reason", &self.reason())
            .finish_non_exhaustive()
    }
}
