//! One line for each result, for other programs.

use serde::Serialize;

use super::verdict;
use crate::runner::Row;

#[derive(Serialize)]
struct Record<'a> {
    group: &'a str,
    workload: &'a str,
    engine: &'a str,
    version: String,
    unit: &'a str,
    better: &'a str,
    median: f64,
    low: f64,
    high: f64,
    rounds: usize,
    /// CPU seconds for each operation.
    cpu_s: Option<f64>,
    /// Bytes.
    peak_rss: u64,
    /// Above 1 we are better; `null` on rows that aren't ours.
    ratio_to_best_peer: Option<f64>,
}

/// The lines of one row, each without its newline. An engine that didn't run
/// has none.
pub fn lines(row: &Row) -> Vec<String> {
    let unit = row.workload.unit;
    row.lines
        .iter()
        .map(|line| {
            let record = Record {
                group: row.workload.group.name(),
                workload: &row.workload.name,
                engine: line.engine,
                version: match line.variant {
                    "" => line.version.clone(),
                    variant => format!("{} {variant}", line.version),
                },
                unit: unit.name(),
                better: unit.better().name(),
                median: line.summary.median,
                low: line.summary.low,
                high: line.summary.high,
                rounds: line.summary.rounds,
                cpu_s: line.cpu_s,
                peak_rss: line.peak_rss,
                ratio_to_best_peer: verdict::ratio_to_best_peer(row, line),
            };
            serde_json::to_string(&record).expect("numbers and strings have a JSON form")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::verdict::tests::row;
    use crate::workload::Unit;

    #[test]
    fn each_line_has_the_promised_fields_and_no_others() {
        let row = row(
            Unit::JobsPerS,
            &[("threeply", 40.0), ("procspawn", 10.0)],
            &[],
        );
        let lines = super::lines(&row);
        assert_eq!(lines.len(), 2);
        let first: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        let mut fields: Vec<&str> = first
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        fields.sort_unstable();
        let mut promised = [
            "group",
            "workload",
            "engine",
            "version",
            "unit",
            "better",
            "median",
            "low",
            "high",
            "rounds",
            "cpu_s",
            "peak_rss",
            "ratio_to_best_peer",
        ];
        promised.sort_unstable();
        assert_eq!(fields, promised);
        assert_eq!(first["unit"], "jobs_per_s");
        assert_eq!(first["better"], "higher");
        assert_eq!(first["ratio_to_best_peer"], 4.0);
        let second: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
        assert!(second["ratio_to_best_peer"].is_null());
    }

    #[test]
    fn an_engine_that_was_skipped_has_no_line() {
        let mut row = row(Unit::Ns, &[("threeply", 40.0)], &[]);
        row.skipped
            .push(("glommio".to_owned(), "no io_uring".to_owned()));
        assert_eq!(super::lines(&row).len(), 1);
    }
}
