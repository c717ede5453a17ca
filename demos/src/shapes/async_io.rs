//! The article's download program on the event loop: one thread waits for all
//! downloads at once.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use threeply_runtime as runtime;
use url::Url;

use super::io::{Job, Outcome, Plan, Report, What};
use crate::engine::Engine;
use crate::http::client::{Client, Config, Tls};
use crate::{Error, limits};

/// Downloads on an event loop: one thread, all at once.
#[derive(Debug, Parser)]
#[command(name = "async_io", version)]
pub struct Arguments {
    #[command(flatten)]
    what: What,
}

/// `async_io`'s main.
///
/// # Errors
/// When every download failed, or the output can't be written.
pub fn main(arguments: Arguments) -> Result<(), Error> {
    let job = arguments.what.job()?;
    let Job {
        plan,
        timeout,
        cacert,
        ..
    } = &job;
    let mut report = Report::start();
    runtime::block_on(async {
        let client = client(*timeout, cacert.clone());
        on_loop(&client, plan, *timeout, |url, outcome| {
            report.download(url, &outcome)
        })
        .await
    })?;
    report.end(Engine::Loop)
}

/// A client that makes a new connection for each download, as `requests.get`
/// and our blocking client do, so that all engines do the same work.
pub fn client(timeout: Duration, cacert: Option<PathBuf>) -> Client {
    Client::new(Config {
        connections: limits::MAX_CONCURRENT_CONNECTIONS,
        connections_per_host: limits::MAX_CONCURRENT_CONNECTIONS,
        idle: 0,
        connect_timeout: timeout,
        read_timeout: timeout,
        total_timeout: Some(timeout),
        tls: Tls {
            ca_bundle: cacert,
            ..Tls::default()
        },
        ..Config::default()
    })
}

/// Every download as a task of the current loop, reported in the order they end.
///
/// # Errors
/// Those of `finished`; the downloads that are under way then are given up.
pub async fn on_loop(
    client: &Client,
    plan: &Plan,
    timeout: Duration,
    mut finished: impl FnMut(&Url, Outcome) -> Result<(), Error>,
) -> Result<(), Error> {
    let (ended, mut outcomes) = runtime::sync::local::mpsc::unbounded_channel();
    for url in plan.urls.iter().cloned() {
        let (client, ended) = (client.clone(), ended.clone());
        drop(runtime::spawn(async move {
            let outcome = fetch(&client, &url, timeout).await;
            // Nobody listens any more if the report has failed.
            let _ = ended.send((url, outcome));
        }));
    }
    drop(ended);
    while let Some((url, outcome)) = outcomes.recv().await {
        finished(&url, outcome)?;
    }
    Ok(())
}

/// Downloads `url`, throws its body away, returns its status.
///
/// # Errors
/// Why it failed; see [`crate::http::Error`].
pub async fn fetch(client: &Client, url: &Url, timeout: Duration) -> Outcome {
    let response = client.get(url.as_str()).timeout(timeout).send().await?;
    let status = response.status().as_u16();
    response.drain().await?;
    Ok(status)
}
