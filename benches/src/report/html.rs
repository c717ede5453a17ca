//! One self-contained page: charts, figures, verdicts; readable on a phone, in
//! light and in dark.
//!
//! The charts are sized by hand, a few rectangles of inline SVG each: a chart
//! library would be the largest part of the page and of the build.

use std::fmt::Write as _;

use super::verdict::{self, Outcome};
use super::{bytes, digits, figure};
use crate::runner::Row;
use crate::workload::{Better, is_ours};

const STYLE: &str = "
:root { color-scheme: light dark; --fg: #1d2129; --dim: #667; --bg: #fff; --card: #f5f6f8;
  --ours: #0a7d5a; --peer: #7d8aa5; --limit: #c08a1e; --good: #0a7d5a; --bad: #c0392b; --tie: #a67c00 }
@media (prefers-color-scheme: dark) { :root { --fg: #e4e6eb; --dim: #99a; --bg: #14161a;
  --card: #1e2127; --ours: #3ecf9b; --peer: #77839c; --limit: #d6a545; --good: #3ecf9b;
  --bad: #ff7b6b; --tie: #e0b84a } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--fg); background: var(--bg);
  max-width: 60rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.5rem } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--dim) }
section { background: var(--card); border-radius: .5rem; padding: .75rem 1rem; margin: 1rem 0 }
h3 { margin: 0; font-family: ui-monospace, monospace; font-size: 1.05rem }
p { margin: .2rem 0 } .dim { color: var(--dim); font-size: .9rem }
.met { color: var(--good) } .missed { color: var(--bad) } .noise { color: var(--tie) }
svg { width: 100%; height: auto; display: block; margin: .5rem 0 }
svg text { font: 13px system-ui, sans-serif; fill: var(--fg) }
.ours { fill: var(--ours) } .peer { fill: var(--peer) } .limit { fill: var(--limit) }
.span { stroke: var(--fg); stroke-width: 1.5 }
details table { border-collapse: collapse; font-size: .85rem; width: 100% }
details div { overflow-x: auto }
th, td { text-align: right; padding: .15rem .5rem; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
";

/// The page for these rows.
pub fn page(rows: &[Row], machine: &str, notes: &[String]) -> String {
    let mut page =
        String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    let _ = write!(
        page,
        "<title>cargo versus</title>\n<style>{STYLE}</style></head><body>\n"
    );
    let _ = write!(
        page,
        "<h1>Threeply beside its peers</h1>\n<p class=\"dim\">{}</p>\n",
        escape(machine)
    );
    page += "<p class=\"dim\">Bars are medians; the thin line is the interval that holds the median \
             in 95 of 100 cases. Intervals that overlap are a tie.</p>\n";
    for note in notes {
        let _ = writeln!(page, "<p class=\"dim\">{}</p>", escape(note));
    }
    let mut group = "";
    for row in rows {
        let name = row.workload.group.name();
        if name != group {
            group = name;
            let _ = writeln!(page, "<h2>{name}</h2>");
        }
        add_row(&mut page, row);
    }
    page += "</body></html>\n";
    page
}

fn add_row(page: &mut String, row: &Row) {
    let unit = row.workload.unit;
    let direction = if unit.better() == Better::Lower {
        "less is better"
    } else {
        "more is better"
    };
    let _ = writeln!(
        page,
        "<section>\n<h3>{}</h3>\n<p class=\"dim\">{} ({direction})</p>",
        escape(&row.workload.name),
        escape(row.workload.what)
    );
    chart(page, row);
    for verdict in verdict::judge(row) {
        let (class, word) = match verdict.outcome {
            Outcome::Met => ("met", "met"),
            Outcome::WithinNoise => ("noise", "missed within the noise"),
            Outcome::Missed => ("missed", "missed"),
            Outcome::NotJudged => ("dim", "not judged"),
        };
        let _ = writeln!(
            page,
            "<p class=\"{class}\">{}: {} — {} ({word})</p>",
            verdict.engine,
            escape(&verdict.bar),
            escape(&verdict.measured)
        );
    }
    for (engine, why) in row.skipped.iter().chain(&row.failed) {
        let _ = writeln!(
            page,
            "<p class=\"dim\">{}: {}</p>",
            escape(engine),
            escape(why)
        );
    }
    page.push_str(
        "<details><summary class=\"dim\">figures</summary><div><table><tr><th>engine</th><th>median</th>\
         <th>low</th><th>high</th><th>rounds</th><th>CPU/op</th><th>peak</th></tr>\n",
    );
    for line in &row.lines {
        let _ = writeln!(
            page,
            "<tr><td>{} {} {}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            line.engine,
            escape(&line.version),
            line.variant,
            figure(line.summary.median, unit),
            figure(line.summary.low, unit),
            figure(line.summary.high, unit),
            line.summary.rounds,
            line.cpu_s
                .map_or("-".to_owned(), |s| figure(s, crate::workload::Unit::S)),
            bytes(line.peak_rss as f64)
        );
    }
    page.push_str("</table></div></details>\n</section>\n");
}

/// Horizontal bars, the best first; 600 wide, so that it shrinks to a phone.
fn chart(page: &mut String, row: &Row) {
    let mut lines: Vec<_> = row.lines.iter().collect();
    if lines.is_empty() {
        return;
    }
    let better = row.workload.unit.better();
    lines.sort_by(|a, b| {
        let order = a.summary.median.total_cmp(&b.summary.median);
        if better == Better::Lower {
            order
        } else {
            order.reverse()
        }
    });
    let (left, width, pitch) = (150.0, 330.0, 24.0);
    let longest = lines
        .iter()
        .map(|line| line.summary.high)
        .fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| left + value / longest * width;
    let height = pitch * lines.len() as f64;
    let _ = writeln!(page, "<svg viewBox=\"0 0 600 {height}\" role=\"img\">");
    for (index, line) in lines.iter().enumerate() {
        let top = pitch * index as f64;
        let class = match line.engine {
            engine if is_ours(engine) => "ours",
            "limit" | "sequential" => "limit",
            _ => "peer",
        };
        let middle = top + 12.0;
        let _ = write!(
            page,
            "<text x=\"0\" y=\"{:.0}\">{}</text>\
             <rect class=\"{class}\" x=\"{left}\" y=\"{:.0}\" width=\"{:.1}\" height=\"16\" rx=\"2\"/>\
             <line class=\"span\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.0}\" y2=\"{middle:.0}\"/>",
            top + 17.0,
            line.engine,
            top + 4.0,
            (x(line.summary.median) - left).max(1.0),
            x(line.summary.low),
            x(line.summary.high),
        );
        let ratio = row
            .lines
            .iter()
            .find(|ours| is_ours(ours.engine))
            .filter(|_| !is_ours(line.engine))
            .map(|ours| format!(" · ours {}x", digits(verdict::ratio(better, ours, line))))
            .unwrap_or_default();
        let _ = writeln!(
            page,
            "<text x=\"{:.0}\" y=\"{:.0}\">{}{ratio}</text>",
            left + width + 6.0,
            top + 17.0,
            figure(line.summary.median, row.workload.unit),
        );
    }
    page.push_str("</svg>\n");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::verdict::tests::row;
    use crate::workload::{Bar, Unit};

    #[test]
    fn page_is_self_contained_and_escapes_what_it_is_given() {
        let mut row = row(
            Unit::Ns,
            &[("threeply", 10.0), ("tokio", 40.0)],
            &[Bar::Times("tokio", 4.0)],
        );
        row.failed.push(("smol".to_owned(), "said <b>".to_owned()));
        let page = super::page(&[row], "a <machine>", &["note".to_owned()]);
        for link in ["http://", "https://", "src=", "@import"] {
            assert!(!page.contains(link), "{link}");
        }
        assert!(page.contains("a &lt;machine&gt;") && page.contains("said &lt;b&gt;"));
        assert!(page.contains("prefers-color-scheme: dark") && page.contains("viewport"));
        assert_eq!(
            page.matches("<section>").count(),
            page.matches("</section>").count()
        );
    }
}
