//! Names, limits and retries of single jobs.

use crate::{begin_and_stay, builder, end, gate, hold, kill_myself, new_pool, until, watchdog};
use std::time::{Duration, Instant};
use threeply_pools::process::{Cause, JobError, JobHandle, Retry};

fn spin_for_ever(_: ()) {
    loop {
        std::hint::spin_loop();
    }
}

#[test]
fn a_limit_of_its_own_concerns_one_job() {
    let _dog = watchdog();
    let pool = new_pool(2);
    let strict = pool.options().limit(Duration::from_millis(30));
    let (file, path) = gate();
    let patient = pool.submit(hold, path).unwrap();
    let hasty = strict.submit(spin_for_ever, ()).unwrap();
    assert!(matches!(
        hasty.wait(),
        Err(JobError::TimedOut { limit }) if limit == Duration::from_millis(30)
    ));
    drop(file);
    patient.wait().unwrap();
    end(pool);
}

#[test]
fn limits_are_kept_of_jobs_that_had_to_queue_while_their_callers_read_themselves() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let strict = pool.options().limit(Duration::from_millis(20));
    // The first caller reads its reply itself, and thereby sends the next job. (Its own
    // limit is one that even a busy machine keeps.)
    let patient = pool.options().limit(Duration::from_secs(60));
    let first = patient.submit(|n: u8| n, 1).unwrap();
    let second = strict.submit(spin_for_ever, ()).unwrap();
    assert_eq!(first.wait().unwrap(), 1);
    assert!(matches!(second.wait(), Err(JobError::TimedOut { .. })));
    end(pool);
}

#[test]
fn processor_time_is_limited_and_sleeping_costs_none() {
    let _dog = watchdog();
    let pool = new_pool(2);
    let thrifty = pool.options().cpu_limit(Duration::from_millis(60));
    let sleeper = thrifty
        .submit(|_: ()| std::thread::sleep(Duration::from_millis(200)), ())
        .unwrap();
    let spinner = thrifty.submit(spin_for_ever, ()).unwrap();
    let limit = Duration::from_millis(60);
    match spinner.wait() {
        Err(JobError::CpuExceeded { limit: told }) => assert_eq!(told, limit),
        other => panic!("{other:?}"),
    }
    sleeper.wait().unwrap();
    // What a job before it has used isn't its own.
    let spend = |ms: u64| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(ms) {
            std::hint::spin_loop();
        }
    };
    for _ in 0..4 {
        thrifty.submit(spend, 20).unwrap().wait().unwrap();
    }
    for outcome in thrifty.map(spend, [20; 8]) {
        outcome.unwrap();
    }
    end(pool);
}

#[test]
fn a_death_says_what_the_job_is_called_and_where_it_was_submitted() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let die = |_: ()| kill_myself();
    let named = pool.options().name("the third").submit(die, ()).unwrap();
    let line = line!() - 1;
    let error = named.wait().unwrap_err();
    let death = error.death().expect("died");
    assert_eq!(death.job.name(), Some("the third"));
    assert_eq!(death.job.site().line(), line);
    assert!(death.job.site().file().ends_with("terms.rs"));
    assert_eq!(death.attempts, 1);
    let text = error.to_string();
    assert!(
        text.contains("SIGKILL") && text.contains("`the third`"),
        "{text}"
    );
    let nameless = pool
        .submit(die, ())
        .unwrap()
        .wait()
        .unwrap_err()
        .to_string();
    assert!(nameless.contains("terms.rs"), "{nameless}");
    end(pool);
}

/// Dies until it has been begun `times` times.
fn die_at_first((path, times): (String, usize)) -> usize {
    use std::io::Write;
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    file.write_all(b"x").unwrap();
    let begun = std::fs::metadata(&path).unwrap().len() as usize;
    if begun < times {
        kill_myself();
    }
    begun
}

#[test]
fn a_job_that_dies_is_tried_again_only_if_that_was_asked_for() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let begun = |file: &tempfile::NamedTempFile| file.as_file().metadata().unwrap().len();

    let (file, path) = gate();
    let once = pool.submit(die_at_first, (path, 2)).unwrap();
    assert!(once.wait().unwrap_err().death().is_some());
    assert_eq!(begun(&file), 1, "off by default");

    let (file, path) = gate();
    let stubborn = pool
        .options()
        .retry(Retry::times(5).backoff(Duration::from_millis(1)));
    let job = stubborn.submit(die_at_first, (path, 4)).unwrap();
    assert_eq!(job.wait().unwrap(), 4);
    assert_eq!(begun(&file), 4);

    let (file, path) = gate();
    let job = pool
        .options()
        .retry(Retry::times(2))
        .submit(die_at_first, (path, 9))
        .unwrap();
    let error = job.wait().unwrap_err();
    assert_eq!(error.death().unwrap().attempts, 3);
    assert!(error.to_string().contains("attempt 3"), "{error}");
    assert_eq!(begun(&file), 3);

    // A panic is an answer.
    let (file, path) = gate();
    let panics = |path: String| {
        use std::io::Write;
        let mut file = std::fs::File::options().append(true).open(path).unwrap();
        file.write_all(b"x").unwrap();
        panic!("no");
    };
    let job: JobHandle<()> = stubborn.submit(panics, path).unwrap();
    assert!(job.wait().unwrap_err().is_panic());
    assert_eq!(begun(&file), 1);
    end(pool);
}

