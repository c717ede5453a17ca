//! Adapters that wrap the consumer: what comes in is changed on its way.

use crate::thread::iter::bridge::join;
use crate::thread::iter::{
    Consumer, IndexedParallelIterator, IntoParallelIterator, ParallelIterator, Shared,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The sequential side of [`Map`].
#[derive(Debug)]
pub struct MapSeq<I, F> {
    items: I,
    f: Shared<F>,
}

impl<I: Iterator, F: Fn(I::Item) -> R, R> Iterator for MapSeq<I, F> {
    type Item = R;
    fn next(&mut self) -> Option<R> {
        self.items.next().map(&*self.f)
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
    fn fold<B, G: FnMut(B, R) -> B>(self, init: B, g: G) -> B {
        let f = &*self.f;
        self.items.map(f).fold(init, g)
    }
}

impl<I: DoubleEndedIterator, F: Fn(I::Item) -> R, R> DoubleEndedIterator for MapSeq<I, F> {
    fn next_back(&mut self) -> Option<R> {
        self.items.next_back().map(&*self.f)
    }
}

impl<I: ExactSizeIterator, F: Fn(I::Item) -> R, R> ExactSizeIterator for MapSeq<I, F> {}

/// An adapter with a closure: its struct, its constructor, and `drive`, which wraps
/// the consumer into `$consumer`.
macro_rules! adapter {
    ($(#[$doc:meta])* $name:ident, $consumer:ident) => {
        $(#[$doc])*
        pub struct $name<I, F> {
            items: I,
            f: Shared<F>,
        }

        impl<I, F> std::fmt::Debug for $name<I, F> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }

        impl<I, F> $name<I, F> {
            pub(crate) fn new(items: I, f: F) -> Self {
                Self { items, f: Arc::new(f) }
            }
        }

        struct $consumer<'f, C, F> {
            next: C,
            f: &'f F,
        }

        impl<C: Clone, F> Clone for $consumer<'_, C, F> {
            fn clone(&self) -> Self {
                Self { next: self.next.clone(), f: self.f }
            }
        }
    };
}

/// What every wrapping consumer does alike.
macro_rules! pass_on {
    ($next:ident, $($field:ident),*) => {
        type Result = C::Result;
        fn split(&self, at: usize) -> (Self, Self) {
            let (left, right) = self.$next.split(at);
            (
                Self { $next: left, $($field: self.$field,)* },
                Self { $next: right, $($field: self.$field,)* },
            )
        }
        fn merge(&self, left: C::Result, right: C::Result) -> C::Result {
            self.$next.merge(left, right)
        }
        fn is_full(&self) -> bool {
            self.$next.is_full()
        }
    };
}

adapter!(
    /// See [`ParallelIterator::map`].
    Map, MapConsumer
);

impl<T, R, C, F> Consumer<T> for MapConsumer<'_, C, F>
where
    C: Consumer<R>,
    F: Fn(T) -> R + Sync,
{
    pass_on!(next, f);
    fn consume<I: Iterator<Item = T>>(self, items: I) -> C::Result {
        self.next.consume(items.map(self.f))
    }
}

impl<I, F, R> ParallelIterator for Map<I, F>
where
    I: ParallelIterator,
    F: Fn(I::Item) -> R + Sync + Send,
    R: Send,
{
    type Item = R;
    fn drive<C: Consumer<R>>(self, consumer: C) -> C::Result {
        self.items.drive(MapConsumer {
            next: consumer,
            f: &*self.f,
        })
    }
    fn opt_len(&self) -> Option<usize> {
        self.items.opt_len()
    }
}

impl<I, F, R> IndexedParallelIterator for Map<I, F>
where
    I: IndexedParallelIterator,
    F: Fn(I::Item) -> R + Sync + Send,
    R: Send,
{
    type Seq = MapSeq<I::Seq, F>;
    fn len(&self) -> usize {
        self.items.len()
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let (left, right) = self.items.split_at(at);
        (
            Self {
                items: left,
                f: self.f.clone(),
            },
            Self {
                items: right,
                f: self.f,
            },
        )
    }
    fn into_seq(self) -> Self::Seq {
        MapSeq {
            items: self.items.into_seq(),
            f: self.f,
        }
    }
    fn min_len(&self) -> usize {
        self.items.min_len()
    }
    fn max_len(&self) -> usize {
        self.items.max_len()
    }
}

adapter!(
    /// See [`ParallelIterator::inspect`].
    Inspect, InspectConsumer
);

impl<T, C, F> Consumer<T> for InspectConsumer<'_, C, F>
where
    C: Consumer<T>,
    F: Fn(&T) + Sync,
{
    pass_on!(next, f);
    fn consume<I: Iterator<Item = T>>(self, items: I) -> C::Result {
        self.next.consume(items.inspect(self.f))
    }
}

impl<I, F> ParallelIterator for Inspect<I, F>
where
    I: ParallelIterator,
    F: Fn(&I::Item) + Sync + Send,
{
    type Item = I::Item;
    fn drive<C: Consumer<I::Item>>(self, consumer: C) -> C::Result {
        self.items.drive(InspectConsumer {
            next: consumer,
            f: &*self.f,
        })
    }
    fn opt_len(&self) -> Option<usize> {
        self.items.opt_len()
    }
}

adapter!(
    /// See [`ParallelIterator::update`].
    Update, UpdateConsumer
);

impl<T, C, F> Consumer<T> for UpdateConsumer<'_, C, F>
where
    C: Consumer<T>,
    F: Fn(&mut T) + Sync,
{
    pass_on!(next, f);
    fn consume<I: Iterator<Item = T>>(self, items: I) -> C::Result {
        let f = self.f;
        self.next.consume(items.map(|mut item| {
            f(&mut item);
            item
        }))
    }
}

impl<I, F> ParallelIterator for Update<I, F>
where
    I: ParallelIterator,
    F: Fn(&mut I::Item) + Sync + Send,
{
    type Item = I::Item;
    fn drive<C: Consumer<I::Item>>(self, consumer: C) -> C::Result {
        self.items.drive(UpdateConsumer {
            next: consumer,
            f: &*self.f,
        })
    }
    fn opt_len(&self) -> Option<usize> {
        self.items.opt_len()
    }
}

adapter!(
    /// See [`ParallelIterator::filter`].
    Filter, FilterConsumer
);

impl<T, C, F> Consumer<T> for FilterConsumer<'_, C, F>
where
    C: Consumer<T>,
    F: Fn(&T) -> bool + Sync,
{
    pass_on!(next, f);
    fn consume<I: Iterator<Item = T>>(self, items: I) -> C::Result {
        self.next.consume(items.filter(self.f))
    }
}

impl<I, F> ParallelIterator for Filter<I, F>
where
    I: ParallelIterator,
    F: Fn(&I::Item) -> bool + Sync + Send,
{
    type Item = I::Item;
    fn drive<C: Consumer<I::Item>>(self, consumer: C) -> C::Result {
        self.items.drive(FilterConsumer {
            next: consumer,
            f: &*self.f,
        })
    }
}

adapter!(
    /// See [`ParallelIterator::filter_map`].
    FilterMap, FilterMapConsumer
);

impl<T, R, C, F> Consumer<T> for FilterMapConsumer<'_, C, F>
where
    C: Consumer<R>,
    F: Fn(T) -> Option<R> + Sync,
{
    pass_on!(next, f);
    fn consume<I: Iterator<Item = T>>(self, items: I) -> C::Result {
        self.next.consume(items.filter_map(self.f))
    }
}

impl<I, F, R> ParallelIterator for FilterMap<I, F>
where
    I: ParallelIterator,
    F: Fn(I::Item) -> Option<R> + Sync + Send,
    R: Send,
{
    type Item = R;
    fn drive<C: Consumer<R>>(self, consumer: C) -> C::Result {
        self.items.drive(FilterMapConsumer {
            next: consumer,
            f: &*self.f,
        })
    }
}

adapter!(
    /// See [`ParallelIterator::flat_map`].
    FlatMap, FlatMapConsumer
);

impl<T, R, C, F> Consumer<T> for FlatMapConsumer<'_, C, F>
where
    C: Consumer<R::Item>,
    F: Fn(T) -> R + Sync,
    R: IntoParallelIterator,
{
    pass_on!(next, f);
    fn consume<I: Iterator<Item = T>>(self, items: I) -> C::Result {
        let mut result = None;
        for item in items {
            if self.next.is_full() {
                break;
            }
            let inner = (self.f)(item).into_par_iter().drive(self.next.clone());
            result = Some(match result {
                None => inner,
                Some(before) => self.next.merge(before, inner),
            });
        }
        result.unwrap_or_else(|| self.next.consume(std::iter::empty()))
    }
}

impl<I, F, R> ParallelIterator for FlatMap<I, F>
where
    I: ParallelIterator,
    F: Fn(I::Item) -> R + Sync + Send,
    R: IntoParallelIterator,
{
    type Item = R::Item;
    fn drive<C: Consumer<R::Item>>(self, consumer: C) -> C::Result {
        self.items.drive(FlatMapConsumer {
            next: consumer,
            f: &*self.f,
        })
    }
}

adapter!(
    /// See [`ParallelIterator::flat_map_iter`].
    FlatMapIter, FlatMapIterConsumer
);

impl<T, R, C, F> Consumer<T> for FlatMapIterConsumer<'_, C, F>
where
    C: Consumer<R::Item>,
    F: Fn(T) -> R + Sync,
    R: IntoIterator,
{
    pass_on!(next, f);
    fn consume<I: Iterator<Item = T>>(self, items: I) -> C::Result {
        self.next.consume(items.flat_map(self.f))
    }
}

impl<I, F, R> ParallelIterator for FlatMapIter<I, F>
where
    I: ParallelIterator,
    F: Fn(I::Item) -> R + Sync + Send,
    R: IntoIterator,
    R::Item: Send,
{
    type Item = R::Item;
    fn drive<C: Consumer<R::Item>>(self, consumer: C) -> C::Result {
        self.items.drive(FlatMapIterConsumer {
            next: consumer,
            f: &*self.f,
        })
    }
}

/// See [`ParallelIterator::fold`].
pub struct Fold<I, ID, F> {
    items: I,
    identity: ID,
    f: F,
}

impl<I, ID, F> std::fmt::Debug for Fold<I, ID, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fold").finish_non_exhaustive()
    }
}

