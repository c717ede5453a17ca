//! A signal handler against the loop that waits for it: `runtime/src/signal/post.rs`.

use loom::sync::Arc;
use threeply_runtime::switch::atomic::{AtomicU64, Ordering::AcqRel};

use threeply_runtime::signal::post::Post;
use threeply_runtime::switch::{Weakening, weaken};

use crate::explore::explore;

/// Two signals, from handlers on two threads.
const WANTED: u64 = 0b110;

fn deliver_against_take_model() {
    let post = Arc::new(Post::default());
    // The eventfd: a counter that the kernel guards by a lock.
    let bell = Arc::new(AtomicU64::new(0));
    post.reset(WANTED);
    let handlers: Vec<_> = [0b010, 0b100]
        .into_iter()
        .map(|bit| {
            let (post, bell) = (post.clone(), bell.clone());
            loom::thread::spawn(move || {
                post.deliver(bit, || {
                    bell.fetch_add(1, AcqRel);
                });
            })
        })
        .collect();
    let mut taken = 0;
    let take_all = |seen: &mut u64| {
        while let Some(number) = post.take(WANTED) {
            *seen |= 1 << number;
        }
    };
    // What the loop does when the bell has woken it, or before it sleeps.
    bell.swap(0, AcqRel);
    take_all(&mut taken);
    for handler in handlers {
        handler.join().unwrap();
    }
    // It sleeps now, unless the bell rings.
    if bell.swap(0, AcqRel) > 0 {
        take_all(&mut taken);
    }
    assert_eq!(taken, WANTED, "a signal lies unseen and the bell is silent");
}

#[test]
fn deliver_against_take() {
    explore(3, deliver_against_take_model);
}

#[test]
#[should_panic(expected = "a signal lies unseen and the bell is silent")]
fn deliver_against_take_broken() {
    weaken(Weakening::SignalRingsFirst, || {
        explore(3, deliver_against_take_model)
    });
}
