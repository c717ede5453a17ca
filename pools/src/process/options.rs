//! [`JobOptions`]: jobs with a name, limits or retries of their own.

use crate::process::error::{Error, JobError};
use crate::process::handle::JobHandle;
use crate::process::map::{Map, MapUnordered};
use crate::process::pool::{ProcessPool, admission};
use crate::process::terms::{Retry, Terms};
use crate::process::trampoline::Call;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// Hands in jobs with terms of their own, instead of those that the pool was built
/// with. Made by [`ProcessPool::options`]; may be kept and used many times.
///
/// ```
/// use std::time::Duration;
/// use threeply_pools::process::{JobError, ProcessPool};
///
/// let pool = ProcessPool::new(1)?;
/// let strict = pool.options().name("busy").limit(Duration::from_millis(20));
/// let job = strict.submit(|_: ()| loop { std::hint::spin_loop() }, ())?;
/// let outcome: Result<(), _> = job.wait();
/// assert!(matches!(outcome, Err(JobError::TimedOut { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "hands in nothing by itself"]
pub struct JobOptions<'p> {
    pool: &'p ProcessPool,
    terms: Option<Arc<Terms>>,
}

impl<'p> JobOptions<'p> {
    pub(crate) fn new(pool: &'p ProcessPool) -> JobOptions<'p> {
        JobOptions {
            pool,
            terms: pool.shared().terms.clone(),
        }
    }

    /// What the jobs are called in errors, statistics and captured output.
    pub fn name(self, name: impl AsRef<str>) -> Self {
        self.with(|terms| terms.name = Some(Arc::from(name.as_ref())))
    }

    /// The time that each job may run; see [`Builder::job_limit`](crate::process::Builder::job_limit).
    pub fn limit(self, limit: Duration) -> Self {
        self.with(|terms| terms.limit = Some(limit))
    }

    /// The processor time that each job may use; see
    /// [`Builder::cpu_limit`](crate::process::Builder::cpu_limit).
    pub fn cpu_limit(self, limit: Duration) -> Self {
        self.with(|terms| terms.cpu_limit = Some(limit))
    }

    /// Runs jobs again whose worker died.
    pub fn retry(self, retry: Retry) -> Self {
        self.with(|terms| terms.retry = retry)
    }

    fn with(mut self, change: impl FnOnce(&mut Terms)) -> Self {
        // The pool, or a clone of this, may have them too.
        change(Arc::make_mut(self.terms.get_or_insert_default()));
        self
    }

    /// As [`ProcessPool::submit`].
    ///
    /// # Errors
    /// The same.
    #[track_caller]
    pub fn submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<JobHandle<R>, Error>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let prepared =
            self.pool
                .prepare(function, &argument, self.terms.clone(), Location::caller())?;
        self.pool.accept(prepared, true)
    }

    /// As [`ProcessPool::try_submit`].
    ///
    /// # Errors
    /// The same.
    #[track_caller]
    pub fn try_submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<JobHandle<R>, Error>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let prepared =
            self.pool
                .prepare(function, &argument, self.terms.clone(), Location::caller())?;
        self.pool.accept(prepared, false)
    }

    /// As [`ProcessPool::submit_async`]. Cancel-safe like that.
    ///
    /// # Errors
    /// The same.
    #[track_caller]
    pub fn submit_async<A, R>(
        &self,
        function: fn(A) -> R,
        argument: A,
    ) -> impl Future<Output = Result<JobHandle<R>, Error>> + Send + use<A, R>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let site = Location::caller();
        let prepared = self
            .pool
            .prepare(function, &argument, self.terms.clone(), site);
        admission(self.pool.shared(), prepared)
    }

    /// As [`ProcessPool::call`].
    ///
    /// # Errors
    /// The same.
    #[track_caller]
    pub fn call<A, R>(
        &self,
        function: fn(A) -> R,
        argument: A,
    ) -> Result<Result<R, JobError>, Error>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let prepared =
            self.pool
                .prepare(function, &argument, self.terms.clone(), Location::caller())?;
        Ok(self.pool.accept(prepared, true)?.wait())
    }

    /// As [`ProcessPool::map`]; limits and retries are for each element.
    #[track_caller]
    pub fn map<A, R, I>(&self, function: fn(A) -> R, inputs: I) -> Map<'p, I::IntoIter, R>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let site = Location::caller();
        self.pool
            .map_call(Call::of(function), inputs, true, self.terms.clone(), site)
    }

    /// As [`ProcessPool::map_unordered`]; limits and retries are for each element.
    #[track_caller]
    pub fn map_unordered<A, R, I>(
        &self,
        function: fn(A) -> R,
        inputs: I,
    ) -> MapUnordered<'p, I::IntoIter, R>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let site = Location::caller();
        MapUnordered::new(self.pool.map_call(
            Call::of(function),
            inputs,
            false,
            self.terms.clone(),
            site,
        ))
    }

    /// As [`ProcessPool::starmap`]; limits and retries are for each element.
    #[track_caller]
    pub fn starmap<A, B, R, I>(&self, function: fn(A, B) -> R, inputs: I) -> Map<'p, I::IntoIter, R>
    where
        I: IntoIterator<Item = (A, B)>,
        A: Serialize + DeserializeOwned,
        B: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let (call, site) = (Call::of_two(function), Location::caller());
        self.pool
            .map_call(call, inputs, true, self.terms.clone(), site)
    }
}
