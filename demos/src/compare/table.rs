//! The comparison for a person: tables, and what follows from them.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::Workload;
use super::document::{Document, Row};
use crate::Error;
use crate::output::Output;

/// Prints the whole document.
///
/// # Errors
/// [`Error::Stdout`].
pub fn print(
    document: &Document,
    sizes: &Sizes,
    remarks: &[String],
    out: &mut Output,
) -> Result<(), Error> {
    let machine = &document.machine;
    out.line(machine_line(document))?;
    if machine.build == "debug" {
        out.line(
            "These are the figures of a debug build and say little: run `cargo run --release`.",
        )?;
    }
    if machine.pythons.is_empty() {
        out.line("No python3 was run: the Python rows are skipped.")?;
    }
    for workload in Workload::ALL {
        out.line("")?;
        out.line(bold(sizes.title(workload)))?;
        out.line(workload_table(document, workload, out.columns()))?;
    }
    out.line("")?;
    out.line(bold("What they are, measured".into()))?;
    out.line(closing_table(document, sizes, out.columns()))?;
    for line in notes(document) {
        out.line(line)?;
    }
    for remark in remarks {
        out.line(format_args!("Note: {remark}."))?;
    }
    out.line("")?;
    out.line(bold("Which to pick for what".into()))?;
    for line in advice(document) {
        out.line(line)?;
    }
    Ok(())
}

/// What it was measured on.
pub(super) fn machine_line(document: &Document) -> String {
    let machine = &document.machine;
    let cores = machine.cores.map_or("?".into(), |cores| cores.to_string());
    format!(
        "{} cores of {}, {}, {} build",
        cores,
        machine.cpu.as_deref().unwrap_or("an unknown processor"),
        machine.os.as_deref().unwrap_or("Linux"),
        machine.build,
    )
}

/// How large the workloads were, for the titles.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Sums.
    pub tasks: u32,
    /// What is summed up to.
    pub n: u64,
    /// What is summed up to in `cpu_bound_large`.
    pub large_n: u64,
    /// Downloads of `io_bound`.
    pub downloads: u32,
    /// Downloads of `many_connections`.
    pub connections: u32,
}

impl Sizes {
    pub(super) fn title(&self, workload: Workload) -> String {
        let name = workload.name();
        let Sizes {
            tasks,
            n,
            large_n,
            downloads,
            connections,
        } = self;
        match workload {
            Workload::CpuBound => format!("{name}: {tasks} sums of the numbers below {n}"),
            Workload::CpuBoundLarge => {
                format!("{name}: {tasks} sums of the numbers below {large_n}")
            }
            Workload::IoBound => format!("{name}: {downloads} downloads"),
            Workload::ManyConnections => format!("{name}: {connections} downloads at once"),
        }
    }
}

fn workload_table(document: &Document, workload: Workload, columns: Option<u16>) -> Table {
    let mut table = filled(workload_rows(document, workload), columns);
    right_align(&mut table);
    table
}

