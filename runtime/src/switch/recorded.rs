//! Loom's atomics and locks, which also write down what was done to them: a failing
//! interleaving can then be shown as lanes, a column for each thread
//! (`tests/loom/lanes.rs`).
//!
//! *Read after* [`super`]. Only models are built with this. Each type wraps loom's own
//! and adds no choice to what loom explores: a step is noted when the operation has
//! been done, and loom switches threads before operations, never between an operation
//! and the note.
//!
//! One execution's steps are kept, from [`begin`] on. Nothing is noted while a thread
//! panics: what the destructors do then is no part of the story.

use std::cell::RefCell;
use std::fmt::{self, Debug};
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::time::Duration;

pub use loom::sync::WaitTimeoutResult;

/// One operation of one thread.
#[derive(Clone, Debug)]
pub struct Step {
    /// The thread, as loom numbers them: 0 is the one that runs the model.
    pub thread: usize,
    /// The object, numbered by first use; `None` for a fence.
    pub object: Option<usize>,
    /// What was done, and what came of it: `swap(2, AcqRel) → 1`.
    pub what: String,
    /// Where.
    pub place: &'static Location<'static>,
}

#[derive(Default)]
struct History {
    steps: Vec<Step>,
    objects: Vec<usize>,
}

std::thread_local! {
    // Not loom's: it runs all threads of a model on one thread of the system.
    static HISTORY: RefCell<History> = RefCell::default();
}

/// A new execution begins: forgets the former one's steps.
pub fn begin() {
    HISTORY.take();
}

/// The steps since [`begin`], in the order in which they happened.
pub fn steps() -> Vec<Step> {
    HISTORY.with_borrow(|history| history.steps.clone())
}

#[track_caller]
fn note(object: Option<usize>, what: fmt::Arguments<'_>) {
    note_at(object, what, Location::caller());
}

fn note_at(object: Option<usize>, what: fmt::Arguments<'_>, place: &'static Location<'static>) {
    if std::thread::panicking() {
        return;
    }
    // "ThreadId(2)" is all that loom tells.
    let thread = format!("{:?}", loom::thread::current().id());
    let thread = thread.trim_matches(|c: char| !c.is_ascii_digit());
    HISTORY.with_borrow_mut(|history| {
        let object = object.map(|address| history.number(address));
        history.steps.push(Step {
            thread: thread.parse().unwrap_or_default(),
            object,
            what: what.to_string(),
            place,
        });
    });
}

impl History {
    fn number(&mut self, address: usize) -> usize {
        let known = self.objects.iter().position(|&other| other == address);
        known.unwrap_or_else(|| {
            self.objects.push(address);
            self.objects.len() - 1
        })
    }
}

/// Atomics and fences.
pub mod atomic {
    use super::{Debug, fmt, note};
    pub use loom::sync::atomic::Ordering;

    /// A fence.
    #[track_caller]
    pub fn fence(order: Ordering) {
        loom::sync::atomic::fence(order);
        note(None, format_args!("fence({order:?})"));
    }

    /// `name(arguments) → result`, of an operation that has been done.
    #[track_caller]
    fn done(object: *const (), name: &str, arguments: fmt::Arguments<'_>, result: &dyn Debug) {
        note(
            Some(object.addr()),
            format_args!("{name}({arguments}) → {result:?}"),
        );
    }

    // What all atomics have, whatever their value.
    macro_rules! recorded {
        ($name:ident$(<$t:ident>)?, $value:ty) => {
            /// Loom's atomic of the same name; its steps are noted.
            #[derive(Debug)]
            pub struct $name$(<$t>)?(loom::sync::atomic::$name$(<$t>)?);

            impl$(<$t>)? $name$(<$t>)? {
                /// A new one.
                #[track_caller]
                pub fn new(value: $value) -> Self {
                    Self(loom::sync::atomic::$name::new(value))
                }

                fn address(&self) -> *const () {
                    std::ptr::from_ref(self).cast()
                }

                /// As std's.
                #[track_caller]
                pub fn load(&self, order: Ordering) -> $value {
                    let value = self.0.load(order);
                    done(self.address(), "load", format_args!("{order:?}"), &value);
                    value
                }

                /// As std's.
                #[track_caller]
                pub fn store(&self, value: $value, order: Ordering) {
                    self.0.store(value, order);
                    note(
                        Some(self.address().addr()),
                        format_args!("store({value:?}, {order:?})"),
                    );
                }

                /// As std's.
                #[track_caller]
                pub fn swap(&self, value: $value, order: Ordering) -> $value {
                    let former = self.0.swap(value, order);
                    done(self.address(), "swap", format_args!("{value:?}, {order:?}"), &former);
                    former
                }

                /// As std's.
                #[track_caller]
                pub fn compare_exchange(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    let result = self.0.compare_exchange(current, new, success, failure);
                    let arguments = format_args!("{current:?}, {new:?}, {success:?}");
                    done(self.address(), "compare_exchange", arguments, &result);
                    result
                }

                /// As std's.
                #[track_caller]
                pub fn compare_exchange_weak(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    self.compare_exchange(current, new, success, failure)
                }
            }
        };
    }

    // Operations that read, compute and write: each as std's.
    macro_rules! computing {
        ($name:ident, $value:ty: $($operation:ident)*) => {
            impl $name {
                $(
                    /// As std's.
                    #[track_caller]
                    pub fn $operation(&self, value: $value, order: Ordering) -> $value {
                        let former = self.0.$operation(value, order);
                        let arguments = format_args!("{value:?}, {order:?}");
                        done(self.address(), stringify!($operation), arguments, &former);
                        former
                    }
                )*
            }

            impl Default for $name {
                fn default() -> Self {
                    Self::new(<$value>::default())
                }
            }
        };
    }

