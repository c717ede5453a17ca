//! A hang must fail, not stall; and a machine that is busy with other things must not
//! look like a hang.
//!
//! So a watchdog counts time as a test could have used it. While more threads of the
//! machine want to run than it has processors, a second counts as that part of it which
//! each of them gets: a minute of patience is a minute on an idle machine, and ten where
//! twenty threads share two processors. At least a sixteenth of each second counts, so that
//! a hang that spins on a machine that spins comes to its end, too. A test that takes long
//! by its nature names a file whose growth is its progress, and the patience begins anew
//! with each byte.
//!
//! What a watchdog has to say goes past the harness's capture, with which it would be
//! lost when the process ends.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How often it looks. It looks late on a busy machine, and then counts no more than
/// twice this.
const LOOK: Duration = Duration::from_millis(100);

/// The least part of a second that counts.
const LEAST_SHARE: f64 = 1.0 / 16.0;

/// How long what everybody waits for may take to be told: a lock that is held for ever
/// may be what it waits for itself.
const TELLING: Duration = Duration::from_secs(5);

/// So much of the end of a file is shown.
const TAIL: usize = 6_000;

/// Watches the calling test, with a minute's patience.
#[track_caller]
pub fn watchdog() -> Watchdog {
    Watch::default().start()
}

/// A watchdog that is to be set up first.
#[derive(Debug, Clone)]
pub struct Watch {
    patience: Duration,
    grows: Option<PathBuf>,
    shown: Option<PathBuf>,
    tell: fn() -> String,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch {
            patience: Duration::from_secs(60),
            grows: None,
            shown: None,
            tell: String::new,
        }
    }
}

impl Watch {
    /// How long nothing may happen.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Watch {
        self.patience = patience;
        self
    }

    /// The file whose growth is progress.
    #[must_use]
    pub fn over(mut self, path: impl AsRef<Path>) -> Watch {
        self.grows = Some(path.as_ref().to_owned());
        self
    }

    /// A file whose end says what has happened.
    #[must_use]
    pub fn showing(mut self, path: impl AsRef<Path>) -> Watch {
        self.shown = Some(path.as_ref().to_owned());
        self
    }

    /// What tells what everybody waits for.
    #[must_use]
    pub fn telling(mut self, tell: fn() -> String) -> Watch {
        self.tell = tell;
        self
    }

    /// Watches the calling test.
    #[track_caller]
    pub fn start(self) -> Watchdog {
        let test = thread::current().name().unwrap_or("a thread").to_owned();
        let test = format!("{test}, watched from {}", Location::caller());
        let done = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&done);
        let thread = thread::Builder::new().name("watchdog".to_owned());
        // Opened here: who counts descriptors from now on counts this one, too.
        let machine = Machine::new();
        let thread = thread.spawn(move || self.watch(&machine, &test, &seen));
        Watchdog {
            done,
            thread: Some(thread.expect("a thread to watch a test")),
        }
    }

    fn watch(&self, machine: &Machine, test: &str, done: &AtomicBool) {
        let mut looked = Instant::now();
        let mut moved = looked;
        let (mut spent, mut grown) = (Duration::ZERO, self.grown());
        while !done.load(Ordering::Relaxed) {
            if spent > self.patience {
                self.bark(test, spent, moved.elapsed());
            }
            thread::park_timeout(LOOK);
            let now = Instant::now();
            let passed = (now - looked).min(LOOK * 2);
            looked = now;
            spent += passed.mul_f64(machine.share());
            if self.grown() != grown {
                (grown, spent, moved) = (self.grown(), Duration::ZERO, now);
            }
        }
    }

    /// How far it has come.
    fn grown(&self) -> u64 {
        let file = self.grows.as_ref().map(std::fs::metadata);
        file.and_then(Result::ok).map_or(0, |file| file.len())
    }

    fn bark(&self, test: &str, spent: Duration, wall: Duration) -> ! {
        let mut text = format!(
            "\nthe test {test}, hangs: nothing has happened for {spent:.0?} of the \
             processors' time, {wall:.0?} by the clock\n"
        );
        let (tell, told) = mpsc::channel();
        let teller = self.tell;
        thread::spawn(move || tell.send(teller()));
        match told.recv_timeout(TELLING) {
            Ok(told) => text.push_str(&told),
            Err(_) => text.push_str("and what everybody waits for can't be told either"),
        }
        if let Some(path) = &self.shown {
            let shown = std::fs::read(path).unwrap_or_default();
            let _ = write!(text, "\nthe end of {}:\n{}", path.display(), tail(&shown));
        }
        say(&text);
        std::process::abort();
    }
}

