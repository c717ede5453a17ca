//! A web server: the files of a folder and a small JSON API.
//!
//! | request | answer |
//! |---|---|
//! | `GET /PATH` | the file `PATH` of the folder, or a part of it |
//! | `GET /api/status` | uptime and number of requests |
//! | `POST /api/sum` with `[1, 2, 3]` | their sum |
//! | `GET /api/notes`, `POST /api/notes`, `GET` and `DELETE /api/notes/ID` | notes, kept in memory |

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use clap::Parser;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use threeply_runtime as runtime;
use threeply_runtime::signal::{Signal, Signals};

use crate::http::server::{Limits, Reply, Routes, Server, files};
use crate::local_server::listen;
use crate::output::Output;
use crate::{Error, limits};

/// Serves the files of a folder and a JSON API, on one thread.
#[derive(Debug, Parser)]
#[command(name = "serve", version)]
pub struct Arguments {
    /// The folder whose files are served
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
}

/// `serve`'s main. Ends on Ctrl-C, when what is being answered has been.
///
/// # Errors
/// When the folder isn't one, or it can't listen.
pub fn main(arguments: Arguments) -> Result<(), Error> {
    let Arguments {
        folder,
        listen: address,
    } = arguments;
    if !folder.is_dir() {
        return Err(Error::Usage(format!(
            "{} is no folder; name one whose files are to be served",
            folder.display()
        )));
    }
    limits::raise_open_files();
    let mut out = Output::new();
    runtime::block_on(async {
        // Before anybody is told that we are here: a Ctrl-C from now on is heard.
        let mut stop = Signals::new(&[Signal::INTERRUPT, Signal::TERMINATE])
            .map_err(Error::io("listen for Ctrl-C"))?;
        let listener = listen(address)?;
        let server = Server::new(listener, routes(folder), Limits::default());
        let address = server.local_addr().map_err(Error::io("learn the port"))?;
        out.line(format_args!(
            "Serving on http://{address}/ (Ctrl-C ends it)"
        ))?;
        let shutdown = server.shutdown_token();
        let serving = runtime::spawn(server.run(limits::SHUTDOWN_GRACE));
        let _ = stop.recv().await;
        shutdown.cancel();
        let cut_off = serving.await?;
        out.line(match cut_off {
            0 => "Stopped; every request was answered.".to_owned(),
            n => format!("Stopped; {n} connections were cut off."),
        })
    })
}

/// The notes of the API, and what is counted.
#[derive(Default)]
struct State {
    notes: RefCell<BTreeMap<u64, Value>>,
    last_id: Cell<u64>,
    requests: Cell<u64>,
}

/// The routes of the server; public so that tests and other demos serve them.
pub fn routes(folder: PathBuf) -> Routes {
    let state = Rc::new(State::default());
    let started = Instant::now();
    let with = |handler: fn(&State, &crate::http::server::Request) -> Reply| {
        let state = state.clone();
        move |request| {
            state.requests.set(state.requests.get() + 1);
            std::future::ready(handler(&state, &request))
        }
    };
    let status_state = state.clone();
    let file_state = state.clone();
    Routes::new()
        .get("/api/status", move |_| {
            let requests = status_state.requests.get() + 1;
            status_state.requests.set(requests);
            let uptime_s = started.elapsed().as_secs_f64();
            std::future::ready(Reply::json(
                &json!({ "uptime_s": uptime_s, "requests": requests }),
            ))
        })
        .post(
            "/api/sum",
            with(|_, request| match request.json::<Vec<f64>>() {
                Ok(numbers) => Reply::json(&json!({ "sum": numbers.iter().sum::<f64>() })),
                Err(refusal) => refusal,
            }),
        )
        .get(
            "/api/notes",
            with(|state, _| Reply::json(&*state.notes.borrow())),
        )
        .post(
            "/api/notes",
            with(|state, request| match request.json::<Value>() {
                Ok(note) if state.notes.borrow().len() < limits::MAX_NOTES => {
                    let id = state.last_id.get() + 1;
                    state.last_id.set(id);
                    state.notes.borrow_mut().insert(id, note);
                    Reply::json(&json!({ "id": id })).with_status(StatusCode::CREATED)
                }
                Ok(_) => Reply::refusal(StatusCode::INSUFFICIENT_STORAGE),
                Err(refusal) => refusal,
            }),
        )
        .get(
            "/api/notes/{id}",
            with(|state, request| {
                match request.params[0]
                    .parse()
                    .ok()
                    .and_then(|id: u64| state.notes.borrow().get(&id).cloned())
                {
                    Some(note) => Reply::json(&note),
                    None => Reply::refusal(StatusCode::NOT_FOUND),
                }
            }),
        )
        .on(
            Method::DELETE,
            "/api/notes/{id}",
            with(|state, request| {
                match request.params[0]
                    .parse()
                    .ok()
                    .and_then(|id: u64| state.notes.borrow_mut().remove(&id))
                {
                    Some(_) => Reply::status(StatusCode::NO_CONTENT),
                    None => Reply::refusal(StatusCode::NOT_FOUND),
                }
            }),
        )
        .get("/{*path}", move |request| {
            let folder = folder.clone();
            file_state.requests.set(file_state.requests.get() + 1);
            async move { files::file(folder, &request.params[0], &request).await }
        })
}
