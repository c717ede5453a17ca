//! [`OnceCell`]: a value made once, by whoever needs it first.
//!
//! ```text
//!            get_or_init                     it succeeds
//!   EMPTY ───────────────▶ INITIALIZING ────────────────────▶ FULL
//!     ▲                          │
//!     └──────────────────────────┘  it fails, panics or is dropped:
//!                                   the next in line tries its own
//! ```
//!
//! Read before: `semaphore.rs`; after: `oneshot.rs`.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, ready};

use super::blocking;
use super::family::{Family, Once, Shared};
use super::semaphore::Semaphore;
use crate::inspect::SyncKind;

/// Why [`OnceCell::set`] didn't set it; here is the value back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetError<T> {
    /// There is a value already.
    AlreadyInitialized(T),
    /// Somebody is making one at this moment.
    Initializing(T),
}

impl<T> fmt::Display for SetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SetError::AlreadyInitialized(_) => "the cell has a value already",
            SetError::Initializing(_) => "the cell is being initialized: await `get_or_init`",
        })
    }
}

impl<T: fmt::Debug> std::error::Error for SetError<T> {}

/// A cell that is written once, by an async initializer if need be.
///
/// # Invariants
///
/// 1. Only the holder of the one permit of `turn` writes `value`.
/// 2. `turn` is closed once `value` is written, which lets all go who wait for
///    it.
pub struct OnceCell<F: Family, T> {
    turn: Semaphore<F>,
    value: F::Once<T>,
}

impl<F: Family, T> OnceCell<F, T> {
    /// An empty cell.
    #[track_caller]
    pub fn new() -> Self {
        OnceCell {
            turn: Semaphore::inside(SyncKind::OnceCell, 1),
            value: F::Once::<T>::default(),
        }
    }

    /// A full cell.
    #[track_caller]
    pub fn new_with(value: T) -> Self {
        let cell = Self::new();
        // A new cell is empty, so this can't fail.
        let _ = cell.set(value);
        cell
    }

    /// The value, if there is one.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// As [`get`](Self::get), exclusively.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// Whether there is a value.
    pub fn initialized(&self) -> bool {
        self.get().is_some()
    }

    /// The value back.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Writes the value now.
    ///
    /// # Errors
    ///
    /// See [`SetError`].
    pub fn set(&self, value: T) -> Result<(), SetError<T>> {
        if self.initialized() {
            return Err(SetError::AlreadyInitialized(value));
        }
        match self.turn.try_acquire() {
            Ok(turn) => {
                let result = self.value.set(value);
                turn.forget();
                self.turn.close();
                result.map_err(SetError::AlreadyInitialized)
            }
            Err(_) if self.initialized() => Err(SetError::AlreadyInitialized(value)),
            Err(_) => Err(SetError::Initializing(value)),
        }
    }

    /// The value; made by `init` if there is none and nobody else makes it.
    ///
    /// Cancel-safe, if `init` is: dropping the future while it runs `init` drops that,
    /// and the next who waits runs its own. An `init` that awaits this same cell waits for ever.
    pub async fn get_or_init<Fut>(&self, init: impl FnOnce() -> Fut) -> &T
    where
        Fut: Future<Output = T>,
    {
        let made = self
            .get_or_try_init(|| async { Ok::<_, Infallible>(init().await) })
            .await;
        match made {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// As [`get_or_init`](Self::get_or_init), with an initializer that may
    /// fail: then the cell stays empty and the next who waits tries its own. The same
    /// happens when the future is dropped.
    ///
    /// # Errors
    ///
    /// What `init` failed with.
    pub async fn get_or_try_init<E, Fut>(&self, init: impl FnOnce() -> Fut) -> Result<&T, E>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        if let Ok(turn) = self.turn.acquire().await {
            let value = init().await?;
            // Invariant 1: we have the turn, so the cell is empty.
            let _ = self.value.set(value);
            turn.forget();
            self.turn.close();
        }
        // Invariant 2: closed by us or by somebody else, so there is a value.
        Ok(self.get().expect("a closed once cell has a value"))
    }
}

impl<T> OnceCell<Shared, T> {
    /// The value; made by `init` on this thread if there is none, or waited
    /// for, blocking the thread, if somebody else makes it.
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs, unless the value is there:
    /// use `get_or_init(…).await` there.
    pub fn blocking_get_or_init(&self, init: impl FnOnce() -> T) -> &T {
        match self.get() {
            Some(value) => value,
            None => blocking::wait(
                "`OnceCell::blocking_get_or_init`",
                "`get_or_init(..).await`",
                &self.turn.ask(),
                self.get_or_init(|| ready(init())),
            ),
        }
    }
}

impl<F: Family, T> Default for OnceCell<F, T> {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Family, T: fmt::Debug> fmt::Debug for OnceCell<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnceCell").field(&self.get()).finish()
    }
}
