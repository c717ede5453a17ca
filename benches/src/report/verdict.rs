//! From lines to ratios, and from bars to verdicts.

use crate::runner::{Line, Row};
use crate::workload::{Bar, Better, is_ours, is_peer, is_python};

/// What became of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Reached by the medians.
    Met,
    /// Missed by the medians, by less than the noise.
    WithinNoise,
    /// Missed.
    Missed,
    /// The engine that it compares with has no line.
    NotJudged,
}

/// A bar and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Which of our lines is judged.
    pub engine: &'static str,
    /// The bar in words: `4x tokio`.
    pub bar: String,
    /// What was measured, in words: `5.1x`.
    pub measured: String,
    /// The outcome.
    pub outcome: Outcome,
}

/// How many times better `ours` is than `theirs`, by their medians.
pub fn ratio(better: Better, ours: &Line, theirs: &Line) -> f64 {
    better.ratio(ours.summary.median, theirs.summary.median)
}

/// The best of the lines that `which` picks.
pub fn best(row: &Row, which: impl Fn(&Line) -> bool) -> Option<&Line> {
    let better = row.workload.unit.better();
    row.lines
        .iter()
        .filter(|line| which(line))
        .reduce(|best, line| {
            if ratio(better, line, best) > 1.0 {
                line
            } else {
                best
            }
        })
}

/// How the line does against the best peer; `None` when it isn't ours or has none.
pub fn ratio_to_best_peer(row: &Row, line: &Line) -> Option<f64> {
    if !is_ours(line.engine) {
        return None;
    }
    let peer = best(row, |line| is_peer(line.engine))?;
    Some(ratio(row.workload.unit.better(), line, peer))
}

/// Every bar of the row, judged. `threeply-shared` stands beside `threeply` and
/// has one bar of its own: not behind tokio.
pub fn judge(row: &Row) -> Vec<Verdict> {
    let Some(ours) = row
        .lines
        .iter()
        .find(|line| line.engine == "threeply")
        .or_else(|| {
            row.lines
                .iter()
                .find(|line| is_ours(line.engine) && line.engine != "threeply-shared")
        })
    else {
        return Vec::new();
    };
    let mut verdicts: Vec<Verdict> = row
        .workload
        .bars
        .iter()
        .map(|bar| judge_one(row, ours, *bar))
        .collect();
    if let Some(shared) = row
        .lines
        .iter()
        .find(|line| line.engine == "threeply-shared")
    {
        verdicts.push(judge_one(row, shared, Bar::NotBehind("tokio")));
    }
    verdicts
}

fn judge_one(row: &Row, ours: &Line, bar: Bar) -> Verdict {
    let named = |name: &str| row.lines.iter().find(|line| line.engine == name);
    let (words, other, wanted) = match bar {
        Bar::Times(name, times) => (format!("{times}x {name}"), named(name), times),
        Bar::AheadOf(name) => (format!("ahead of {name}"), named(name), 1.0),
        Bar::NotBehind(name) => (format!("not behind {name}"), named(name), 1.0),
        Bar::AheadOfAll => (
            "ahead of all".to_owned(),
            best(row, |line| is_peer(line.engine)),
            1.0,
        ),
        Bar::Of(name, most) => (format!("≤ {most}x of {name}"), named(name), 1.0 / most),
        Bar::OfLimit(most) => (format!("≤ {most}x of limit"), named("limit"), 1.0 / most),
        Bar::TimesPython(times) => (
            format!("{times}x Python"),
            best(row, |line| is_python(line.engine)),
            times,
        ),
        Bar::Figure(most) => return judge_figure(row, ours, most),
    };
    let Some(other) = other else {
        return Verdict {
            engine: ours.engine,
            bar: words,
            measured: "-".to_owned(),
            outcome: Outcome::NotJudged,
        };
    };
    let better = row.workload.unit.better();
    let got = ratio(better, ours, other);
    // The most favourable reading of both intervals.
    let hopeful = match better {
        Better::Lower => better.ratio(ours.summary.low, other.summary.high),
        Better::Higher => better.ratio(ours.summary.high, other.summary.low),
    };
    let tie = wanted == 1.0 && ours.summary.ties_with(&other.summary);
    let outcome = if got >= wanted {
        Outcome::Met
    } else if hopeful >= wanted || tie {
        Outcome::WithinNoise
    } else {
        Outcome::Missed
    };
    let measured = match bar {
        Bar::OfLimit(_) | Bar::Of(..) => format!("{:.2}x", 1.0 / got),
        Bar::AheadOfAll => format!("{got:.2}x {}", other.engine),
        _ => format!("{got:.2}x"),
    };
    Verdict {
        engine: ours.engine,
        bar: words,
        measured,
        outcome,
    }
}

