//! All workloads, each with every engine's version side by side.
//!
//! A file holds one idea (`tasks`, `timers`, …). Where the engines' APIs allow,
//! a workload is one generic function; where they don't, the versions stand one
//! below the other. All of them check what they computed.

use std::process::ExitCode;

use crate::workload::Workload;

pub mod article;
pub mod event_loop;
pub mod net;
pub mod processes;
pub mod threads;

/// The hidden command by which the binary becomes a server.
pub const SERVE: &str = "__serve";

/// Every row of every group, in the order in which they are shown.
pub fn all() -> Vec<Workload> {
    let mut all = event_loop::workloads();
    all.extend(net::workloads());
    all.extend(threads::workloads());
    all.extend(processes::workloads());
    all.extend(article::workloads());
    all
}

/// The hidden command: the other end of a workload, in a process of its own.
pub fn serve(arguments: &[String]) -> ExitCode {
    let name = arguments.first().map(String::as_str).unwrap_or_default();
    let word = |index: usize| arguments.get(index).map(String::as_str).unwrap_or_default();
    if name == article::server::NAME {
        return article::server::serve();
    }
    if name == net::servers::NAME {
        return net::servers::serve(word(1), word(2));
    }
    processes::helpers::become_helper(name).unwrap_or_else(|| {
        eprintln!("versus: there is no server called {name:?}");
        ExitCode::from(2)
    })
}
