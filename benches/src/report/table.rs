//! The table on a terminal, and the closing list of bars.

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use super::verdict::{self, Outcome};
use super::{bytes, digits, figure};
use crate::runner::Row;
use crate::workload::{Better, is_ours};

/// Width of the longest bar.
const BAR: f64 = 16.0;

/// The rows of one group as a table.
pub fn render(rows: &[Row], colour: bool) -> String {
    let mut table = Table::new();
    // Markdown, so that a table can be pasted into an issue.
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_content_arrangement(ContentArrangement::Disabled);
    if !colour {
        table.force_no_tty();
    }
    table.set_header([
        "workload",
        "engine",
        "median",
        "low – high",
        "",
        "ours is",
        "CPU/op",
        "peak",
        "verdict",
    ]);
    for row in rows {
        add(&mut table, row, colour);
    }
    for column in [2, 3, 5, 6, 7] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = table.to_string();
    for note in rows.iter().flat_map(notes) {
        text += "\n";
        text += &note;
    }
    text
}

fn add(table: &mut Table, row: &Row, colour: bool) {
    let unit = row.workload.unit;
    let ours = row.lines.iter().find(|line| is_ours(line.engine));
    let longest = row
        .lines
        .iter()
        .map(|line| line.summary.median)
        .fold(0.0, f64::max);
    let verdicts = verdict::judge(row);
    let mut lines: Vec<_> = row.lines.iter().collect();
    lines.sort_by(|a, b| {
        let order = a.summary.median.total_cmp(&b.summary.median);
        if unit.better() == Better::Lower {
            order
        } else {
            order.reverse()
        }
    });
    let mut first = true;
    for line in lines {
        let name = if first {
            row.workload.name.as_str()
        } else {
            ""
        };
        first = false;
        let engine = match line.variant {
            "" => format!("{} {}", line.engine, line.version),
            variant => format!("{} {} {variant}", line.engine, line.version),
        };
        let length = (line.summary.median / longest * BAR).ceil().max(1.0) as usize;
        let factor = match ours {
            Some(ours) if !is_ours(line.engine) => {
                let ratio = verdict::ratio(unit.better(), ours, line);
                if ours.summary.ties_with(&line.summary) {
                    format!("{}x (tie)", digits(ratio))
                } else {
                    format!("{}x", digits(ratio))
                }
            }
            _ => verdict::standing(row, line).unwrap_or_default().to_owned(),
        };
        let mut name_of_engine = Cell::new(engine);
        if is_ours(line.engine) && colour {
            name_of_engine = name_of_engine.add_attribute(Attribute::Bold);
        }
        let own: Vec<_> = verdicts
            .iter()
            .filter(|v| v.engine == line.engine)
            .collect();
        let told: Vec<String> = own
            .iter()
            .map(|v| format!("{} {}: {}", mark(v.outcome), v.bar, v.measured))
            .collect();
        let mut told = Cell::new(told.join("; "));
        if colour {
            told = match worst(&own) {
                Some(Outcome::Met) => told.fg(Color::Green),
                Some(Outcome::WithinNoise) => told.fg(Color::Yellow),
                Some(Outcome::Missed) => told.fg(Color::Red),
                _ => told,
            };
        }
        table.add_row([
            Cell::new(name),
            name_of_engine,
            Cell::new(figure(line.summary.median, unit)),
            Cell::new(format!(
                "{} – {}",
                figure(line.summary.low, unit),
                figure(line.summary.high, unit)
            )),
            Cell::new("▇".repeat(length)),
            Cell::new(factor),
            Cell::new(
                line.cpu_s
                    .map_or("-".to_owned(), |s| figure(s, crate::workload::Unit::S)),
            ),
            Cell::new(bytes(line.peak_rss as f64)),
            told,
        ]);
    }
}

/// What the table leaves out, a line each: skipped, failed, disturbed.
fn notes(row: &Row) -> Vec<String> {
    let name = &row.workload.name;
    let mut notes = Vec::new();
    for (engine, why) in &row.skipped {
        notes.push(format!("{name}: {engine} is skipped: {why}"));
    }
    for (engine, why) in &row.failed {
        notes.push(format!("{name}: {engine} FAILED: {why}"));
    }
    if row.disturbed > 0 {
        notes.push(format!(
            "{name}: {} runs were disturbed by other load",
            row.disturbed
        ));
    }
    notes
}

fn mark(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Met => "✓",
        Outcome::WithinNoise => "~",
        Outcome::Missed => "✗",
        Outcome::NotJudged => "·",
    }
}

fn worst(verdicts: &[&verdict::Verdict]) -> Option<Outcome> {
    let has = |outcome| verdicts.iter().any(|v| v.outcome == outcome);
    [Outcome::Missed, Outcome::WithinNoise, Outcome::Met]
        .into_iter()
        .find(|o| has(*o))
}

/// The closing lines: how many bars were met, and which weren't.
pub fn closing(rows: &[Row]) -> String {
    let mut count = [0usize; 4];
    let mut missed = String::new();
    for row in rows {
        for v in verdict::judge(row) {
            count[v.outcome as usize] += 1;
            if matches!(v.outcome, Outcome::Missed | Outcome::WithinNoise) {
                missed += &format!(
                    "  {} {:28} {:16} {:24} {}\n",
                    mark(v.outcome),
                    row.workload.name,
                    v.engine,
                    v.bar,
                    v.measured
                );
            }
        }
    }
    let repeated: usize = rows.iter().map(|row| row.repeated).sum();
    let disturbed: usize = rows.iter().map(|row| row.disturbed).sum();
    format!(
        "{missed}{} bars met, {} missed within the noise (~), {} missed (✗), {} not judged (·); \
         {repeated} runs repeated, {disturbed} still disturbed",
        count[Outcome::Met as usize],
        count[Outcome::WithinNoise as usize],
        count[Outcome::Missed as usize],
        count[Outcome::NotJudged as usize],
    )
}

#[cfg(test)]
mod tests {
    use super::super::verdict::tests::row;
    use super::*;
    use crate::workload::{Bar, Unit};

    #[test]
    fn table_names_engines_versions_ratios_and_what_was_skipped() {
        let mut row = row(
            Unit::Ns,
            &[("threeply", 10.0), ("tokio", 40.0)],
            &[Bar::Times("tokio", 4.0), Bar::Times("tokio", 9.0)],
        );
        row.skipped
            .push(("glommio".to_owned(), "needs io_uring".to_owned()));
        let text = render(std::slice::from_ref(&row), false);
        for part in [
            "some_row",
            "tokio 1.0",
            "4.00x",
            "✓ 4x tokio",
            "✗ 9x tokio",
            "needs io_uring",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains('\x1b'));
        let closing = closing(&[row]);
        assert!(
            closing.contains("1 bars met") && closing.contains("1 missed (✗)"),
            "{closing}"
        );
    }
}
