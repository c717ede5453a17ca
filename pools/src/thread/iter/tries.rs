//! Results and options: stop at the first failure.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::thread::iter::{Consumer, FromParallelIterator, IntoParallelIterator, ParallelIterator};

/// `Option` and `Result`: what std's unstable `Try` would say of them.
pub trait Try: Sized + sealed::Sealed {
    /// What is in a success.
    type Output;
    /// A success.
    fn from_output(output: Self::Output) -> Self;
    /// A success's content, or the failure.
    fn branch(self) -> ControlFlow<Self, Self::Output>;
}

mod sealed {
    pub trait Sealed {}
    impl<T> Sealed for Option<T> {}
    impl<T, E> Sealed for Result<T, E> {}
}

impl<T> Try for Option<T> {
    type Output = T;
    fn from_output(output: T) -> Self {
        Some(output)
    }
    fn branch(self) -> ControlFlow<Self, T> {
        match self {
            Some(value) => ControlFlow::Continue(value),
            None => ControlFlow::Break(None),
        }
    }
}

impl<T, E> Try for Result<T, E> {
    type Output = T;
    fn from_output(output: T) -> Self {
        Ok(output)
    }
    fn branch(self) -> ControlFlow<Self, T> {
        match self {
            Ok(value) => ControlFlow::Continue(value),
            Err(error) => ControlFlow::Break(Err(error)),
        }
    }
}

struct TryReduce<'f, ID, OP> {
    identity: &'f ID,
    op: &'f OP,
    failed: &'f AtomicBool,
}

impl<ID, OP> Clone for TryReduce<'_, ID, OP> {
    fn clone(&self) -> Self {
        Self {
            identity: self.identity,
            op: self.op,
            failed: self.failed,
        }
    }
}

impl<T, R, ID, OP> Consumer<R> for TryReduce<'_, ID, OP>
where
    R: Try<Output = T> + Send,
    ID: Fn() -> T + Sync,
    OP: Fn(T, T) -> R + Sync,
{
    type Result = R;

    fn consume<I: Iterator<Item = R>>(self, items: I) -> R {
        let mut sum = (self.identity)();
        for item in items {
            let next = match item.branch() {
                ControlFlow::Continue(value) => (self.op)(sum, value),
                failure @ ControlFlow::Break(_) => {
                    self.failed.store(true, Ordering::Relaxed);
                    let ControlFlow::Break(failure) = failure else {
                        unreachable!("just matched")
                    };
                    return failure;
                }
            };
            match next.branch() {
                ControlFlow::Continue(value) => sum = value,
                ControlFlow::Break(failure) => {
                    self.failed.store(true, Ordering::Relaxed);
                    return failure;
                }
            }
            if self.failed.load(Ordering::Relaxed) {
                break; // somebody's failure is the result, not this
            }
        }
        R::from_output(sum)
    }

    fn merge(&self, left: R, right: R) -> R {
        match (left.branch(), right.branch()) {
            (ControlFlow::Continue(left), ControlFlow::Continue(right)) => (self.op)(left, right),
            (ControlFlow::Break(failure), _) | (_, ControlFlow::Break(failure)) => failure,
        }
    }

    fn is_full(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

pub(crate) fn try_reduce<I, T>(
    items: I,
    identity: &(impl Fn() -> T + Sync),
    op: &(impl Fn(T, T) -> I::Item + Sync),
) -> I::Item
where
    I: ParallelIterator,
    I::Item: Try<Output = T>,
{
    let failed = AtomicBool::new(false);
    items.drive(TryReduce {
        identity,
        op,
        failed: &failed,
    })
}

/// Collects the successes, or one of the failures.
impl<C, T, E> FromParallelIterator<Result<T, E>> for Result<C, E>
where
    C: FromParallelIterator<T>,
    T: Send,
    E: Send,
{
    fn from_par_iter<I: IntoParallelIterator<Item = Result<T, E>>>(items: I) -> Self {
        let failure = Mutex::new(None);
        let collected = items
            .into_par_iter()
            .map(|item| match item {
                Ok(value) => Some(value),
                Err(error) => {
                    failure.lock().unwrap().get_or_insert(error);
                    None
                }
            })
            .while_some()
            .collect();
        match failure.into_inner().unwrap() {
            Some(error) => Err(error),
            None => Ok(collected),
        }
    }
}

/// Collects what is in the `Some`s, or `None` if there is a `None`.
impl<C, T> FromParallelIterator<Option<T>> for Option<C>
where
    C: FromParallelIterator<T>,
    T: Send,
{
    fn from_par_iter<I: IntoParallelIterator<Item = Option<T>>>(items: I) -> Self {
        let failed = AtomicBool::new(false);
        let collected = items
            .into_par_iter()
            .inspect(|item| {
                if item.is_none() {
                    failed.store(true, Ordering::Relaxed);
                }
            })
            .while_some()
            .collect();
        (!failed.into_inner()).then_some(collected)
    }
}
