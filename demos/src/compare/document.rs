//! What `compare --json` prints: one document, this schema, nothing else.

use serde::Serialize;

use super::Workload;
use super::machine::Machine;
use super::units::Unit;

/// The whole comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Document {
    /// What it was measured on.
    pub machine: Machine,
    /// What one unit of concurrency costs on each engine.
    pub units: Vec<UnitRow>,
    /// One row for each workload on each engine.
    pub workloads: Vec<Row>,
}

/// What one unit of concurrency (a process, a thread, a task) costs.
#[derive(Debug, Clone, Serialize)]
pub struct UnitRow {
    /// `processes`, `threads` or `loop`.
    pub engine: &'static str,
    /// The measured costs.
    #[serde(flatten)]
    pub unit: Unit,
}

/// One workload on one engine. What could not be measured is `null`.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Which workload.
    pub workload: Workload,
    /// Which engine: `threads`, `python-asyncio`, …
    pub engine: String,
    /// Median wall-clock seconds with the workers ready.
    pub wall_s: Option<f64>,
    /// Median wall-clock seconds with the engine's start and end included.
    pub wall_cold_s: Option<f64>,
    /// Median CPU seconds of a warm round, all threads and processes.
    pub cpu_s: Option<f64>,
    /// The most memory held, worker processes included.
    pub peak_rss_bytes: Option<u64>,
    /// Wall-clock time of the sequential program of the same language ÷ this one's.
    pub speedup: Option<f64>,
}

impl Document {
    /// The row of an engine, if it was measured.
    pub fn row(&self, workload: Workload, engine: &str) -> Option<&Row> {
        self.workloads
            .iter()
            .find(|row| row.workload == workload && row.engine == engine)
    }

    /// The costs of an engine's unit.
    pub fn unit(&self, engine: &str) -> Option<&Unit> {
        self.units
            .iter()
            .find(|row| row.engine == engine)
            .map(|row| &row.unit)
    }

    /// Fills in every row's speed-up, now that all rows are there.
    pub fn reckon_speedups(&mut self) {
        let speedups: Vec<_> = self
            .workloads
            .iter()
            .map(|row| {
                let sequential = self.row(row.workload, sequential_of(&row.engine))?.wall_s?;
                Some(sequential / row.wall_s?)
            })
            .collect();
        for (row, speedup) in self.workloads.iter_mut().zip(speedups) {
            row.speedup = speedup;
        }
    }
}

/// The sequential program in the same language (and the same kind of Python).
fn sequential_of(engine: &str) -> &'static str {
    match (engine.starts_with("python-"), engine.ends_with("-ft")) {
        (false, _) => "sequential",
        (true, false) => "python-sequential",
        (true, true) => "python-sequential-ft",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(engine: &str, wall_s: Option<f64>) -> Row {
        Row {
            workload: Workload::CpuBound,
            engine: engine.into(),
            wall_s,
            wall_cold_s: None,
            cpu_s: None,
            peak_rss_bytes: None,
            speedup: None,
        }
    }

    #[test]
    fn speedups_compare_within_a_language_and_are_null_without_it() {
        let mut document = Document {
            machine: Machine::look(&[], String::new()),
            units: Vec::new(),
            workloads: vec![
                row("sequential", Some(4.0)),
                row("threads", Some(2.0)),
                row("python-sequential", Some(100.0)),
                row("python-threading", Some(50.0)),
                row("python-threading-ft", Some(25.0)),
                row("loop", None),
            ],
        };
        document.reckon_speedups();
        let speedup = |engine| document.row(Workload::CpuBound, engine).unwrap().speedup;
        assert_eq!(speedup("sequential"), Some(1.0));
        assert_eq!(speedup("threads"), Some(2.0));
        assert_eq!(speedup("python-threading"), Some(2.0));
        assert_eq!(speedup("python-threading-ft"), None);
        assert_eq!(speedup("loop"), None);
    }
}