impl<I, ID, F> Fold<I, ID, F> {
    pub(crate) fn new(items: I, identity: ID, f: F) -> Self {
        Self { items, identity, f }
    }
}

struct FoldConsumer<'f, C, ID, F> {
    next: C,
    identity: &'f ID,
    f: &'f F,
}

impl<C: Clone, ID, F> Clone for FoldConsumer<'_, C, ID, F> {
    fn clone(&self) -> Self {
        Self {
            next: self.next.clone(),
            identity: self.identity,
            f: self.f,
        }
    }
}

impl<T, A, C, ID, F> Consumer<T> for FoldConsumer<'_, C, ID, F>
where
    C: Consumer<A>,
    ID: Fn() -> A + Sync,
    F: Fn(A, T) -> A + Sync,
{
    pass_on!(next, identity, f);
    fn consume<I: Iterator<Item = T>>(self, items: I) -> C::Result {
        let folded = items.fold((self.identity)(), self.f);
        self.next.consume(std::iter::once(folded))
    }
}

impl<I, A, ID, F> ParallelIterator for Fold<I, ID, F>
where
    I: ParallelIterator,
    ID: Fn() -> A + Sync + Send,
    F: Fn(A, I::Item) -> A + Sync + Send,
    A: Send,
{
    type Item = A;
    fn drive<C: Consumer<A>>(self, consumer: C) -> C::Result {
        self.items.drive(FoldConsumer {
            next: consumer,
            identity: &self.identity,
            f: &self.f,
        })
    }
}

