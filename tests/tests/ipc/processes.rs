//! `Process`: its ends, its errors, and what it must not leave behind.

use crate::{kill, open_descriptors, succeeds, wait_to_be_killed};
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};
use threeply_pools::ipc::{Channel, Error, Event, Mutex, Process, SpawnError, channel};
use threeply_tests::watchdog::watchdog;

#[test]
fn a_function_runs_in_another_process_with_its_arguments() {
    let _dog = watchdog();
    fn report((peer, text): (Channel<(u32, String, String)>, String)) {
        let name = std::thread::current().name().unwrap().to_owned();
        peer.send(&(std::process::id(), name, text)).unwrap();
    }
    let (here, there) = channel().unwrap();
    let process = Process::builder()
        .name("reporter")
        .spawn(report, (there, "argument".to_owned()))
        .unwrap();
    let (pid, name, text) = here.recv().unwrap();
    assert_eq!(pid, process.pid());
    assert_ne!(pid, std::process::id());
    assert_eq!((name.as_str(), text.as_str()), ("reporter", "argument"));
    assert_eq!(process.name(), "reporter");
    succeeds(process);
}

#[test]
fn every_way_to_end_has_its_exit_code() {
    let _dog = watchdog();
    fn end(how: String) {
        match how.as_str() {
            "exit" => std::process::exit(7),
            "abort" => std::process::abort(),
            "panic" => panic!("as it was told to"),
            _ => {}
        }
    }
    for (how, code) in [("return", 0), ("exit", 7), ("panic", 101), ("abort", -6)] {
        let process = Process::spawn(end, how.to_owned()).unwrap();
        process.join().unwrap();
        assert_eq!(process.exit_code(), Some(code), "{how}");
        assert!(!process.is_alive());
    }
}

#[test]
fn a_process_can_be_polled_terminated_and_killed() {
    let _dog = watchdog();
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let ready = Event::new().unwrap();
        let process = Process::spawn(|ready| wait_to_be_killed(&ready), ready.clone()).unwrap();
        ready.wait().unwrap();
        assert!(process.is_alive());
        assert_eq!(process.exit_code(), None);
        let status = process.join_timeout(Duration::from_millis(1)).unwrap();
        assert_eq!(status, None);
        if signal == libc::SIGTERM {
            process.terminate().unwrap();
        } else {
            process.kill().unwrap();
        }
        process.join().unwrap();
        assert_eq!(process.exit_code(), Some(-signal));
        process.kill().unwrap(); // Nobody is there to be killed any more.
        process.join().unwrap();
        assert!(!Path::new(&format!("/proc/{}", process.pid())).exists());
    }
}

#[test]
fn an_end_can_be_awaited_and_polled_for_with_others() {
    let _dog = watchdog();
    let (here, there) = channel::<()>().unwrap();
    let process = Process::spawn(|peer: Channel<()>| peer.recv().unwrap(), there).unwrap();
    use nix::poll::{PollFd, PollFlags, PollTimeout};
    let mut sentinel = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    assert_eq!(nix::poll::poll(&mut sentinel, PollTimeout::ZERO), Ok(0));
    here.send(&()).unwrap();
    let status = threeply_runtime::block_on(process.exited()).unwrap();
    assert!(status.success());
    assert_eq!(nix::poll::poll(&mut sentinel, PollTimeout::ZERO), Ok(1));
}

/// Waits until the process is gone, reaped included.
fn vanishes(pid: u32) {
    let limit = Instant::now() + Duration::from_secs(20);
    while Path::new(&format!("/proc/{pid}")).exists() {
        assert!(Instant::now() < limit, "process {pid} is still there");
        std::thread::yield_now();
    }
}

#[test]
fn a_dropped_daemon_is_killed_and_any_other_goes_on_and_no_zombie_stays() {
    let _dog = watchdog();
    let ready = Event::new().unwrap();
    let daemon = Process::builder()
        .daemon(true)
        .spawn(|ready: Event| wait_to_be_killed(&ready), ready.clone())
        .unwrap();
    ready.wait().unwrap();
    let pid = daemon.pid();
    drop(daemon);
    vanishes(pid);

    let (here, there) = channel::<u32>().unwrap();
    fn echo(peer: Channel<u32>) {
        peer.send(&(peer.recv().unwrap() + 1)).unwrap();
    }
    let process = Process::spawn(echo, there).unwrap();
    let pid = process.pid();
    drop(process);
    here.send(&1).unwrap();
    assert_eq!(here.recv().unwrap(), 2, "it went on");
    vanishes(pid);
}

/// Starts a process that outlives it or not, tells its number, and waits.
fn middle((peer, outlives): (Channel<u32, ()>, bool)) {
    fn leaf(ready: Event) {
        wait_to_be_killed(&ready)
    }
    let ready = Event::new().unwrap();
    let leaf = Process::builder()
        .outlives_parent(outlives)
        .spawn(leaf, ready.clone())
        .unwrap();
    ready.wait().unwrap();
    peer.send(&leaf.pid()).unwrap();
    let _ = peer.recv();
}

