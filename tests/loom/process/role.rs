//! Who reads a worker's replies: `pools/src/process/role.rs`, with the bell of
//! `pools/src/process/bell.rs`.

use std::sync::Arc;

use threeply_pools::process::bell::Wake;
use threeply_pools::process::role::Role;
use threeply_pools::switch::{Weakening, weaken};
use threeply_runtime::switch::atomic::{AtomicU64, Ordering};

use crate::explore::explore;

struct Shared {
    role: Role<()>,
    wake: Wake,
    unread: AtomicU64,
    read: AtomicU64,
}

impl Shared {
    fn look(&self) -> bool {
        self.unread.load(Ordering::Acquire) != 0
    }

    fn read_all(&self) {
        let unread = self.unread.swap(0, Ordering::AcqRel);
        self.read.fetch_add(unread, Ordering::Relaxed);
    }

    fn leave(&self) {
        let mut role = ();
        while let Some(again) = self.role.leave(role, || self.wake.ask(0), || self.look()) {
            role = again;
            self.read_all();
        }
    }
}

/// A caller reads its reply and leaves while the worker publishes another and
/// rings the supervisor.
fn no_reply_is_overlooked_model() {
    let shared = Arc::new(Shared {
        role: Role::new(()),
        wake: Wake::default(),
        unread: AtomicU64::new(0),
        read: AtomicU64::new(0),
    });
    shared.wake.ask(0);
    shared.role.take().unwrap();
    let worker = shared.clone();
    let worker = loom::thread::spawn(move || {
        worker.unread.fetch_add(1, Ordering::Release);
        Wake::published();
        if worker.wake.must_ring(0) {
            // The supervisor, which the bell has woken.
            if worker.role.take().is_some() {
                worker.read_all();
                worker.leave();
            }
        }
    });
    shared.read_all();
    shared.leave();
    worker.join().unwrap();
    let read = shared.read.load(Ordering::Relaxed);
    assert_eq!(read, 1, "a reply was overlooked");
}

#[test]
fn no_reply_is_overlooked() {
    explore(3, no_reply_is_overlooked_model);
}

#[test]
#[should_panic(expected = "a reply was overlooked")]
fn no_reply_is_overlooked_broken() {
    weaken(Weakening::LeaveWithoutLook, || {
        explore(3, no_reply_is_overlooked_model);
    });
}