fn judge_figure(row: &Row, ours: &Line, most: f64) -> Verdict {
    let unit = row.workload.unit;
    let (got, hopeful) = match unit.better() {
        Better::Lower => (ours.summary.median <= most, ours.summary.low <= most),
        Better::Higher => (ours.summary.median >= most, ours.summary.high >= most),
    };
    let sign = if unit.better() == Better::Lower {
        '≤'
    } else {
        '≥'
    };
    Verdict {
        engine: ours.engine,
        bar: format!("{sign} {}", super::figure(most, unit)),
        measured: super::figure(ours.summary.median, unit),
        outcome: match (got, hopeful) {
            (true, _) => Outcome::Met,
            (false, true) => Outcome::WithinNoise,
            _ => Outcome::Missed,
        },
    }
}

/// `ahead`, `tie` or `behind`, of one of our lines against the best peer.
pub fn standing(row: &Row, line: &Line) -> Option<&'static str> {
    let ratio = ratio_to_best_peer(row, line)?;
    let peer = best(row, |line| is_peer(line.engine))?;
    Some(match () {
        () if line.summary.ties_with(&peer.summary) => "tie",
        () if ratio > 1.0 => "ahead",
        () => "behind",
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::stats::Summary;
    use crate::workload::{Group, Unit, Workload};

    pub(crate) fn row(unit: Unit, lines: &[(&'static str, f64)], bars: &[Bar]) -> Row {
        let mut workload = Workload::new(Group::Loop, "some_row", unit, "does something");
        workload.bars = bars.to_vec();
        Row {
            workload,
            lines: lines
                .iter()
                .map(|&(engine, median)| Line {
                    engine,
                    variant: "",
                    version: "1.0".to_owned(),
                    summary: Summary {
                        median,
                        low: median * 0.98,
                        high: median * 1.02,
                        rounds: 9,
                    },
                    cpu_s: Some(1e-9),
                    peak_rss: 1 << 20,
                })
                .collect(),
            skipped: Vec::new(),
            failed: Vec::new(),
            repeated: 0,
            disturbed: 0,
        }
    }

    #[test]
    fn above_one_is_better_whatever_the_direction() {
        let cost = row(
            Unit::Ns,
            &[("threeply", 10.0), ("tokio", 40.0), ("smol", 20.0)],
            &[],
        );
        assert_eq!(ratio_to_best_peer(&cost, &cost.lines[0]), Some(2.0));
        assert_eq!(ratio_to_best_peer(&cost, &cost.lines[1]), None);
        let rate = row(
            Unit::JobsPerS,
            &[("threeply", 40.0), ("procspawn", 10.0)],
            &[],
        );
        assert_eq!(ratio_to_best_peer(&rate, &rate.lines[0]), Some(4.0));
    }

    #[test]
    fn limit_and_sequential_are_no_peers() {
        let row = row(
            Unit::Ns,
            &[("threeply", 10.0), ("limit", 1.0), ("sequential", 1.0)],
            &[],
        );
        assert_eq!(ratio_to_best_peer(&row, &row.lines[0]), None);
        assert_eq!(standing(&row, &row.lines[0]), None);
    }

    #[test]
    fn bars_are_met_missed_or_within_the_noise() {
        let bars = [
            Bar::Times("tokio", 4.0),
            Bar::Times("tokio", 4.1),
            Bar::Times("tokio", 6.0),
            Bar::AheadOfAll,
            Bar::OfLimit(1.25),
            Bar::OfLimit(1.05),
            Bar::NotBehind("monoio"),
            Bar::Figure(9.9),
            Bar::Figure(5.0),
        ];
        let row = row(
            Unit::Ns,
            &[("threeply", 10.0), ("tokio", 40.0), ("limit", 8.5)],
            &bars,
        );
        let outcomes: Vec<Outcome> = judge(&row).iter().map(|verdict| verdict.outcome).collect();
        use Outcome::{Met, Missed, NotJudged, WithinNoise};
        assert_eq!(
            outcomes,
            [
                Met,
                WithinNoise,
                Missed,
                Met,
                Met,
                Missed,
                NotJudged,
                WithinNoise,
                Missed
            ]
        );
    }

    #[test]
    fn shared_family_is_judged_beside_the_local_one() {
        let row = row(
            Unit::Ns,
            &[
                ("threeply", 10.0),
                ("threeply-shared", 50.0),
                ("tokio", 40.0),
            ],
            &[Bar::AheadOfAll],
        );
        let verdicts = judge(&row);
        assert_eq!(verdicts.len(), 2);
        assert_eq!(
            (verdicts[1].engine, verdicts[1].outcome),
            ("threeply-shared", Outcome::Missed)
        );
    }

    #[test]
    fn overlap_is_a_tie() {
        let row = row(Unit::Ns, &[("threeply", 10.0), ("tokio", 10.1)], &[]);
        assert_eq!(standing(&row, &row.lines[0]), Some("tie"));
    }
}
