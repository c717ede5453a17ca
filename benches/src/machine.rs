//! What this machine is, what it lacks, and whether it is busy with other things.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::runner::locked_version;
use crate::sys;
use crate::workload::{Entry, Pin, Run, Workload, is_python};

/// An interpreter.
#[derive(Debug, Clone)]
pub struct Python {
    /// How to start it.
    pub program: String,
    /// `3.11.9`.
    pub version: String,
}

impl Python {
    fn find(program: &str) -> Option<Python> {
        let output = Command::new(program)
            .args(["-c", "import platform; print(platform.python_version())"])
            .output()
            .ok()?;
        let version = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !version.is_empty()).then(|| Python {
            program: program.to_owned(),
            version,
        })
    }
}

/// What was found at the start.
#[derive(Debug, Clone)]
pub struct Machine {
    /// CPUs that we may use.
    pub cpus: usize,
    /// The processor's name.
    pub model: String,
    /// The kernel's release.
    pub kernel: String,
    /// GiB of memory.
    pub memory_gib: u64,
    python: Option<Python>,
    free_threaded: Option<Python>,
    io_uring: bool,
}

impl Machine {
    /// Looks around; starts Python once to ask for its version.
    pub fn look() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let after_colon = |text: &str, key: &str| {
            text.lines()
                .find(|line| line.starts_with(key))
                .and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
        };
        Machine {
            cpus: sys::cpus().len(),
            model: after_colon(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown".into()),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_gib: after_colon(&read("/proc/meminfo"), "MemTotal")
                .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
                .unwrap_or(0)
                / (1024 * 1024),
            python: Python::find("python3"),
            free_threaded: ["python3.14t", "python3.13t"]
                .into_iter()
                .find_map(Python::find),
            io_uring: sys::io_uring_works(),
        }
    }

    /// One line for the head of a report.
    pub fn describe(&self) -> String {
        let Machine {
            cpus,
            model,
            kernel,
            memory_gib,
            ..
        } = self;
        format!("{model}, {cpus} CPUs, {memory_gib} GiB, Linux {kernel}")
    }

    /// What can't be measured here, each in a sentence.
    pub fn lacks(&self) -> Vec<String> {
        let mut lacks = Vec::new();
        if self.python.is_none() {
            lacks.push("no `python3` was found: Python's rows are skipped".to_owned());
        }
        if self.free_threaded.is_none() {
            lacks.push("no free-threaded Python (`python3.14t`, `python3.13t`) was found: rows ending in -ft are skipped".to_owned());
        }
        if !self.io_uring {
            lacks.push("io_uring is not permitted: glommio is skipped; monoio and compio fall back to epoll".to_owned());
        }
        if self.cpus < 2 {
            lacks.push(
                "one CPU: rows ending in _apart and rows on 2 threads are skipped".to_owned(),
            );
        }
        lacks
    }

    /// The interpreter for a script.
    pub fn python(&self, free_threaded: bool) -> Option<&Python> {
        if free_threaded {
            self.free_threaded.as_ref()
        } else {
            self.python.as_ref()
        }
    }

    /// Whether an engine can run a workload here; else why not.
    ///
    /// # Errors
    ///
    /// The reason, in words.
    pub fn can_run(&self, workload: &Workload, entry: &Entry) -> Result<(), String> {
        if workload.pin == Pin::Apart && self.cpus < 2 {
            return Err("needs two CPUs".to_owned());
        }
        if let Run::Python { free_threaded, .. } = entry.run
            && self.python(free_threaded).is_none()
        {
            return Err("its interpreter wasn't found".to_owned());
        }
        if entry.engine == "glommio" && !self.io_uring {
            return Err("needs io_uring, which isn't permitted here".to_owned());
        }
        Ok(())
    }

    /// The release of what a row ran.
    pub fn version_of(&self, entry: &Entry) -> String {
        if is_python(entry.engine) {
            let free = matches!(
                entry.run,
                Run::Python {
                    free_threaded: true,
                    ..
                }
            );
            return self
                .python(free)
                .map(|python| python.version.clone())
                .unwrap_or_default();
        }
        match entry.engine {
            "limit" => format!("Linux {}", self.kernel),
            "sequential" => "std".to_owned(),
            _ => locked_version(entry.package).unwrap_or_default().to_owned(),
        }
    }
}