    macro_rules! integers {
        ($($name:ident $value:ident)*) => {
            $(
                recorded!($name, $value);
                computing!($name, $value: fetch_add fetch_sub fetch_and fetch_or fetch_xor fetch_max fetch_min);
            )*
        };
    }

    recorded!(AtomicBool, bool);
    computing!(AtomicBool, bool: fetch_and fetch_or fetch_xor);
    recorded!(AtomicPtr<T>, *mut T);
    integers!(AtomicU8 u8 AtomicU16 u16 AtomicU32 u32 AtomicU64 u64 AtomicUsize usize AtomicIsize isize AtomicI32 i32 AtomicI64 i64);

    impl<T> Default for AtomicPtr<T> {
        fn default() -> Self {
            Self::new(std::ptr::null_mut())
        }
    }
}

/// Loom's mutex; its steps are noted.
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized>(loom::sync::Mutex<T>);

/// What a lock gives.
pub struct MutexGuard<'a, T: ?Sized> {
    // `None` only while a condvar has it.
    guard: Option<loom::sync::MutexGuard<'a, T>>,
    address: usize,
    locked_at: &'static Location<'static>,
}

impl<T> Mutex<T> {
    /// A free one.
    pub fn new(value: T) -> Mutex<T> {
        Mutex(loom::sync::Mutex::new(value))
    }

    /// As std's.
    ///
    /// # Errors
    /// As std's.
    pub fn into_inner(self) -> LockResult<T> {
        self.0.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// As std's.
    ///
    /// # Errors
    /// As std's.
    #[track_caller]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        match self.0.lock() {
            Ok(guard) => Ok(self.locked(guard, "lock()")),
            Err(poisoned) => Err(PoisonError::new(
                self.locked(poisoned.into_inner(), "lock()"),
            )),
        }
    }

    /// As std's.
    ///
    /// # Errors
    /// As std's.
    #[track_caller]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Ok(self.locked(guard, "try_lock() → Ok")),
            Err(TryLockError::Poisoned(poisoned)) => {
                let guard = self.locked(poisoned.into_inner(), "try_lock() → Ok");
                Err(TryLockError::Poisoned(PoisonError::new(guard)))
            }
            Err(TryLockError::WouldBlock) => {
                note(
                    Some(self.address()),
                    format_args!("try_lock() → WouldBlock"),
                );
                Err(TryLockError::WouldBlock)
            }
        }
    }

    /// As std's.
    ///
    /// # Errors
    /// As std's.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.0.get_mut()
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).cast::<()>().addr()
    }

    #[track_caller]
    fn locked<'a>(&'a self, guard: loom::sync::MutexGuard<'a, T>, how: &str) -> MutexGuard<'a, T> {
        note(Some(self.address()), format_args!("{how}"));
        MutexGuard {
            guard: Some(guard),
            address: self.address(),
            locked_at: Location::caller(),
        }
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.guard.as_ref().expect("no condvar has it")
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().expect("no condvar has it")
    }
}

impl<T: ?Sized + Debug> Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        if let Some(guard) = self.guard.take() {
            drop(guard);
            // A guard's end has no place of its own in the source.
            note_at(Some(self.address), format_args!("unlock"), self.locked_at);
        }
    }
}

/// Loom's condition variable; its steps are noted.
#[derive(Debug, Default)]
pub struct Condvar(loom::sync::Condvar);

impl Condvar {
    /// One that nobody waits for.
    pub fn new() -> Condvar {
        Condvar(loom::sync::Condvar::new())
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// As std's.
    ///
    /// # Errors
    /// As std's.
    #[track_caller]
    pub fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        note(Some(self.address()), format_args!("wait() begins"));
        let inner = guard.guard.take().expect("no condvar has it");
        let (inner, poisoned) = match self.0.wait(inner) {
            Ok(inner) => (inner, false),
            Err(error) => (error.into_inner(), true),
        };
        guard.guard = Some(inner);
        note(Some(self.address()), format_args!("wait() ends"));
        if poisoned {
            Err(PoisonError::new(guard))
        } else {
            Ok(guard)
        }
    }

    /// As std's, except that the time never runs out.
    ///
    /// # Errors
    /// As std's.
    #[track_caller]
    pub fn wait_timeout<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        note(Some(self.address()), format_args!("wait_timeout() begins"));
        let inner = guard.guard.take().expect("no condvar has it");
        let ((inner, result), poisoned) = match self.0.wait_timeout(inner, timeout) {
            Ok(pair) => (pair, false),
            Err(error) => (error.into_inner(), true),
        };
        guard.guard = Some(inner);
        note(Some(self.address()), format_args!("wait_timeout() ends"));
        let pair = (guard, result);
        if poisoned {
            Err(PoisonError::new(pair))
        } else {
            Ok(pair)
        }
    }

    /// As std's.
    #[track_caller]
    pub fn notify_one(&self) {
        self.0.notify_one();
        note(Some(self.address()), format_args!("notify_one()"));
    }

    /// As std's.
    #[track_caller]
    pub fn notify_all(&self) {
        self.0.notify_all();
        note(Some(self.address()), format_args!("notify_all()"));
    }
}
