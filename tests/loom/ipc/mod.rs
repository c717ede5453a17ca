//! The protocols of words in shared memory: `pools/src/ipc/`. To loom a process is
//! a thread, its death a thread that stops for good.

mod barrier;
mod condvar;
mod event;
mod ledger;
mod lock;
mod members;
mod monitor;
mod queue;
mod reentrant;
mod semaphore;
mod world;
