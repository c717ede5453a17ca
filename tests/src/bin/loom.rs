//! `cargo loom`: runs every loom model and fails when fewer ran than are listed.
//!
//! The models live in `tests/loom/`; the table of what must run is
//! `tests/src/models.rs`. A plain `cargo test --test loom` without `--cfg loom`
//! runs nothing and is green, and an environment's `RUSTFLAGS` silently
//! overrides flags given by a cargo config. So this runner extends whatever
//! flags the environment has, reads libtest's lines, and compares them with the
//! table: a model that didn't run, or one that isn't listed, is a failure.
//!
//! Usage: `cargo loom [FILTER…]` runs the models whose name contains one of the
//! filters; `cargo loom --list` prints the table, by protocol and file; `cargo loom
//! --show FILTER…` also prints the interleaving by which each twin fails, as lanes: a
//! column for each thread. (Of a model that fails it is printed in any case.)

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use threeply_tests::models::{MODELS, Model};

fn main() -> ExitCode {
    let mut filters = Vec::new();
    let (mut only_list, mut show) = (false, false);
    for argument in env::args().skip(1) {
        match argument.as_str() {
            "--list" => only_list = true,
            "--show" => show = true,
            "-h" | "--help" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            option if option.starts_with('-') => {
                eprintln!("cargo loom: unknown option {option}; {USAGE}");
                return ExitCode::from(2);
            }
            filter => filters.push(filter.to_owned()),
        }
    }
    let expected: Vec<&Model> = MODELS
        .iter()
        .filter(|model| filters.is_empty() || filters.iter().any(|f| model.name.contains(f)))
        .collect();
    if expected.is_empty() {
        eprintln!("cargo loom: no model of tests/src/models.rs matches; see `cargo loom --list`");
        return ExitCode::from(2);
    }
    if only_list {
        list(&expected);
        return ExitCode::SUCCESS;
    }
    match run(&filters) {
        Ok(report) => judge(&expected, &report, show),
        Err(error) => {
            eprintln!("cargo loom: {error}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "usage: cargo loom [--list] [--show] [FILTER…]";

/// The table, each protocol's models below the file that holds it.
fn list(models: &[&Model]) {
    let mut by_file: BTreeMap<&str, Vec<&Model>> = BTreeMap::new();
    for model in models {
        by_file.entry(model.file).or_default().push(model);
    }
    for (file, models) in by_file {
        println!("{file}");
        for model in models {
            println!(
                "    {:6}{}\n          {}",
                kind(model),
                model.name,
                model.proves
            );
        }
    }
}

fn kind(model: &Model) -> &'static str {
    if is_twin(model) { "twin" } else { "model" }
}

fn is_twin(model: &Model) -> bool {
    model.name.ends_with("_broken")
}

/// What one run of the test binary said.
#[derive(Default)]
struct Report {
    /// Name of each test that ran and whether libtest called it `ok`.
    outcomes: BTreeMap<String, bool>,
    /// The `interleavings: N` line of those that printed one.
    interleavings: BTreeMap<String, u64>,
    /// The lanes of those that failed, as twins should.
    lanes: BTreeMap<String, Vec<String>>,
    /// What they failed with.
    panics: BTreeMap<String, String>,
    /// Whether cargo itself ended with success.
    success: bool,
}

/// Builds and runs the models, passing libtest's lines through as they come.
fn run(filters: &[String]) -> Result<Report, String> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args([
            "test",
            "--release",
            "--package",
            "threeply-tests",
            "--test",
            "loom",
            "--",
        ])
        .arg("--show-output")
        .args(filters)
        .env("CARGO_TARGET_DIR", target_dir())
        // Bounds by time or by count would let a model pass half explored.
        .env_remove("LOOM_MAX_DURATION")
        .env_remove("LOOM_MAX_PERMUTATIONS")
        .env_remove("LOOM_CHECKPOINT_FILE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    add_loom_flag(&mut command);

    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let mut report = Report::default();
    let mut section = None;
    let mut panicked = false;
    let mut quiet = false;
    for line in lines {
        let line = line.map_err(|error| format!("cannot read cargo's output: {error}"))?;
        if let Some((name, ok)) = parse_outcome(&line) {
            report.outcomes.insert(name, ok);
        } else if let Some(name) = parse_section(&line) {
            section = Some(name);
        } else if let (Some(name), Some(count)) = (&section, parse_interleavings(&line)) {
            report.interleavings.insert(name.clone(), count);
        } else if let (Some(name), Some(lane)) = (&section, line.strip_prefix("lanes: ")) {
            let lanes = report.lanes.entry(name.clone()).or_default();
            lanes.push(lane.to_owned());
        } else if let (Some(name), true) = (&section, panicked) {
            report.panics.insert(name.clone(), line.clone());
        }
        panicked = line.contains("panicked at ");
        // A twin that is caught has panicked, as it should: its output would bury
        // what matters, so only that of failures is shown.
        quiet = match line.as_str() {
            "successes:" => true,
            "failures:" => false,
            result if result.starts_with("test result:") => false,
            _ => quiet,
        };
        if !quiet {
            println!("{line}");
        }
    }
    let status = child
        .wait()
        .map_err(|error| format!("cannot wait for cargo: {error}"))?;
    report.success = status.success();
    Ok(report)
}

/// `target/loom` of this workspace: `--cfg loom` changes every crate, and a
/// directory of its own keeps the two builds from evicting one another.
fn target_dir() -> PathBuf {
    let base = match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
    };
    base.join("loom")
}

/// Extends the variable that cargo will look at first, so that nothing that the
/// user has set is lost and nothing hides `--cfg loom`.
fn add_loom_flag(command: &mut Command) {
    if let Ok(flags) = env::var("CARGO_ENCODED_RUSTFLAGS") {
        let separator = if flags.is_empty() { "" } else { "\x1f" };
        command.env(
            "CARGO_ENCODED_RUSTFLAGS",
            format!("{flags}{separator}--cfg\x1floom"),
        );
    } else {
        let flags = env::var("RUSTFLAGS").unwrap_or_default();
        command.env("RUSTFLAGS", format!("{flags} --cfg loom").trim_start());
    }
}

/// `test remote::wake ... ok` and `test remote::wake_broken - should panic ... ok`.
fn parse_outcome(line: &str) -> Option<(String, bool)> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let name = name.trim_end_matches(" - should panic").trim();
    match outcome.trim() {
        "ok" => Some((name.to_owned(), true)),
        "FAILED" => Some((name.to_owned(), false)),
        // An ignored model is one that didn't run.
        _ => None,
    }
}

/// `---- remote::wake stdout ----`, which opens the captured output of one test.
fn parse_section(line: &str) -> Option<String> {
    let name = line.strip_prefix("---- ")?.strip_suffix(" stdout ----")?;
    Some(name.trim_end_matches(" - should panic").to_owned())
}

/// The line that `tests/loom/explore.rs` prints.
fn parse_interleavings(line: &str) -> Option<u64> {
    line.strip_prefix("interleavings: ")?.trim().parse().ok()
}

/// Prints the table and says whether all that is listed ran and passed.
fn judge(expected: &[&Model], report: &Report, show: bool) -> ExitCode {
    let mut missing = 0;
    let mut failed = 0;
    let (mut models, mut twins, mut total) = (0, 0, 0);
    let width = expected
        .iter()
        .map(|model| model.name.len())
        .max()
        .unwrap_or(0);
    println!();
    for model in expected {
        let twin = is_twin(model);
        let count = report.interleavings.get(model.name).copied();
        total += count.unwrap_or(0);
        let verdict = match report.outcomes.get(model.name) {
            Some(true) if twin && !report.lanes.contains_key(model.name) => {
                failed += 1;
                "NOT SHOWN"
            }
            Some(true) if twin => {
                twins += 1;
                "caught"
            }
            Some(true) => {
                models += 1;
                "holds"
            }
            Some(false) => {
                failed += 1;
                "FAILED"
            }
            None => {
                missing += 1;
                "DID NOT RUN"
            }
        };
        let kind = kind(model);
        let count = count.map_or("-".to_owned(), |count| count.to_string());
        println!(
            "{kind:5} {:width$}  {verdict:11} {count:>9} interleavings  {}",
            model.name, model.file
        );
        println!("      {}", model.proves);
        if show && let Some(lanes) = report.lanes.get(model.name) {
            for lane in lanes {
                println!("        {lane}");
            }
            let why = report.panics.get(model.name).map_or("", String::as_str);
            println!("        ✗ {why}");
        }
    }
    let unlisted: Vec<&String> = report
        .outcomes
        .keys()
        .filter(|name| !MODELS.iter().any(|model| model.name == name.as_str()))
        .collect();
    for name in &unlisted {
        println!("NOT LISTED {name}: add it to tests/src/models.rs");
    }
    println!(
        "\nloom result: {models} models hold, {twins} twins caught, {failed} failed, {missing} did not run, \
         {} not listed; {total} interleavings",
        unlisted.len()
    );
    if failed == 0 && missing == 0 && unlisted.is_empty() && report.success {
        ExitCode::SUCCESS
    } else {
        eprintln!("cargo loom: failed");
        ExitCode::FAILURE
    }
}
