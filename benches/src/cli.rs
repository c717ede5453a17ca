//! `cargo versus`: the command line, the progress bar, and the order of things.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::machine::Machine;
use crate::report::{digits, html, json, table};
use crate::runner::{self, Plan, Progress, Row};
use crate::tracing::{self, Tracing};
use crate::workload::{Entry, Group, Size, Workload};
use crate::{instructions, measure, sys, workloads};

/// Measures Threeply beside its peers and beside the limits of the machine.
#[derive(Parser, Debug)]
#[command(name = "cargo versus", bin_name = "cargo versus", version)]
struct Arguments {
    /// Which tables to measure; all when none is named.
    #[arg(value_name = "GROUP")]
    groups: Vec<GroupName>,

    /// Shorter runs and fewer rounds: about three minutes a group on 2 cores.
    #[arg(long)]
    quick: bool,

    /// One short round of everything, only to see that each workload works; at
    /// most 20 s a group.
    #[arg(long, conflicts_with = "quick")]
    smoke: bool,

    /// One line of JSON for each result on stdout, and nothing else.
    #[arg(long)]
    json: bool,

    /// Write a page with charts.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Count instructions by callgrind instead of measuring time.
    #[arg(long)]
    instructions: bool,

    /// Only these engines (`threeply,tokio`); ratios need the peers.
    #[arg(long, value_name = "ENGINE", value_delimiter = ',')]
    only: Vec<String>,

    /// Only workloads whose name contains this.
    #[arg(long, value_name = "TEXT")]
    workload: Option<String>,

    /// Rounds of each workload.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=999))]
    rounds: Option<u16>,

    /// Whether our engines record a trace meanwhile; needs the feature `trace`.
    #[arg(long, value_enum, default_value_t)]
    trace: Tracing,