/// A workload's cells, its head first.
pub(super) fn workload_rows(document: &Document, workload: Workload) -> Vec<Vec<String>> {
    let head = [
        "engine",
        "warm",
        "cold (with start)",
        "CPU",
        "peak memory",
        "speed-up",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let of_workload = document
        .workloads
        .iter()
        .filter(|row| row.workload == workload);
    rows.extend(of_workload.map(|row| {
        vec![
            label(document, row),
            seconds(row.wall_s),
            seconds(row.wall_cold_s),
            seconds(row.cpu_s),
            bytes(row.peak_rss_bytes.map(|n| n as f64)),
            times(row.speedup),
        ]
    }));
    rows
}

/// The engine's name, and for a Python that downloads, with what.
fn label(document: &Document, row: &Row) -> String {
    let downloads = matches!(row.workload, Workload::IoBound | Workload::ManyConnections);
    match document.machine.http_clients.get(&row.engine) {
        Some(client) if downloads => format!("{} ({client})", row.engine),
        _ => row.engine.clone(),
    }
}

fn closing_table(document: &Document, sizes: &Sizes, columns: Option<u16>) -> Table {
    filled(closing_rows(document, sizes), columns)
}

/// The closing table's cells, its head first.
pub(super) fn closing_rows(document: &Document, sizes: &Sizes) -> Vec<Vec<String>> {
    let engines = ["processes", "threads", "loop"];
    let head = ["", "multiprocessing", "multithreading", "event loop"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut line = |title: &str, cell: &dyn Fn(&str) -> String| {
        let mut cells = vec![title.to_owned()];
        cells.extend(engines.iter().map(|engine| cell(engine)));
        rows.push(cells);
    };
    let unit = |engine: &str| document.unit(engine);
    line("unit of concurrency", &|engine| {
        match engine {
            "processes" => "process",
            "threads" => "thread",
            _ => "task",
        }
        .into()
    });
    line("start cost", &|engine| {
        seconds(
            unit(engine)
                .and_then(|unit| unit.start_ns)
                .map(|ns| ns / 1e9),
        )
    });
    line("memory a unit", &|engine| {
        bytes(unit(engine).and_then(|unit| unit.memory_bytes))
    });
    line("switch cost", &|engine| {
        seconds(
            unit(engine)
                .and_then(|unit| unit.switch_ns)
                .map(|ns| ns / 1e9),
        )
    });
    line(
        "shares memory",
        &|engine| match unit(engine).and_then(|unit| unit.shares_memory) {
            Some(true) => "yes".into(),
            Some(false) => "no".into(),
            None => "–".into(),
        },
    );
    line("limited by a GIL", &|engine| {
        limited_by_gil(document, engine)
    });
    for (title, workload) in [
        ("CPU-bound speed-up", Workload::CpuBound),
        ("  ten times larger", Workload::CpuBoundLarge),
        ("I/O-bound speed-up", Workload::IoBound),
    ] {
        line(title, &|engine| {
            let row = document.row(workload, engine);
            let warm = times(row.and_then(|row| row.speedup));
            let sequential = document
                .row(workload, "sequential")
                .and_then(|row| row.wall_s);
            let cold = row
                .and_then(|row| row.wall_cold_s)
                .zip(sequential)
                .map(|(cold, all)| all / cold);
            format!("{warm} (cold {})", times(cold))
        });
    }
    let connections = format!("{} connections", sizes.connections);
    line(&connections, &|engine| {
        match document.row(Workload::ManyConnections, engine) {
            Some(row) => format!(
                "{}, {}",
                seconds(row.wall_s),
                bytes(row.peak_rss_bytes.map(|n| n as f64))
            ),
            // Not run: what it would hold follows from what one holds.
            None => {
                let each = unit(engine).and_then(|unit| unit.memory_bytes);
                let all = each.map(|each| each * f64::from(sizes.connections));
                format!("not run, would hold {}", bytes(all))
            }
        }
    });
    line("fits", &|engine| {
        match engine {
            "processes" => "CPU-bound work, isolation",
            "threads" => "CPU-bound work, blocking calls",
            _ => "waiting for many at once",
        }
        .into()
    });
    rows
}

/// Whether more of these run at once on more cores, in Rust and in Python, as
/// the sums showed.
fn limited_by_gil(document: &Document, engine: &str) -> String {
    let python_engine = match engine {
        "processes" => "multiprocessing",
        "threads" => "threading",
        _ => "asyncio",
    };
    if engine == "loop" {
        return "no, one thread".into();
    }
    let gil = document.machine.pythons.iter().find(|python| python.gil);
    let speedup = |row: String| {
        document
            .row(Workload::CpuBound, &row)
            .and_then(|row| row.speedup)
    };
    match (gil, speedup(format!("python-{python_engine}"))) {
        (Some(python), Some(speedup)) => {
            let verdict = if engine == "threads" { "yes" } else { "no" };
            format!(
                "no; Python {}: {verdict} ({})",
                python.version,
                times(Some(speedup))
            )
        }
        _ => "no".into(),
    }
}

pub(super) fn notes(document: &Document) -> Vec<String> {
    let mut notes = vec![
        "Start: from asking for one until its first, empty job is done. Memory: private pages of an idle one.".into(),
        "Switch, on one core: a byte handed over a pipe (process), an unpark (thread), a yield (task).".into(),
    ];
    let processes = document.row(Workload::CpuBound, "processes");
    if let Some((warm, cold)) = processes.and_then(|row| row.wall_s.zip(row.wall_cold_s)) {
        notes.push(format!(
            "A sum is short in Rust: all of cpu_bound takes {} on warm processes, {} with their start. \
             That is why cpu_bound_large stands beside it.",
            seconds(Some(warm)),
            seconds(Some(cold)),
        ));
    }
    notes
}

pub(super) fn advice(document: &Document) -> Vec<String> {
    let mut advice = Vec::new();
    let row = |workload, engine| document.row(workload, engine);
    let speedup = |workload, engine| times(row(workload, engine).and_then(|row| row.speedup));
    advice.push(format!(
        "CPU-bound: threads ({} here). Processes ({}) when jobs may crash, must be killed, or must not share memory.",
        speedup(Workload::CpuBoundLarge, "threads"),
        speedup(Workload::CpuBoundLarge, "processes"),
    ));
    advice.push(format!(
        "Waiting for a few: threads ({}) or the loop ({}), whichever reads easier to you.",
        speedup(Workload::IoBound, "threads"),
        speedup(Workload::IoBound, "loop"),
    ));
    let many = |engine| {
        let row = row(Workload::ManyConnections, engine);
        format!(
            "{} and {}",
            seconds(row.and_then(|row| row.wall_s)),
            bytes(row.and_then(|row| row.peak_rss_bytes).map(|n| n as f64))
        )
    };
    advice.push(format!(
        "Waiting for very many: the loop ({}; threads {}).",
        many("loop"),
        many("threads"),
    ));
    advice.push(format!(
        "Never sums on the loop ({}): they stop everything else on it; hand them to threads and await the handle.",
        speedup(Workload::CpuBoundLarge, "loop"),
    ));
    advice
}

/// A table of these cells, the head first.
fn filled(rows: Vec<Vec<String>>, columns: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    if let Some(columns) = columns {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(columns.max(60));
    }
    let mut rows = rows.into_iter();
    table.set_header(rows.next().unwrap_or_default());
    for row in rows {
        table.add_row(row);
    }
    table
}

fn right_align(table: &mut Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn bold(text: String) -> String {
    console::style(text).bold().to_string()
}

/// A duration with three digits and the unit that suits it.
pub fn seconds(value: Option<f64>) -> String {
    let Some(s) = value else { return "–".into() };
    let (value, unit) = match s {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s if s >= 1e-6 => (s * 1e6, "µs"),
        s => (s * 1e9, "ns"),
    };
    format!("{} {unit}", three_digits(value))
}

fn bytes(value: Option<f64>) -> String {
    let Some(n) = value else { return "–".into() };
    let (value, unit) = match n {
        n if n >= 1024.0 * 1024.0 => (n / 1024.0 / 1024.0, "MiB"),
        n if n >= 1024.0 => (n / 1024.0, "KiB"),
        n => (n, "B"),
    };
    format!("{} {unit}", three_digits(value))
}

fn times(value: Option<f64>) -> String {
    value.map_or("–".into(), |x| format!("{x:.2}x"))
}

fn three_digits(value: f64) -> String {
    let decimals = match value {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        assert_eq!(seconds(Some(0.0111)), "11.1 ms");
        assert_eq!(seconds(Some(1.5)), "1.50 s");
        assert_eq!(seconds(Some(34e-9)), "34.0 ns");
        assert_eq!(seconds(None), "–");
        assert_eq!(bytes(Some(336.0)), "336 B");
        assert_eq!(bytes(Some(4.5 * 1024.0 * 1024.0)), "4.50 MiB");
        assert_eq!(times(Some(1.987)), "1.99x");
    }
}
