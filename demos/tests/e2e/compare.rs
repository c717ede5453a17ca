//! `compare` prints the schema it promises, and the table.

use serde_json::Value;

use crate::kit::{demo, finish, run};

const QUICK: [&str; 4] = ["--quick", "--n", "100000", "--no-python"];

#[track_caller]
fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

/// A positive number, or null where that is allowed.
#[track_caller]
fn is_figure(value: &Value, may_be_null: bool) {
    match value {
        Value::Null => assert!(may_be_null, "null where a figure was expected"),
        other => assert!(
            other.as_f64().is_some_and(|x| x >= 0.0),
            "no figure: {other}"
        ),
    }
}

fn check(document: &Value, expected: &[(&str, &[&str])]) {
    let mut top = keys(document);
    top.sort_unstable();
    assert_eq!(top, ["machine", "units", "workloads"]);
    let units = document["units"].as_array().unwrap();
    let engines: Vec<&str> = units
        .iter()
        .map(|unit| unit["engine"].as_str().unwrap())
        .collect();
    assert_eq!(engines, ["processes", "threads", "loop"]);
    for unit in units {
        let mut names = keys(unit);
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "engine",
                "memory_bytes",
                "shares_memory",
                "start_ns",
                "switch_ns"
            ]
        );
        is_figure(&unit["start_ns"], false);
        is_figure(&unit["memory_bytes"], true);
        is_figure(&unit["switch_ns"], true);
        assert_eq!(
            unit["shares_memory"],
            Value::Bool(unit["engine"] != "processes")
        );
    }
    let rows = document["workloads"].as_array().unwrap();
    for row in rows {
        let mut names = keys(row);
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "cpu_s",
                "engine",
                "peak_rss_bytes",
                "speedup",
                "wall_cold_s",
                "wall_s",
                "workload"
            ]
        );
        is_figure(&row["wall_s"], false);
        is_figure(&row["wall_cold_s"], false);
        is_figure(&row["cpu_s"], true);
        is_figure(&row["peak_rss_bytes"], true);
        is_figure(&row["speedup"], row["workload"] == "many_connections");
    }
    for (workload, engines) in expected {
        let found: Vec<&str> = rows
            .iter()
            .filter(|row| row["workload"] == *workload)
            .map(|row| row["engine"].as_str().unwrap())
            .collect();
        assert_eq!(found, *engines, "{workload}");
    }
}

#[test]
fn json_is_one_document_of_the_promised_schema() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let html = ["--json", "--html", page.to_str().unwrap()];
    let ran = run("compare", &[&QUICK[..], &html].concat());
    let document: Value =
        serde_json::from_str(ran.succeeded()).expect("nothing but JSON on stdout");
    let sums = ["sequential", "limit", "processes", "threads", "loop"];
    check(
        &document,
        &[
            ("cpu_bound", &sums),
            ("cpu_bound_large", &sums),
            ("io_bound", &["sequential", "processes", "threads", "loop"]),
            ("many_connections", &["threads", "loop"]),
        ],
    );
    let page = std::fs::read_to_string(page).unwrap();
    let captions = captions(&page);
    for (engine, caption) in [
        ("sequential", "one after the other"),
        ("processes", "5 processes wait at once, each blocked"),
        ("threads", "5 threads wait at once, each blocked"),
        ("loop", "concurrent, one thread waits for 5 answers at once"),
    ] {
        let expected = (engine.to_owned(), caption.to_owned());
        assert!(captions.contains(&expected), "{expected:?} in {captions:?}");
    }
    // Whether sums overlap is the scheduler's to say; that there are four isn't.
    assert_eq!(captions.len(), 8, "{captions:?}");
    assert!(page.matches("class=\"work\"").count() >= 4 * 4);
}

/// Each picture's engine, and what it says that it shows.
fn captions(page: &str) -> Vec<(String, String)> {
    page.split("<figcaption><b>")
        .skip(1)
        .map(|rest| {
            let (engine, rest) = rest.split_once("</b>").unwrap();
            let (_took, rest) = rest.split_once(": ").unwrap();
            let (caption, _) = rest.split_once("</figcaption>").unwrap();
            (engine.to_owned(), caption.to_owned())
        })
        .collect()
}

#[test]
fn the_table_names_everything_and_has_no_colour_in_a_pipe() {
    let ran = run("compare", &QUICK);
    let out = ran.succeeded();
    for words in [
        "unit of concurrency",
        "start cost",
        "memory a unit",
        "switch cost",
        "shares memory",
        "limited by a GIL",
        "CPU-bound speed-up",
        "I/O-bound speed-up",
        "100 connections",
        "Which to pick for what",
        "the Python rows are skipped",
    ] {
        assert!(out.contains(words), "{words:?} is missing in:\n{out}");
    }
    assert!(!out.contains('\x1b'), "{out}");
}

#[test]
fn the_same_programs_run_in_python_if_there_is_one() {
    let found = std::process::Command::new("python3")
        .args(["-c", "pass"])
        .status()
        .is_ok_and(|s| s.success());
    if !found {
        eprintln!("skipped: there is no python3");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let child = demo("compare")
        .args(["--quick", "--n", "10000", "--connections", "20", "--json"])
        .args(["--html", page.to_str().unwrap()])
        .spawn()
        .unwrap();
    let ran = finish(child);
    let document: Value =
        serde_json::from_str(ran.succeeded()).expect("nothing but JSON on stdout");
    let engines: Vec<&str> = document["workloads"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["workload"] == "io_bound")
        .map(|row| row["engine"].as_str().unwrap())
        .collect();
    for engine in [
        "python-sequential",
        "python-multiprocessing",
        "python-threading",
        "python-asyncio",
    ] {
        assert!(
            engines.contains(&engine),
            "{engine} is missing: {engines:?}"
        );
        assert!(document["machine"]["http_clients"][engine].is_string());
    }
    let captions = captions(&std::fs::read_to_string(page).unwrap());
    let (_, caption) = captions
        .iter()
        .rfind(|(engine, _)| engine == "python-asyncio")
        .unwrap();
    assert_eq!(
        caption,
        "concurrent, one thread waits for 5 answers at once"
    );
}
