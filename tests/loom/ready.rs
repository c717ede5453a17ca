//! Many children, one parent: `runtime/src/future/ready.rs`.

use std::sync::Arc;
use std::task::{Wake, Waker};

use threeply_runtime::future::ready::ReadySet;
use threeply_runtime::switch::atomic::{AtomicUsize, Ordering::Relaxed};
use threeply_runtime::switch::{Weakening, weaken};

use crate::explore::explore;

/// Counts wakes.
struct Parent(AtomicUsize);

impl Wake for Parent {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn child_wakes_against_parent_poll_model() {
    let parent = Arc::new(Parent(AtomicUsize::new(0)));
    let waker = Waker::from(parent.clone());
    // In two words: of two children in one, the second is seen with the first.
    let set = Arc::new(ReadySet::all_ready(65));
    let take = |set: &ReadySet| (set.take(0), set.take(1));
    set.begin(&waker);
    assert_eq!(take(&set), (u64::MAX, 1));

    let children: Vec<_> = [0, 64]
        .into_iter()
        .map(|child| {
            let set = set.clone();
            loom::thread::spawn(move || set.mark(child))
        })
        .collect();
    // A poll of the parent, for whatever reason, beside the wakes or between.
    let woken_before = parent.0.load(Relaxed);
    set.begin(&waker);
    let seen = take(&set);
    for child in children {
        child.join().unwrap();
    }
    // The next poll sees what this one missed; it must come.
    let woken_since = parent.0.load(Relaxed) > woken_before;
    let missed = take(&set);
    assert_eq!((seen.0 | missed.0, seen.1 | missed.1), (1, 1));
    assert!(missed == (0, 0) || woken_since, "a child's wake was lost");
}

#[test]
fn child_wakes_against_parent_poll() {
    explore(3, child_wakes_against_parent_poll_model);
}

#[test]
#[should_panic(expected = "a child's wake was lost")]
fn child_wakes_against_parent_poll_broken() {
    weaken(Weakening::ReadySetStores, || {
        explore(3, child_wakes_against_parent_poll_model)
    });
}
