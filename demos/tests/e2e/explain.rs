//! `explain` tells each life in the order in which it is lived, and points at source
//! that is there.

use std::fs;
use std::path::Path;

use crate::kit::run;

/// A step as it was printed.
#[derive(Debug)]
struct Step {
    /// The name of what happened.
    what: String,
    lines: Vec<String>,
}

impl Step {
    fn field(&self, label: &str) -> Option<&str> {
        let mut found = self
            .lines
            .iter()
            .filter_map(|line| line.trim().strip_prefix(label));
        found.next().map(str::trim)
    }
}

/// The numbered steps of a story, and that they are numbered from 1.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        if let Some((number, rest)) = line.split_once(". +") {
            let number: usize = number.trim().parse().expect("a step's number");
            assert_eq!(number, steps.len() + 1, "{text}");
            let (_ms, what) = rest.split_once(" ms ").expect("a time and a heading");
            let (what, _) = what.split_once(": ").unwrap_or((what, ""));
            steps.push(Step {
                what: what.to_owned(),
                lines: Vec::new(),
            });
        } else if let Some(step) = steps.last_mut() {
            step.lines.push(line.to_owned());
        }
    }
    steps
}

/// Runs `explain LIFE`; its steps must contain `order`, in this order, and each must
/// point at a line of ours.
#[track_caller]
fn explained(life: &str, order: &[&str]) -> (String, Vec<Step>) {
    let ran = run("explain", &[life]);
    let text = ran.succeeded().to_owned();
    let steps = steps(&text);
    let mut left = steps.iter();
    for what in order {
        assert!(
            left.any(|step| step.what == *what),
            "no '{what}' where it should be:\n{text}"
        );
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for step in &steps {
        let at = step
            .field("at:")
            .unwrap_or_else(|| panic!("{step:?} is nowhere"));
        let mut parts = at.split([':', ' ']);
        let file = parts.next().unwrap();
        let line: usize = parts.next().unwrap().parse().unwrap();
        let source = fs::read_to_string(top.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!((1..=source.lines().count()).contains(&line), "{at}");
        assert!(step.field("who:").is_some(), "{step:?}");
        if !file.starts_with("demos/") {
            assert!(step.field("state:").is_some(), "{step:?} changes nothing");
            let function = parts.next().expect("its function");
            assert!(source.contains(&format!("fn {function}")), "{at}");
        }
    }
    (text, steps)
}

#[test]
fn a_task_is_followed_from_spawn_to_join() {
    let (text, steps) = explained(
        "task",
        &[
            "spawn",
            "poll",
            "spawn", // The child.
            "poll end",
            "poll",
            "timer set",
            "poll end",
            "sleep",
            "sleep end",
            "timer fired",
            "wake",
            "poll",
            "unblock",
            "poll end",
            "wake elsewhere",
            "wake collected",
            "poll",
            "wake", // Of main, by the child's end.
            "poll end",
            "poll",
            "join",
            "poll end",
        ],
    );
    assert!(text.ends_with("main got 42 from its child.\n"), "{text}");
    // Each poll says what brought it.
    for poll in steps.iter().filter(|step| step.what == "poll") {
        let why = poll.field("why:").unwrap_or_default();
        assert!(why.contains("because of step"), "{poll:?}");
    }
}

#[test]
fn a_job_and_a_fork_are_followed_to_the_thief_and_back() {
    let (text, _) = explained(
        "job",
        &[
            "inject",
            "take",
            "job",
            "push",
            "steal job",
            "job",
            "promote",
            "steal fork",
            "fork",
            "latch set",
            "wait end",
        ],
    );
    assert!(text.contains("from lane"), "no victim: {text}");
    assert!(text.ends_with("The caller got 42.\n"), "{text}");
}

#[test]
fn a_process_job_is_followed_across_and_back() {
    let (text, _) = explained(
        "process",
        &[
            "start process",
            "encode",
            "frame out",
            "frame in",
            "process job",
            "decode",
            "encode",
            "reply out",
            "reply in",
            "decode",
        ],
    );
    assert!(text.contains("of worker process "), "{text}");
    assert!(text.ends_with("The caller got 42.\n"), "{text}");
}

#[test]
fn a_crash_names_its_signal_its_job_and_the_new_worker() {
    let (text, steps) = explained(
        "crash",
        &[
            "frame out",
            "frame in",
            "process job",
            "process exit",
            "worker gone",
            "start process", // It may say hello only now, or later.
            "process job",
            "reply out",
            "reply in",
        ],
    );
    let exit = steps
        .iter()
        .find(|step| step.what == "process exit")
        .unwrap();
    assert!(
        exit.field("state:").unwrap().ends_with("killed by SIGABRT"),
        "{exit:?}"
    );
    let dead = exit
        .field("who:")
        .unwrap()
        .split([' ', ';'])
        .nth(1)
        .unwrap();
    let ready = steps
        .iter()
        .rfind(|step| step.what == "worker ready")
        .unwrap();
    let new = ready
        .field("who:")
        .unwrap()
        .split([' ', ';'])
        .nth(1)
        .unwrap();
    assert_ne!(dead, new);
    let end = text.lines().last().unwrap();
    assert!(
        end.contains("killed by SIGABRT") && end.contains("job submitted at "),
        "{end}"
    );
    assert!(
        end.contains(&format!("Process {dead} was replaced by process {new}")),
        "{end}"
    );
}

#[test]
fn all_is_the_default_and_tells_the_four() {
    let ran = run("explain", &[]);
    let text = ran.succeeded();
    let titles: Vec<&str> = text
        .lines()
        .zip(text.lines().skip(1))
        .filter(|(_, line)| line.starts_with("=="))
        .map(|(title, _)| title.split(':').next().unwrap())
        .collect();
    assert_eq!(
        titles,
        [
            "A task",
            "A thread job",
            "A process job",
            "A process job that crashes"
        ]
    );
}

#[test]
fn it_records_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json");
    let ran = run("explain", &["task", "--trace", path.to_str().unwrap()]);
    assert_eq!(ran.code(), Some(2));
    assert!(ran.complaint().contains("leave `--trace` out"), "{ran:?}");
}
