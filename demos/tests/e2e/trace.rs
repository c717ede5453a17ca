//! `--trace FILE`: each demo takes it, and writes what can be opened.

use std::fs;

use serde_json::Value;

use crate::kit::run;

/// The names of the events of this phase, and how many processes they are of.
fn events(document: &Value, phase: &str) -> (Vec<String>, usize) {
    let all = document["traceEvents"].as_array().unwrap();
    let of_phase = || all.iter().filter(|event| event["ph"] == phase);
    let names = of_phase().map(|event| event["name"].as_str().unwrap().to_owned());
    let mut pids: Vec<_> = of_phase()
        .filter_map(|event| event["pid"].as_u64())
        .collect();
    pids.sort_unstable();
    pids.dedup();
    (names.collect(), pids.len())
}

#[test]
fn each_engine_leaves_its_spans_and_arrows() {
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments, span, processes) in [
        (
            "cpu_bound",
            &["--engine", "loop", "--n", "1000"][..],
            "poll",
            1,
        ),
        (
            "cpu_bound",
            &["--engine", "threads", "--n", "1000"],
            "job",
            1,
        ),
        (
            "cpu_bound",
            &["--engine", "processes", "--n", "1000"],
            "process job",
            2,
        ),
        ("async_io", &["--count", "2"], "sleep", 1),
        ("io_bound", &["--count", "2"], "job", 1),
    ] {
        let path = folder.path().join("trace.json");
        let mut arguments = arguments.to_vec();
        arguments.extend(["--trace", path.to_str().unwrap()]);
        run(name, &arguments).succeeded();
        let text = fs::read_to_string(&path).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let (spans, pids) = events(&document, "X");
        assert!(
            spans.iter().any(|found| found.starts_with(span)),
            "{name}: {spans:?}"
        );
        assert!(pids >= processes, "{name}: of {pids} processes");
        assert!(!events(&document, "s").0.is_empty(), "{name}: no arrows");
        assert_eq!(document["otherData"]["lost"], 0);
    }
}

#[test]
fn a_page_is_written_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.html");
    run(
        "async_io",
        &["--count", "2", "--trace", path.to_str().unwrap()],
    )
    .succeeded();
    let page = fs::read_to_string(&path).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(page.contains(r#""program":"async_io""#));
}

#[test]
fn a_file_that_cannot_be_is_refused_before_the_run() {
    let ran = run("cpu_bound", &["--trace", "trace.txt"]);
    assert_eq!(ran.code(), Some(2));
    assert!(
        ran.complaint()
            .contains("whose name ends in .html or .json"),
        "{ran:?}"
    );
    let ran = run("async_io", &["--trace", "/nowhere/at/all/trace.json"]);
    assert_eq!((ran.code(), ran.stdout.as_str()), (Some(1), ""));
    assert!(
        ran.complaint()
            .contains("cannot write the trace to /nowhere"),
        "{ran:?}"
    );
}

/// Each engine runs in a program of its own, which records for itself.
#[test]
fn a_comparison_has_what_its_programs_recorded_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json");
    let arguments = ["--quick", "--n", "1000", "--no-python", "--trace"];
    run(
        "compare",
        &[&arguments[..], &[path.to_str().unwrap()]].concat(),
    )
    .succeeded();
    let document: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let all = document["traceEvents"].as_array().unwrap();
    let mut runs = Vec::new();
    for name in all.iter().filter(|event| event["name"] == "process_name") {
        let name = name["args"]["name"].as_str().unwrap();
        let name = name.strip_suffix(" worker").unwrap_or(name).to_owned();
        if !runs.contains(&name) {
            runs.push(name);
        }
    }
    let expected = [
        "cpu_bound on sequential",
        "cpu_bound on processes",
        "cpu_bound on threads",
        "cpu_bound on loop",
        "io_bound on sequential",
        "io_bound on processes",
        "io_bound on threads",
        "io_bound on loop",
    ];
    assert_eq!(runs, expected);
    // The rounds came one after the other, so on one clock none begins before the one
    // before it has ended.
    let rounds: Vec<(f64, f64)> = all
        .iter()
        .filter(|event| event["ph"] == "X" && event["name"].as_str().unwrap().ends_with("round"))
        .map(|event| {
            let start = event["ts"].as_f64().unwrap();
            (start, start + event["dur"].as_f64().unwrap())
        })
        .collect();
    assert_eq!(rounds.len(), expected.len());
    assert!(
        rounds.windows(2).all(|pair| pair[0].1 <= pair[1].0),
        "{rounds:?}"
    );
    let (spans, _) = events(&document, "X");
    for span in ["poll", "sleep", "job", "process job"] {
        assert!(
            spans.iter().any(|found| found.starts_with(span)),
            "no {span} in {spans:?}"
        );
    }
    assert_eq!(document["otherData"]["lost"], 0);
}
