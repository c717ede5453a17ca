//! All of the article's shapes on all engines, measured, in its closing table.
//!
//! Read in this order: [`schedule`] (what is measured when), [`lab`] and
//! [`measured`] (the two ends of the pipe to a child that has one engine to
//! itself), [`contestant`] (the shapes on the engines), [`units`] (what one
//! process, thread or task costs), [`python`] (the same programs there),
//! [`usage`] and [`stats`], then [`document`] (the JSON), [`table`], and [`picture`]
//! and [`page`] (what ran when).

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use threeply_runtime::trace;

pub mod contestant;
pub mod document;
pub mod lab;
pub mod machine;
pub mod measured;
pub mod page;
pub mod picture;
pub mod python;
pub mod schedule;
pub mod stats;
pub mod table;
pub mod units;
pub mod usage;

use crate::engine::Engine;
use crate::local_server::LocalServer;
use crate::output::Output;
use crate::{Error, cli, http, limits};

use document::{Document, UnitRow};
use lab::Subject;
use machine::Machine;
use measured::Order;
use schedule::Schedule;

/// The article's shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// Four sums, as the article has them.
    CpuBound,
    /// The same with ten times as much in each.
    CpuBoundLarge,
    /// Five downloads.
    IoBound,
    /// A thousand downloads at once.
    ManyConnections,
}

impl Workload {
    /// All, in the order of the tables.
    pub const ALL: [Workload; 4] = [
        Workload::CpuBound,
        Workload::CpuBoundLarge,
        Workload::IoBound,
        Workload::ManyConnections,
    ];

    /// The name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Workload::CpuBound => "cpu_bound",
            Workload::CpuBoundLarge => "cpu_bound_large",
            Workload::IoBound => "io_bound",
            Workload::ManyConnections => "many_connections",
        }
    }
}

/// What `--trace`, which all demos have, is in this one.
const AFTER_HELP: &str = "\
With --trace, each engine runs one round of cpu_bound and of io_bound more, and records that one,
so that recording costs the measured ones nothing. The file has a group of lanes for each, one
after the other on one clock. Python isn't in it, nor are cpu_bound_large (cpu_bound again, ten
times as long) and many_connections (more threads than a trace has room for).";

/// Runs the article's workloads on processes, threads and an event loop, beside
/// the same programs in Python, and prints its closing table, measured.
#[derive(Debug, Parser)]
#[command(name = "compare", version, after_help = AFTER_HELP)]
pub struct Arguments {
    /// Print one JSON document instead of tables
    #[arg(long)]
    json: bool,
    /// Write the tables to this file too, as a page with pictures of what ran when
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Sums in the CPU-bound workloads
    #[arg(long, default_value = "4", value_parser = cli::tasks, allow_negative_numbers = true)]
    tasks: u32,
    /// What each sum goes up to; ten times that in cpu_bound_large
    #[arg(long, default_value = "10000000", value_parser = cli::n, allow_negative_numbers = true)]
    n: u64,
    /// Downloads in io_bound
    #[arg(long, default_value = "5", value_parser = cli::count, allow_negative_numbers = true)]
    downloads: u32,
    /// Downloads in many_connections
    #[arg(long, default_value_t = limits::MANY_CONNECTIONS, value_parser = cli::count, allow_negative_numbers = true)]
    connections: u32,
    /// Download this instead of a page of our own local server
    #[arg(long)]
    url: Option<String>,
    /// Measured rounds of each of our engines
    #[arg(long, default_value_t = limits::ROUNDS, value_parser = cli::rounds, allow_negative_numbers = true)]
    rounds: u32,
    /// Measured rounds of each Python program
    #[arg(long, default_value_t = limits::PYTHON_ROUNDS, value_parser = cli::rounds, allow_negative_numbers = true)]
    python_rounds: u32,
    /// The Python to compare with, if not `python3`
    #[arg(long, value_name = "PROGRAM", conflicts_with = "no_python")]
    python: Option<PathBuf>,
    /// Leave Python out
    #[arg(long)]
    no_python: bool,
    /// One round of everything on tenth-sized workloads, to see that it works
    #[arg(long)]
    quick: bool,
}

