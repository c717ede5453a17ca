//! A counting semaphore: [`Permits`] behind the lock of a family.
//!
//! Read before: `permits.rs`, `place.rs`; after: `mutex.rs`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::blocking;
use super::family::{Family, Local, Lock, Shared};
use super::permits::{Closed, Permits, Refused};
use super::place::{Line, Place};
use crate::context;
use crate::inspect::SyncKind;
use crate::inspect::round::{self, Told};

/// The semaphore was closed while, or before, one waited for a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcquireError;

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore is closed: no more permits will be given out")
    }
}

impl std::error::Error for AcquireError {}

impl From<Closed> for AcquireError {
    fn from(Closed: Closed) -> Self {
        AcquireError
    }
}

/// Why a permit couldn't be had at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryAcquireError {
    /// As [`AcquireError`].
    Closed,
    /// Not enough permits are free, or somebody waits for them already.
    NoPermits,
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryAcquireError::Closed => AcquireError.fmt(f),
            TryAcquireError::NoPermits => {
                f.write_str("no permit is free, or others wait for one: wait with `acquire`")
            }
        }
    }
}

impl std::error::Error for TryAcquireError {}

impl From<Refused> for TryAcquireError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Closed => TryAcquireError::Closed,
            Refused::Busy => TryAcquireError::NoPermits,
        }
    }
}

/// A counting semaphore, strictly first come, first served.
///
/// Named as in tokio. Nobody overtakes: while a waiter asks for ten permits,
/// one who asks for a single one stands behind it. A permit returns when its
/// guard is dropped, so more can't be returned than were taken (asyncio's
/// `BoundedSemaphore` by construction); [`add_permits`](Self::add_permits)
/// raises the number on purpose.
///
/// All operations are O(1), `close` and `add_permits` O(number of waiters
/// that they wake). Dropping the future of an `acquire` at any moment loses
/// nothing: it gives its place, and permits it may have been granted, back.
pub struct Semaphore<F: Family> {
    pub(super) permits: F::Lock<Permits>,
}

impl<F: Family> Semaphore<F> {
    /// The most permits a semaphore can have.
    pub const MAX_PERMITS: usize = usize::MAX;

    /// A semaphore with `permits` free permits.
    #[track_caller]
    pub fn new(permits: usize) -> Self {
        Semaphore {
            permits: F::Lock::new(Permits::new(permits, SyncKind::Semaphore)),
        }
    }

    /// The semaphore inside another primitive, which dumps are to name.
    #[track_caller]
    pub(super) fn inside(kind: SyncKind, permits: usize) -> Self {
        Semaphore {
            permits: F::Lock::new(Permits::new(permits, kind)),
        }
    }

