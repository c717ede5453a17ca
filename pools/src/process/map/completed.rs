//! [`as_completed`]: jobs in the order in which they are done.

use crate::process::error::JobError;
use crate::process::handle::JobHandle;
use serde::de::DeserializeOwned;
use std::sync::mpsc;
use threeply_runtime::context::forbid_blocking;
use threeply_runtime::inspect::{WaitsFor, blocked};

/// Jobs in the order in which they are done, each with its place in `jobs`.
///
/// Blocks between them. The iterator ends when all are done.
///
/// ```
/// use std::time::Duration;
/// use threeply_pools::process::{ProcessPool, as_completed};
///
/// let pool = ProcessPool::new(2)?;
/// let nap = |ms: u64| std::thread::sleep(Duration::from_millis(ms));
/// let jobs = [pool.submit(nap, 500)?, pool.submit(nap, 1)?];
/// let order: Vec<usize> = as_completed(jobs).map(|(place, _)| place).collect();
/// assert_eq!(order, [1, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// The iterator's `next`, on the thread of an event loop, which it would block: await
/// the handles there.
pub fn as_completed<R: DeserializeOwned>(
    jobs: impl IntoIterator<Item = JobHandle<R>>,
) -> AsCompleted<R> {
    let (done, completed) = mpsc::channel();
    let jobs: Vec<_> = jobs.into_iter().map(Some).collect();
    for (index, job) in jobs.iter().flatten().enumerate() {
        let done = done.clone();
        job.when_done(move || {
            let _ = done.send(index);
        });
    }
    AsCompleted { jobs, completed }
}

/// The iterator of [`as_completed`].
#[derive(Debug)]
pub struct AsCompleted<R> {
    jobs: Vec<Option<JobHandle<R>>>,
    completed: mpsc::Receiver<usize>,
}

impl<R: DeserializeOwned> Iterator for AsCompleted<R> {
    type Item = (usize, Result<R, JobError>);

    fn next(&mut self) -> Option<Self::Item> {
        forbid_blocking("`next` of `as_completed`", "`.await` on the handles");
        // Ends when every job's callback, and with it its sender, is gone.
        let index = match self.completed.try_recv() {
            Err(mpsc::TryRecvError::Empty) => {
                let what = "the next of several jobs of a process pool";
                let _told = blocked::until(vec![WaitsFor::other(what)]);
                self.completed.recv().ok()?
            }
            looked => looked.ok()?,
        };
        let job = self.jobs[index].take()?;
        Some((index, job.wait()))
    }
}
