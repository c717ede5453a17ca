//! The article's shapes on the engines, as rounds: what a measured child runs.
//!
//! Every round checks its results; a wrong one ends the comparison. A warm round
//! uses an engine that is there already; a cold one counts the engine's start
//! and end, as the article's programs do.

use std::time::{Duration, Instant};

use threeply_pools::process::ProcessPool;
use threeply_pools::thread::ThreadPool;
use threeply_runtime::EventLoop;
use url::Url;

use super::Workload;
use super::measured::Order;
use crate::engine::Engine;
use crate::http::client::Client as LoopClient;
use crate::shapes::io::{Client, Outcome, Plan};
use crate::shapes::{async_io, cpu, io};
use crate::{Error, limits};

/// One workload on one engine.
pub trait Contestant {
    /// Makes the engine and waits until its workers are ready. Called once,
    /// before the first warm round.
    ///
    /// # Errors
    /// When the engine can't be started.
    fn prepare(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Does the work on the prepared engine; returns the time it took.
    ///
    /// # Errors
    /// When the engine or the work fails.
    fn warm(&mut self) -> Result<Duration, Error>;

    /// Makes an engine, does the work on it and shuts it down; returns the time
    /// that all of it took.
    ///
    /// # Errors
    /// When the engine or the work fails.
    fn cold(&mut self) -> Result<Duration, Error>;
}

/// The contestant for an order.
///
/// # Errors
/// [`Error::Child`] for an engine that the workload isn't run on.
pub fn enter(order: &Order) -> Result<Box<dyn Contestant>, Error> {
    let &Order {
        workload,
        engine,
        count,
        n,
        ..
    } = order;
    match workload {
        Workload::CpuBound | Workload::CpuBoundLarge => Ok(match engine {
            Engine::Sequential => Box::new(SequentialSums { count, n }),
            Engine::Limit => Box::new(LimitSums { count, n }),
            Engine::Processes => Box::new(ProcessSums {
                count,
                n,
                pool: None,
            }),
            Engine::Threads => Box::new(ThreadSums {
                count,
                n,
                pool: None,
            }),
            Engine::Loop => Box::new(LoopSums {
                count,
                n,
                event_loop: None,
            }),
        }),
        Workload::IoBound | Workload::ManyConnections => {
            limits::raise_open_files();
            let downloads = Downloads::new(order)?;
            Ok(match engine {
                Engine::Sequential => Box::new(SequentialDownloads(downloads)),
                Engine::Processes => Box::new(ProcessDownloads {
                    downloads,
                    pool: None,
                }),
                Engine::Threads => Box::new(ThreadDownloads {
                    downloads,
                    pool: None,
                }),
                Engine::Loop => Box::new(LoopDownloads {
                    downloads,
                    event_loop: None,
                }),
                Engine::Limit => {
                    return Err(Error::Child(format!(
                        "{} has no limit row",
                        workload.name()
                    )));
                }
            })
        }
    }
}

/// Times `work`.
fn timed(work: impl FnOnce() -> Result<(), Error>) -> Result<Duration, Error> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed())
}

fn no_report(_n: u64) -> Result<(), Error> {
    Ok(())
}

struct SequentialSums {
    count: u32,
    n: u64,
}

impl Contestant for SequentialSums {
    fn warm(&mut self) -> Result<Duration, Error> {
        timed(|| cpu::sequential(self.count, self.n, no_report))
    }
    fn cold(&mut self) -> Result<Duration, Error> {
        self.warm()
    }
}

struct LimitSums {
    count: u32,
    n: u64,
}

impl Contestant for LimitSums {
    fn warm(&mut self) -> Result<Duration, Error> {
        cpu::limit(self.count, self.n, false)
    }
    fn cold(&mut self) -> Result<Duration, Error> {
        cpu::limit(self.count, self.n, true)
    }
}

struct ProcessSums {
    count: u32,
    n: u64,
    pool: Option<ProcessPool>,
}

impl Contestant for ProcessSums {
    fn prepare(&mut self) -> Result<(), Error> {
        let pool = cpu::processes(self.count)?;
        cpu::on_processes(&pool, self.count, 1_000, no_report)?;
        self.pool = Some(pool);
        Ok(())
    }
    fn warm(&mut self) -> Result<Duration, Error> {
        let pool = prepared(&self.pool)?;
        timed(|| cpu::on_processes(pool, self.count, self.n, no_report))
    }
    fn cold(&mut self) -> Result<Duration, Error> {
        timed(|| cpu::on_processes(&cpu::processes(self.count)?, self.count, self.n, no_report))
    }
}

struct ThreadSums {
    count: u32,
    n: u64,
    pool: Option<ThreadPool>,
}

impl Contestant for ThreadSums {
    fn prepare(&mut self) -> Result<(), Error> {
        let pool = cpu::threads(self.count)?;
        cpu::on_threads(&pool, self.count, 1_000, no_report)?;
        self.pool = Some(pool);
        Ok(())
    }
    fn warm(&mut self) -> Result<Duration, Error> {
        let pool = prepared(&self.pool)?;
        timed(|| cpu::on_threads(pool, self.count, self.n, no_report))
    }
    fn cold(&mut self) -> Result<Duration, Error> {
        timed(|| cpu::on_threads(&cpu::threads(self.count)?, self.count, self.n, no_report))
    }
}

struct LoopSums {
    count: u32,
    n: u64,
    event_loop: Option<EventLoop>,
}

