//! The life of a job of the thread pool: push → steal → run → latch.
//!
//! Whether a job is stolen is a matter of luck, unless nobody else can run it. So
//! whoever pushes here doesn't rest until the other thread has begun.
//!
//! Read before: [`super::task`]. Next: [`super::process`].

use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use threeply_pools::thread::{ThreadPool, join, spawn};
use threeply_runtime::trace::{self, Kind, What};

use super::{Life, Run, record};
use crate::{Error, limits};

/// See the [module](self).
pub const LIFE: Life = Life {
    title: "A thread job: push, steal, run, latch",
    program: "A pool of two threads gets a job. The job pushes a second one, which the \
              other thread steals; then it calls `join(a, b)`, and the other thread \
              steals the fork b and sets its latch.",
    source: file!(),
    about: &[What::Job, What::Fork, What::Span],
    needs: &[
        Kind::JobInject,
        Kind::JobTake,
        Kind::JobPush,
        Kind::JobSteal,
        Kind::JobRun,
        Kind::Promote,
        Kind::ForkSteal,
        Kind::ForkRun,
        Kind::LatchSet,
        Kind::LatchWait,
    ],
    run,
};

fn run() -> Result<Run, Error> {
    let session = record()?;
    let pool = ThreadPool::new(2)?;
    let answer = {
        let _span = trace::span("the caller spawns a job and waits for it");
        pool.spawn(outer).wait()?
    };
    let _ = pool.shutdown(limits::EXPLAIN_PATIENCE);
    Ok(Run {
        trace: session.stop(),
        outcome: format!("The caller got {answer}."),
    })
}

fn outer() -> u64 {
    let (tell, has_begun) = mpsc::channel();
    let inner = spawn(move || {
        let _ = tell.send(());
        20
    });
    // This thread has the job on its own deque, and will run it in `wait` at the
    // latest: so it comes to that only after the other one was there.
    let _ = has_begun.recv_timeout(limits::EXPLAIN_PATIENCE);
    let inner = inner.wait().unwrap_or_default();

    let (tell, has_begun) = mpsc::channel();
    let (end, has_ended) = mpsc::channel();
    let (a, b) = join(
        move || {
            // A fork is offered when somebody is hungry, at the next fork. Until the
            // other thread is, this half makes some, of nothing.
            let until = Instant::now() + limits::EXPLAIN_PATIENCE;
            while has_begun.try_recv().is_err() && Instant::now() < until {
                join(|| (), || ());
                thread::yield_now();
            }
            drop(end);
            2
        },
        move || {
            let _ = tell.send(());
            // Until the first half is over, and a moment longer: so its owner waits.
            let _: Result<(), _> = has_ended.recv_timeout(limits::EXPLAIN_PATIENCE);
            thread::sleep(limits::EXPLAIN_MOMENT);
            20
        },
    );
    inner + a + b
}
