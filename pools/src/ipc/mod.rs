//! What processes share and tell each other: the toolbox.
//!
//! Handles of the objects here are arguments like any other: of a [`Process`], of a
//! job of the process pool, of a message in a [`Channel`]. Each object lives in
//! memory of its own that all who have a handle share, and **a process that dies,
//! at any instruction, leaves nobody waiting for it**.
//!
//! | to | use | `multiprocessing` calls it |
//! |---|---|---|
//! | run a function in another process | [`Process`] | `Process` |
//! | talk to one process | [`channel()`] | `Pipe` |
//! | hand work to whoever is free | [`Queue`] | `Queue` |
//! | the same, and learn when all is done | [`JoinableQueue`] | `JoinableQueue` |
//! | change a value together | [`Mutex`], [`Condvar`] | `Lock`, `Condition` |
//! | the same, from functions that call each other | [`ReentrantMutex`] | `RLock` |
//! | read and write a value or many | [`Value`], [`Array`] | `Value`, `Array` |
//! | let at most so many in | [`Semaphore`] | `Semaphore` |
//! | tell that something has happened | [`Event`] | `Event` |
//! | wait for each other | [`Barrier`] | `Barrier` |
//!
//! Begin with the README beside this file: what is shared, how deaths are noticed,
//! which designs were rejected. Then read from the ground up:
//!
//! | floor | files |
//! |---|---|
//! | who is there | [`identity`], [`members`] |
//! | how one waits | [`kernel`], [`lock`], [`monitor`], [`lookout`] |
//! | where it is, how it travels | [`segment`] with [`words`], [`travel`], [`message`] |
//! | objects in shared memory | [`mutex`], [`array`](mod@array), [`reentrant`], [`condvar`], [`event`], [`semaphore`], [`barrier`], [`value`], [`queue`], [`joinable`] with [`ledger`] |
//! | objects of the kernel | [`channel`](mod@channel), [`process`], [`child`] |

pub mod array;
pub mod barrier;
pub mod channel;
pub mod child;
pub mod condvar;
pub mod error;
pub mod event;
pub mod fd;
pub mod identity;
pub mod joinable;
pub mod kernel;
pub mod ledger;
pub mod limits;
pub mod lock;
pub mod lookout;
pub mod members;
pub mod message;
pub mod monitor;
pub mod mutex;
pub mod process;
pub mod queue;
pub mod reentrant;
pub mod segment;
pub mod semaphore;
pub mod travel;
pub mod value;
pub mod words;

pub use array::Array;
pub use barrier::{Barrier, BarrierWaitResult};
pub use channel::{Channel, Pair, channel, duplex};
pub use condvar::Condvar;
pub use error::{Error, Poisoned, TryLockError};
pub use event::Event;
pub use fd::Fd;
pub use joinable::{JoinableQueue, Receipt};
pub use mutex::{Mutex, MutexGuard, Plain};
pub use process::{Process, SpawnError};
pub use queue::Queue;
pub use reentrant::{ReentrantMutex, ReentrantMutexGuard};
pub use semaphore::{Permit, Semaphore};
pub use value::Value;
