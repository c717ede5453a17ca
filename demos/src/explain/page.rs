//! A story as text.
//!
//! Read before: [`super::states`].

use std::fmt::Write as _;

use threeply_runtime::trace::{Kind, LaneKind, Shape, Trace};

use super::story::Step;
use super::{Life, Run, states};
use crate::Error;
use crate::output::Output;

/// Prints a life.
///
/// # Errors
/// Those of `out`.
pub fn print(out: &mut Output, life: &Life, run: &Run, steps: &[Step]) -> Result<(), Error> {
    let columns = out.columns().map(usize::from);
    out.line(life.title)?;
    out.line("=".repeat(life.title.chars().count()))?;
    say(out, columns, "", life.program)?;
    say(out, columns, "", &format!("The program: {}", life.source))?;
    let begin = steps.first().map_or(0, |step| step.at_ns);
    for (index, step) in steps.iter().enumerate() {
        out.line("")?;
        let since_ms = (step.at_ns - begin) as f64 / 1e6;
        let number = format!("{:2}. ", index + 1);
        let heading = heading(&run.trace, step);
        say(
            out,
            columns,
            &number,
            &format!("+{since_ms:.3} ms {heading}"),
        )?;
        say(out, columns, "    who:   ", &who(&run.trace, step))?;
        if let Some(why) = why(&run.trace, index, steps) {
            say(out, columns, "    why:   ", &why)?;
        }
        if let Some(change) = states::change(&run.trace, step) {
            say(out, columns, "    state: ", &change)?;
        }
        say(out, columns, "    at:    ", &place(&run.trace, step))?;
    }
    out.line("")?;
    say(out, columns, "", &run.outcome)
}

/// What happened.
fn heading(trace: &Trace, step: &Step) -> String {
    let event = &trace.events()[step.event];
    let about = step.about(trace);
    if event.kind == Kind::Span {
        return event
            .subject
            .and_then(|subject| trace.subjects()[subject].name.clone())
            .unwrap_or_default();
    }
    let mut text = format!("{}: {}", about.name, about.what);
    // Of what has a length, the words are about how it went.
    let is_span = matches!(event.kind.about().shape, Shape::Span(_));
    let particular = trace.text(event);
    if !particular.is_empty() && (is_span == step.is_end || event.is_unfinished()) {
        let _ = write!(text, " ({})", particular.trim_matches(['(', ')']));
    }
    text
}

/// What it is about, and which thread did it.
fn who(trace: &Trace, step: &Step) -> String {
    let event = &trace.events()[step.event];
    let lane = &trace.lanes()[event.lane];
    let mut text = String::new();
    if let Some(subject) = event.subject.filter(|_| event.kind != Kind::Span) {
        let subject = &trace.subjects()[subject];
        let _ = write!(text, "{subject}");
        if let (Kind::Spawn, Some(site)) = (event.kind, &subject.site) {
            let _ = write!(text, ", spawned at {site}");
        }
        text += "; ";
    }
    let process = match lane.kind {
        LaneKind::Process => format!("worker process {}", lane.pid),
        LaneKind::Loop | LaneKind::Thread => "this process".to_owned(),
    };
    let _ = write!(text, "thread '{}' of {process}", lane.name);
    text
}

/// What led to it.
fn why(trace: &Trace, index: usize, steps: &[Step]) -> Option<String> {
    let step = &steps[index];
    let mut reasons: Vec<String> = Vec::new();
    for cause in step.causes(trace, steps) {
        let name = steps[cause].about(trace).name;
        // The loop finds what ended its sleep after the sleep.
        let what = if cause < index {
            "because of"
        } else {
            "ended for"
        };
        reasons.push(format!("{what} step {} ({name})", cause + 1));
    }
    let inside = trace.events()[step.event].inside.filter(|_| !step.is_end);
    if let Some(outer) = inside {
        let begins = |other: &Step| other.event == outer && !other.is_end;
        match steps.iter().position(begins) {
            Some(index) => reasons.push(format!("in the course of step {}", index + 1)),
            None => {
                let event = &trace.events()[outer];
                let mut what = event.kind.about().name.to_owned();
                if let Some(subject) = event.subject {
                    let _ = write!(what, " of {}", trace.subjects()[subject]);
                }
                reasons.push(format!("in the course of a {what}"));
            }
        }
    }
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

/// The line of the source, and its function.
fn place(trace: &Trace, step: &Step) -> String {
    let event = &trace.events()[step.event];
    if event.kind == Kind::Span {
        let site = event
            .subject
            .and_then(|at| trace.subjects()[at].site.as_ref());
        return site.cloned().unwrap_or_default();
    }
    let about = step.about(trace);
    let line = match step.is_end {
        true => event.end_line,
        false => event.line,
    };
    format!("{}:{line} {}", about.file, about.function)
}

/// Writes `text` after `label`, in lines of `columns` if there are such.
fn say(out: &mut Output, columns: Option<usize>, label: &str, text: &str) -> Result<(), Error> {
    let indent = label.chars().count();
    let room = columns.map_or(usize::MAX, |columns| columns.saturating_sub(indent));
    for (index, line) in wrap(text, room).iter().enumerate() {
        let margin = if index == 0 { label } else { "" };
        out.line(format_args!("{margin:indent$}{line}"))?;
    }
    Ok(())
}

/// Breaks a text between words. A word that has no room stands on a line of its own.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let width = console::measure_text_width(word);
        if used > 0 && used + 1 + width > room {
            lines.push(String::new());
            used = 0;
        }
        let line = lines.last_mut().expect("there is always one");
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += width;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words_and_none_is_lost() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("a enormous b", 3), ["a", "enormous", "b"]);
        assert_eq!(wrap("all in one line", usize::MAX), ["all in one line"]);
        assert_eq!(wrap("", 10), [""]);
    }

    #[test]
    fn width_is_counted_in_columns_not_in_bytes() {
        assert_eq!(wrap("A → B → C", 9), ["A → B → C"]);
    }
}