    /// Print the workloads with their engines and bars, and measure nothing.
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum GroupName {
    Loop,
    Net,
    Threads,
    Processes,
    Article,
}

impl GroupName {
    fn group(self) -> Group {
        match self {
            GroupName::Loop => Group::Loop,
            GroupName::Net => Group::Net,
            GroupName::Threads => Group::Threads,
            GroupName::Processes => Group::Processes,
            GroupName::Article => Group::Article,
        }
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == runner::CHILD) {
        return child(&arguments[2..]);
    }
    if arguments
        .get(1)
        .is_some_and(|first| first == workloads::SERVE)
    {
        let _session = tracing::record_if_told();
        return workloads::serve(&arguments[2..]);
    }
    parent(Arguments::parse())
}

/// The hidden command: one workload, one engine, one figure.
fn child(arguments: &[String]) -> ExitCode {
    let mut words = arguments.iter().map(String::as_str);
    let mut next = || words.next().unwrap_or_default();
    let first = next();
    let (exactly, group) = if first == instructions::EXACTLY {
        (Some(next().parse::<u64>().unwrap_or(1)), next())
    } else {
        (None, first)
    };
    let (name, engine, variant) = (next(), next(), next());
    let workload = workloads::all()
        .into_iter()
        .find(|workload| workload.group.name() == group && workload.name == name);
    let Some(workload) = workload else {
        eprintln!("versus: there is no workload {group} {name}");
        return ExitCode::from(2);
    };
    let entry = workload
        .entries
        .iter()
        .find(|entry| entry.engine == engine && entry.variant == variant);
    let Some(entry) = entry else {
        eprintln!("versus: {name} isn't run by {engine} {variant}");
        return ExitCode::from(2);
    };
    let _session = tracing::record_if_told();
    if let Some(iters) = exactly {
        measure::run_exactly(&workload, entry.run, iters);
        return ExitCode::SUCCESS;
    }
    let size = match next() {
        "smoke" => Size::Smoke,
        "full" => Size::Full,
        _ => Size::Quick,
    };
    let sample = measure::run(&workload, entry.run, size);
    println!(
        "{}",
        serde_json::to_string(&sample).expect("numbers have a JSON form")
    );
    ExitCode::SUCCESS
}

fn parent(arguments: Arguments) -> ExitCode {
    let chosen: Vec<Group> = if arguments.groups.is_empty() {
        Group::ALL.to_vec()
    } else {
        Group::ALL
            .into_iter()
            .filter(|group| arguments.groups.iter().any(|name| name.group() == *group))
            .collect()
    };
    let all = workloads::all();
    for only in &arguments.only {
        if !all
            .iter()
            .flat_map(|w| &w.entries)
            .any(|entry| entry.engine == only)
        {
            let mut known: Vec<&str> = all
                .iter()
                .flat_map(|w| &w.entries)
                .map(|entry| entry.engine)
                .collect();
            known.sort_unstable();
            known.dedup();
            eprintln!(
                "versus: no engine is called {only}; there are {}",
                known.join(", ")
            );
            return ExitCode::from(2);
        }
    }
    let wanted = |workload: &Workload| {
        chosen.contains(&workload.group)
            && arguments
                .workload
                .as_ref()
                .is_none_or(|text| workload.name.contains(text))
    };
    let workloads: Vec<Workload> = all.into_iter().filter(wanted).collect();
    if workloads.is_empty() {
        eprintln!("versus: no workload of these groups has that name; see cargo versus --list");
        return ExitCode::from(2);
    }
    if arguments.list {
        list(&workloads);
        return ExitCode::SUCCESS;
    }

    let size = match (arguments.smoke, arguments.quick) {
        (true, _) => Size::Smoke,
        (_, true) => Size::Quick,
        _ => Size::Full,
    };
    if let Some(refusal) = arguments.trace.refusal() {
        eprintln!("versus: {refusal}");
        return ExitCode::from(2);
    }
    let mut plan = Plan::new(size);
    plan.trace = arguments.trace;
    plan.only = arguments.only.clone();
    plan.seed = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(1, |since| since.as_secs());
    if let Some(rounds) = arguments.rounds {
        plan.rounds = usize::from(rounds);
        plan.python_rounds = usize::from(rounds);
    }
    sys::catch_interrupts();
    eprintln!("{}", plan.trace.describe());
    if arguments.instructions {
        return count(&workloads, &plan, arguments.json);
    }

    let machine = Machine::look();
    let estimate: Duration = workloads
        .iter()
        .map(|workload| plan.estimate(workload))
        .sum();
    eprintln!("{}", machine.describe());
    eprintln!(
        "{} workloads, {} rounds, seed {}; about {} min",
        workloads.len(),
        plan.rounds,
        plan.seed,
        estimate.as_secs().div_ceil(60)
    );
    for lack in machine.lacks() {
        eprintln!("skipped: {lack}");
    }
    let mut bar = Bar::new(&workloads, &plan);
    let mut rows: Vec<Row> = Vec::new();
    let began = Instant::now();
    for (index, workload) in workloads.iter().enumerate() {
        let row = runner::run(workload, &plan, &machine, &mut bar);
        if arguments.json {
            for (engine, why) in &row.skipped {
                bar.say(&format!("{}: {engine} is skipped: {why}", workload.name));
            }
            let mut out = std::io::stdout().lock();
            for line in json::lines(&row) {
                // A closed pipe is the reader's choice.
                if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                    return ExitCode::FAILURE;
                }
            }
        }
        rows.push(row);
        let last_of_group = workloads
            .get(index + 1)
            .is_none_or(|next| next.group != workload.group);
        if (last_of_group || sys::interrupted()) && !arguments.json {
            let group: Vec<Row> = rows
                .iter()
                .filter(|row| row.workload.group == workload.group)
                .cloned()
                .collect();
            let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            bar.suspend(|| {
                let text = format!(
                    "\n{}\n{}",
                    workload.group.name(),
                    table::render(&group, colour)
                );
                let _ = writeln!(std::io::stdout(), "{text}");
            });
        }
        if sys::interrupted() {
            eprintln!("versus: interrupted; what follows is what was measured so far");
            break;
        }
    }
    bar.finish();
    if let Some(file) = &arguments.html {
        let page = html::page(
            &rows,
            &format!("{}; {}", machine.describe(), plan.trace.describe()),
            &machine.lacks(),
        );
        if let Err(error) = std::fs::write(file, page) {
            eprintln!("versus: cannot write {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
        eprintln!("versus: the page is in {}", file.display());
    }
    let failed: usize = rows.iter().map(|row| row.failed.len()).sum();
    let closing = format!(
        "{}\nversus result: {}. {} rows, {}; {failed} engines failed; finished in {:.0} s",
        table::closing(&rows),
        if failed == 0 { "ok" } else { "FAILED" },
        rows.len(),
        plan.trace.describe(),
        began.elapsed().as_secs_f64()
    );
    if arguments.json {
        eprintln!("{closing}");
    } else {
        println!("{closing}");
    }
    match (failed, sys::interrupted()) {
        (_, true) => ExitCode::from(130),
        (0, _) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn list(workloads: &[Workload]) {
    let mut group = "";
    let mut out = String::new();
    for workload in workloads {
        if workload.group.name() != group {
            group = workload.group.name();
            out += &format!("{group}\n");
        }
        let mut engines: Vec<&str> = workload.entries.iter().map(|entry| entry.engine).collect();
        engines.dedup();
        out += &format!(
            "  {:26} {}\n  {:26} {}\n",
            workload.name,
            workload.what,
            "",
            engines.join(", ")
        );
        for (engine, why) in &workload.left_out {
            out += &format!("  {:26} without {engine}: {why}\n", "");
        }
    }
    let _ = std::io::stdout().write_all(out.as_bytes());
}

/// `--instructions`.
fn count(workloads: &[Workload], plan: &Plan, as_json: bool) -> ExitCode {
    if !instructions::available() {
        eprintln!(
            "versus: valgrind wasn't found, so no instructions can be counted; install it, or measure time"
        );
        return ExitCode::FAILURE;
    }
    let mut failed = false;
    for workload in workloads {
        for entry in workload
            .entries
            .iter()
            .filter(|entry| plan.wants(entry.engine))
        {
            if !instructions::counts(workload, entry) || sys::interrupted() {
                continue;
            }
            match instructions::per_op(workload, entry, plan.trace) {
                Ok(count) if as_json => println!(
                    "{}",
                    serde_json::json!({
                        "group": workload.group.name(), "workload": workload.name,
                        "engine": entry.engine, "variant": entry.variant,
                        "instructions_per_op": count,
                    })
                ),
                Ok(count) => println!(
                    "{:26} {:28} {:>10} instructions/op",
                    workload.name,
                    format!("{} {}", entry.engine, entry.variant),
                    digits(count)
                ),
                Err(why) => {
                    failed = true;
                    eprintln!("versus: {} {}: {why}", workload.name, entry.engine);
                }
            }
        }
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// The progress bar on stderr; silent when stderr isn't a terminal.
struct Bar {
    bar: ProgressBar,
}

impl Bar {
    fn new(workloads: &[Workload], plan: &Plan) -> Bar {
        let runs: usize = workloads
            .iter()
            .flat_map(|workload| workload.entries.iter().map(move |entry| (workload, entry)))
            .filter(|(_, entry)| plan.wants(entry.engine))
            .map(|(workload, entry)| plan.rounds_of(workload, entry))
            .sum();
        let bar = ProgressBar::with_draw_target(Some(runs as u64), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} · {eta} left · {msg}")
            .expect("the template is well-formed");
        bar.set_style(style);
        Bar { bar }
    }

    fn suspend(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn begins(&mut self, workload: &Workload, entry: &Entry, round: usize) {
        self.bar.set_message(format!(
            "{} {} round {}",
            workload.name,
            entry.engine,
            round + 1
        ));
    }

    fn ended(&mut self, counted: bool) {
        if counted {
            self.bar.inc(1);
        }
    }

    fn say(&mut self, text: &str) {
        self.bar.suspend(|| eprintln!("versus: {text}"));
    }
}