    /// Waits for one permit. Cancel-safe: a wait that is dropped leaves the line, and
    /// passes on what it may have been granted.
    ///
    /// # Errors
    ///
    /// If the semaphore is, or gets, closed.
    #[inline]
    pub fn acquire(&self) -> Acquire<'_, F> {
        self.acquire_many(1)
    }

    /// Waits for `n` permits, all at once. Cancel-safe, as [`acquire`](Self::acquire)
    /// is; nobody is ever granted a part.
    ///
    /// # Errors
    ///
    /// If the semaphore is, or gets, closed.
    #[inline]
    pub fn acquire_many(&self, n: usize) -> Acquire<'_, F> {
        Acquire {
            semaphore: self,
            share: self.share(n),
        }
    }

    /// Takes one permit if one is free and nobody waits for it.
    ///
    /// # Errors
    ///
    /// See [`TryAcquireError`].
    pub fn try_acquire(&self) -> Result<Permit<'_, F>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes `n` permits, all at once or none.
    ///
    /// # Errors
    ///
    /// See [`TryAcquireError`].
    pub fn try_acquire_many(&self, n: usize) -> Result<Permit<'_, F>, TryAcquireError> {
        let who = self.try_share(n)?;
        Ok(Permit {
            semaphore: self,
            n,
            who,
        })
    }

    /// How many permits are free now.
    pub fn available_permits(&self) -> usize {
        self.permits.with(|permits, _| permits.available())
    }

    /// How many wait for permits now.
    pub fn waiters(&self) -> usize {
        self.permits.with(|permits, _| permits.waiting())
    }

    /// Adds `n` permits for good.
    ///
    /// # Panics
    ///
    /// If there would be more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    pub fn add_permits(&self, n: usize) {
        self.give(n);
    }

    /// Takes up to `n` free permits out for good; returns how many it took.
    pub fn forget_permits(&self, n: usize) -> usize {
        self.permits.with(|permits, _| permits.forget(n))
    }

    /// Fails everybody who waits and everybody who comes. Permits that are out
    /// stay valid.
    pub fn close(&self) {
        self.permits.with(Permits::close);
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.permits.with(|permits, _| permits.is_closed())
    }

    /// Waits for `n` permits of which others may have some at the same time.
    #[inline(always)]
    pub(super) fn share(&self, n: usize) -> Share<'_, F> {
        Share {
            place: Place::new(&self.permits, &LINE),
            n,
        }
    }

    /// Waits for `n` permits, to have them alone.
    #[inline(always)]
    pub(super) fn take(&self, n: usize) -> Take<'_, F> {
        Take {
            place: Place::new(&self.permits, &LINE),
            n,
        }
    }

    #[inline]
    pub(super) fn try_take(&self, n: usize) -> Result<(), Refused> {
        self.permits.with(|permits, _| {
            permits.try_take(n)?;
            permits.taken_by(context::current_word());
            Ok(())
        })
    }

    /// Takes a share, and tells by whose word it is remembered.
    pub(super) fn try_share(&self, n: usize) -> Result<usize, Refused> {
        let who = context::current_word();
        self.permits.with(|permits, _| {
            permits.try_take(n)?;
            if n > 0 {
                permits.holders().enter(who);
            }
            Ok(who)
        })
    }

    /// Gives `n` of permits back that one had alone, and keeps the rest as a share;
    /// tells by whose word that is remembered.
    pub(super) fn keep_share(&self, n: usize) -> usize {
        let who = context::current_word();
        self.permits.with(|permits, after| {
            permits.holders().enter(who);
            permits.give(n, after);
        });
        who
    }

    /// Gives a share back that was taken by the word `who`.
    #[inline]
    pub(super) fn give_share(&self, n: usize, who: usize) {
        self.permits
            .with(|permits, after| permits.give_share(n, who, after));
    }

    /// Strikes a share off that was taken by the word `who` and won't come back.
    fn let_go(&self, who: usize) {
        self.permits.with(|permits, _| permits.holders().leave(who));
    }

    #[inline]
    pub(super) fn give(&self, n: usize) {
        self.permits.with(|permits, after| permits.give(n, after));
    }
}

/// The future of [`Semaphore::acquire`].
#[must_use = "futures do nothing unless they are polled"]
pub struct Acquire<'a, F: Family> {
    semaphore: &'a Semaphore<F>,
    share: Share<'a, F>,
}

impl<'a, F: Family> Future for Acquire<'a, F> {
    type Output = Result<Permit<'a, F>, AcquireError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let taken = Pin::new(&mut self.share).poll(cx);
        taken.map(|taken| match taken {
            Ok(who) => Ok(Permit {
                semaphore: self.semaphore,
                n: self.share.n,
                who,
            }),
            Err(Closed) => Err(AcquireError),
        })
    }
}

static LINE: Line<Permits> = Line {
    leave: Permits::leave,
    about: Permits::about,
};

/// The wait for `n` permits that one holder has alone, beneath the locks that know
/// one holder.
///
/// These futures are types and not `async` blocks because every lock goes
/// through them: a block stores and tests its own state beside ours.
pub struct Take<'a, F: Family> {
    place: Place<'a, F, Permits>,
    n: usize,
}