/// `compare`'s main.
///
/// # Errors
/// When one of our engines fails, or the output can't be written.
pub fn main(mut arguments: Arguments) -> Result<(), Error> {
    let started = Instant::now();
    if arguments.quick {
        arguments.n = (arguments.n / 10).max(1);
        arguments.connections = (arguments.connections / 10).max(1);
        arguments.rounds = 1;
        arguments.python_rounds = 1;
    }
    let mut out = Output::new();
    let server;
    let url = match &arguments.url {
        Some(url) => http::target::parse(url)
            .map_err(|e| Error::Usage(e.to_string()))?
            .to_string(),
        None => {
            server = LocalServer::start()?;
            server.url().to_owned()
        }
    };
    let pythons = if arguments.no_python {
        Vec::new()
    } else {
        python::find(arguments.python.as_ref())?
    };
    let answered_by = match &arguments.url {
        Some(url) => url.clone(),
        None => format!(
            "local, answers after {} ms",
            limits::SERVER_DELAY.as_millis()
        ),
    };
    let machine = Machine::look(&pythons, answered_by);
    let sizes = table::Sizes {
        tasks: arguments.tasks,
        n: arguments.n,
        large_n: arguments.n.saturating_mul(10).min(limits::MAX_N),
        downloads: arguments.downloads,
        connections: arguments.connections,
    };
    let schedule = Schedule {
        rounds: arguments.rounds,
        python_rounds: arguments.python_rounds,
        deadline: schedule::deadline(started),
    };
    let length: u64 = Workload::ALL
        .iter()
        .map(|workload| schedule.length(*workload, pythons.len()))
        .sum();
    // A file that can't be written is told before an hour of work, not after it.
    let html = arguments.html.as_ref().map(create).transpose()?;
    let bar = progress(length + UNIT_ENGINES.len() as u64);

    let mut document = Document {
        machine,
        units: Vec::new(),
        workloads: Vec::new(),
    };
    let mut remarks = Vec::new();
    for engine in UNIT_ENGINES {
        bar.set_message(format!("what one unit costs on {engine}"));
        let mut subject = Subject::ours(&sizes.order(Workload::CpuBound, engine, &url))?;
        document.units.push(UnitRow {
            engine: engine.name(),
            unit: subject.ask("units")?,
        });
        subject.end()?;
        bar.inc(1);
    }
    for workload in Workload::ALL {
        let template = sizes.order(workload, Engine::Sequential, &url);
        let measured = schedule.measure(&template, &pythons, &bar)?;
        document.workloads.extend(measured.rows);
        document.machine.http_clients.extend(measured.clients);
        remarks.extend(measured.remarks);
    }
    document.reckon_speedups();
    let mut drawn = Vec::new();
    if html.is_some() || trace::is_on() {
        // Python is in the pictures only.
        let pythons = if html.is_some() { &pythons[..] } else { &[] };
        for shape in page::SHAPES {
            bar.set_message(format!("recording {}", shape.name()));
            let template = sizes.order(shape, Engine::Sequential, &url);
            drawn.extend(schedule::draw(&template, pythons, &mut remarks)?);
        }
    }
    if let Some(mut file) = html {
        let text = page::page(&document, &sizes, &drawn, &remarks);
        file.write_all(text.as_bytes())
            .map_err(Error::io("write the page"))?;
    }
    bar.finish_and_clear();

    if arguments.json {
        out.line(serde_json::to_string(&document).expect("the document is plain data"))?;
        remarks
            .iter()
            .for_each(|remark| crate::output::complain(format_args!("compare: {remark}")));
        Ok(())
    } else {
        table::print(&document, &sizes, &remarks, &mut out)
    }
}

fn create(path: &PathBuf) -> Result<File, Error> {
    File::create(path)
        .map_err(|e| Error::Usage(format!("cannot write the page to {}: {e}", path.display())))
}

/// The engines whose units are measured.
const UNIT_ENGINES: [Engine; 3] = [Engine::Processes, Engine::Threads, Engine::Loop];

impl table::Sizes {
    fn order(&self, workload: Workload, engine: Engine, url: &str) -> Order {
        let (count, n) = match workload {
            Workload::CpuBound => (self.tasks, self.n),
            Workload::CpuBoundLarge => (self.tasks, self.large_n),
            Workload::IoBound => (self.downloads, 0),
            Workload::ManyConnections => (self.connections, 0),
        };
        Order {
            workload,
            engine,
            count,
            n,
            url: url.to_owned(),
        }
    }
}

/// A bar on stderr, drawn only when that is a terminal.
fn progress(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {percent}% {msg}")
        .expect("the template is valid");
    ProgressBar::new(length).with_style(style)
}