/// An adapter without a closure.
macro_rules! plain_adapter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<I> {
            items: I,
        }

        impl<I> $name<I> {
            pub(crate) fn new(items: I) -> Self {
                Self { items }
            }
        }
    };
}

/// `Copied` and `Cloned`: indexed where their source is, by std's adapter.
macro_rules! by_value {
    ($name:ident, $bound:ident, $consumer:ident, $method:ident, $seq:ident) => {
        #[derive(Clone)]
        struct $consumer<C> {
            next: C,
        }

        impl<'a, T: $bound + Send + Sync + 'a, C: Consumer<T>> Consumer<&'a T> for $consumer<C> {
            pass_on!(next,);
            fn consume<I: Iterator<Item = &'a T>>(self, items: I) -> C::Result {
                self.next.consume(items.$method())
            }
        }

        impl<'a, T, I> ParallelIterator for $name<I>
        where
            I: ParallelIterator<Item = &'a T>,
            T: $bound + Send + Sync + 'a,
        {
            type Item = T;
            fn drive<C: Consumer<T>>(self, consumer: C) -> C::Result {
                self.items.drive($consumer { next: consumer })
            }
            fn opt_len(&self) -> Option<usize> {
                self.items.opt_len()
            }
        }

        impl<'a, T, I> IndexedParallelIterator for $name<I>
        where
            I: IndexedParallelIterator<Item = &'a T>,
            T: $bound + Send + Sync + 'a,
        {
            type Seq = std::iter::$seq<I::Seq>;
            fn len(&self) -> usize {
                self.items.len()
            }
            fn split_at(self, at: usize) -> (Self, Self) {
                let (left, right) = self.items.split_at(at);
                (Self::new(left), Self::new(right))
            }
            fn into_seq(self) -> Self::Seq {
                self.items.into_seq().$method()
            }
            fn min_len(&self) -> usize {
                self.items.min_len()
            }
            fn max_len(&self) -> usize {
                self.items.max_len()
            }
        }
    };
}

