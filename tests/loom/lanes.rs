//! An interleaving as lanes: a column for each thread, the operations from top to
//! bottom in the order in which they happened, and beside each the line of source that
//! it is.
//!
//! *Read after* `explore` and `runtime/src/switch/recorded.rs`, where the steps are
//! written down.
//!
//! ```text
//!   model's thread              thread 1                    where
//!   a.load(Relaxed) → 0                                     remote/mod.rs:141  let state = …
//!                               b.fetch_or(4, Release) → 0  remote/bitmap.rs:88  leaf.fetch_or…
//! ```
//! Objects are called a, b, c in the order of their first use; that is not much, but
//! the line of source says which they are. Numbers from 2¹⁶ on, which are fields packed
//! into a word, are hexadecimal. A lock's or fence's line is that of whoever called the
//! helper that takes it.
//!
//! Steps stand in the order in which the threads took their turns, but memory owes nobody
//! the newest value: where a load gave one that had been overwritten by then, it says so.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use threeply_runtime::switch::recorded::Step;

/// The most steps that are shown: a failing interleaving is short, and what went wrong
/// stands at its end.
const MOST: usize = 120;

/// The page that shows these steps.
pub(crate) fn page(steps: &[Step]) -> String {
    let mut page = String::new();
    let left_out = steps.len().saturating_sub(MOST);
    let steps = &steps[left_out..];
    let threads = steps.iter().map(|step| step.thread + 1).max().unwrap_or(0);
    let texts: Vec<String> = steps.iter().map(text).collect();
    let widths: Vec<usize> = (0..threads)
        .map(|thread| {
            let own = steps
                .iter()
                .zip(&texts)
                .filter(|(step, _)| step.thread == thread);
            let longest = own.map(|(_, text)| text.chars().count()).max();
            longest.unwrap_or(0).max(title(thread).len())
        })
        .collect();
    let heads: Vec<String> = (0..threads)
        .map(|thread| format!("{:1$}", title(thread), widths[thread]))
        .collect();
    writeln!(page, "lanes: {}  where", heads.join("  ")).expect("a string takes all");
    if left_out > 0 {
        writeln!(page, "lanes: … {left_out} steps before these").expect("a string takes all");
    }
    let mut sources = Sources::default();
    for (step, text) in steps.iter().zip(&texts) {
        let columns: Vec<String> = widths
            .iter()
            .enumerate()
            .map(|(thread, width)| {
                let here = if thread == step.thread { text } else { "" };
                format!("{here:width$}")
            })
            .collect();
        let (file, line) = (step.place.file(), step.place.line());
        let source = sources.line(file, line);
        let short = file.split_once("src/").map_or(file, |(_, short)| short);
        writeln!(
            page,
            "lanes: {}  {short}:{line}  {source}",
            columns.join("  ")
        )
        .expect("a string takes all");
    }
    page
}

fn title(thread: usize) -> String {
    match thread {
        0 => "model's thread".to_owned(),
        number => format!("thread {number}"),
    }
}

fn text(step: &Step) -> String {
    let what = readable(&step.what);
    let stale = if step.is_stale { ", an old value" } else { "" };
    match step.object {
        None => what,
        Some(number) => format!("{}.{what}{stale}", letter(number)),
    }
}

/// `what`, with large numbers in hexadecimal.
fn readable(what: &str) -> String {
    let mut text = String::new();
    let mut rest = what;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (before, from) = rest.split_at(at);
        let end = from.find(|c: char| !c.is_ascii_alphanumeric());
        let (word, after) = from.split_at(end.unwrap_or(from.len()));
        text.push_str(before);
        match word.parse::<u64>() {
            Ok(large) if large > u16::MAX.into() => write!(text, "{large:#x}"),
            _ => write!(text, "{word}"),
        }
        .expect("a string takes all");
        rest = after;
    }
    text + rest
}

/// a to z, then a1 to z1, …
fn letter(number: usize) -> String {
    let letter = char::from(b'a' + (number % 26) as u8);
    match number / 26 {
        0 => letter.to_string(),
        round => format!("{letter}{round}"),
    }
}

/// The files that were looked at, by lines.
#[derive(Default)]
struct Sources(HashMap<&'static str, Vec<String>>);

impl Sources {
    fn line(&mut self, file: &'static str, line: u32) -> &str {
        let lines = self.0.entry(file).or_insert_with(|| {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            let text = fs::read_to_string(root.join(file)).unwrap_or_default();
            text.lines().map(|line| line.trim().to_owned()).collect()
        });
        lines.get(line as usize - 1).map_or("", String::as_str)
    }
}
