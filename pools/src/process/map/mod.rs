//! Many jobs with one function: `map` and its relatives, in chunks.
//!
//! Sending a job costs its sender a few hundred nanoseconds, whatever the job is,
//! so jobs that are shorter than that go in **chunks**: one request, many
//! elements. An element stays a job in every other respect; each has its own
//! reply, and a death costs one of them ([`super::claim`]).
//!
//! How many elements a chunk has is found out while it goes: as many as are done in
//! [`CHUNK_TIME`] by the measured length of jobs.
//! Inputs are pulled lazily, only as far ahead as the workers can be kept busy, so
//! an endless iterator is fine, and memory is bounded.
//!
//! Read before this: [`super::job`] and [`super::pool`]. Read after it: `results`, where
//! the outcomes of all chunks meet.

mod completed;
mod results;

pub use completed::{AsCompleted, as_completed};

use crate::process::cell::Outcome;
use crate::process::codec::CodecError;
use crate::process::encode::{append, locate};
use crate::process::error::{Error, JobError};
use crate::process::handle::decode;
use crate::process::job::{Arguments, Job, Target};
use crate::process::limits::{CHUNK_BYTES, CHUNK_MAX, CHUNK_TIME, INLINE_MAX};
use crate::process::pool::ProcessPool;
use crate::process::sink::Sink;
use crate::process::terms::Terms;
use crate::process::trampoline::Call;
use results::Results;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use threeply_runtime::context::forbid_blocking;

/// The results of [`ProcessPool::map`] and its relatives: a lazy iterator.
///
/// Nothing is submitted before the first `next`. Dropping it abandons what wasn't
/// begun.
///
/// # Panics
/// `next`, on the thread of an event loop, which it would block: use
/// [`submit_async`](ProcessPool::submit_async) for each input there, or run all of it
/// in `unblock`.
#[must_use = "nothing is submitted before the iterator is used"]
pub struct Map<'p, I: Iterator, R> {
    pool: &'p ProcessPool,
    call: Result<[u64; 2], Option<Error>>,
    inputs: std::iter::Fuse<I>,
    results: Arc<Results>,
    ready: VecDeque<(usize, Outcome)>,
    /// Inputs pulled so far.
    pulled: usize,
    /// Outcomes handed out so far.
    returned: usize,
    chunk: Option<usize>,
    window: Option<usize>,
    terms: Option<Arc<Terms>>,
    site: &'static Location<'static>,
    result: PhantomData<fn() -> R>,
}

impl<I: Iterator, R> Map<'_, I, R>
where
    I::Item: Serialize,
{
    /// Sends so many jobs at a time instead of as many as seem best; at least one,
    /// at most [`CHUNK_MAX`].
    pub fn chunk(mut self, jobs: usize) -> Self {
        self.chunk = Some(jobs.clamp(1, CHUNK_MAX));
        self
    }

    /// Pulls at most so many inputs ahead of the results that were taken; at least
    /// one.
    pub fn window(mut self, jobs: usize) -> Self {
        self.window = Some(jobs.max(1));
        self
    }

    fn chunk_now(&self) -> usize {
        self.chunk.unwrap_or_else(|| {
            let job = self.pool.shared().lock().job_time();
            job.map_or(1, |job| {
                let fit = CHUNK_TIME.as_nanos() / job.as_nanos().max(1);
                (fit as usize).clamp(1, CHUNK_MAX)
            })
        })
    }

    /// Submits until the workers have enough to do, or the inputs end.
    fn submit_ahead(&mut self) {
        let workers = self.pool.workers();
        loop {
            let chunk = self.chunk_now();
            let window = self.window.unwrap_or(4 * workers * chunk);
            let ahead = self.pulled - self.returned;
            // Whole chunks, unless the window is smaller than that.
            let room = window.saturating_sub(ahead);
            if room == 0 || (room < chunk && ahead > 0 && self.window.is_none()) {
                return;
            }
            if !self.submit_chunk(chunk.min(room)) {
                return;
            }
        }
    }

    /// Encodes and submits up to `most` inputs. `false` once there are none.
    fn submit_chunk(&mut self, most: usize) -> bool {
        let call = match &mut self.call {
            Ok(call) => *call,
            Err(error) => {
                let Some(error) = error.take() else {
                    return false;
                };
                // No input can be run: say so once, and end.
                self.results.deliver(self.pulled, refused(error));
                self.pulled += 1;
                return false;
            }
        };
        let arena = Arc::clone(&self.pool.shared().arguments);
        let mut sink = Sink::new(&arena, u32::MAX as usize);
        let (first, mut count) = (self.pulled, 0);
        let (mut rejected, mut baggage) = (None, None);
        let mut more = true;
        while usize::from(count) < most && sink.len() < CHUNK_BYTES {
            let Some(input) = self.inputs.next() else {
                more = false;
                break;
            };
            self.pulled += 1;
            let before = sink.len();
            match append(&mut sink, &input) {
                Ok(its_baggage) => baggage = its_baggage,
                Err(error) => {
                    sink.truncate(before);
                    rejected = Some(error);
                    break;
                }
            }
            count += 1;
            if baggage.is_some() {
                break; // Only the last element of a chunk may have any.
            }
        }
        if count > 0 {
            let job = Job {
                target: Arc::clone(&self.results) as Arc<dyn Target>,
                call,
                arguments: Arguments::new(sink.finish(), &arena),
                index: first,
                count,
                terms: self.terms.clone(),
                site: self.site,
                attempt: 1,
                baggage,
            };
            if let Err(error) = self.pool.shared().accept(job, false, true) {
                let error = Arc::new(error);
                for index in first..first + usize::from(count) {
                    let error = Error::Refused(Arc::clone(&error));
                    self.results.deliver(index, refused(error));
                }
                self.call = Err(None); // It won't take others either.
                more = false;
            }
        }
        if let Some(error) = rejected {
            let error = match error {
                CodecError::TooLarge { len, max } => Error::TooLarge { len, max },
                other => Error::Argument {
                    reason: other.to_string(),
                },
            };
            let index = first + usize::from(count);
            self.results.deliver(index, refused(error));
        }
        more
    }

    fn next_outcome(&mut self) -> Option<(usize, Outcome)> {
        if self.ready.is_empty() {
            forbid_blocking("`next` of `ProcessPool::map`", ON_A_LOOP);
            self.results.try_take(&mut self.ready);
        }
        // Keep the workers busy before anything else is done.
        if self.ready.len() < 2 || self.returned.is_multiple_of(64) {
            self.submit_ahead();
        }
        if self.ready.is_empty() {
            if self.returned == self.pulled {
                return None;
            }
            // Rather than sleep until the supervisor is rung, and has had its turn.
            self.pool.shared().pump_what_is_there();
            self.results.take(&mut self.ready);
        }
        self.returned += 1;
        self.ready.pop_front()
    }
}