impl Contestant for LoopSums {
    fn prepare(&mut self) -> Result<(), Error> {
        self.event_loop = Some(EventLoop::new()?);
        Ok(())
    }
    fn warm(&mut self) -> Result<Duration, Error> {
        let event_loop = prepared(&self.event_loop)?;
        timed(|| event_loop.block_on(cpu::on_loop(self.count, self.n, no_report)))
    }
    fn cold(&mut self) -> Result<Duration, Error> {
        timed(|| EventLoop::new()?.block_on(cpu::on_loop(self.count, self.n, no_report)))
    }
}

fn prepared<T>(engine: &Option<T>) -> Result<&T, Error> {
    engine
        .as_ref()
        .ok_or_else(|| Error::Child("a warm round before its engine was made".into()))
}

/// What the downloads of all engines have in common: the same URL, the same
/// number, a new connection for each.
struct Downloads {
    plan: Plan,
    client: Client,
}

impl Downloads {
    fn new(order: &Order) -> Result<Downloads, Error> {
        let plan = Plan::new(std::slice::from_ref(&order.url), Some(order.count))?;
        Ok(Downloads {
            plan,
            client: Client::new(limits::DOWNLOAD_TIMEOUT, None)?,
        })
    }

    fn len(&self) -> usize {
        self.plan.urls.len()
    }
}

/// A download that fails, or answers anything but 200, must not be timed.
fn check(_url: &Url, outcome: Outcome) -> Result<(), Error> {
    match outcome? {
        200 => Ok(()),
        status => Err(Error::Child(format!(
            "a download had status {status} instead of 200"
        ))),
    }
}

struct SequentialDownloads(Downloads);

impl Contestant for SequentialDownloads {
    fn warm(&mut self) -> Result<Duration, Error> {
        timed(|| io::sequential(&self.0.client, &self.0.plan, check))
    }
    fn cold(&mut self) -> Result<Duration, Error> {
        self.warm()
    }
}

struct ProcessDownloads {
    downloads: Downloads,
    pool: Option<ProcessPool>,
}

/// Runs in a worker process, whose first download makes its client.
fn fetch_here(url: String) -> Result<u16, String> {
    thread_local! {
        static CLIENT: Result<Client, String> =
            Client::new(limits::DOWNLOAD_TIMEOUT, None).map_err(|e| e.to_string());
    }
    let url: Url = url.parse().map_err(|e: url::ParseError| e.to_string())?;
    CLIENT.with(|client| {
        client
            .as_ref()
            .map_err(Clone::clone)?
            .fetch(&url)
            .map_err(|e| e.to_string())
    })
}

impl ProcessDownloads {
    fn new_pool(&self) -> Result<ProcessPool, Error> {
        Ok(ProcessPool::new(self.downloads.len())?)
    }

    fn fetch_all(&self, pool: &ProcessPool) -> Result<(), Error> {
        let urls = self.downloads.plan.urls.iter();
        let jobs = urls
            .map(|url| pool.submit(fetch_here, url.to_string()))
            .collect::<Result<Vec<_>, _>>()?;
        for job in jobs {
            match job.wait()? {
                Ok(200) => {}
                Ok(status) => {
                    return Err(Error::Child(format!(
                        "a download had status {status} instead of 200"
                    )));
                }
                Err(e) => return Err(Error::Child(format!("a download failed: {e}"))),
            }
        }
        Ok(())
    }
}

impl Contestant for ProcessDownloads {
    fn prepare(&mut self) -> Result<(), Error> {
        self.pool = Some(self.new_pool()?);
        Ok(())
    }
    fn warm(&mut self) -> Result<Duration, Error> {
        let pool = prepared(&self.pool)?;
        timed(|| self.fetch_all(pool))
    }
    fn cold(&mut self) -> Result<Duration, Error> {
        timed(|| self.fetch_all(&self.new_pool()?))
    }
}

struct ThreadDownloads {
    downloads: Downloads,
    pool: Option<ThreadPool>,
}

impl ThreadDownloads {
    fn fetch_all(&self, pool: &ThreadPool) -> Result<(), Error> {
        io::on_threads(pool, &self.downloads.client, &self.downloads.plan, check)
    }
}

impl Contestant for ThreadDownloads {
    fn prepare(&mut self) -> Result<(), Error> {
        self.pool = Some(io::downloaders(self.downloads.len())?);
        Ok(())
    }
    fn warm(&mut self) -> Result<Duration, Error> {
        let pool = prepared(&self.pool)?;
        timed(|| self.fetch_all(pool))
    }
    fn cold(&mut self) -> Result<Duration, Error> {
        timed(|| self.fetch_all(&io::downloaders(self.downloads.len())?))
    }
}

struct LoopDownloads {
    downloads: Downloads,
    event_loop: Option<(EventLoop, LoopClient)>,
}

impl LoopDownloads {
    fn start(&self) -> Result<(EventLoop, LoopClient), Error> {
        Ok((
            EventLoop::new()?,
            async_io::client(limits::DOWNLOAD_TIMEOUT, None),
        ))
    }

    fn fetch_all(&self, (event_loop, client): &(EventLoop, LoopClient)) -> Result<(), Error> {
        event_loop.block_on(async_io::on_loop(
            client,
            &self.downloads.plan,
            limits::DOWNLOAD_TIMEOUT,
            check,
        ))
    }
}

impl Contestant for LoopDownloads {
    fn prepare(&mut self) -> Result<(), Error> {
        self.event_loop = Some(self.start()?);
        Ok(())
    }
    fn warm(&mut self) -> Result<Duration, Error> {
        let started = prepared(&self.event_loop)?;
        timed(|| self.fetch_all(started))
    }
    fn cold(&mut self) -> Result<Duration, Error> {
        timed(|| self.fetch_all(&self.start()?))
    }
}