impl<F: Family> Future for Take<'_, F> {
    type Output = Result<(), Closed>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let n = self.n;
        self.place.poll(cx, |permits, ticket, cx, after| {
            permits.poll_hold(n, ticket, cx.waker(), after)
        })
    }
}

/// The wait for `n` permits of which others may have some at the same time. Gives the
/// word by which the share is remembered, which the guard keeps.
pub struct Share<'a, F: Family> {
    place: Place<'a, F, Permits>,
    n: usize,
}

impl<F: Family> Future for Share<'_, F> {
    type Output = Result<usize, Closed>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let n = self.n;
        let polled = self.place.poll(cx, |permits, ticket, cx, after| {
            permits.poll_share(n, ticket, cx.waker(), after)
        });
        polled.map(|taken| taken.map(|()| cx.waker().data().addr()))
    }
}

impl<F: Family> fmt::Debug for Semaphore<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (available, waiting, closed) = self
            .permits
            .with(|p, _| (p.available(), p.waiting(), p.is_closed()));
        f.debug_struct("Semaphore")
            .field("available", &available)
            .field("waiting", &waiting)
            .field("closed", &closed)
            .finish()
    }
}

impl Semaphore<Local> {
    /// As [`acquire`](Self::acquire), and as cancel-safe, with a permit that owns its
    /// semaphore.
    ///
    /// # Errors
    ///
    /// If the semaphore is, or gets, closed.
    pub async fn acquire_owned(self: Rc<Self>) -> Result<OwnedPermit<Local>, AcquireError> {
        self.acquire_many_owned(1).await
    }

    /// As [`acquire_many`](Self::acquire_many), and as cancel-safe, with permits that
    /// own their semaphore.
    ///
    /// # Errors
    ///
    /// If the semaphore is, or gets, closed.
    pub async fn acquire_many_owned(
        self: Rc<Self>,
        n: usize,
    ) -> Result<OwnedPermit<Local>, AcquireError> {
        let who = self.share(n).await?;
        Ok(OwnedPermit {
            semaphore: self,
            n,
            who,
        })
    }

    /// As [`try_acquire`](Self::try_acquire), with a permit that owns its
    /// semaphore.
    ///
    /// # Errors
    ///
    /// See [`TryAcquireError`].
    pub fn try_acquire_owned(self: Rc<Self>) -> Result<OwnedPermit<Local>, TryAcquireError> {
        let who = self.try_share(1)?;
        Ok(OwnedPermit {
            semaphore: self,
            n: 1,
            who,
        })
    }
}

impl Semaphore<Shared> {
    /// As [`acquire`](Self::acquire), and as cancel-safe, with a permit that owns its
    /// semaphore.
    ///
    /// # Errors
    ///
    /// If the semaphore is, or gets, closed.
    pub async fn acquire_owned(self: Arc<Self>) -> Result<OwnedPermit<Shared>, AcquireError> {
        self.acquire_many_owned(1).await
    }

    /// As [`acquire_many`](Self::acquire_many), and as cancel-safe, with permits that
    /// own their semaphore.
    ///
    /// # Errors
    ///
    /// If the semaphore is, or gets, closed.
    pub async fn acquire_many_owned(
        self: Arc<Self>,
        n: usize,
    ) -> Result<OwnedPermit<Shared>, AcquireError> {
        let who = self.share(n).await?;
        Ok(OwnedPermit {
            semaphore: self,
            n,
            who,
        })
    }

    /// As [`try_acquire`](Self::try_acquire), with a permit that owns its
    /// semaphore.
    ///
    /// # Errors
    ///
    /// See [`TryAcquireError`].
    pub fn try_acquire_owned(self: Arc<Self>) -> Result<OwnedPermit<Shared>, TryAcquireError> {
        let who = self.try_share(1)?;
        Ok(OwnedPermit {
            semaphore: self,
            n: 1,
            who,
        })
    }

