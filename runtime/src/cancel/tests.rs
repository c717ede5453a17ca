//! Tokens without a loop: waits are polled by hand, wakes are counted.

use std::future::{pending, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll<F: Future>(future: Pin<&mut F>, count: &Arc<Count>) -> Poll<F::Output> {
    let waker = Waker::from(count.clone());
    future.poll(&mut Context::from_waker(&waker))
}

#[test]
fn cancelling_wakes_all_who_wait_and_gives_the_reason() {
    let (token, wakes) = (CancellationToken::new(), Arc::<Count>::default());
    let mut waits: Vec<_> = (0..3).map(|_| token.cancelled()).collect();
    for wait in &mut waits {
        assert!(poll(Pin::new(wait), &wakes).is_pending());
        assert!(poll(Pin::new(wait), &wakes).is_pending());
    }
    assert!(token.clone().cancel_with("enough"));
    assert_eq!(wakes.0.load(Ordering::Relaxed), 3);
    for wait in &mut waits {
        assert_eq!(poll(Pin::new(wait), &wakes), Poll::Ready("enough".into()));
    }
    assert!(!token.cancel_with("again"));
    assert_eq!(token.reason().as_deref(), Some("enough"));
    assert_eq!(token.check().unwrap_err().reason(), "enough");
}

#[test]
fn a_wait_that_is_dropped_leaves_no_waker_behind() {
    let (token, wakes) = (CancellationToken::new(), Arc::<Count>::default());
    {
        let mut wait = token.cancelled();
        assert!(poll(Pin::new(&mut wait), &wakes).is_pending());
        assert_eq!(Arc::strong_count(&wakes), 2);
    }
    assert_eq!(Arc::strong_count(&wakes), 1);
}

#[test]
fn a_wait_that_moves_to_another_task_wakes_the_new_one() {
    let token = CancellationToken::new();
    let (old, new) = (Arc::<Count>::default(), Arc::<Count>::default());
    let mut wait = token.cancelled();
    assert!(poll(Pin::new(&mut wait), &old).is_pending());
    assert!(poll(Pin::new(&mut wait), &new).is_pending());
    assert_eq!(Arc::strong_count(&old), 1);
    token.cancel();
    assert_eq!(old.0.load(Ordering::Relaxed), 0);
    assert_eq!(new.0.load(Ordering::Relaxed), 1);
}

#[test]
fn cancelling_goes_down_the_tree_and_never_up() {
    let root = CancellationToken::new();
    let child = root.child_token();
    let (grandchild, sibling) = (child.child_token(), root.child_token());
    child.cancel_with("branch");
    assert_eq!(grandchild.reason().as_deref(), Some("branch"));
    assert!(!root.is_cancelled() && !sibling.is_cancelled());
    root.cancel_with("root");
    assert_eq!(sibling.reason().as_deref(), Some("root"));
    assert_eq!(child.reason().as_deref(), Some("branch"));
    assert_eq!(root.child_token().reason().as_deref(), Some("root"));
}

#[test]
fn a_long_chain_of_tokens_is_cancelled_and_dropped_without_recursion() {
    for cancel in [true, false] {
        let root = CancellationToken::new();
        let mut last = root.child_token();
        for _ in 0..200_000 {
            last = last.child_token();
        }
        if cancel {
            root.cancel();
            assert!(last.is_cancelled());
        }
    }
}

#[test]
fn a_child_that_is_gone_is_forgotten_by_its_parent() {
    let root = CancellationToken::new();
    let kept = root.child_token();
    for _ in 0..10_000 {
        drop(root.child_token());
    }
    // Otherwise the parent of a server's requests would grow for ever.
    assert!(root.places() <= 2);
    root.cancel();
    assert!(kept.is_cancelled());
}

#[test]
fn run_prefers_the_token_to_a_future_that_is_ready() {
    let (token, wakes) = (CancellationToken::new(), Arc::<Count>::default());
    assert_eq!(poll(pin!(token.run(ready(1))), &wakes), Poll::Ready(Ok(1)));
    assert!(poll(pin!(token.run(pending::<()>())), &wakes).is_pending());
    token.cancel();
    let cancelled = Cancelled::requested("requested".into());
    assert_eq!(
        poll(pin!(token.run(ready(1))), &wakes),
        Poll::Ready(Err(cancelled))
    );
}

#[test]
fn a_guard_cancels_unless_disarmed() {
    let token = CancellationToken::new();
    token.clone().drop_guard().disarm();
    assert!(!token.is_cancelled());
    drop(token.clone().drop_guard());
    assert!(token.is_cancelled());
}
