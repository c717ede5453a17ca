//! The page that shows a trace, as text and in a real browser where one is found.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use threeply_runtime::trace::{self, Kind, Trace};
use threeply_runtime::{block_on, spawn, yield_now};

use crate::kit::{in_turn, record};

fn page_of(trace: &Trace) -> String {
    let mut page = Vec::new();
    trace.write_html(&mut page).unwrap();
    String::from_utf8(page).unwrap()
}

fn some_trace() -> Trace {
    let (trace, ()) = record(|| {
        block_on(async {
            let named = threeply_runtime::task::Builder::new().name("</script><b>");
            named.spawn(yield_now()).await.unwrap();
            spawn(async {}).await.unwrap();
        });
    });
    trace
}

#[test]
fn a_page_holds_the_whole_document_and_closes_it_once() {
    let trace = some_trace();
    let page = page_of(&trace);
    let (_, rest) = page.split_once("id=\"trace\">").unwrap();
    let (document, rest) = rest.split_once("</script>").unwrap();
    let document: Value = serde_json::from_str(document).unwrap();
    let rows = document["events"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), trace.events().len());
    assert_eq!(rest.matches("</script>").count(), 1, "the viewer's own end");
    for mark in ["/*STYLE*/", "/*SCRIPT*/", "/*TRACE*/"] {
        assert!(!page.contains(mark), "{mark} is still there");
    }
}

/// The browser's picture of the page, after its script has run.
fn dom(page: &Path, fragment: &str) -> Option<String> {
    let browser = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| {
            let mut command = Command::new(name);
            command
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        })?;
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!("--timeout={}", Duration::from_secs(60).as_millis()))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}#{fragment}", page.display()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_browser_shows_an_event_its_source_and_its_causes() {
    let trace = some_trace();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace.html");
    fs::write(&file, page_of(&trace)).unwrap();
    // The last poll of the named task: a wake of its own brought it.
    let is_its_poll = |event: &threeply_runtime::trace::Event| {
        let name = event
            .subject
            .and_then(|subject| trace.subjects()[subject].name.as_deref());
        event.kind == Kind::Poll && name == Some("</script><b>")
    };
    let poll = trace.events().iter().rposition(is_its_poll).unwrap();
    let Some(dom) = dom(&file, &format!("event={poll}")) else {
        eprintln!("no browser is found: the page is not looked at in one");
        return;
    };
    let shown = format!("data-ready=\"{}\"", trace.events().len());
    assert!(
        dom.contains(&shown),
        "the script didn't come to its end: {dom}"
    );
    let (_, details) = dom.split_once("<aside").unwrap();
    let (details, _) = details.split_once("</aside>").unwrap();
    let about = Kind::Poll.about();
    let source = format!("{}:{}", about.file, trace.events()[poll].line);
    for needle in [
        "'&lt;/script&gt;&lt;b&gt;'",
        about.what,
        &source,
        about.function,
        "Caused by",
        "tests/trace/page.rs:",
    ] {
        assert!(details.contains(needle), "no {needle} in {details}");
    }
}

/// What a frame draws is bounded by the screen and not by the trace. How long that takes is
/// told by the page itself, and only told: this machine may be doing anything besides.
#[test]
fn a_frame_of_a_hundred_thousand_events_draws_no_more_than_the_screen_can_show() {
    const TASKS: u64 = 8;
    let rounds = threeply_runtime::limits::TRACE_EVENTS as u64 / (TASKS * 4);
    let trace = in_turn(|| {
        let session = trace::start().expect("no other session");
        std::thread::scope(|scope| {
            for _thread in 0..4 {
                scope.spawn(|| {
                    block_on(async {
                        let tasks: Vec<_> = (0..TASKS)
                            .map(|_| {
                                spawn(async move {
                                    for _ in 0..rounds {
                                        yield_now().await;
                                    }
                                })
                            })
                            .collect();
                        for task in tasks {
                            task.await.unwrap();
                        }
                    });
                });
            }
        });
        session.stop()
    });
    assert!(trace.events().len() >= 100_000, "{}", trace.events().len());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace.html");
    fs::write(&file, page_of(&trace)).unwrap();
    let Some(dom) = dom(&file, "frames") else {
        eprintln!("no browser is found: no frames are measured");
        return;
    };
    let numbers = |name: &str| -> Vec<f64> {
        let (_, numbers) = dom.split_once(name).expect("it measured");
        let (numbers, _) = numbers.split_once('"').unwrap();
        let numbers = numbers.split(' ').map(|number| number.parse().unwrap());
        numbers.collect()
    };
    let times = numbers("data-frames=\"");
    assert_eq!(times.len(), 180);
    let [median, most] = [90, 171].map(|at| times[at]);
    eprintln!("a frame: {median} ms of script in the median, {most} ms at the 95th percentile");
    let [drawn, rows, width] = numbers("data-drawn=\"")[..] else {
        panic!("three numbers");
    };
    // In each row a span and an instant for each pixel, and spans that are wider than one
    // between them; and at most 250 arrows.
    let bound = rows * (3.0 * width + 4.0) + 250.0;
    eprintln!("a frame draws at most {drawn} shapes, in {rows} rows of {width} pixels");
    assert!(drawn <= bound, "{drawn} shapes of at most {bound}");
    assert!(
        bound < trace.events().len() as f64 / 4.0,
        "it would prove nothing"
    );
}
