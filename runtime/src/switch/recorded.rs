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
use std::collections::BTreeMap;
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
    /// It read a value in whose place another has been written before, as memory may
    /// let a thread do that hasn't synchronized with the writer.
    pub is_stale: bool,
    /// Where.
    pub place: &'static Location<'static>,
}

#[derive(Default)]
struct History {
    steps: Vec<Step>,
    objects: Vec<Object>,
    /// Where each thread's next lock is said to be taken.
    lock_at: BTreeMap<usize, &'static Location<'static>>,
}

/// What something has an address for.
struct Object {
    /// 0 once it is gone: its address may be another's then.
    address: usize,
    /// Of an atomic: the last value that was written, if any was.
    latest: Option<String>,
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

/// The next lock is taken on behalf of whoever called this function's caller.
#[track_caller]
pub fn next_lock_is_the_callers() {
    let (thread, place) = (this_thread(), Location::caller());
    HISTORY.with_borrow_mut(|history| history.lock_at.insert(thread, place));
}

/// What an operation did to an atomic's value.
enum Access<'v> {
    Read(&'v dyn Debug),
    Wrote(&'v dyn Debug),
    Neither,
}

#[track_caller]
fn note(object: Option<usize>, what: fmt::Arguments<'_>) {
    note_at(object, what, &Access::Neither, Location::caller());
}

fn note_at(
    object: Option<usize>,
    what: fmt::Arguments<'_>,
    access: &Access<'_>,
    place: &'static Location<'static>,
) {
    if std::thread::panicking() {
        return;
    }
    let thread = this_thread();
    HISTORY.with_borrow_mut(|history| {
        let object = object.map(|address| history.number(address));
        let latest = object.map(|number| &mut history.objects[number].latest);
        let is_stale = match (latest, access) {
            (Some(Some(latest)), Access::Read(value)) => *latest != format!("{value:?}"),
            (Some(latest), Access::Wrote(value)) => {
                *latest = Some(format!("{value:?}"));
                false
            }
            _ => false,
        };
        history.steps.push(Step {
            thread,
            object,
            what: what.to_string(),
            is_stale,
            place,
        });
    });
}

fn this_thread() -> usize {
    // "ThreadId(2)" is all that loom tells.
    let thread = format!("{:?}", loom::thread::current().id());
    let number = thread.trim_matches(|c: char| !c.is_ascii_digit());
    number.parse().unwrap_or_default()
}

impl History {
    fn number(&mut self, address: usize) -> usize {
        let known = self.objects.iter().position(|it| it.address == address);
        known.unwrap_or_else(|| {
            self.objects.push(Object {
                address,
                latest: None,
            });
            self.objects.len() - 1
        })
    }
}

/// Atomics and fences.
pub mod atomic {
    use super::{Access, Debug, HISTORY, Location, fmt, note, note_at};
    pub use loom::sync::atomic::Ordering;
    use std::ops::{BitAnd, BitOr, BitXor};

    /// A fence.
    #[track_caller]
    pub fn fence(order: Ordering) {
        loom::sync::atomic::fence(order);
        note(None, format_args!("fence({order:?})"));
    }

    /// `name(arguments) → result`, of an operation that has been done.
    #[track_caller]
    fn done(
        object: *const (),
        name: &str,
        arguments: fmt::Arguments<'_>,
        result: &dyn Debug,
        access: &Access<'_>,
    ) {
        note_at(
            Some(object.addr()),
            format_args!("{name}({arguments}) → {result:?}"),
            access,
            Location::caller(),
        );
    }

    /// This one is gone; the next at its address is another.
    fn forget(object: *const ()) {
        // The thread may be ending.
        let _ = HISTORY.try_with(|history| {
            let mut history = history.borrow_mut();
            let mut objects = history.objects.iter_mut();
            if let Some(object) = objects.find(|it| it.address == object.addr()) {
                object.address = 0;
            }
        });
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
                    let arguments = format_args!("{order:?}");
                    done(self.address(), "load", arguments, &value, &Access::Read(&value));
                    value
                }

                /// As std's.
                #[track_caller]
                pub fn store(&self, value: $value, order: Ordering) {
                    self.0.store(value, order);
                    note_at(
                        Some(self.address().addr()),
                        format_args!("store({value:?}, {order:?})"),
                        &Access::Wrote(&value),
                        Location::caller(),
                    );
                }

                /// As std's.
                #[track_caller]
                pub fn swap(&self, value: $value, order: Ordering) -> $value {
                    let former = self.0.swap(value, order);
                    let arguments = format_args!("{value:?}, {order:?}");
                    done(self.address(), "swap", arguments, &former, &Access::Wrote(&value));
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
                    let access = match &result {
                        Ok(_) => Access::Wrote(&new),
                        Err(found) => Access::Read(found),
                    };
                    done(self.address(), "compare_exchange", arguments, &result, &access);
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

            impl$(<$t>)? Drop for $name$(<$t>)? {
                fn drop(&mut self) {
                    forget(self.address());
                }
            }
        };
    }

    // Operations that read, compute and write: each as std's, and what computes.
    macro_rules! computing {
        ($name:ident, $value:ty: $($operation:ident $computes:ident)*) => {
            impl $name {
                $(
                    /// As std's.
                    #[track_caller]
                    pub fn $operation(&self, value: $value, order: Ordering) -> $value {
                        let former = self.0.$operation(value, order);
                        let arguments = format_args!("{value:?}, {order:?}");
                        let now = former.$computes(value);
                        let access = Access::Wrote(&now);
                        done(self.address(), stringify!($operation), arguments, &former, &access);
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
                computing!($name, $value:
                    fetch_add wrapping_add fetch_sub wrapping_sub
                    fetch_and bitand fetch_or bitor fetch_xor bitxor
                    fetch_max max fetch_min min
                );
            )*
        };
    }

    recorded!(AtomicBool, bool);
    computing!(AtomicBool, bool: fetch_and bitand fetch_or bitor fetch_xor bitxor);
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
        let thread = this_thread();
        let on_behalf_of = HISTORY.with_borrow_mut(|history| history.lock_at.remove(&thread));
        let locked_at = on_behalf_of.unwrap_or(Location::caller());
        let what = format_args!("{how}");
        note_at(Some(self.address()), what, &Access::Neither, locked_at);
        MutexGuard {
            guard: Some(guard),
            address: self.address(),
            locked_at,
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
            let what = format_args!("unlock()");
            note_at(Some(self.address), what, &Access::Neither, self.locked_at);
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
