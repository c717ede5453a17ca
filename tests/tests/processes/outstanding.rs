//! Backpressure, and very many outstanding jobs.

use crate::{builder, end, gate, hold, new_pool, watchdog};
use threeply_pools::process::Error;

/// Descriptors, threads, and bytes of private memory of this process.
fn usage() -> (usize, usize, u64) {
    let count = |path| std::fs::read_dir(path).unwrap().count();
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let mut pages = statm.split(' ').skip(1).map(|n| n.parse::<u64>().unwrap());
    let private = pages.next().unwrap() - pages.next().unwrap();
    (
        count("/proc/self/fd"),
        count("/proc/self/task"),
        private * 4096,
    )
}

/// A fifth of a million; a million with `THREEPLY_CHAOS=long`.
#[test]
fn a_million_outstanding_jobs_cost_memory_only_and_not_much() {
    let many: u64 = if crate::long() { 1_000_000 } else { 200_000 };
    let _dog = watchdog();
    let pool = new_pool(1);
    // In a process of its own, whose descriptors nobody else counts.
    let inner = |(path, many): (String, u64)| {
        let pool = new_pool(2);
        let held = [path.clone(), path.clone()].map(|path| pool.submit(hold, path).unwrap());
        let before = usage();
        let jobs: Vec<_> = (0..many)
            .map(|n| pool.submit(|n: u64| n, n).unwrap())
            .collect();
        let after = usage();
        assert_eq!(pool.statistics().outstanding as u64, many + 2);
        std::fs::remove_file(&path).unwrap();
        held.into_iter().for_each(|job| job.wait().unwrap());
        let sum: u64 = jobs.into_iter().map(|job| job.wait().unwrap()).sum();
        assert_eq!(sum, many * (many - 1) / 2);
        end(pool);
        (
            (before.0, before.1),
            (after.0, after.1),
            (after.2 - before.2) / many,
        )
    };
    let (file, path) = gate();
    let (_, kept) = file.keep().unwrap();
    assert_eq!(kept.to_str().unwrap(), path);
    let (before, after, bytes) = pool.submit(inner, (path, many)).unwrap().wait().unwrap();
    // What the supervisor opens when it begins may come a moment late.
    assert!(
        after.0 <= before.0 + 8,
        "{before:?}, {after:?}: descriptors"
    );
    assert!(after.1 <= before.1 + 2, "{before:?}, {after:?}: threads");
    println!("{bytes} bytes a job");
    assert!(bytes < 1024, "{bytes} bytes a job");
    end(pool);
}

#[test]
fn the_queue_is_bounded_in_bytes() {
    let _dog = watchdog();
    let pool = builder().workers(1).queue_bytes(1 << 20).build().unwrap();
    let (file, path) = gate();
    let held = pool.submit(hold, path).unwrap();
    let mut jobs = Vec::new();
    let full = loop {
        match pool.try_submit(|bytes: Vec<u8>| bytes.len(), vec![0; 100_000]) {
            Ok(job) => jobs.push(job),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::Full));
    assert!((8..=12).contains(&jobs.len()), "{} jobs", jobs.len());
    drop(file);
    held.wait().unwrap();
    for job in jobs {
        assert_eq!(job.wait().unwrap(), 100_000);
    }
    // One that is larger than the bound gets in when it is alone.
    let large = pool
        .try_submit(|bytes: Vec<u8>| bytes.len(), vec![0; 3 << 20])
        .unwrap();
    assert_eq!(large.wait().unwrap(), 3 << 20);
    end(pool);
}

#[test]
fn tasks_that_wait_for_room_get_in_in_their_order_and_may_give_up() {
    let _dog = watchdog();
    let pool = builder().workers(1).queue_jobs(1).build().unwrap();
    let (file, path) = gate();
    let held = pool.submit(hold, path).unwrap();
    let queued = pool.submit(|n: u32| n, 0).unwrap();
    threeply_runtime::block_on(async {
        let mut waiting: Vec<_> = (1..=50u32)
            .map(|n| Some(Box::pin(pool.submit_async(|n: u32| n, n))))
            .collect();
        // All of them take their places, some of them leave.
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for future in waiting.iter_mut().flatten() {
            assert!(future.as_mut().poll(&mut context).is_pending());
        }
        waiting
            .iter_mut()
            .step_by(3)
            .for_each(|future| *future = None);
        let stay: Vec<_> = waiting.into_iter().flatten().collect();
        let tasks: Vec<_> = stay.into_iter().map(threeply_runtime::spawn).collect();
        threeply_runtime::yield_now().await;
        drop(file);
        let mut count = 0;
        for task in tasks {
            let job = task.await.unwrap().unwrap();
            assert_ne!(job.await.unwrap() % 3, 1);
            count += 1;
        }
        assert_eq!(count, 33);
    });
    held.wait().unwrap();
    assert_eq!(queued.wait().unwrap(), 0);
    end(pool);
}

#[test]
fn a_task_that_gets_in_before_it_is_called_leaves_its_place_to_nobody() {
    use std::sync::atomic::{AtomicBool, Ordering};
    use threeply_pools::process::admission::Admission;
    use threeply_pools::process::builder::Options;
    use threeply_pools::process::cell::Cell;
    use threeply_pools::process::job::{Arguments, Job};
    use threeply_pools::process::{JobError, shared::Shared};
    struct Task(AtomicBool);
    impl std::task::Wake for Task {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let job = || Job {
        target: std::sync::Arc::new(Cell::default()),
        call: [0, 0],
        arguments: Arguments::Inline(Default::default()),
        index: 0,
        count: 1,
        terms: None,
        site: std::panic::Location::caller(),
        attempt: 1,
        baggage: None,
    };
    // A pool with room for one job that waits for a worker, and no worker.
    let mut options = Options::default();
    options.queue_jobs = 1;
    let pool = Shared::new(options).unwrap();
    pool.accept(job(), true, false).unwrap();
    let mut first = std::pin::pin!(Admission::new(&pool, job()));
    let mut second = std::pin::pin!(Admission::new(&pool, job()));
    let task = std::sync::Arc::new(Task(AtomicBool::new(false)));
    let waker = std::task::Waker::from(std::sync::Arc::clone(&task));
    let mut noop = std::task::Context::from_waker(std::task::Waker::noop());
    let mut context = std::task::Context::from_waker(&waker);
    assert!(first.as_mut().poll(&mut noop).is_pending());
    assert!(second.as_mut().poll(&mut context).is_pending());
    let make_room = || {
        pool.lock()
            .fail_queue(|| JobError::ShutDown, &mut Vec::new())
    };
    make_room();
    // Polled for another reason, before anybody has told it.
    assert!(first.as_mut().poll(&mut noop).is_ready());
    make_room();
    pool.tell_of_change();
    assert!(
        task.0.load(Ordering::Relaxed),
        "there is room, and nobody told it"
    );
    assert!(second.as_mut().poll(&mut context).is_ready());
}
