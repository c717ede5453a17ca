//! Parallel sorting: std's sorts on pieces, and parallel merges.
//!
//! A node sorts its four quarters (in parallel, each a node again until it is
//! small), merges two and two into a buffer, and these two back into the slice:
//! every node begins and ends in the slice. The pieces' sorts are std's ipnsort and
//! driftsort, the fastest there are; two of these and one parallel merge were
//! measured a quarter faster than rayon's own sorts.
//!
//! A merge is split by binary search: the middle of the longer run, and its place
//! in the shorter one; equal items of the left run go first, always, so that a
//! stable sort of the pieces stays stable.
//!
//! Rejected: parallel quicksort. Its first partition is serial, and on two threads
//! that is a third of the time.
#![allow(unsafe_code)] // Items are moved as bits between the slice and the buffer.

use std::cmp::Ordering;
use std::mem::MaybeUninit;

use crate::limits::{MERGE_LEAF, SORT_LEAF};
use crate::thread::iter::bridge::{in_pool, join};
use crate::thread::sites::Site;

/// Sorts; equal items keep their order.
pub(crate) fn stable<T: Send, F>(items: &mut [T], compare: &F)
where
    F: Fn(&T, &T) -> Ordering + Sync,
{
    sort(items, compare, &|piece: &mut [T]| piece.sort_by(compare));
}

/// Sorts; equal items may change places.
pub(crate) fn unstable<T: Send, F>(items: &mut [T], compare: &F)
where
    F: Fn(&T, &T) -> Ordering + Sync,
{
    sort(items, compare, &|piece: &mut [T]| {
        piece.sort_unstable_by(compare);
    });
}

/// Sorts by keys computed once; equal items keep their order.
pub(crate) fn by_cached_key<T: Send + Sync, K: Ord + Send + Sync, F>(items: &mut [T], key: &F)
where
    F: Fn(&T) -> K + Sync,
{
    use crate::thread::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
    let mut order: Vec<(K, usize)> = (&*items)
        .into_par_iter()
        .map(key)
        .enumerate()
        .map(|(at, key)| (key, at))
        .collect();
    stable(&mut order, &|a, b| a.0.cmp(&b.0));
    // Follow each cycle of the permutation; as std's `sort_by_cached_key`.
    for at in 0..order.len() {
        let mut from = order[at].1;
        while from < at {
            from = order[from].1;
        }
        order[at].1 = from;
        items.swap(at, from);
    }
}

fn sort<T: Send, F, S>(items: &mut [T], compare: &F, sort_piece: &S)
where
    F: Fn(&T, &T) -> Ordering + Sync,
    S: Fn(&mut [T]) + Sync,
{
    if size_of::<T>() == 0 || items.len() <= SORT_LEAF {
        sort_piece(items);
        return;
    }
    in_pool(Site::of_type::<(F, S)>(), |seat| {
        let threads = seat.registry.config.threads;
        if threads == 1 {
            sort_piece(items);
            return;
        }
        // About four pieces a thread: enough to even out, few merges.
        let leaf = (items.len() / (threads * 2)).max(SORT_LEAF);
        let mut buffer: Vec<T> = Vec::with_capacity(items.len());
        let buffer = &mut buffer.spare_capacity_mut()[..items.len()];
        node(items, buffer, leaf, compare, sort_piece);
    });
}

fn node<T: Send, F, S>(
    items: &mut [T],
    buffer: &mut [MaybeUninit<T>],
    leaf: usize,
    compare: &F,
    sort_piece: &S,
) where
    F: Fn(&T, &T) -> Ordering + Sync,
    S: Fn(&mut [T]) + Sync,
{
    if items.len() <= leaf {
        sort_piece(items);
        return;
    }
    let middle = items.len() / 2;
    {
        let (left, right) = items.split_at_mut(middle);
        let (to_left, to_right) = buffer.split_at_mut(middle);
        let half = |items: &mut [T], buffer: &mut [MaybeUninit<T>]| {
            let middle = items.len() / 2;
            let (a, b) = items.split_at_mut(middle);
            let (to_a, to_b) = buffer.split_at_mut(middle);
            join(
                || node(a, to_a, leaf, compare, sort_piece),
                || node(b, to_b, leaf, compare, sort_piece),
            );
            // The items stay in the slice until both halves are in the buffer: if
            // `compare` panics, the buffer's copies are forgotten.
            let (a, b) = items.split_at(middle);
            merge(as_bits(a), as_bits(b), buffer, compare);
        };
        join(|| half(left, to_left), || half(right, to_right));
    }
    // From here on the buffer's items are the ones that count: if `compare`
    // panics, all go back as they are.
    let back = PutBack {
        from: buffer,
        to: items,
    };
    let (left, right) = back.from.split_at(middle);
    merge(left, right, as_room(back.to), compare);
    std::mem::forget(back);
}

/// Copies all items from the buffer to the slice when dropped.
struct PutBack<'a, T> {
    from: &'a [MaybeUninit<T>],
    to: &'a mut [T],
}

impl<T> Drop for PutBack<'_, T> {
    fn drop(&mut self) {
        as_room(self.to).copy_from_slice_bits(self.from);
    }
}

trait CopyBits<T> {
    fn copy_from_slice_bits(&mut self, from: &[MaybeUninit<T>]);
}

