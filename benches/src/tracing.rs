//! Whether what is measured has tracing in it, and records.
//!
//! Without the feature `trace` the hooks are empty, and that is what `cargo versus`
//! measures. A build with it measures what they cost: off (a load and a branch) or,
//! by `--trace on`, recording. A child is told by an environment variable, which it
//! hands on to the servers that it starts.

use std::env;
use std::process::Command;

use clap::ValueEnum;
use threeply_runtime::trace::{self, Session};

const VARIABLE: &str = "THREEPLY_VERSUS_TRACE";

/// The values of `--trace`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Tracing {
    /// Our engines record nothing.
    #[default]
    Off,
    /// Our engines record what they do, into their rings.
    On,
}

impl Tracing {
    /// Which build is measured, and how.
    pub fn describe(self) -> &'static str {
        match (trace::BUILT_IN, self) {
            (false, _) => "built without tracing",
            (true, Tracing::Off) => "built with tracing, which is off",
            (true, Tracing::On) => "built with tracing, which records",
        }
    }

    /// What is wrong with asking for this in this build.
    pub fn refusal(self) -> Option<&'static str> {
        (self == Tracing::On && !trace::BUILT_IN).then_some(
            "there is no tracing in this build to be measured: cargo run --profile versus \
             -p threeply-benches --features trace --bin versus -- --trace on",
        )
    }

    /// Tells a child.
    pub fn pass_on(self, command: &mut Command) {
        match self {
            Tracing::On => command.env(VARIABLE, "on"),
            Tracing::Off => command.env_remove(VARIABLE),
        };
    }
}

/// In a child: begins to record, if it was told to.
///
/// # Panics
/// If there is no address space for it.
#[must_use = "the session records for as long as it lives"]
pub fn record_if_told() -> Option<Session> {
    env::var_os(VARIABLE)?;
    Some(trace::start().expect("the parent has looked that it is built in"))
}
