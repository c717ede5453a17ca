//! What the figures were measured on.

use std::collections::BTreeMap;
use std::fs;
use std::thread;

use serde::Serialize;

use super::python::Python;

/// The machine and the programs that a comparison ran on.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's name, where the kernel tells it.
    pub cpu: Option<String>,
    /// Threads that can run at once.
    pub cores: Option<usize>,
    /// Bytes of RAM.
    pub memory_bytes: Option<u64>,
    /// Kernel name and version.
    pub os: Option<String>,
    /// How our code was built: `release` or `debug` (whose figures mean little).
    pub build: &'static str,
    /// The Pythons beside us: version, interpreter lock, HTTP clients.
    pub pythons: Vec<Snake>,
    /// What answered the downloads.
    pub server: String,
    /// Which HTTP client each Python row used.
    pub http_clients: BTreeMap<String, String>,
}

/// A Python beside us.
#[derive(Debug, Clone, Serialize)]
pub struct Snake {
    /// As in `3.11.7`.
    pub version: String,
    /// Whether its interpreter lock is on.
    pub gil: bool,
}

impl Machine {
    /// Looks the machine over. `server` says what answers the downloads.
    pub fn look(pythons: &[Python], server: String) -> Machine {
        let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpu_info
            .lines()
            .find(|line| line.starts_with("model name"))
            .and_then(|line| line.split_once(':'))
            .map(|(_, name)| name.trim().to_owned());
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory_bytes = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .map(|kib| kib * 1024);
        let os = nix::sys::utsname::uname().ok().map(|name| {
            format!(
                "{} {}",
                name.sysname().to_string_lossy(),
                name.release().to_string_lossy()
            )
        });
        Machine {
            cpu,
            cores: thread::available_parallelism().ok().map(usize::from),
            memory_bytes,
            os,
            build: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
            pythons: pythons
                .iter()
                .map(|python| Snake {
                    version: python.version.clone(),
                    gil: python.gil,
                })
                .collect(),
            server,
            http_clients: BTreeMap::new(),
        }
    }
}