#[test]
fn a_process_ends_with_its_parent_unless_it_may_outlive_it() {
    let _dog = watchdog();
    for outlives in [false, true] {
        let (here, there) = threeply_pools::ipc::duplex::<(), u32>().unwrap();
        let parent = Process::spawn(middle, (there, outlives)).unwrap();
        let leaf = here.recv().unwrap();
        kill(&parent);
        if outlives {
            assert!(Path::new(&format!("/proc/{leaf}")).exists());
            let leaf = nix::unistd::Pid::from_raw(leaf as i32);
            nix::sys::signal::kill(leaf, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        // Not reaped by us; by whoever reaps orphans here, or it stays a zombie.
        let limit = Instant::now() + Duration::from_secs(20);
        while let Ok(stat) = std::fs::read_to_string(format!("/proc/{leaf}/stat")) {
            if stat.contains(") Z ") {
                break;
            }
            assert!(Instant::now() < limit, "the leaf lives on");
            std::thread::yield_now();
        }
    }
}

/// Writes less than it reads.
#[derive(Debug, Deserialize)]
struct Lopsided(#[allow(dead_code)] u64);

impl Serialize for Lopsided {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ().serialize(serializer)
    }
}

#[derive(Debug, Deserialize)]
struct Unwilling;

impl Serialize for Unwilling {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

#[test]
fn arguments_that_cannot_cross_are_told() {
    let _dog = watchdog();
    let error = Process::spawn(|_: Unwilling| (), Unwilling).unwrap_err();
    assert!(matches!(error, SpawnError::Arguments(_)), "{error:?}");
    let process = Process::spawn(|_: Lopsided| (), Lopsided(1)).unwrap();
    process.join().unwrap();
    assert_eq!(process.exit_code(), Some(120), "the function must not run");
}

#[test]
fn a_process_has_no_descriptors_but_its_own() {
    let _dog = watchdog();
    fn look((peer, _mutex): (Channel<Vec<String>>, Mutex<u32>)) {
        let mut open: Vec<String> = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .map(|target| target.display().to_string())
            .collect();
        open.sort();
        peer.send(&open).unwrap();
    }
    let _own = std::fs::File::open("/dev/zero").unwrap();
    let (here, there) = channel().unwrap();
    let process = Process::spawn(look, (there, Mutex::new(1).unwrap())).unwrap();
    let open = here.recv().unwrap();
    succeeds(process);
    let of = |what: &str| open.iter().filter(|name| name.contains(what)).count();
    assert_eq!(of("/dev/zero"), 0, "{open:?}");
    assert_eq!(of("socket:"), 1 + of_stdio("socket:"), "{open:?}");
    assert_eq!(of("threeply-shared"), 1, "{open:?}");
    assert_eq!(of("threeply-call"), 0, "{open:?}");
    assert!(open.len() <= 8, "{open:?}");
}

/// How many of our output and errors are such.
fn of_stdio(what: &str) -> usize {
    (1..3)
        .filter_map(|number| std::fs::read_link(format!("/proc/self/fd/{number}")).ok())
        .filter(|target| target.display().to_string().contains(what))
        .count()
}

/// Everything once, in a process where nothing else opens descriptors.
fn use_and_count(_: ()) {
    fn nothing((peer, mutex): (Channel<u8>, Mutex<u64>)) {
        *mutex.lock().unwrap() += u64::from(peer.recv().unwrap());
    }
    let round = || {
        let (here, there) = channel::<u8>().unwrap();
        let mutex = Mutex::new(0u64).unwrap();
        let process = Process::spawn(nothing, (there, mutex.clone())).unwrap();
        here.send(&5).unwrap();
        succeeds(process);
        assert_eq!(*mutex.lock().unwrap(), 5);
        assert!(here.recv().is_err());
    };
    round(); // What is opened once for all.
    let before = open_descriptors();
    for _ in 0..5 {
        round();
    }
    assert_eq!(open_descriptors(), before);
    let children = format!("/proc/self/task/{0}/children", std::process::id());
    assert_eq!(std::fs::read_to_string(children).unwrap_or_default(), "");
}

#[test]
fn nothing_is_left_open_and_nobody_left_unreaped() {
    let _dog = watchdog();
    succeeds(Process::spawn(use_and_count, ()).unwrap());
}

#[test]
fn a_handle_that_never_arrives_lets_nobody_wait_for_it() {
    let _dog = watchdog();
    let alone = |go: &Event| {
        let waited = go.wait();
        assert!(matches!(waited, Err(Error::PeersGone)), "{waited:?}");
    };
    // It wasn't sent: the other part of the message can't be encoded.
    let go = Event::new().unwrap();
    let error = Process::spawn(|_: (Event, Unwilling)| (), (go.clone(), Unwilling)).unwrap_err();
    assert!(matches!(error, SpawnError::Arguments(_)), "{error:?}");
    alone(&go);
    // It was, to a child that dies before it has taken it.
    let go = Event::new().unwrap();
    let process = Process::spawn(|_: (Lopsided, Event)| (), (Lopsided(1), go.clone())).unwrap();
    process.join().unwrap();
    assert_eq!(process.exit_code(), Some(120));
    alone(&go);
}
