//! Where less is allowed or left than a pool needs: each is a clear error, nothing
//! hangs, nothing is left behind.
//!
//! Each test runs in a worker of a pool, since what it takes away can't be had back.
#![allow(unsafe_code)] // installs a filter of system calls

use crate::{builder, end, in_a_process_of_its_own, kill, until, watchdog};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike;
use std::fs::File;
use std::time::Duration;
use threeply_pools::process::{Error, JobError, ProcessPool};

/// From now on this thread can't make processes; threads it can.
fn forbid_processes() {
    const CLONE_THREAD: u32 = 0x0001_0000;
    let op = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let load = |offset: u32| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    let equals =
        |value: u32, jt, jf| op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, jt, jf);
    let has = |bit: u32, jt, jf| op(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, bit, jt, jf);
    let end_with = |value: u32| op(libc::BPF_RET | libc::BPF_K, value, 0, 0);
    let mut filter = [
        load(0), // the number of the call
        equals(libc::SYS_clone3 as u32, 4, 0),
        equals(libc::SYS_clone as u32, 0, 2),
        load(16), // its flags
        has(CLONE_THREAD, 0, 2),
        end_with(libc::SECCOMP_RET_ALLOW),
        // As container runtimes answer, so that C libraries fall back to `clone`.
        end_with(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        end_with(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: integers.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: a whole program, which the kernel copies.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_sandbox_without_fork_is_an_error_that_says_so() {
    in_a_process_of_its_own(|_: ()| {
        let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
        forbid_processes();
        let error = ProcessPool::new(2).expect_err("refused");
        assert!(matches!(error, Error::Start(_)), "{error}");
        assert!(error.to_string().contains("clone"), "{error}");
        // The threads of the pool that didn't come to be end soon.
        until(|| std::fs::read_dir("/proc/self/fd").unwrap().count() == before);
    });
}

/// Takes all descriptors that are left, below a limit that is soon reached.
pub(crate) fn take_all_descriptors() -> Vec<File> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 200.min(hard), hard).unwrap();
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// How many descriptors are open apart from those that were taken.
fn open_descriptors(taken: &mut Vec<File>) -> usize {
    taken.truncate(taken.len().saturating_sub(1)); // To look one is needed.
    std::fs::read_dir("/proc/self/fd").unwrap().count() - taken.len()
}

#[test]
fn a_pool_that_finds_no_descriptors_says_so_and_leaves_none_behind() {
    in_a_process_of_its_own(|_: ()| {
        let mut taken = take_all_descriptors();
        let before = open_descriptors(&mut taken);
        for _ in 0..14 {
            taken.truncate(taken.len().saturating_sub(3));
            match ProcessPool::new(2) {
                Err(Error::Resources { .. } | Error::Start(_)) => {}
                Err(other) => panic!("{other}"),
                Ok(pool) => {
                    assert_eq!(pool.submit(|n: u8| n, 1).unwrap().wait().unwrap(), 1);
                    end(pool);
                }
            }
        }
        until(|| open_descriptors(&mut taken) == before); // Threads of failed starts end soon.
        drop(taken);
        let pool = ProcessPool::new(2).expect("now there are enough");
        end(pool);
    });
}

#[test]
fn a_running_pool_survives_the_want_of_descriptors() {
    in_a_process_of_its_own(|_: ()| {
        let pool = ProcessPool::new(2).unwrap();
        assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
        let taken = take_all_descriptors();
        let victim = pool.worker_pids()[0];
        kill(victim);
        // It can't be replaced; the other goes on, with all jobs.
        for n in 0..200u32 {
            match pool.submit(|n: u32| n, n).unwrap().wait() {
                Ok(value) => assert_eq!(value, n),
                Err(JobError::Died(death)) => assert_eq!(death.pid, victim),
                Err(other) => panic!("{other}"),
            }
        }
        drop(taken);
        until(|| pool.worker_pids().len() == 2);
        end(pool);
    });
}

#[test]
fn a_supervisor_on_a_loop_that_has_not_slept_yet_sleeps_without_descriptors() {
    in_a_process_of_its_own(|_: ()| {
        threeply_runtime::block_on(async {
            let pool = builder().workers(1).build_on_loop().unwrap();
            let taken = take_all_descriptors();
            assert_eq!(pool.submit(|n: u8| n, 1).unwrap().await.unwrap(), 1);
            let used = || getrusage(UsageWho::RUSAGE_THREAD).unwrap();
            let before = used();
            threeply_runtime::time::sleep(Duration::from_millis(300)).await;
            let [user, system] = [
                used().user_time() - before.user_time(),
                used().system_time() - before.system_time(),
            ];
            let milliseconds = (user + system).num_milliseconds();
            assert!(milliseconds < 100, "it spins: {milliseconds} ms");
            drop(taken);
            pool.shutdown_async(Duration::from_secs(20)).await;
        });
    });
}

#[test]
fn a_pool_that_can_have_no_worker_at_all_breaks_and_says_why() {
    in_a_process_of_its_own(|_: ()| {
        let pool = ProcessPool::new(1).unwrap();
        assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
        let taken = take_all_descriptors();
        kill(pool.worker_pids()[0]);
        let told = |error: String| assert!(error.contains("Too many open files"), "{error}");
        loop {
            match pool.submit(|n: u8| n, 1) {
                Ok(job) => match job.wait() {
                    Ok(_) | Err(JobError::Died(_)) => {}
                    Err(JobError::WorkerStart(failure)) => break told(failure.to_string()),
                    Err(other) => panic!("{other}"),
                },
                Err(Error::Broken(failure)) => break told(failure.to_string()),
                Err(other) => panic!("{other}"),
            }
        }
        drop(taken);
        end(pool);
    });
}

#[test]
fn a_worker_that_can_not_begin_says_why_in_its_last_words() {
    let _dog = watchdog();
    // Nothing, and less than the stack of the thread that runs jobs.
    for limit in [0, 1 << 20] {
        let pool = ProcessPool::builder()
            .workers(1)
            .memory_limit(limit)
            .build()
            .unwrap();
        let told = match pool.submit(|n: u8| n, 1) {
            Ok(job) => job.wait().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(
            told.contains("cannot start the thread that runs jobs"),
            "{limit}: {told}"
        );
        end(pool);
    }
}
