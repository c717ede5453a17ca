//! From many items to one: consumers that end a chain.

use std::iter::{Product, Sum};
use std::marker::PhantomData;

use crate::thread::iter::{Consumer, ParallelIterator};

/// A consumer made of references to two closures: one for a piece's items, one to
/// merge.
macro_rules! consumer {
    ($name:ident { $($field:ident: $generic:ident),* }) => {
        struct $name<'f, $($generic),*> {
            $($field: &'f $generic,)*
        }
        impl<$($generic),*> Clone for $name<'_, $($generic),*> {
            fn clone(&self) -> Self {
                Self { $($field: self.$field,)* }
            }
        }
    };
}

consumer!(ForEach { f: F });

impl<T, F: Fn(T) + Sync> Consumer<T> for ForEach<'_, F> {
    type Result = ();
    fn consume<I: Iterator<Item = T>>(self, items: I) {
        items.for_each(self.f);
    }
    fn merge(&self, (): (), (): ()) {}
}

pub(crate) fn for_each<I: ParallelIterator>(items: I, f: &(impl Fn(I::Item) + Sync)) {
    items.drive(ForEach { f });
}

consumer!(ForEachInit { init: INIT, f: F });

impl<T, S, INIT, F> Consumer<T> for ForEachInit<'_, INIT, F>
where
    INIT: Fn() -> S + Sync,
    F: Fn(&mut S, T) + Sync,
{
    type Result = ();
    fn consume<I: Iterator<Item = T>>(self, items: I) {
        let mut items = items.peekable();
        if items.peek().is_some() {
            let mut state = (self.init)();
            items.for_each(|item| (self.f)(&mut state, item));
        }
    }
    fn merge(&self, (): (), (): ()) {}
}

pub(crate) fn for_each_init<S, I: ParallelIterator>(
    items: I,
    init: &(impl Fn() -> S + Sync),
    f: &(impl Fn(&mut S, I::Item) + Sync),
) {
    items.drive(ForEachInit { init, f });
}

consumer!(Reduce {
    identity: ID,
    op: OP
});

impl<T: Send, ID, OP> Consumer<T> for Reduce<'_, ID, OP>
where
    ID: Fn() -> T + Sync,
    OP: Fn(T, T) -> T + Sync,
{
    type Result = T;
    fn consume<I: Iterator<Item = T>>(self, items: I) -> T {
        items.fold((self.identity)(), self.op)
    }
    fn merge(&self, left: T, right: T) -> T {
        (self.op)(left, right)
    }
}

pub(crate) fn reduce<I: ParallelIterator>(
    items: I,
    identity: &(impl Fn() -> I::Item + Sync),
    op: &(impl Fn(I::Item, I::Item) -> I::Item + Sync),
) -> I::Item {
    items.drive(Reduce { identity, op })
}

consumer!(ReduceWith { op: OP });

impl<T: Send, OP: Fn(T, T) -> T + Sync> Consumer<T> for ReduceWith<'_, OP> {
    type Result = Option<T>;
    fn consume<I: Iterator<Item = T>>(self, items: I) -> Option<T> {
        items.reduce(self.op)
    }
    fn merge(&self, left: Option<T>, right: Option<T>) -> Option<T> {
        match (left, right) {
            (Some(left), Some(right)) => Some((self.op)(left, right)),
            (left, right) => left.or(right),
        }
    }
}

pub(crate) fn reduce_with<I: ParallelIterator>(
    items: I,
    op: &(impl Fn(I::Item, I::Item) -> I::Item + Sync),
) -> Option<I::Item> {
    items.drive(ReduceWith { op })
}

struct SumOf<S>(PhantomData<fn() -> S>);

impl<S> Clone for SumOf<S> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T, S: Send + Sum<T> + Sum<S>> Consumer<T> for SumOf<S> {
    type Result = S;
    fn consume<I: Iterator<Item = T>>(self, items: I) -> S {
        items.sum()
    }
    fn merge(&self, left: S, right: S) -> S {
        [left, right].into_iter().sum()
    }
}

pub(crate) fn sum<I: ParallelIterator, S: Send + Sum<I::Item> + Sum<S>>(items: I) -> S {
    items.drive(SumOf(PhantomData))
}

struct ProductOf<P>(PhantomData<fn() -> P>);

impl<P> Clone for ProductOf<P> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T, P: Send + Product<T> + Product<P>> Consumer<T> for ProductOf<P> {
    type Result = P;
    fn consume<I: Iterator<Item = T>>(self, items: I) -> P {
        items.product()
    }
    fn merge(&self, left: P, right: P) -> P {
        [left, right].into_iter().product()
    }
}

pub(crate) fn product<I: ParallelIterator, P: Send + Product<I::Item> + Product<P>>(items: I) -> P {
    items.drive(ProductOf(PhantomData))
}
