//! The Pythons that are found, and the article's programs on them.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use super::Workload;
use super::measured::Order;
use crate::{Error, limits};

/// The article's programs. Given to Python with `-c`: nothing is installed, no
/// file is left behind.
const PROGRAM: &str = include_str!("../../python/article.py");

/// Names under which a free-threaded Python is installed, newest first.
const FREE_THREADED: [&str; 2] = ["python3.14t", "python3.13t"];

/// What a Python found by name is asked.
const PROBE: &str = "import sys; print(sys.version.split()[0], \
                     getattr(sys, '_is_gil_enabled', lambda: True)())";

/// A Python that runs.
#[derive(Debug, Clone)]
pub struct Python {
    /// The name it was found by.
    pub program: PathBuf,
    /// Its version, as in `3.11.7`.
    pub version: String,
    /// Whether its interpreter lock is on.
    pub gil: bool,
}

impl Python {
    /// The name of this Python's row: `python-threading`, with the suffix
    /// `-ft` when it is free-threaded.
    pub fn row_name(&self, engine: &str) -> String {
        format!("python-{engine}{}", if self.gil { "" } else { "-ft" })
    }
}

/// The Pythons to compare with: `python3` (or the one named), and a
/// free-threaded one if found by name.
///
/// # Errors
/// [`Error::Usage`] when a Python that was asked for by name doesn't run.
pub fn find(named: Option<&PathBuf>) -> Result<Vec<Python>, Error> {
    let mut found = Vec::new();
    match named {
        Some(program) => found.push(probe(program).ok_or_else(|| {
            Error::Usage(format!(
                "{} does not run as Python 3; name another with --python",
                program.display()
            ))
        })?),
        None => found.extend(probe(&PathBuf::from("python3"))),
    }
    if found.iter().all(|python| python.gil) {
        found.extend(
            FREE_THREADED
                .iter()
                .filter_map(|name| probe(&PathBuf::from(name)))
                .find(|python| !python.gil),
        );
    }
    Ok(found)
}

/// Starts `program` and asks for its version; `None` if there is no such
/// program, or it isn't Python 3, or it takes too long (some are only shims).
fn probe(program: &PathBuf) -> Option<Python> {
    let mut child = Command::new(program)
        .args(["-c", PROBE])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name("probe".into())
        .spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            let _ = sender.send(text);
        })
        .ok()?;
    let text = receiver
        .recv_timeout(limits::PYTHON_PROBE_TIMEOUT)
        .unwrap_or_default();
    let _ = child.kill();
    let _ = child.wait();
    let (version, gil) = text.trim().split_once(' ')?;
    version.starts_with("3.").then(|| Python {
        program: program.clone(),
        version: version.to_owned(),
        gil: gil == "True",
    })
}

/// The names of the article's engines in Python, sequential first.
pub fn engines(workload: Workload) -> &'static [&'static str] {
    match workload {
        Workload::CpuBound | Workload::IoBound => {
            &["sequential", "multiprocessing", "threading", "asyncio"]
        }
        // Ten times the sums would take Python ten times as long.
        Workload::CpuBoundLarge => &[],
        // A thousand interpreters don't fit, a hundred seconds in sequence neither.
        Workload::ManyConnections => &["threading", "asyncio"],
    }
}

/// The command that runs one of the article's programs and answers commands.
pub fn command(python: &Python, engine: &str, order: &Order) -> Command {
    let (shape, what) = match order.workload {
        Workload::CpuBound | Workload::CpuBoundLarge => ("cpu_bound", order.n.to_string()),
        Workload::IoBound | Workload::ManyConnections => ("io_bound", order.url.clone()),
    };
    let mut command = Command::new(&python.program);
    command.args([
        "-u",
        "-c",
        PROGRAM,
        shape,
        engine,
        &order.count.to_string(),
        &what,
    ]);
    // A proxy would stand between the client and the local server.
    if order.url.contains("//127.0.0.1") {
        for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
    }
    command
}
