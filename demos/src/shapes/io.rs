//! The article's download program with blocking calls: one thread waits for
//! one download.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Parser;
use threeply_pools::thread::{ThreadPool, blocking};
use url::Url;

use crate::engine::Engine;
use crate::local_server::LocalServer;
use crate::output::Output;
use crate::{Error, cli, http, limits};

/// Downloads with blocking calls, a thread for each or one after the other.
#[derive(Debug, Parser)]
#[command(name = "io_bound", version)]
pub struct Arguments {
    /// Who downloads
    #[arg(long, default_value = "threads", value_parser = ["threads", "sequential"])]
    engine: String,
    #[command(flatten)]
    what: What,
}

/// What to download; the same for `io_bound` and `async_io`.
#[derive(Debug, clap::Args)]
pub struct What {
    /// URLs to download; without any, a page of our own local server
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// A URL to download, as an option
    #[arg(long = "url", value_name = "URL")]
    more_urls: Vec<String>,
    /// How often to download each; 5 for a single URL, else 1
    #[arg(long, value_parser = cli::count, allow_negative_numbers = true)]
    count: Option<u32>,
    /// Seconds after which a download is given up
    #[arg(long, default_value = "30", value_parser = cli::seconds, allow_negative_numbers = true)]
    timeout: Duration,
    /// Trust the certificates in this PEM file instead of Mozilla's list
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
}

/// What to download and how, once everything that can be wrong has been checked.
#[derive(Debug)]
pub struct Job {
    /// The downloads.
    pub plan: Plan,
    /// When to give up on one.
    pub timeout: Duration,
    /// Whom to trust.
    pub cacert: Option<PathBuf>,
    /// Our own server, if nobody else's URL was given. It ends with the job.
    _server: Option<LocalServer>,
}

impl What {
    /// Checks the arguments, and starts the local server if there is no URL.
    ///
    /// # Errors
    /// [`Error::Usage`] for a URL that can't be requested.
    pub fn job(self) -> Result<Job, Error> {
        let mut urls = self.urls;
        urls.extend(self.more_urls);
        let server = if urls.is_empty() {
            Some(LocalServer::start()?)
        } else {
            None
        };
        urls.extend(server.as_ref().map(|server| server.url().to_owned()));
        let plan = Plan::new(&urls, self.count)?;
        Ok(Job {
            plan,
            timeout: self.timeout,
            cacert: self.cacert,
            _server: server,
        })
    }
}

/// Prints the article's line for each download and remembers how many failed.
#[derive(Debug)]
pub struct Report {
    out: Output,
    started: Instant,
    tried: usize,
    failed: usize,
}

impl Report {
    /// A report that starts now.
    pub fn start() -> Report {
        Report {
            out: Output::new(),
            started: Instant::now(),
            tried: 0,
            failed: 0,
        }
    }

    /// One download has ended.
    ///
    /// # Errors
    /// [`Error::Stdout`].
    pub fn download(&mut self, url: &Url, outcome: &Outcome) -> Result<(), Error> {
        self.tried += 1;
        match outcome {
            Ok(status) => self
                .out
                .line(format_args!("Downloaded {url} with status {status}")),
            Err(e) => {
                self.failed += 1;
                self.out.line(format_args!("Error downloading {url}: {e}"))
            }
        }
    }

    /// All have ended.
    ///
    /// # Errors
    /// [`Error::AllDownloadsFailed`] if so; [`Error::Stdout`].
    pub fn end(mut self, engine: Engine) -> Result<(), Error> {
        let seconds = self.started.elapsed().as_secs_f64();
        self.out.line(format_args!(
            "{} took {seconds:.2} seconds.",
            engine.article_name()
        ))?;
        if self.failed == self.tried {
            Err(Error::AllDownloadsFailed { tried: self.tried })
        } else {
            Ok(())
        }
    }
}

/// `io_bound`'s main.
///
/// # Errors
/// When every download failed, or the output can't be written.
pub fn main(arguments: Arguments) -> Result<(), Error> {
    let engine = if arguments.engine == "sequential" {
        Engine::Sequential
    } else {
        Engine::Threads
    };
    let job = arguments.what.job()?;
    let client = Client::new(job.timeout, job.cacert.as_deref())?;
    let mut report = Report::start();
    match engine {
        Engine::Sequential => sequential(&client, &job.plan, |url, outcome| {
            report.download(url, &outcome)
        })?,
        _ => {
            let pool = downloaders(job.plan.urls.len())?;
            on_threads(&pool, &client, &job.plan, |url, outcome| {
                report.download(url, &outcome)
            })?;
        }
    }
    report.end(engine)
}

/// What came of one download.
pub type Outcome = Result<u16, http::Error>;

/// What to download, decided before anything is started.
#[derive(Debug, Clone)]
pub struct Plan {
    /// One entry for each download.
    pub urls: Vec<Url>,
}