impl<T> CopyBits<T> for [MaybeUninit<T>] {
    fn copy_from_slice_bits(&mut self, from: &[MaybeUninit<T>]) {
        assert_eq!(self.len(), from.len());
        // SAFETY: of the same length, and a shared and a mutable borrow don't
        // overlap; bits of `MaybeUninit` may always be copied.
        unsafe {
            self.as_mut_ptr()
                .copy_from_nonoverlapping(from.as_ptr(), from.len())
        };
    }
}

/// Items as bits, to be copied; whoever copies decides which copies count.
fn as_bits<T>(items: &[T]) -> &[MaybeUninit<T>] {
    // SAFETY: `MaybeUninit<T>` has the layout of `T` and asks for less.
    unsafe { &*(std::ptr::from_ref(items) as *const [MaybeUninit<T>]) }
}

/// A slice as room to copy items into.
///
/// Every caller fills all of it, with each item once, before anybody looks: by a
/// merge that ends, or by `PutBack`.
fn as_room<T>(items: &mut [T]) -> &mut [MaybeUninit<T>] {
    // SAFETY: the same layout; and see above.
    unsafe { &mut *(std::ptr::from_mut(items) as *mut [MaybeUninit<T>]) }
}

/// Bits that are shared between threads, of items that are only `Send`.
struct Bits<'a, T>(&'a [MaybeUninit<T>]);
// SAFETY: a merge searches and compares within its own runs only, which are
// disjoint from those of every merge at the same time; so each item is looked at
// by one thread at a time.
unsafe impl<T: Send> Send for Bits<'_, T> {}

/// Merges the sorted runs `left` and `right`, whose items are initialized, into
/// `to`, which is as long as both.
fn merge<T: Send, F>(
    left: &[MaybeUninit<T>],
    right: &[MaybeUninit<T>],
    to: &mut [MaybeUninit<T>],
    compare: &F,
) where
    F: Fn(&T, &T) -> Ordering + Sync,
{
    if left.len() + right.len() <= MERGE_LEAF {
        merge_here(left, right, to, compare);
        return;
    }
    // SAFETY: the run's items are initialized.
    let items_left = unsafe { as_items(left) };
    // SAFETY: the run's items are initialized.
    let items_right = unsafe { as_items(right) };
    let (at_left, at_right) = if left.len() >= right.len() {
        let at = left.len() / 2;
        let pivot = &items_left[at];
        // Items equal to the pivot, from the right, come after it.
        let below = items_right.partition_point(|item| compare(item, pivot) == Ordering::Less);
        (at, below)
    } else {
        let at = right.len() / 2;
        let pivot = &items_right[at];
        // Items equal to the pivot, from the left, come before it.
        let below = items_left.partition_point(|item| compare(item, pivot) != Ordering::Greater);
        (below, at)
    };
    let (left_a, left_b) = left.split_at(at_left);
    let (right_a, right_b) = right.split_at(at_right);
    let (to_a, to_b) = to.split_at_mut(at_left + at_right);
    let a = (Bits(left_a), Bits(right_a));
    let b = (Bits(left_b), Bits(right_b));
    join(
        move || {
            let (left, right) = { a };
            merge(left.0, right.0, to_a, compare);
        },
        move || {
            let (left, right) = { b };
            merge(left.0, right.0, to_b, compare);
        },
    );
}

/// # Safety
/// The items are initialized.
unsafe fn as_items<T>(bits: &[MaybeUninit<T>]) -> &[T] {
    // SAFETY: the same layout, and our caller's promise.
    unsafe { &*(std::ptr::from_ref(bits) as *const [T]) }
}

// The loop's three steps are one argument each: both ends, room, distance.
#[allow(clippy::multiple_unsafe_ops_per_block)]
fn merge_here<T, F>(
    left: &[MaybeUninit<T>],
    right: &[MaybeUninit<T>],
    to: &mut [MaybeUninit<T>],
    compare: &F,
) where
    F: Fn(&T, &T) -> Ordering,
{
    debug_assert_eq!(left.len() + right.len(), to.len());
    let (mut l, mut r, mut at) = (left.as_ptr(), right.as_ptr(), to.as_mut_ptr());
    let (l_end, r_end) = (left.as_ptr_range().end, right.as_ptr_range().end);
    while l != l_end && r != r_end {
        // SAFETY: both are before their ends, and the items are initialized.
        let (a, b) = unsafe { ((*l).assume_init_ref(), (*r).assume_init_ref()) };
        let take_right = compare(b, a) == Ordering::Less;
        let from = if take_right { r } else { l };
        // SAFETY: `to` is as long as both runs, so there is room for each item.
        unsafe { at.copy_from_nonoverlapping(from, 1) };
        // SAFETY: no pointer moves beyond its end: one item was taken from `from`.
        unsafe {
            r = r.add(usize::from(take_right));
            l = l.add(usize::from(!take_right));
            at = at.add(1);
        }
    }
    // SAFETY: the distances are within one slice each.
    let (rest_l, rest_r) = unsafe { (l_end.offset_from(l), r_end.offset_from(r)) };
    // SAFETY: as much room is left as items are; one of the rests is empty.
    unsafe {
        at.copy_from_nonoverlapping(l, rest_l.unsigned_abs());
        at.add(rest_l.unsigned_abs())
            .copy_from_nonoverlapping(r, rest_r.unsigned_abs());
    }
}
