//! Runs the article's workloads on every engine and prints its closing table,
//! measured. See [`threeply_demos::compare`].

use std::process::ExitCode;

fn main() -> ExitCode {
    threeply_demos::cli::run(threeply_demos::compare::main)
}