#[test]
fn an_element_of_a_chunk_is_tried_again_alone() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let directory = tempfile::tempdir().unwrap();
    let inputs = (0..40usize).map(|n| {
        let path = directory.path().join(n.to_string());
        std::fs::write(&path, "").unwrap();
        let path = path.to_str().unwrap().to_owned();
        (path, if n % 10 == 5 { 3 } else { 1 })
    });
    let stubborn = pool.options().retry(Retry::times(2));
    for (n, outcome) in stubborn.map(die_at_first, inputs).chunk(16).enumerate() {
        let times = if n % 10 == 5 { 3 } else { 1 };
        assert_eq!(outcome.unwrap(), times, "element {n}");
    }
    end(pool);
}

#[test]
fn a_job_that_waits_for_another_try_can_be_cancelled_and_holds_up_no_shutdown() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let patient = pool
        .options()
        .retry(Retry::times(1).backoff(Duration::from_secs(3600)));
    let cancelled = patient.submit(|_: ()| kill_myself(), ()).unwrap();
    let given_up = patient.submit(|_: ()| kill_myself(), ()).unwrap();
    until(|| pool.statistics().retrying == 2);
    assert!(cancelled.cancel());
    until(|| pool.statistics().outstanding == 1);
    let report = pool.shutdown(Duration::from_millis(20));
    assert_eq!(report.abandoned, 1);
    assert!(cancelled.wait().unwrap_err().is_cancelled());
    assert!(matches!(given_up.wait(), Err(JobError::ShutDown)));
}

#[test]
fn statistics_tell_what_runs_where() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let directory = tempfile::tempdir().unwrap();
    let begun = directory.path().join("begun");
    let path = begun.to_str().unwrap().to_owned();
    let job = pool
        .options()
        .name("long")
        .submit(begin_and_stay, path)
        .unwrap();
    until(|| begun.exists());
    let behind = pool.submit(|n: u8| n, 1).unwrap();
    let now = pool.statistics();
    assert_eq!((now.outstanding, now.workers.len()), (2, 1));
    let (label, _) = now.workers[0].running.as_ref().expect("it runs");
    assert_eq!(label.name(), Some("long"));
    assert_eq!(pool.worker_pids(), [now.workers[0].pid]);
    assert!(job.kill());
    assert_eq!(behind.wait().unwrap(), 1);
    let now = pool.statistics();
    assert_eq!((now.completed, now.workers_died), (1, 1));
    end(pool);
}

#[test]
fn a_job_that_blocks_every_signal_is_killed_all_the_same() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let block = |_: ()| {
        nix::sys::signal::SigSet::all().thread_block().unwrap();
        loop {
            std::thread::park();
        }
    };
    let job: JobHandle<()> = pool
        .options()
        .limit(Duration::from_millis(20))
        .submit(block, ())
        .unwrap();
    assert!(matches!(job.wait(), Err(JobError::TimedOut { .. })));
    end(pool);
}

#[test]
fn a_memory_limit_is_told_as_such() {
    let _dog = watchdog();
    let pool = builder()
        .workers(1)
        .memory_limit(256 << 20)
        .build()
        .unwrap();
    let hungry = |bytes: usize| std::hint::black_box(vec![1u8; bytes]).len();
    let error = pool.submit(hungry, 1 << 30).unwrap().wait().unwrap_err();
    let death = error.death().expect("died");
    assert_eq!(death.cause, Cause::MemoryLimit { limit: 256 << 20 });
    assert!(death.last_words.contains("memory allocation"), "{death}");
    assert_eq!(
        pool.submit(hungry, 1 << 20).unwrap().wait().unwrap(),
        1 << 20
    );
    end(pool);
}

#[test]
fn a_job_over_its_limit_or_killed_is_not_tried_again() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let stubborn = pool.options().retry(Retry::times(5));
    let begun = |path: String| {
        use std::io::Write;
        let file = std::fs::File::options().append(true).open(path);
        file.unwrap().write_all(b"x").unwrap();
        spin_for_ever(());
    };
    let times = |file: &tempfile::NamedTempFile| file.as_file().metadata().unwrap().len();
    let (file, path) = gate();
    // Time enough to begin, which a busy machine may not have.
    let mut limit = Duration::from_millis(50);
    while times(&file) == 0 {
        let strict = stubborn.clone().limit(limit);
        let late = strict.submit(begun, path.clone()).unwrap();
        assert!(matches!(late.wait(), Err(JobError::TimedOut { .. })));
        limit *= 2;
    }
    assert_eq!(times(&file), 1);
    let (file, path) = gate();
    let job = stubborn.submit(begun, path).unwrap();
    until(|| times(&file) == 1);
    assert!(job.kill());
    assert!(job.wait().unwrap_err().is_cancelled());
    assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
    assert_eq!(times(&file), 1);
    end(pool);
}

#[test]
fn the_pause_before_another_try_is_kept() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let (_file, path) = gate();
    let pause = Duration::from_millis(80);
    let patient = pool.options().retry(Retry::times(1).backoff(pause));
    let began = Instant::now();
    let job = patient.submit(die_at_first, (path, 2)).unwrap();
    assert_eq!(job.wait().unwrap(), 2);
    assert!(began.elapsed() >= pause);
    end(pool);
}
