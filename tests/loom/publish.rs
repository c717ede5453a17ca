//! The task that a loop publishes against those who look:
//! `runtime/src/inspect/publish.rs`.

use loom::sync::Arc;
use loom::thread;
use threeply_runtime::inspect::publish::Published;
use threeply_runtime::switch::{Weakening, weaken};

use crate::explore::explore;

/// A loop goes from one task to the next while somebody looks: numbers and names are
/// never mixed.
fn read_against_publish_model() {
    let published = Arc::new(Published::new());
    published.publish(1, None, "1");
    let writer = thread::spawn({
        let published = published.clone();
        move || published.publish(2, None, "2")
    });
    if let Some(running) = published.read() {
        assert_eq!(
            running.name,
            running.task.to_string(),
            "the name of one task was read with the number of another"
        );
    }
    writer.join().unwrap();
    assert_eq!(published.read().unwrap().name, "2");
}

#[test]
fn read_against_publish() {
    explore(3, read_against_publish_model);
}

#[test]
#[should_panic(expected = "the name of one task was read with the number of another")]
fn read_against_publish_broken() {
    explore(3, || {
        weaken(Weakening::PublishesUnmarked, read_against_publish_model)
    });
}
