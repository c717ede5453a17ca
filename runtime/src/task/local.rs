//! Values that belong to a task and that everything it calls can see: what
//! `contextvars` are in Python.
//!
//! A task begins with the values of the task that spawned it, and what it sets
//! later is its own: the map is shared until somebody writes (copy on write), so
//! a spawn costs nothing where there are no values and a count where there are.

use std::any::Any;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::ptr;
use std::rc::Rc;

use crate::context;

/// The values of one task, by the address of their [`TaskLocal`].
#[derive(Clone, Default)]
pub(crate) struct Locals(HashMap<usize, Rc<dyn Any>>);

/// A variable with a value of its own in every task. Declare it as a `static`.
///
/// Tasks inherit the values of the task that spawns them, as of that moment.
///
/// ```
/// use threeply_runtime::{block_on, spawn, task::TaskLocal};
/// static REQUEST: TaskLocal<u32> = TaskLocal::new();
///
/// block_on(async {
///     REQUEST.set(7);
///     let child = spawn(async { REQUEST.get() });
///     REQUEST.set(8); // Too late for the child.
///     assert_eq!(child.await.unwrap(), Some(7));
/// });
/// ```
pub struct TaskLocal<T: 'static> {
    /// Statics of no size could share an address, which is their name.
    _address: u8,
    _type: PhantomData<fn() -> T>,
}

impl<T: 'static> TaskLocal<T> {
    /// A variable that has no value yet, in any task.
    #[must_use]
    pub const fn new() -> Self {
        TaskLocal {
            _address: 0,
            _type: PhantomData,
        }
    }

    fn key(&'static self) -> usize {
        ptr::from_ref(self).addr()
    }

    fn rc(&'static self) -> Option<Rc<T>> {
        let locals = context::try_with(|core| core.current_task()?.locals())??;
        let value = locals.0.get(&self.key())?.clone();
        Some(value.downcast().expect("a key belongs to one static"))
    }

    /// Gives the variable a value in the current task, and returns the former
    /// one if nobody else (a child that inherited it) shares it.
    ///
    /// # Panics
    /// Outside of a task.
    #[track_caller]
    pub fn set(&'static self, value: T) -> Option<T> {
        self.replace(Some(Rc::new(value)))
    }

    /// Takes the variable's value away from the current task, and returns it if
    /// nobody else shares it.
    ///
    /// # Panics
    /// Outside of a task.
    #[track_caller]
    pub fn unset(&'static self) -> Option<T> {
        self.replace(None)
    }

    #[track_caller]
    fn replace(&'static self, value: Option<Rc<T>>) -> Option<T> {
        let task = context::with_named("`TaskLocal::set`", |core| {
            core.knows_locals.set(true);
            core.current_task()
        });
        let task = task.expect("`TaskLocal::set` was called on a loop, but not by a task");
        let former = task.with_new_extra(|extra| {
            let locals = &mut extra.locals;
            let map = &mut Rc::make_mut(locals.get_or_insert_default()).0;
            match value {
                Some(value) => map.insert(self.key(), value as Rc<dyn Any>),
                None => map.remove(&self.key()),
            }
        })?;
        let former: Rc<T> = former.downcast().expect("a key belongs to one static");
        Rc::try_unwrap(former).ok()
    }

    /// Runs `f` with the current task's value: `None` if it was never set, or
    /// outside of a task.
    pub fn with<R>(&'static self, f: impl FnOnce(Option<&T>) -> R) -> R {
        f(self.rc().as_deref())
    }

    /// A copy of the current task's value.
    pub fn get(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.with(|value| value.cloned())
    }
}

impl<T> Default for TaskLocal<T> {
    fn default() -> Self {
        Self::new()
    }
}
