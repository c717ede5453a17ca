//! A producer and its consumers between processes, over a queue and over a pipe.
//! See [`threeply_demos::shapes::pipeline`].

use std::process::ExitCode;

fn main() -> ExitCode {
    threeply_demos::cli::run(threeply_demos::shapes::pipeline::main)
}
