//! The life of a job of the process pool: encode → frame → ring → decode → run →
//! reply; or a crash → an error for that one job → a new worker.
//!
//! Argument and result are of a type that tells the trace when it is encoded and
//! decoded: the pool leaves that to serde, and so does the trace.
//!
//! Read before: [`super::job`]. Next: [`super::story`].

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use threeply_pools::process::{JobError, ProcessPool};
use threeply_runtime::trace::{self, Kind, What};

use super::{Life, Run, record};
use crate::{Error, limits};

const ABOUT: &[What] = &[What::ProcessJob, What::Process, What::Span];

/// The life that ends with a reply.
pub const LIFE: Life = Life {
    title: "A process job: encode, frame, ring, decode, run, reply",
    program: "A pool of one worker process is asked to double 21.",
    source: file!(),
    about: ABOUT,
    needs: &[
        Kind::ProcessStart,
        Kind::WorkerReady,
        Kind::FrameOut,
        Kind::FrameIn,
        Kind::ProcessRun,
        Kind::ReplyOut,
        Kind::ReplyIn,
    ],
    run,
};

/// The life that ends its worker's.
pub const CRASH: Life = Life {
    title: "A process job that crashes: an error for it alone, and a new worker",
    program: "A pool of one worker process is given a job that calls `abort`, then asked \
              to double 21.",
    source: file!(),
    about: ABOUT,
    needs: &[
        Kind::ProcessRun,
        Kind::ProcessExit,
        Kind::WorkerDeath,
        Kind::WorkerReady,
        Kind::ReplyIn,
    ],
    run: crash,
};

/// A number that says when it crosses.
struct Number(u64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let _span = trace::span("encode: serde turns a value into bytes");
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        let _span = trace::span("decode: serde turns bytes into a value");
        u64::deserialize(deserializer).map(Number)
    }
}

fn double(n: Number) -> Number {
    Number(2 * n.0)
}

fn crash_now(_: Number) -> Number {
    std::process::abort()
}

fn run() -> Result<Run, Error> {
    let session = record()?;
    let pool = ProcessPool::new(1)?;
    let answer = submit_and_wait(&pool, double)?;
    // Before the recording ends, so that the worker's last words are in it.
    let _ = pool.shutdown(limits::EXPLAIN_PATIENCE);
    Ok(Run {
        trace: session.stop(),
        outcome: format!("The caller got {}.", answer.0),
    })
}

fn crash() -> Result<Run, Error> {
    let session = record()?;
    let pool = ProcessPool::new(1)?;
    let death = match submit_and_wait(&pool, crash_now) {
        Err(Error::ProcessJob(JobError::Died(death))) => death,
        Err(error) => return Err(error),
        Ok(_) => return Err(Error::Failed("`abort` has returned".to_owned())),
    };
    let error = JobError::Died(death.clone());
    let answer = submit_and_wait(&pool, double)?;
    let _ = pool.shutdown(limits::EXPLAIN_PATIENCE);
    let trace = session.stop();
    let mut ready = trace
        .events()
        .iter()
        .filter(|event| event.kind == Kind::WorkerReady);
    let replacement = ready.find(|event| event.a != u64::from(death.pid));
    let replacement = replacement.map_or(0, |event| event.a);
    Ok(Run {
        outcome: format!(
            "The caller of the first job got this error: {error}. Process {} was replaced by \
             process {replacement}, from which the caller of the second job got {}.",
            death.pid, answer.0
        ),
        trace,
    })
}

fn submit_and_wait(pool: &ProcessPool, job: fn(Number) -> Number) -> Result<Number, Error> {
    let _span = trace::span("the caller submits a job and waits for it");
    Ok(pool.submit(job, Number(21))?.wait()?)
}