plain_adapter!(
    /// See [`ParallelIterator::copied`].
    Copied
);
by_value!(Copied, Copy, CopiedConsumer, copied, Copied);

plain_adapter!(
    /// See [`ParallelIterator::cloned`].
    Cloned
);
by_value!(Cloned, Clone, ClonedConsumer, cloned, Cloned);

plain_adapter!(
    /// See [`ParallelIterator::flatten`].
    Flatten
);

impl<I> ParallelIterator for Flatten<I>
where
    I: ParallelIterator,
    I::Item: IntoParallelIterator,
{
    type Item = <I::Item as IntoParallelIterator>::Item;
    fn drive<C: Consumer<Self::Item>>(self, consumer: C) -> C::Result {
        self.items.flat_map(|item| item).drive(consumer)
    }
}

plain_adapter!(
    /// See [`ParallelIterator::while_some`].
    WhileSome
);

#[derive(Clone)]
struct WhileSomeConsumer<'f, C> {
    next: C,
    stop: &'f AtomicBool,
}

impl<T, C: Consumer<T>> Consumer<Option<T>> for WhileSomeConsumer<'_, C> {
    type Result = C::Result;
    fn split(&self, at: usize) -> (Self, Self) {
        let (left, right) = self.next.split(at);
        (
            Self {
                next: left,
                stop: self.stop,
            },
            Self {
                next: right,
                stop: self.stop,
            },
        )
    }
    fn consume<I: Iterator<Item = Option<T>>>(self, items: I) -> C::Result {
        let stop = self.stop;
        self.next.consume(items.map_while(|item| {
            if item.is_none() {
                stop.store(true, Ordering::Relaxed);
            }
            item.filter(|_| !stop.load(Ordering::Relaxed))
        }))
    }
    fn merge(&self, left: C::Result, right: C::Result) -> C::Result {
        self.next.merge(left, right)
    }
    fn is_full(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.next.is_full()
    }
}

impl<T: Send, I: ParallelIterator<Item = Option<T>>> ParallelIterator for WhileSome<I> {
    type Item = T;
    fn drive<C: Consumer<T>>(self, consumer: C) -> C::Result {
        let stop = AtomicBool::new(false);
        self.items.drive(WhileSomeConsumer {
            next: consumer,
            stop: &stop,
        })
    }
}

/// See [`ParallelIterator::chain`].
#[derive(Debug)]
pub struct Chain<A, B> {
    first: A,
    second: B,
}

impl<A, B> Chain<A, B> {
    pub(crate) fn new(first: A, second: B) -> Self {
        Self { first, second }
    }
}

impl<A, B> ParallelIterator for Chain<A, B>
where
    A: ParallelIterator,
    B: ParallelIterator<Item = A::Item>,
{
    type Item = A::Item;
    fn drive<C: Consumer<A::Item>>(self, consumer: C) -> C::Result {
        // Where the first isn't indexed, `at` means nothing to the consumer.
        let (to_first, to_second) = consumer.split(self.first.opt_len().unwrap_or(0));
        let (first, second) = (self.first, self.second);
        let (first, second) = join(|| first.drive(to_first), || second.drive(to_second));
        consumer.merge(first, second)
    }
    fn opt_len(&self) -> Option<usize> {
        self.first.opt_len()?.checked_add(self.second.opt_len()?)
    }
}
