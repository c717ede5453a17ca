//! What a loop promises, by topic.

mod basics;
mod fairness;
mod lifecycle;
mod model;
mod panics;
mod wakers;

use std::time::Duration;

/// Ends the process if a test hangs: better a red run that says where than one
/// that never ends. Dropped, it is called off.
pub(super) fn watchdog() -> impl Drop {
    struct Watchdog(std::sync::mpsc::Sender<()>);
    impl Drop for Watchdog {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (stop, stopped) = std::sync::mpsc::channel();
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    std::thread::spawn(move || {
        if stopped.recv_timeout(Duration::from_secs(60)).is_err() {
            eprintln!("test {name} hangs");
            std::process::abort();
        }
    });
    Watchdog(stop)
}
