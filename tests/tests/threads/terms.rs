//! What a pool's users are used to from elsewhere: time limits, names, hooks, stack
//! sizes, and jobs that depend on each other.

use std::collections::BTreeMap;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use threeply_pools::Error;
use threeply_pools::thread::{self, ThreadPool, as_completed, wait_all};

use crate::watchdog;

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_result_is_waited_for_within_a_limit_and_the_handle_stays_good() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    let (go, gate) = mpsc::channel::<()>();
    let mut handle = pool.spawn(move || gate.recv().map(|()| 5));
    assert!(handle.wait_timeout(SHORT).is_none());
    assert!(handle.wait_timeout(Duration::ZERO).is_none());
    assert!(!handle.is_finished() && handle.try_take().is_none());
    go.send(()).unwrap();
    let result = handle.wait_timeout(LONG).expect("it ends");
    assert_eq!(result.unwrap(), Ok(5));
}

#[test]
fn the_next_to_complete_is_waited_for_within_a_limit() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    let (go, gate) = mpsc::channel::<()>();
    let slow = pool.spawn(move || gate.recv().map(|()| 1).unwrap());
    let mut ends = as_completed([slow, pool.spawn(|| 2)]);
    let (at, first) = ends.next_timeout(LONG).unwrap();
    assert_eq!((at, first.unwrap()), (1, 2));
    assert!(ends.next_timeout(SHORT).is_none(), "the other one waits");
    go.send(()).unwrap();
    let (at, last) = ends.next().unwrap();
    assert_eq!((at, last.unwrap()), (0, 1));
    assert!(ends.next().is_none());
}

#[test]
fn all_results_come_in_the_order_of_handles_whatever_becomes_of_each() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    let (go, gate) = mpsc::channel::<()>();
    let first = pool.spawn(move || gate.recv().map(|()| 1).unwrap());
    let second = pool.spawn(|| panic!("on purpose"));
    let third = pool.spawn(|| 3);
    let fourth = pool.spawn(|| 4);
    assert!(third.cancel(), "it waits behind the first");
    go.send(()).unwrap();
    let results = wait_all([first, second, third, fourth]);
    assert_eq!(*results[0].as_ref().unwrap(), 1);
    assert!(results[1].as_ref().unwrap_err().is_panic());
    assert!(results[2].as_ref().unwrap_err().is_cancelled());
    assert_eq!(*results[3].as_ref().unwrap(), 4);
}

#[test]
fn threads_bear_names_and_call_hooks_once_each() {
    let _watchdog = watchdog();
    let calls = Arc::new(Mutex::new(BTreeMap::<usize, Vec<&str>>::new()));
    let note = |what| {
        let calls = calls.clone();
        move |index| calls.lock().unwrap().entry(index).or_default().push(what)
    };
    let pool = ThreadPool::builder()
        .threads(3)
        .name("crew")
        .on_start(note("start"))
        .on_exit(note("exit"))
        .build()
        .unwrap();
    let name = || std::thread::current().name().map(str::to_owned).unwrap();
    let told = pool.broadcast(|index| (name(), thread::current_thread_index() == Some(index)));
    let expected = ["crew-0", "crew-1", "crew-2"].map(|name| (name.to_owned(), true));
    assert_eq!(told, expected);
    assert_eq!(
        (pool.num_threads(), thread::current_thread_index()),
        (3, None)
    );
    assert!(pool.shutdown(LONG).is_clean());
    let calls = std::mem::take(&mut *calls.lock().unwrap());
    assert!(
        calls
            .into_iter()
            .eq((0..3).map(|i| (i, vec!["start", "exit"])))
    );
}

#[test]
fn names_may_be_made_and_a_hook_that_panics_costs_no_thread() {
    let _watchdog = watchdog();
    let pool = ThreadPool::builder()
        .threads(2)
        .thread_name(|index| format!("number {}", index + 1))
        .on_start(|_| panic!("on purpose"))
        .on_exit(|_| panic!("on purpose"))
        .build()
        .unwrap();
    let names = pool.broadcast(|_| std::thread::current().name().map(str::to_owned));
    assert_eq!(
        names,
        ["number 1", "number 2"].map(|name| Some(name.to_owned()))
    );
    assert!(pool.shutdown(LONG).is_clean());
}

#[test]
fn threads_have_the_stack_that_was_asked_for() {
    let _watchdog = watchdog();
    let pool = ThreadPool::builder()
        .threads(1)
        .stack_size(16 << 20)
        .build()
        .unwrap();
    // More than std gives a thread.
    let sum = pool.install(|| {
        let large = black_box([1u8; 6 << 20]);
        large.iter().map(|byte| usize::from(*byte)).sum::<usize>()
    });
    assert_eq!(sum, 6 << 20);
}

#[test]
fn what_a_busy_worker_has_queued_is_stolen() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    let (queued_by, run_by) = pool.install(|| {
        let ran = Arc::new(AtomicBool::new(false));
        let told = ran.clone();
        let handle = thread::spawn(move || {
            told.store(true, Ordering::Release);
            thread::current_thread_index()
        });
        // Busy, and not in a wait that would run the job right here.
        while !ran.load(Ordering::Acquire) {
            spin_loop();
        }
        (thread::current_thread_index(), handle.wait().unwrap())
    });
    assert_ne!(queued_by, run_by);
    assert!(queued_by.is_some() && run_by.is_some());
}

#[test]
fn a_chain_of_jobs_each_waiting_for_the_next_ends_on_one_thread() {
    fn chain(left: usize) -> usize {
        match left {
            0 => 0,
            left => 1 + thread::spawn(move || chain(left - 1)).wait().unwrap(),
        }
    }
    let _watchdog = watchdog();
    let pool = ThreadPool::builder()
        .threads(1)
        .max_spares(0)
        .stack_size(16 << 20)
        .build()
        .unwrap();
    assert_eq!(pool.spawn(|| chain(500)).wait().unwrap(), 500);
}

#[test]
fn a_closed_pool_says_so_and_a_dropped_one_runs_what_is_queued() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    let (sender, ended) = mpsc::channel();
    for i in 0..100 {
        let sender = sender.clone();
        pool.spawn_detached(move || sender.send(i).unwrap());
    }
    drop((pool, sender));
    assert_eq!(ended.iter().count(), 100);

    let pool = ThreadPool::new(1).unwrap();
    assert!(pool.shutdown(LONG).is_clean());
    assert!(matches!(pool.try_spawn(|| 1), Err(Error::Closed)));
    assert!(pool.spawn(|| 1).wait().unwrap_err().is_cancelled());
}

/// What is called from outside and takes part runs on the caller; what is handed over
/// runs on a worker, whoever hands it over.
#[test]
fn run_join_and_scope_begin_on_the_caller_and_install_and_spawn_run_on_a_worker() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    let caller = std::thread::current().id();
    let here = || std::thread::current().id();
    assert_eq!(pool.run(here), caller);
    assert_eq!(pool.join(here, || ()).0, caller);
    assert_eq!(pool.scope(|_| here()), caller);
    assert_eq!(pool.run(thread::current_thread_index), None);
    for _ in 0..20 {
        let installed = pool.install(|| (here(), thread::current_thread_index()));
        assert_ne!(installed.0, caller);
        assert!(installed.1.is_some());
        let spawned = pool.spawn(thread::current_thread_index).wait().unwrap();
        assert!(spawned.is_some());
    }
}
