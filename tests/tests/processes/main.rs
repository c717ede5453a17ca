//! The process pool from outside.
//!
//! All of it runs twice: with workers started by exec, and, by this program once
//! more with [`METHOD`] in its environment, with workers from a fork server.

mod attack;
mod calls;
mod chaos;
mod control_groups;
mod deaths;
mod dumps;
mod errors;
mod fork_server;
mod fuzz;
mod hygiene;
mod life;
mod limits;
mod linking;
mod malicious;
mod maps;
mod mayhem;
mod on_loop;
mod oom;
mod outputs;
mod outstanding;
mod parents;
mod passing;
mod sandbox;
mod staff;
mod stay;
mod terms;

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::time::Duration;
use threeply_pools::process::{Builder, ProcessPool, StartMethod};
use threeply_runtime::inspect;
use threeply_tests::watchdog::{Watch, Watchdog, say, tail};

/// Set to `fork-server` to run every test with that.
const METHOD: &str = "THREEPLY_TEST_START_METHOD";

/// A builder with the start method that this run is about.
pub(crate) fn builder() -> Builder {
    let fork_server = std::env::var(METHOD).is_ok_and(|value| value == "fork-server");
    ProcessPool::builder().start_method(if fork_server {
        StartMethod::ForkServer
    } else {
        StartMethod::Exec
    })
}

/// A pool with the start method that this run is about.
pub(crate) fn new_pool(workers: usize) -> ProcessPool {
    builder().workers(workers).build().unwrap()
}

#[test]
fn all_of_it_holds_with_the_fork_server_too() {
    if std::env::var_os(METHOD).is_some() {
        return; // This is that run.
    }
    let output = tempfile::NamedTempFile::new().unwrap();
    // Each test that is done is a line, and the longest have watchdogs of their own.
    let watch = Watch::default().over(output.path()).showing(output.path());
    let _dog = watch.patience(Duration::from_secs(240)).start();
    let writer = || File::options().append(true).open(output.path()).unwrap();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .env(METHOD, "fork-server")
        .stdout(writer())
        .stderr(writer())
        .status()
        .unwrap();
    if !status.success() {
        let output = std::fs::read(output.path()).unwrap();
        let told = format!("{status}:\n{}", what_failed(&output));
        // Lost otherwise, if another test ends this process.
        say(&told);
        panic!("with the fork server: {told}");
    }
}

/// What a run of tests says of those that failed; or its end, if it was cut short.
fn what_failed(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let told = ["\nfailures:\n", "\nthe test "];
    match told.iter().filter_map(|told| text.find(told)).min() {
        Some(start) => text[start..].to_owned(),
        None => tail(output),
    }
}

/// Ends the process if a test takes too long: a hang must fail, not stall.
#[track_caller]
pub(crate) fn watchdog() -> Watchdog {
    watch().start()
}

/// A [`watchdog`] that is to be set up first.
pub(crate) fn watch() -> Watch {
    let patience = Duration::from_secs(if long() { 900 } else { 60 });
    Watch::default()
        .patience(patience)
        .telling(what_everybody_waits_for)
}

/// The pools of this process, and the threads that block.
fn what_everybody_waits_for() -> String {
    let pools = threeply_pools::process::dump_all().into_iter();
    let pools = pools.map(|pool| pool.to_string());
    let threads = threeply_runtime::block_on(async { inspect::dump().await.blocked });
    let threads = threads.iter().map(ToString::to_string);
    pools.chain(threads).collect::<Vec<_>>().join("\n")
}

/// Runs `test` as a job of a pool that does nothing else.
///
/// What hangs there is told from there, before the test itself is lost patience with.
pub(crate) fn in_a_process_of_its_own(test: fn(())) {
    in_a_process_of_its_own_with((), test);
}

/// The same with something to tell the test.
pub(crate) fn in_a_process_of_its_own_with<A>(argument: A, test: fn(A))
where
    A: Serialize + DeserializeOwned,
{
    let _dog = watchdog();
    let pool = ProcessPool::builder()
        .workers(1)
        .initializer(watch_over_a_worker, ())
        .build()
        .unwrap();
    let outcome = pool.submit(test, argument).unwrap().wait();
    if let Err(error) = outcome {
        panic!("{error}");
    }
    end(pool);
}

fn watch_over_a_worker(_: ()) {
    std::mem::forget(watch().patience(Duration::from_secs(45)).start());
}

/// Shuts a pool down and looks for what it must not leave behind.
pub(crate) fn end(pool: ProcessPool) {
    let pids = pool.worker_pids();
    let report = pool.shutdown(Duration::from_secs(20));
    for pid in pids {
        assert!(
            !std::path::Path::new(&format!("/proc/{pid}")).exists(),
            "a zombie: {pid}, {report:?}"
        );
    }
}

/// What a job does to die.
pub(crate) fn kill_myself() {
    let me = nix::unistd::Pid::this();
    nix::sys::signal::kill(me, nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// Kills a worker of a pool of ours.
pub(crate) fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// A job that runs until a file is removed.
pub(crate) fn hold(path: String) {
    while std::fs::exists(&path).unwrap() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A job that says, by a file, that it has begun, and never ends.
pub(crate) fn begin_and_stay(path: String) {
    std::fs::write(path, "").unwrap();
    loop {
        std::thread::park();
    }
}

/// A file that jobs [`hold`] for, and its path.
pub(crate) fn gate() -> (tempfile::NamedTempFile, String) {
    let gate = tempfile::NamedTempFile::new().unwrap();
    let path = gate.path().to_str().unwrap().to_owned();
    (gate, path)
}

/// Waits (the watchdog limits it) until something is so.
pub(crate) fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a process exists and may yet do something: neither a zombie nor about to
/// become one, which takes the kernel a moment.
pub(crate) fn is_alive(pid: u32) -> bool {
    const ENDING: u32 = 0x4; // `PF_EXITING`
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, fields)) = stat.rsplit_once(") ") else {
        return false;
    };
    let mut fields = fields.split(' ');
    let state = fields.next().unwrap();
    let flags: u32 = fields.nth(5).unwrap().parse().unwrap();
    !matches!(state, "Z" | "X") && flags & ENDING == 0
}

/// Whether the tests may take minutes.
pub(crate) fn long() -> bool {
    std::env::var("THREEPLY_CHAOS").is_ok_and(|value| value == "long")
}
