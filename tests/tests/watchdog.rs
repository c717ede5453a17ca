//! The watchdog against a task that blocks inside of an allocation: a signal handler
//! that allocated, or took a lock of the allocator, would never come back.
#![allow(unsafe_code)] // A global allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use threeply_runtime::{EventLoop, task};

/// Blocks in the middle of an allocation, where a thread wants that, until it is let
/// go. Being entered again by that thread meanwhile is what must not happen.
struct Blocking;

thread_local! {
    static BLOCK_NEXT: Cell<bool> = const { Cell::new(false) };
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}
static LET_GO: AtomicBool = AtomicBool::new(false);
static ENTERED_TWICE: AtomicBool = AtomicBool::new(false);

#[inline(never)]
fn stuck_in_the_allocator() {
    INSIDE.set(true);
    while !LET_GO.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    INSIDE.set(false);
}

// SAFETY: the system's allocator, and nothing that it would mind before it.
unsafe impl GlobalAlloc for Blocking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if INSIDE.get() {
            ENTERED_TWICE.store(true, Ordering::Relaxed);
        }
        if BLOCK_NEXT.replace(false) {
            stuck_in_the_allocator();
        }
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Blocking = Blocking;

#[test]
fn a_task_that_blocks_inside_of_an_allocation_is_named() {
    let (tell, told) = mpsc::channel();
    let event_loop = EventLoop::builder()
        .watchdog(Duration::from_millis(20))
        .on_stall(move |stall| {
            let _ = tell.send(stall.clone());
            LET_GO.store(true, Ordering::Release);
        })
        .build()
        .unwrap();
    event_loop.block_on(async {
        let task = task::Builder::new().name("allocates").spawn(async {
            BLOCK_NEXT.set(true);
            drop(std::hint::black_box(Box::new(7_u64)));
        });
        task.await.unwrap();
    });
    let stall = told.recv().unwrap();
    assert!(!ENTERED_TWICE.load(Ordering::Relaxed));
    assert_eq!(stall.running.name, "allocates");
    let frames = stall.backtrace.as_ref().unwrap();
    let names: Vec<_> = frames.iter().flat_map(|frame| &frame.name).collect();
    assert!(
        names
            .iter()
            .any(|name| name.contains("stuck_in_the_allocator")),
        "{stall}"
    );
}
