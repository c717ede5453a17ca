//! Many jobs at once: ordered `map`, and waiting for some or all handles.
//!
//! As `concurrent.futures`: `map`, `as_completed`, `wait(FIRST_COMPLETED | …)`.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::Location;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::error::JobError;
use crate::limits;
use crate::thread::handle::{JobHandle, refuse_on_event_loop};
use crate::thread::registry::Registry;
use crate::thread::{ThreadPool, blocking};
use threeply_runtime::inspect::{self, WaitsFor, blocked};

/// The places of jobs that have ended, in that order, and who waits for them.
#[derive(Debug, Default)]
struct Ended {
    inner: Mutex<EndedInner>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct EndedInner {
    places: VecDeque<usize>,
    waker: Option<Waker>,
}

impl Ended {
    /// Called on the completing thread: must not block for long.
    fn push(&self, place: usize) {
        let mut inner = self.inner.lock().unwrap();
        inner.places.push_back(place);
        let waker = inner.waker.take();
        drop(inner);
        self.bell.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wait<G>(&self, deadline: Option<Instant>, tell: impl Fn() -> Option<G>) -> Option<usize> {
        let mut inner = self.inner.lock().unwrap();
        let mut told = None;
        loop {
            if let Some(place) = inner.places.pop_front() {
                return Some(place);
            }
            told = told.or_else(&tell);
            inner = match deadline {
                None => self.bell.wait(inner).unwrap(),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    self.bell.wait_timeout(inner, left).unwrap().0
                }
            };
        }
    }
}

/// Handles' results in the order in which the jobs end. An iterator that blocks;
/// [`next_async`](Self::next_async) awaits.
#[derive(Debug)]
#[must_use = "it yields nothing until it is asked"]
pub struct AsCompleted<T> {
    handles: Vec<Option<JobHandle<T>>>,
    left: usize,
    ended: Arc<Ended>,
}

/// The results of `handles` as the jobs end, each with its handle's place.
///
/// Dropping the iterator detaches the jobs that are left. On a worker of a pool,
/// its permit is lent while it waits.
pub fn as_completed<T>(handles: impl IntoIterator<Item = JobHandle<T>>) -> AsCompleted<T> {
    let ended = Arc::new(Ended::default());
    let handles: Vec<_> = handles.into_iter().map(Some).collect();
    for (place, handle) in handles.iter().enumerate() {
        let ended = ended.clone();
        if let Some(handle) = handle {
            handle.on_done(move |_| ended.push(place));
        }
    }
    AsCompleted {
        left: handles.len(),
        handles,
        ended,
    }
}

impl<T> AsCompleted<T> {
    fn take(&mut self, place: usize) -> (usize, Result<T, JobError>) {
        self.left -= 1;
        let mut handle = self.handles[place].take().expect("a job ends once");
        let result = handle.try_take().expect("the job has ended");
        (place, result)
    }

    /// The next one, if there is one within `limit`; the rest stays.
    ///
    /// # Panics
    /// On an event loop's thread: use [`next_async`](Self::next_async) there.
    pub fn next_timeout(&mut self, limit: Duration) -> Option<(usize, Result<T, JobError>)> {
        self.next_until(Instant::now().checked_add(limit))
    }

