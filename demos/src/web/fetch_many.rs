//! Many API calls, no more than so many at once.
//!
//! The example that every guide to asyncio has: a list of requests, a semaphore
//! beside them, `gather` around them. Here the session itself has the limit, a
//! server that is busy is asked again when it says so, and one that fails
//! doesn't spoil the others.
//!
//! Without a URL it calls an API of its own, which answers after 20 ms and is
//! busy (503, Retry-After) whenever more than the limit ask, and now and then
//! otherwise.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use threeply_runtime as runtime;
use threeply_runtime::sync::local::mpsc;

use crate::http::client::{Client, Config, Retry};
use crate::http::server::{Limits, Reply, Routes, Server};
use crate::local_server::listen;
use crate::output::Output;
use crate::{Error, cli, http as web, limits};

/// Calls a JSON API many times, with a limit on how many calls are under way.
#[derive(Debug, Parser)]
#[command(name = "fetch_many", version)]
pub struct Arguments {
    /// What to call; `{}` stands for the call's number. Without it, an API of
    /// our own
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// How many calls
    #[arg(long, default_value = "100", value_parser = cli::count, allow_negative_numbers = true)]
    calls: u32,
    /// How many at once
    #[arg(long, default_value_t = limits::API_CALLS_AT_ONCE, value_parser = cli::count, allow_negative_numbers = true)]
    at_once: u32,
    /// Further tries for a call that fails in a way that may pass
    #[arg(long, default_value = "5", value_parser = cli::retries, allow_negative_numbers = true)]
    retries: u32,
    /// Seconds after which a call is given up
    #[arg(long, default_value = "30", value_parser = cli::seconds, allow_negative_numbers = true)]
    timeout: Duration,
}

/// `fetch_many`'s main.
///
/// # Errors
/// [`Error::Usage`] for a bad URL; when every call failed.
pub fn main(arguments: Arguments) -> Result<(), Error> {
    if let Some(url) = &arguments.url {
        web::target::parse(&url.replace("{}", "0")).map_err(|e| Error::Usage(e.to_string()))?;
    }
    limits::raise_open_files();
    let mut out = Output::new();
    runtime::block_on(async {
        let own = match arguments.url {
            Some(_) => None,
            None => Some(Api::start(arguments.at_once)?),
        };
        let template = match (&arguments.url, &own) {
            (Some(url), _) => url.clone(),
            (None, Some(api)) => api.template.clone(),
            (None, None) => return Ok(()),
        };
        call_all(&arguments, &template, &mut out).await?;
        if let Some(api) = own {
            out.line(format_args!(
                "The server saw {} at once at most and was busy {} times.",
                api.most.get(),
                api.busy.get()
            ))?;
        }
        Ok(())
    })
}

async fn call_all(arguments: &Arguments, template: &str, out: &mut Output) -> Result<(), Error> {
    let client = Client::new(Config {
        connections_per_host: arguments.at_once as usize,
        connections: arguments.at_once as usize,
        retry: Retry::times(arguments.retries),
        ..Config::default()
    });
    let started = Instant::now();
    let (done, mut answers) = mpsc::unbounded_channel();
    for number in 0..arguments.calls {
        let (client, done) = (client.clone(), done.clone());
        let url = template.replace("{}", &number.to_string());
        let timeout = arguments.timeout;
        drop(runtime::spawn(async move {
            let outcome = call(&client, &url, timeout).await;
            // Nobody listens any more if the output has failed.
            let _ = done.send((url, outcome));
        }));
    }
    drop(done);
    let bar = ProgressBar::new(arguments.calls.into());
    let mut failed = 0;
    while let Some((url, outcome)) = answers.recv().await {
        bar.inc(1);
        if let Err(e) = outcome {
            failed += 1;
            bar.suspend(|| out.line(format_args!("Error calling {url}: {e}")))?;
        }
    }
    bar.finish_and_clear();
    let calls = arguments.calls as usize;
    out.line(format_args!(
        "{} of {calls} calls answered in {:.2} seconds, {} at once, over {} connections.",
        calls - failed,
        started.elapsed().as_secs_f64(),
        arguments.at_once,
        client.connections_made(),
    ))?;
    if failed == calls {
        Err(Error::AllDownloadsFailed { tried: calls })
    } else {
        Ok(())
    }
}

async fn call(client: &Client, url: &str, timeout: Duration) -> Result<Value, web::Error> {
    client
        .get(url)
        .timeout(timeout)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await
}

/// The API that is called when none is named.
struct Api {
    template: String,
    most: Rc<Cell<u32>>,
    busy: Rc<Cell<u32>>,
}

impl Api {
    /// Starts it on the current loop.
    fn start(at_once: u32) -> Result<Api, Error> {
        let listener = listen("127.0.0.1:0".parse().expect("it is an address"))?;
        let (inside, most, busy) = (
            Rc::new(Cell::new(0)),
            Rc::new(Cell::new(0)),
            Rc::new(Cell::new(0)),
        );
        let (seen_most, seen_busy) = (most.clone(), busy.clone());
        let routes = Routes::new().on(Method::GET, "/items/{id}", move |request| {
            let (inside, most, busy) = (inside.clone(), seen_most.clone(), seen_busy.clone());
            async move {
                inside.set(inside.get() + 1);
                most.set(most.get().max(inside.get()));
                let over = inside.get() > at_once;
                runtime::time::sleep(Duration::from_millis(20)).await;
                inside.set(inside.get() - 1);
                let id: u64 = request.params[0].parse().unwrap_or_default();
                // Every tenth is refused until others have been, too.
                if over || (id % 10 == 3 && u64::from(busy.get()) <= id / 10) {
                    busy.set(busy.get() + 1);
                    return Reply::refusal(StatusCode::SERVICE_UNAVAILABLE)
                        .with(header::RETRY_AFTER, HeaderValue::from_static("0"));
                }
                Reply::json(&json!({ "id": id, "square": id * id }))
            }
        });
        let server = Server::new(listener, routes, Limits::default());
        let address = server.local_addr().map_err(Error::io("learn the port"))?;
        // It ends with the loop.
        drop(runtime::spawn(server.run(Duration::ZERO)));
        Ok(Api {
            template: format!("http://{address}/items/{{}}"),
            most,
            busy,
        })
    }
}
