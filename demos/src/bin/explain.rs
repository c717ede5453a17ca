//! One run of a small program, step by step, with the line of source of each step.
//! See [`threeply_demos::explain`].

use std::process::ExitCode;

fn main() -> ExitCode {
    threeply_demos::cli::run(threeply_demos::explain::main)
}