    /// For dumps of who waits for them.
    fn are_waited_for(&self) -> Vec<WaitsFor> {
        // Of more, each wait would write a long list for nobody.
        if self.left > limits::JOBS_NAMED {
            return vec![WaitsFor::other(format!("one of {} jobs", self.left))];
        }
        let handles = self.handles.iter().flatten();
        handles.map(JobHandle::is_waited_for).collect()
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Option<(usize, Result<T, JobError>)> {
        if self.left == 0 {
            return None;
        }
        refuse_on_event_loop();
        let ended = &self.ended;
        let tell = || (deadline.is_none()).then(|| blocked::until(self.are_waited_for()));
        let place = blocking(|| ended.wait(deadline, tell))?;
        Some(self.take(place))
    }

    /// The next one; `None` after the last. Cancel-safe.
    pub async fn next_async(&mut self) -> Option<(usize, Result<T, JobError>)> {
        if self.left == 0 {
            return None;
        }
        let ended = self.ended.clone();
        let place = poll_fn(|cx| {
            let mut inner = ended.inner.lock().unwrap();
            match inner.places.pop_front() {
                Some(place) => Poll::Ready(place),
                None => {
                    inner.waker = Some(cx.waker().clone());
                    for handle in self.handles.iter().flatten() {
                        inspect::note(|| handle.is_waited_for());
                    }
                    Poll::Pending
                }
            }
        })
        .await;
        Some(self.take(place))
    }

    /// The handles that are left, with their places.
    pub fn into_rest(self) -> Vec<(usize, JobHandle<T>)> {
        self.handles
            .into_iter()
            .enumerate()
            .filter_map(|(place, handle)| Some((place, handle?)))
            .collect()
    }
}

impl<T> Iterator for AsCompleted<T> {
    type Item = (usize, Result<T, JobError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// What [`wait_any`] gives: the first place and its result, and the handles left.
pub type FirstAndRest<T> = (usize, Result<T, JobError>, Vec<(usize, JobHandle<T>)>);

/// Waits for the first job to end; `None` if there is none.
pub fn wait_any<T>(handles: impl IntoIterator<Item = JobHandle<T>>) -> Option<FirstAndRest<T>> {
    let mut jobs = as_completed(handles);
    let (place, result) = jobs.next()?;
    Some((place, result, jobs.into_rest()))
}

/// All values in the handles' order; or the first error to happen, and then the
/// jobs that haven't started are cancelled and those that run are detached.
///
/// # Errors
/// The first job's error that there is.
pub fn first_error<T>(handles: impl IntoIterator<Item = JobHandle<T>>) -> Result<Vec<T>, JobError> {
    let mut jobs = as_completed(handles);
    let mut values: Vec<Option<T>> = jobs.handles.iter().map(|_| None).collect();
    while let Some((place, result)) = jobs.next() {
        match result {
            Ok(value) => values[place] = Some(value),
            Err(error) => {
                for (_, handle) in jobs.into_rest() {
                    handle.cancel();
                }
                return Err(error);
            }
        }
    }
    Ok(values.into_iter().flatten().collect())
}

/// All results in the handles' order.
pub fn wait_all<T>(handles: impl IntoIterator<Item = JobHandle<T>>) -> Vec<Result<T, JobError>> {
    handles.into_iter().map(JobHandle::wait).collect()
}

/// How [`ThreadPool::map_with`] cuts its input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MapOptions {
    /// Items a job; 0 for automatic: one at first, more while jobs are short.
    pub chunk: usize,
    /// Jobs in flight, done but not taken ones included; 0 for eight a thread.
    pub in_flight: usize,
}

type Chunk<R> = (Vec<Result<R, JobError>>, Duration);

/// The lazy results of [`ThreadPool::map`], in the input's order.
///
/// Each item's panic is its own error. Takes from the input only as much as may be
/// in flight. Dropping it cancels what hasn't started.
#[must_use = "a map runs only as far ahead as it is iterated"]
pub struct Map<I: Iterator, F, R> {
    registry: Arc<Registry>,
    site: &'static Location<'static>,
    input: I,
    f: Arc<F>,
    flying: VecDeque<(usize, JobHandle<Chunk<R>>)>,
    ready: VecDeque<Result<R, JobError>>,
    chunk: usize,
    automatic: bool,
    in_flight: usize,
}

impl<I: Iterator, F, R> std::fmt::Debug for Map<I, F, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Map")
            .field("in_flight", &self.flying.len())
            .field("chunk", &self.chunk)
            .finish_non_exhaustive()
    }
}

impl<I, F, R> Map<I, F, R>
where
    I: Iterator,
    I::Item: Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    fn fill(&mut self) {
        while self.flying.len() < self.in_flight {
            let items: Vec<_> = self.input.by_ref().take(self.chunk).collect();
            if items.is_empty() {
                return;
            }
            let (f, len) = (self.f.clone(), items.len());
            let job = self.registry.spawn(self.site, move || {
                let began = Instant::now();
                let results = items
                    .into_iter()
                    .map(|item| {
                        let call = std::panic::AssertUnwindSafe(|| f(item));
                        std::panic::catch_unwind(call).map_err(JobError::panicked)
                    })
                    .collect();
                (results, began.elapsed())
            });
            self.flying.push_back((len, job));
        }
    }

    /// Longer chunks while they are too short to be worth a job.
    fn adapt(&mut self, took: Duration) {
        if self.automatic {
            if took < limits::CHUNK_MIN && self.chunk < limits::CHUNK_ITEMS {
                self.chunk *= 2;
            } else if took > limits::CHUNK_MAX && self.chunk > 1 {
                self.chunk /= 2;
            }
        }
    }
}

impl<I, F, R> Iterator for Map<I, F, R>
where
    I: Iterator,
    I::Item: Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    type Item = Result<R, JobError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            self.fill();
            let (len, job) = self.flying.pop_front()?;
            match job.wait() {
                Ok((results, took)) => {
                    self.adapt(took);
                    self.ready.extend(results);
                }
                // The pool was shut down: so for each of the chunk's items.
                Err(_) => self.ready.extend((0..len).map(|_| Err(JobError::Closed))),
            }
            self.fill();
        }
        self.ready.pop_front()
    }
}

impl<I: Iterator, F, R> Drop for Map<I, F, R> {
    fn drop(&mut self) {
        for (_, job) in &self.flying {
            job.cancel();
        }
    }
}

impl ThreadPool {
    /// `f` of each item, in the input's order, computed ahead of the iteration by
    /// jobs of several items each: more while they are short. As Python's
    /// `Executor.map`, with a bound on what is in flight.
    ///
    /// ```
    /// # let pool = threeply_pools::thread::ThreadPool::new(2).unwrap();
    /// let squares: Result<Vec<_>, _> = pool.map(1..=4, |n| n * n).collect();
    /// assert_eq!(squares.unwrap(), [1, 4, 9, 16]);
    /// ```
    #[track_caller]
    pub fn map<I, F, R>(&self, items: I, f: F) -> Map<I::IntoIter, F, R>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        self.map_with(items, MapOptions::default(), f)
    }

    /// [`map`](Self::map) with its chunks and its bound set by hand.
    #[track_caller]
    pub fn map_with<I, F, R>(&self, items: I, options: MapOptions, f: F) -> Map<I::IntoIter, F, R>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        let automatic = options.chunk == 0;
        let in_flight = match options.in_flight {
            0 => self.num_threads() * limits::CHUNKS_PER_THREAD,
            bound => bound,
        };
        Map {
            registry: self.registry().clone(),
            site: Location::caller(),
            input: items.into_iter(),
            f: Arc::new(f),
            flying: VecDeque::new(),
            ready: VecDeque::new(),
            chunk: options.chunk.max(1),
            automatic,
            in_flight,
        }
    }
}