/// The machine's clocks at one moment, from `/proc/stat`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Busy {
    busy: Duration,
    stolen: Duration,
}

impl Busy {
    /// Reads the clocks; zeroes where `/proc/stat` can't be read.
    pub fn now() -> Busy {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default()).unwrap_or_default()
    }

    /// The first line: `cpu user nice system idle iowait irq softirq steal …`, in
    /// ticks of 10 ms over all CPUs.
    fn parse(text: &str) -> Option<Busy> {
        let mut fields = text.lines().next()?.split_whitespace().skip(1);
        let mut next = || -> Option<Duration> {
            Some(Duration::from_millis(
                10 * fields.next()?.parse::<u64>().ok()?,
            ))
        };
        let (user, nice, system) = (next()?, next()?, next()?);
        let (_idle, _iowait) = (next()?, next()?);
        let (irq, softirq, steal) = (next()?, next()?, next()?);
        Some(Busy {
            busy: user + nice + system + irq + softirq,
            stolen: steal,
        })
    }

    /// Whether more than a sixth of a core did something else than our run, or
    /// more than a twentieth was stolen. Ticks are coarse: 30 ms are forgiven.
    pub fn disturbed_until_now(&self, elapsed: Duration, ours: Duration) -> bool {
        self.disturbed(&Busy::now(), elapsed, ours)
    }

    fn disturbed(&self, now: &Busy, elapsed: Duration, ours: Duration) -> bool {
        let grace = Duration::from_millis(30);
        let foreign = now.busy.saturating_sub(self.busy).saturating_sub(ours);
        let stolen = now.stolen.saturating_sub(self.stolen);
        foreign > grace + elapsed / 6 || stolen > grace + elapsed / 20
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn foreign_load_and_steal_are_noticed() {
        let before = Busy::parse("cpu  100 0 50 9000 0 0 0 10 0 0\n").unwrap();
        let quiet = Busy::parse("cpu  198 0 52 9100 0 0 0 10 0 0\n").unwrap();
        let loaded = Busy::parse("cpu  240 0 70 9000 0 0 0 10 0 0\n").unwrap();
        let stolen = Busy::parse("cpu  198 0 52 9000 0 0 0 30 0 0\n").unwrap();
        // A run of a second that used a second of CPU.
        assert!(!before.disturbed(&quiet, MS(1000), MS(1000)));
        assert!(before.disturbed(&loaded, MS(1000), MS(1000)));
        assert!(before.disturbed(&stolen, MS(1000), MS(1000)));
    }

    #[test]
    fn garbage_instead_of_clocks_is_no_disturbance() {
        assert!(Busy::parse("").is_none());
        assert!(Busy::parse("cpu x y").is_none());
        let zero = Busy::default();
        assert!(!zero.disturbed(&zero, MS(100), MS(50)));
    }

    #[test]
    fn missing_parts_are_skipped_with_a_reason() {
        let bare = Machine {
            cpus: 1,
            model: String::new(),
            kernel: String::new(),
            memory_gib: 1,
            python: None,
            free_threaded: None,
            io_uring: false,
        };
        use crate::workload::{Group, Unit};
        let nothing = |_: &crate::workload::Ctx| 1.0;
        let row = Workload::new(Group::Processes, "row_apart", Unit::Us, "")
            .pin(Pin::Apart)
            .once("threeply", nothing);
        assert!(
            bare.can_run(&row, &row.entries[0])
                .unwrap_err()
                .contains("two CPUs")
        );
        let row = Workload::new(Group::Processes, "row", Unit::Us, "")
            .python("python-ppe", "pool.py", &[])
            .once("glommio", nothing)
            .once("tokio", nothing);
        assert!(
            bare.can_run(&row, &row.entries[0])
                .unwrap_err()
                .contains("interpreter")
        );
        assert!(
            bare.can_run(&row, &row.entries[1])
                .unwrap_err()
                .contains("io_uring")
        );
        assert!(bare.can_run(&row, &row.entries[2]).is_ok());
        assert_eq!(bare.lacks().len(), 4);
    }
}