/// What to do where nobody may block.
const ON_A_LOOP: &str = "`submit_async(..).await` for each input, or `unblock` for all of it";

fn refused(error: Error) -> Outcome {
    Err(Box::new(JobError::Rejected(Box::new(error))))
}

impl<I: Iterator, R: DeserializeOwned> Iterator for Map<'_, I, R>
where
    I::Item: Serialize,
{
    type Item = Result<R, JobError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_outcome().map(|(_, outcome)| decode(outcome))
    }
}

impl<I: Iterator, R> Drop for Map<'_, I, R> {
    fn drop(&mut self) {
        self.results.abandon();
        if self.returned < self.pulled {
            self.pool.shared().drop_unwanted();
        }
    }
}

impl<I: Iterator, R> fmt::Debug for Map<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("pulled", &self.pulled)
            .field("returned", &self.returned)
            .finish_non_exhaustive()
    }
}

/// The results of [`ProcessPool::map_unordered`]: as [`Map`], with the number of
/// the input beside each result.
#[must_use = "nothing is submitted before the iterator is used"]
#[derive(Debug)]
pub struct MapUnordered<'p, I: Iterator, R>(Map<'p, I, R>);

impl<'p, I: Iterator, R> MapUnordered<'p, I, R> {
    pub(crate) fn new(map: Map<'p, I, R>) -> Self {
        MapUnordered(map)
    }
}

impl<I: Iterator, R> MapUnordered<'_, I, R>
where
    I::Item: Serialize,
{
    /// As [`Map::chunk`].
    pub fn chunk(self, jobs: usize) -> Self {
        MapUnordered(self.0.chunk(jobs))
    }

    /// As [`Map::window`].
    pub fn window(self, jobs: usize) -> Self {
        MapUnordered(self.0.window(jobs))
    }
}

impl<I: Iterator, R: DeserializeOwned> Iterator for MapUnordered<'_, I, R>
where
    I::Item: Serialize,
{
    type Item = (usize, Result<R, JobError>);

    fn next(&mut self) -> Option<Self::Item> {
        let (index, outcome) = self.0.next_outcome()?;
        Some((index, decode(outcome)))
    }
}

impl ProcessPool {
    /// Runs `function` on every input; results come in the order of the inputs.
    ///
    /// Lazy: inputs are pulled as far ahead as keeps the workers busy. Short jobs
    /// travel in chunks whose size follows their measured length, see
    /// [`Map::chunk`] and [`Map::window`] to set them.
    ///
    /// ```
    /// # let pool = threeply_pools::process::ProcessPool::new(2)?;
    /// let squares: Result<Vec<u64>, _> = pool.map(|n: u64| n * n, 0..1000).collect();
    /// assert_eq!(squares?[999], 998_001);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn map<A, R, I>(&self, function: fn(A) -> R, inputs: I) -> Map<'_, I::IntoIter, R>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.options().map(function, inputs)
    }

    /// As [`map`](ProcessPool::map), but results come as they are ready, each with
    /// the number of its input.
    #[track_caller]
    pub fn map_unordered<A, R, I>(
        &self,
        function: fn(A) -> R,
        inputs: I,
    ) -> MapUnordered<'_, I::IntoIter, R>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.options().map_unordered(function, inputs)
    }

    /// As [`map`](ProcessPool::map) for a function of two arguments.
    #[track_caller]
    pub fn starmap<A, B, R, I>(&self, function: fn(A, B) -> R, inputs: I) -> Map<'_, I::IntoIter, R>
    where
        I: IntoIterator<Item = (A, B)>,
        A: Serialize + DeserializeOwned,
        B: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.options().starmap(function, inputs)
    }

    pub(crate) fn map_call<I: IntoIterator, R>(
        &self,
        call: Call,
        inputs: I,
        ordered: bool,
        terms: Option<Arc<Terms>>,
        site: &'static Location<'static>,
    ) -> Map<'_, I::IntoIter, R> {
        const { assert!(CHUNK_BYTES < INLINE_MAX) };
        Map {
            pool: self,
            call: locate(call).map_err(Some),
            inputs: inputs.into_iter().fuse(),
            results: Arc::new(Results::new(ordered)),
            ready: VecDeque::new(),
            pulled: 0,
            returned: 0,
            chunk: None,
            window: None,
            terms,
            site,
            result: PhantomData,
        }
    }
}
