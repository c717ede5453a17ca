//! A hang must fail, not stall.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Ends the process if it isn't dropped in time.
#[derive(Debug)]
pub struct Watchdog(Arc<AtomicBool>);

/// Watches the calling test for a minute.
#[track_caller]
pub fn watchdog() -> Watchdog {
    let place = Location::caller();
    let done = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&done);
    std::thread::spawn(move || {
        let limit = Instant::now() + Duration::from_secs(60);
        while !seen.load(Ordering::Relaxed) {
            if Instant::now() > limit {
                eprintln!("the test at {place} hangs");
                std::process::abort();
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
    });
    Watchdog(done)
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