    /// Blocks the thread until it has one permit.
    ///
    /// # Errors
    ///
    /// If the semaphore is, or gets, closed.
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use `acquire().await` there.
    pub fn blocking_acquire(&self) -> Result<Permit<'_, Shared>, AcquireError> {
        blocking::wait(
            "`Semaphore::blocking_acquire`",
            "`acquire().await`",
            &self.ask(),
            self.acquire(),
        )
    }

    /// Tells a dump what a thread waits for that blocks here, or beneath a lock.
    pub(super) fn ask(&self) -> impl Fn() -> Told + Sync {
        || round::sync_wait::<Shared, Permits>(&self.permits, Permits::about)
    }
}

/// Permits out of a [`Semaphore`], returned when this is dropped.
#[must_use = "a permit that is dropped at once protects nothing"]
pub struct Permit<'a, F: Family> {
    semaphore: &'a Semaphore<F>,
    /// 0 if there is nothing to return: then it stands no more among the holders.
    n: usize,
    /// By which word it is remembered among the holders.
    who: usize,
}

impl<F: Family> Permit<'_, F> {
    /// How many permits this stands for.
    pub fn num_permits(&self) -> usize {
        self.n
    }

    /// Never returns the permits: the semaphore has `n` less from now on.
    pub fn forget(mut self) {
        self.leave();
        self.n = 0;
    }

    /// Strikes it off the holders.
    fn leave(&self) {
        if self.n > 0 {
            self.semaphore.let_go(self.who);
        }
    }

    /// Splits `n` permits off, or gives `None` if there aren't as many.
    pub fn split(&mut self, n: usize) -> Option<Self> {
        let rest = self.n.checked_sub(n)?;
        let who = self.who;
        // Of the two, the one that is empty holds nothing.
        if n > 0 && rest > 0 {
            let permits = &self.semaphore.permits;
            permits.with(|permits, _| permits.holders().enter(who));
        }
        self.n = rest;
        Some(Permit {
            semaphore: self.semaphore,
            n,
            who,
        })
    }

    /// Takes over the permits of `other`.
    ///
    /// # Panics
    ///
    /// If `other` comes from another semaphore.
    pub fn merge(&mut self, mut other: Self) {
        assert!(
            std::ptr::eq(self.semaphore, other.semaphore),
            "only permits of the same semaphore can be merged"
        );
        if self.n == 0 {
            self.who = other.who;
        } else {
            other.leave();
        }
        self.n += std::mem::take(&mut other.n);
    }
}

impl<F: Family> Drop for Permit<'_, F> {
    #[inline]
    fn drop(&mut self) {
        if self.n > 0 {
            self.semaphore.give_share(self.n, self.who);
        }
    }
}

impl<F: Family> fmt::Debug for Permit<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.n).finish()
    }
}

/// As [`Permit`], without a lifetime: it owns a handle of its semaphore.
#[must_use = "a permit that is dropped at once protects nothing"]
pub struct OwnedPermit<F: Family> {
    semaphore: F::Ref<Semaphore<F>>,
    /// As of [`Permit`], as is `who`.
    n: usize,
    who: usize,
}

impl<F: Family> OwnedPermit<F> {
    /// How many permits this stands for.
    pub fn num_permits(&self) -> usize {
        self.n
    }

    /// The semaphore it came from.
    pub fn semaphore(&self) -> &F::Ref<Semaphore<F>> {
        &self.semaphore
    }

    /// Never returns the permits: the semaphore has `n` less from now on.
    pub fn forget(mut self) {
        if std::mem::take(&mut self.n) > 0 {
            self.semaphore.let_go(self.who);
        }
    }
}

impl<F: Family> Drop for OwnedPermit<F> {
    fn drop(&mut self) {
        if self.n > 0 {
            self.semaphore.give_share(self.n, self.who);
        }
    }
}

impl<F: Family> fmt::Debug for OwnedPermit<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedPermit").field(&self.n).finish()
    }
}