impl Plan {
    /// Every URL `count` times, in turn; by default one URL five times, as the
    /// article has it, and several once each.
    ///
    /// # Errors
    /// [`Error::Usage`] for the first URL that can't be requested.
    pub fn new(urls: &[String], count: Option<u32>) -> Result<Plan, Error> {
        let parsed = urls
            .iter()
            .map(|text| http::target::parse(text).map_err(|e| Error::Usage(e.to_string())))
            .collect::<Result<Vec<Url>, Error>>()?;
        let each = count.unwrap_or(if urls.len() == 1 { 5 } else { 1 });
        let urls = (0..each).flat_map(|_| parsed.iter().cloned()).collect();
        Ok(Plan { urls })
    }
}

/// The blocking client: `ureq`, a new connection for each download, as
/// `requests.get` makes one.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
    timeout: Duration,
}

impl Client {
    /// A client that trusts Mozilla's certificates, or only those in `cacert`.
    ///
    /// # Errors
    /// [`Error::Usage`] when `cacert` can't be read or holds no certificate.
    pub fn new(timeout: Duration, cacert: Option<&Path>) -> Result<Client, Error> {
        let mut tls = ureq::tls::TlsConfig::builder();
        if let Some(path) = cacert {
            tls = tls.root_certs(ureq::tls::RootCerts::from(certificates(path)?));
        }
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(limits::MAX_REDIRECTS)
            .max_idle_connections(0)
            .user_agent(http::USER_AGENT)
            .tls_config(tls.build())
            .build()
            .new_agent();
        Ok(Client { agent, timeout })
    }

    /// Downloads `url`, throws its body away, returns its status.
    ///
    /// # Errors
    /// Why it failed; see [`http::Error`].
    pub fn fetch(&self, url: &Url) -> Outcome {
        let _span = threeply_runtime::trace::span("download");
        let failed = |e| http::Error::from_ureq(e, url, self.timeout);
        let response = self.agent.get(url.as_str()).call().map_err(failed)?;
        let status = response.status().as_u16();
        let mut body = response
            .into_body()
            .into_with_config()
            .limit(limits::MAX_DOWNLOAD_BYTES)
            .reader();
        io::copy(&mut body, &mut io::sink()).map_err(|e| failed(ureq::Error::from(e)))?;
        Ok(status)
    }
}

fn certificates(path: &Path) -> Result<Vec<ureq::tls::Certificate<'static>>, Error> {
    let pem = std::fs::read(path).map_err(|e| {
        Error::Usage(format!(
            "cannot read the certificates in {}: {e}",
            path.display()
        ))
    })?;
    let found: Vec<_> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(Error::Usage(format!(
            "{} holds no certificate in PEM form",
            path.display()
        )));
    }
    Ok(found)
}

/// One download after the other on the calling thread.
///
/// # Errors
/// Those of `finished`, which is called after each download.
pub fn sequential(
    client: &Client,
    plan: &Plan,
    mut finished: impl FnMut(&Url, Outcome) -> Result<(), Error>,
) -> Result<(), Error> {
    plan.urls
        .iter()
        .try_for_each(|url| finished(url, client.fetch(url)))
}

/// A thread for each of `downloads`, up to [`limits::MAX_BLOCKING_DOWNLOADERS`].
///
/// # Errors
/// When the threads can't be started.
pub fn downloaders(downloads: usize) -> Result<ThreadPool, Error> {
    let threads = downloads.clamp(1, limits::MAX_BLOCKING_DOWNLOADERS);
    let workers = threads.min(limits::DOWNLOAD_WORKERS);
    Ok(ThreadPool::builder()
        .threads(workers)
        .max_spares(threads - workers)
        .build()?)
}

/// Every download on a thread of its own, reported in the order they end.
///
/// # Errors
/// Those of `finished`; the downloads that are under way then are given up.
pub fn on_threads(
    pool: &ThreadPool,
    client: &Client,
    plan: &Plan,
    mut finished: impl FnMut(&Url, Outcome) -> Result<(), Error>,
) -> Result<(), Error> {
    let (ended, outcomes) = mpsc::channel();
    for url in plan.urls.iter().cloned() {
        let (client, ended) = (client.clone(), ended.clone());
        drop(pool.spawn(move || {
            let outcome = blocking(|| client.fetch(&url));
            // Nobody listens any more if the report has failed.
            let _ = ended.send((url, outcome));
        }));
    }
    drop(ended);
    outcomes
        .iter()
        .try_for_each(|(url, outcome)| finished(&url, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_url_is_fetched_five_times_and_several_once_each() {
        let plan = |urls: &[&str], count| {
            let urls: Vec<String> = urls.iter().map(|url| url.to_string()).collect();
            Plan::new(&urls, count).map(|plan| plan.urls.len())
        };
        assert_eq!(plan(&["http://a.test"], None).unwrap(), 5);
        assert_eq!(plan(&["http://a.test", "http://b.test"], None).unwrap(), 2);
        assert_eq!(
            plan(&["http://a.test", "http://b.test"], Some(3)).unwrap(),
            6
        );
        assert!(matches!(
            plan(&["http://a.test", "b.test"], None),
            Err(Error::Usage(_))
        ));
    }
}
