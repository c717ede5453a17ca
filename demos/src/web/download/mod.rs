//! Many files at once, each until it is whole and right.
//!
//! All transfers are tasks of one loop; a semaphore says how many run. What a
//! file goes through (continuing a part, trying again, the checksum) is
//! [`crate::http::client::download`]'s; here are the names, the bars, and what is
//! told at the end. Checksums are computed on the thread pool.
//!
//! Without URLs it downloads from a server of its own ([`origin`]), which is
//! slow, breaks a connection in the middle and is busy at times.

pub mod names;
pub mod origin;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{BinaryBytes, MultiProgress, ProgressBar, ProgressStyle};
use threeply_runtime as runtime;
use threeply_runtime::cancel::CancellationToken;
use threeply_runtime::future::{Either, select_biased};
use threeply_runtime::signal::{Signal, Signals};
use threeply_runtime::sync::local::{Semaphore, mpsc};

use crate::http::client::{Client, Config, Retry, Saved, Sha256, Tls, checksum};
use crate::output::Output;
use crate::{Error, cli, http as web, limits};
use origin::Origin;

/// Downloads files, many at once, and continues what was left unfinished.
#[derive(Debug, Parser)]
#[command(name = "download", version)]
pub struct Arguments {
    /// What to download. Without any, files of a server of our own
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// The folder that the files are saved in [default: ., without URLs a
    /// temporary one]
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
    /// How many files at once
    #[arg(long, default_value_t = limits::FILES_AT_ONCE, value_parser = cli::at_once, allow_negative_numbers = true)]
    at_once: u32,
    /// Further tries for a file when a try brought nothing new
    #[arg(long, default_value = "5", value_parser = cli::retries, allow_negative_numbers = true)]
    retries: u32,
    /// Seconds without a byte after which a connection is given up
    #[arg(long, default_value = "30", value_parser = cli::seconds, allow_negative_numbers = true)]
    timeout: Duration,
    /// The SHA-256 that a file must have; once for each URL, in their order
    #[arg(long, value_name = "HEX")]
    sha256: Vec<Sha256>,
    /// A file of checksums, as `sha256sum` writes them, found by the files' names
    #[arg(long, value_name = "FILE", conflicts_with = "sha256")]
    checksums: Option<PathBuf>,
    /// Begin at the beginning, whatever is there of an earlier run
    #[arg(long)]
    fresh: bool,
    /// Trust the authorities in this PEM file instead of Mozilla's list
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
}

/// A file to be.
struct Job {
    url: String,
    name: String,
    path: PathBuf,
    checksum: Option<Sha256>,
}

/// `download`'s main.
///
/// # Errors
/// [`Error::Usage`] for URLs, checksums or a folder that can't be;
/// [`Error::DownloadsFailed`]; [`Error::Interrupted`].
pub fn main(arguments: Arguments) -> Result<(), Error> {
    let tls = Tls {
        ca_bundle: arguments.cacert.clone(),
        ..Tls::default()
    };
    // A bundle that can't be used is told at once, not once for each file.
    tls.connector().map_err(|e| Error::Usage(e.to_string()))?;
    let temporary = match (&arguments.into, arguments.urls.is_empty()) {
        (None, true) => Some(tempfile::tempdir().map_err(Error::io("make a temporary folder"))?),
        _ => None,
    };
    let folder = match (&arguments.into, &temporary) {
        (Some(folder), _) => folder.clone(),
        (None, Some(folder)) => folder.path().to_owned(),
        (None, None) => PathBuf::from("."),
    };
    if !folder.is_dir() {
        return Err(Error::Usage(format!(
            "{} is no folder; make it, or name another with --into",
            folder.display()
        )));
    }
    let asked_for = jobs(&arguments, &folder)?;
    limits::raise_open_files();
    let mut out = Output::new();
    runtime::block_on(async {
        let mut stop = Signals::new(&[Signal::INTERRUPT, Signal::TERMINATE])
            .map_err(Error::io("listen for Ctrl-C"))?;
        let own = match asked_for.is_empty() {
            true => Some(Origin::start().await?),
            false => None,
        };
        let jobs = match &own {
            Some(own) => own.jobs(&folder),
            None => asked_for,
        };
        let client = Client::new(Config {
            connections: arguments.at_once as usize,
            connections_per_host: arguments.at_once as usize,
            read_timeout: arguments.timeout,
            retry: Retry::times(arguments.retries),
            tls,
            ..Config::default()
        });
        all(jobs, &client, &arguments, &mut stop, &mut out).await
    })
}