/// The end of a text.
pub fn tail(text: &[u8]) -> String {
    let start = text.len().saturating_sub(TAIL);
    String::from_utf8_lossy(&text[start..]).into_owned()
}

/// Writes to stderr, past the harness's capture and past whoever holds the lock of it.
pub fn say(text: &str) {
    if let Ok(stderr) = std::io::stderr().as_fd().try_clone_to_owned() {
        let _ = writeln!(File::from(stderr), "{text}");
    }
}

/// How many threads want to run, and how many may.
struct Machine {
    /// Kept open: descriptors run out in some tests, and are counted in others.
    load: Option<File>,
    processors: f64,
}

impl Machine {
    fn new() -> Machine {
        Machine {
            load: File::open("/proc/loadavg").ok(),
            processors: thread::available_parallelism().map_or(1, usize::from) as f64,
        }
    }

    /// The part of a second in which a thread that wants to runs.
    fn share(&self) -> f64 {
        match self.running() {
            Some(running) => (self.processors / running.max(1.0)).clamp(LEAST_SHARE, 1.0),
            None => 1.0,
        }
    }

    fn running(&self) -> Option<f64> {
        let mut text = [0; 128];
        let len = self.load.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..len]).ok()?;
        // Three averages, then "running/all".
        let (running, _) = text.split(' ').nth(3)?.split_once('/')?;
        running.parse().ok()
    }
}

/// Ends the process, aloud, if it isn't dropped in time.
#[derive(Debug)]
pub struct Watchdog {
    done: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Relaxed: nothing else is told by it.
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Output};

    /// Runs one of the ignored tests below, in a process of its own.
    fn run(name: &str) -> Output {
        let own = std::env::current_exe().unwrap();
        let mut command = Command::new(own);
        command.args(["--ignored", "--exact", &format!("watchdog::tests::{name}")]);
        command.output().unwrap()
    }

    #[test]
    fn a_hang_is_told_past_the_capture_with_what_everybody_waits_for() {
        let output = run("hangs");
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        let expected = ["the test watchdog::tests::hangs, watched from ", "a stone"];
        for expected in expected {
            assert!(said.contains(expected), "no {expected:?} in {said}");
        }
    }

    #[test]
    #[ignore = "the child of a_hang_is_told_past_the_capture_with_what_everybody_waits_for"]
    fn hangs() {
        let watch = Watch::default().patience(Duration::from_millis(50));
        let _dog = watch.telling(|| "I wait for a stone".to_owned()).start();
        loop {
            thread::park();
        }
    }

    #[test]
    fn a_hang_that_can_not_be_told_about_is_told_all_the_same() {
        let output = run("hangs_and_can_not_tell");
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("can't be told either"), "{said}");
    }

    #[test]
    #[ignore = "the child of a_hang_that_can_not_be_told_about_is_told_all_the_same"]
    fn hangs_and_can_not_tell() {
        let watch = Watch::default().patience(Duration::from_millis(50));
        let never = || loop {
            thread::park();
        };
        let _dog = watch.telling(never).start();
        never();
    }

    #[test]
    fn who_makes_progress_is_let_alone() {
        let output = run("goes_on");
        assert!(output.status.success(), "{output:?}");
    }

    #[test]
    #[ignore = "the child of who_makes_progress_is_let_alone"]
    fn goes_on() {
        let path = std::env::temp_dir().join(format!("threeply-dog-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        let watch = Watch::default()
            .patience(Duration::from_secs(1))
            .over(&path);
        let dog = watch.start();
        let began = Instant::now();
        // Three times as long as it may take without progress.
        while began.elapsed() < Duration::from_secs(3) {
            file.write_all(b".").unwrap();
            thread::sleep(Duration::from_millis(10));
        }
        drop(dog);
        std::fs::remove_file(path).unwrap();
    }
}
