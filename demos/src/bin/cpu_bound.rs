//! Four sums, on processes, threads, the event loop or one after the other.
//! See [`threeply_demos::shapes::cpu`].

use std::process::ExitCode;

fn main() -> ExitCode {
    threeply_demos::cli::run(threeply_demos::shapes::cpu::main)
}
