//! The watchdog names who blocks the loop, and where.

use std::sync::mpsc;
use std::time::Duration;

use super::Stall;
use crate::{EventLoop, task};

/// Blocks until it is let go.
#[inline(never)]
fn blocks_in_here(until: &mpsc::Receiver<()>) {
    let _ = until.recv();
}

#[test]
fn a_task_that_blocks_the_loop_is_named_with_a_backtrace_while_it_does() {
    let (let_go, until) = mpsc::channel();
    let (tell, told) = mpsc::channel::<Stall>();
    let event_loop = EventLoop::builder()
        .watchdog(Duration::from_millis(20))
        .on_stall(move |stall| {
            let _ = tell.send(stall.clone());
            let _ = let_go.send(()); // So the report must come before.
        })
        .build()
        .unwrap();
    let id = event_loop.block_on(async {
        let task = task::Builder::new().name("the culprit");
        let task = task.spawn(async move { blocks_in_here(&until) });
        let id = task.id();
        task.await.unwrap();
        id
    });
    let stall = told.recv().unwrap();
    assert_eq!(stall.running.task, id.get());
    assert_eq!(stall.running.name, "the culprit");
    assert_eq!(stall.running.site.unwrap().file(), file!());
    assert!(stall.lasted >= Duration::from_millis(20));
    let frames = stall.backtrace.as_ref().unwrap();
    let named = |frame: &super::Frame| {
        let name = frame.name.as_deref().unwrap_or("");
        name.contains("blocks_in_here")
    };
    assert!(frames.iter().any(named), "{stall}");
    let main = |frame: &super::Frame| frame.name.as_deref().unwrap_or("").contains("block_on");
    assert!(frames.iter().any(main), "it goes on to the loop: {stall}");
}

#[test]
fn a_loop_that_turns_or_sleeps_is_left_in_peace() {
    let (tell, told) = mpsc::channel();
    let event_loop = EventLoop::builder()
        .watchdog(Duration::from_secs(5))
        .on_stall(move |stall| drop(tell.send(stall.to_string())))
        .build()
        .unwrap();
    event_loop.block_on(crate::time::sleep(Duration::from_millis(5)));
    drop(event_loop);
    assert_eq!(told.recv(), Err(mpsc::RecvError));
}
