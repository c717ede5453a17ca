//! Spans of the program's own: what it calls the work that it does.
//!
//! Read before: `names`.

use std::marker::PhantomData;
use std::panic::Location;

use super::event::Kind;
use super::gate::{emit, is_on};
use super::names;

/// Tells the trace that this thread does something that the program has a name for,
/// until what is returned is dropped. While nothing is recorded that costs a load and
/// a branch.
///
/// Spans of a thread nest: what began last ends first. Don't hold one over an `await`:
/// what other tasks do meanwhile would seem to be done in it (a task needs no span, the
/// trace shows its polls).
///
/// ```
/// use threeply_runtime::trace;
///
/// fn sum(n: u64) -> u64 {
///     let _span = trace::span("sum");
///     (0..n).sum()
/// }
/// assert_eq!(sum(10), 45);
/// ```
#[must_use = "it ends when it is dropped"]
#[inline]
#[track_caller]
pub fn span(name: &'static str) -> Span {
    let key = if is_on() {
        begin(name, Location::caller())
    } else {
        0
    };
    Span {
        key,
        _this_thread: PhantomData,
    }
}

#[cold]
fn begin(name: &str, site: &'static Location<'static>) -> u64 {
    let key = names::key(name);
    span_begins(key, names::site(site));
    key
}

fn span_begins(key: u64, site: u64) {
    emit(Kind::Span, line!(), key, site);
}

/// A span that hasn't ended; see [`span`].
#[derive(Debug)]
pub struct Span {
    /// 0 if nothing was recorded when it began.
    key: u64,
    _this_thread: PhantomData<*const ()>,
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if self.key != 0 {
            emit(Kind::SpanEnd, line!(), self.key, 0);
        }
    }
}