/// What the arguments ask for; every mistake is found before anything is sent.
fn jobs(arguments: &Arguments, folder: &Path) -> Result<Vec<Job>, Error> {
    let usage = |text: String| Error::Usage(text);
    let given = arguments.sha256.len();
    if given > 0 && given != arguments.urls.len() {
        return Err(usage(format!(
            "--sha256 is given {given} times for {} URLs; give it once for each, in their order",
            arguments.urls.len()
        )));
    }
    let sums = match &arguments.checksums {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|e| usage(format!("--checksums {}: {e}", path.display())))?;
            let sums = checksum::parse_list(&text)
                .map_err(|e| usage(format!("--checksums {}: {e}", path.display())))?;
            Some(sums)
        }
    };
    let mut taken = names::Names::default();
    let mut jobs = Vec::new();
    for (number, text) in arguments.urls.iter().enumerate() {
        let url = web::target::parse(text).map_err(|e| usage(e.to_string()))?;
        let name = taken.name_for(&url);
        let checksum = match &sums {
            None => arguments.sha256.get(number).copied(),
            Some(sums) => Some(*sums.get(&name).ok_or_else(|| {
                usage(format!(
                    "--checksums has none for {name}; add it to the file"
                ))
            })?),
        };
        jobs.push(Job {
            url: text.clone(),
            path: folder.join(&name),
            name,
            checksum,
        });
    }
    Ok(jobs)
}

/// Downloads all of them; tells each one's end, and the end of all.
async fn all(
    jobs: Vec<Job>,
    client: &Client,
    arguments: &Arguments,
    stop: &mut Signals,
    out: &mut Output,
) -> Result<(), Error> {
    let started = Instant::now();
    let tried = jobs.len();
    let bars = MultiProgress::new();
    let places = Rc::new(Semaphore::new(arguments.at_once as usize));
    let stopping = CancellationToken::new();
    let (done, mut ended) = mpsc::unbounded_channel();
    for job in jobs {
        let (client, places, bars) = (client.clone(), places.clone(), bars.clone());
        let (stopping, done, fresh) = (stopping.clone(), done.clone(), arguments.fresh);
        drop(runtime::spawn(async move {
            let transfer = async {
                let _place = places.acquire().await.expect("never closed");
                transfer(&client, &job, fresh, &bars).await
            };
            let outcome = stopping.run(transfer).await;
            // Nobody listens any more if the output has failed.
            let _ = done.send((job, outcome));
        }));
    }
    drop(done);
    let (mut failed, mut stopped, mut bytes) = (0, 0, 0);
    loop {
        let (job, outcome) = match select_biased((stop.recv(), ended.recv())).await {
            Either::First(_signal) => {
                stopping.cancel();
                continue;
            }
            Either::Second(None) => break,
            Either::Second(Some(ended)) => ended,
        };
        let line = match outcome {
            Ok(Ok(saved)) => {
                bytes += saved.bytes - saved.resumed_at;
                success(&job, saved)
            }
            Ok(Err(e)) => {
                failed += 1;
                format!("Error downloading {}: {e}", job.url)
            }
            Err(_cancelled) => {
                stopped += 1;
                continue;
            }
        };
        bars.suspend(|| out.line(line))?;
    }
    let took = started.elapsed().as_secs_f64();
    out.line(format_args!(
        "{} of {tried} files downloaded in {took:.2} seconds, {} at once, {} received.",
        tried - failed - stopped,
        arguments.at_once,
        BinaryBytes(bytes),
    ))?;
    if stopped > 0 {
        out.line(format_args!(
            "{stopped} were stopped; the same command continues them."
        ))?;
        return Err(Error::Interrupted);
    }
    if failed > 0 {
        return Err(Error::DownloadsFailed { failed, tried });
    }
    Ok(())
}

/// One file, with its bar.
async fn transfer(
    client: &Client,
    job: &Job,
    fresh: bool,
    bars: &MultiProgress,
) -> Result<Saved, web::Error> {
    let bar = bars.add(ProgressBar::no_length().with_style(style()));
    bar.set_message(job.name.clone());
    let download = client
        .download(&job.url, &job.path)
        .resume(!fresh)
        .checksum(job.checksum);
    let outcome = download
        .run(|progress| {
            if let Some(total) = progress.total {
                bar.set_length(total);
            }
            bar.set_position(progress.bytes);
        })
        .await;
    bar.finish_and_clear();
    bars.remove(&bar);
    outcome
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template(
        "{msg:24!} {wide_bar} {binary_bytes:>11}/{binary_total_bytes:11} {binary_bytes_per_sec:>13} {eta:>4}",
    )
    .expect("the template is valid")
}

fn success(job: &Job, saved: Saved) -> String {
    let mut line = format!("Downloaded {}: {}", job.name, BinaryBytes(saved.bytes));
    if saved.bytes > 0 && saved.resumed_at == saved.bytes {
        line += ", was there already";
    } else if saved.resumed_at > 0 {
        line += &format!(", continued at {}", BinaryBytes(saved.resumed_at));
    }
    match saved.breaks {
        0 => {}
        1 => line += ", the connection broke once",
        n => line += &format!(", the connection broke {n} times"),
    }
    if job.checksum.is_some() {
        line += ", SHA-256 as expected";
    }
    line
}
