//! A child of a group: the future around the one that was spawned, and the handle
//! that waits for its value.
//!
//! *Read after* [`super`]. A child reports to its group twice: a failure at once,
//! when it returns `Err`; its end when its future is dropped, which happens
//! whether it finished, panicked or was aborted. So the group counts on a
//! destructor, not on good behaviour.

#![allow(unsafe_code)] // To pin the child's future in place; one block.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use super::State;
use super::error::ChildError;
use crate::AbortHandle;
use crate::cancel::Cancelled;
use crate::inspect::{self, WaitsFor};

/// A child's future in its task.
pub(super) struct Child<F, T, E> {
    /// Pinned with us.
    future: F,
    // Dropped after the future: what it held is gone when the end is told.
    end: End<T, E>,
}

/// Tells the end, to the group and to the handle, when it is dropped.
struct End<T, E> {
    place: usize,
    group: Rc<State<E>>,
    value: Rc<Value<T>>,
}

impl<F, T, E> Child<F, T, E> {
    pub(super) fn new(future: F, place: usize, group: Rc<State<E>>, value: Rc<Value<T>>) -> Self {
        let end = End {
            place,
            group,
            value,
        };
        Child { future, end }
    }
}

impl<F, T, E> Future for Child<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: `future` is the one pinned field. It isn't moved out of `this`,
        // and `Child` has no `Drop` and is `Unpin` only if the future is.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        match ready!(future.poll(cx)) {
            Ok(value) => this.end.value.set(value),
            Err(error) => this.end.group.fail(ChildError::of_current_task(error)),
        }
        Poll::Ready(())
    }
}

impl<T, E> Drop for End<T, E> {
    fn drop(&mut self) {
        self.group.child_gone(self.place);
        self.value.end();
    }
}

/// Where a child leaves its value for its handle.
pub(super) struct Value<T>(RefCell<Slot<T>>);

struct Slot<T> {
    value: Option<T>,
    ended: bool,
    waiter: Option<Waker>,
}

impl<T> Value<T> {
    fn set(&self, value: T) {
        self.0.borrow_mut().value = Some(value);
    }

    pub(super) fn end(&self) {
        let waiter = {
            let mut slot = self.0.borrow_mut();
            slot.ended = true;
            slot.waiter.take()
        };
        waiter.into_iter().for_each(Waker::wake);
    }
}

impl<T> Default for Value<T> {
    fn default() -> Self {
        Value(RefCell::new(Slot {
            value: None,
            ended: false,
            waiter: None,
        }))
    }
}

/// Gives what a child of a [`TaskGroup`](super::TaskGroup) returned.
///
/// `Err` if the child has no value: it failed (the group has the error), panicked,
/// or was cancelled. Code in the group hardly ever sees that, for it is cancelled
/// by then itself.
///
/// Dropping the handle changes nothing. Awaiting `&mut handle` is cancel-safe.
pub struct ChildHandle<T> {
    value: Rc<Value<T>>,
    /// `None` for a child that was never started.
    abort: Option<AbortHandle>,
}

impl<T> ChildHandle<T> {
    pub(super) fn new(value: Rc<Value<T>>, abort: Option<AbortHandle>) -> Self {
        ChildHandle { value, abort }
    }

    /// Cancels this child alone, which is no failure of the group.
    pub fn abort(&self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }

    /// Whether the child has ended.
    pub fn is_finished(&self) -> bool {
        self.value.0.borrow().ended
    }
}

impl<T> Future for ChildHandle<T> {
    type Output = Result<T, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waker = cx.waker().clone();
        let mut slot = self.value.0.borrow_mut();
        if !slot.ended {
            let old = slot.waiter.replace(waker);
            drop(slot);
            drop(old);
            if let Some(child) = &self.abort {
                inspect::note(|| WaitsFor::Task(child.id()));
            }
            return Poll::Pending;
        }
        Poll::Ready(slot.value.take().ok_or_else(|| {
            Cancelled::requested("the task failed, or its group was cancelled".into())
        }))
    }
}

impl<T> fmt::Debug for ChildHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildHandle")
            .field("task", &self.abort.as_ref().map(AbortHandle::id))
            .field("finished", &self.is_finished())
            .finish()
    }
}
