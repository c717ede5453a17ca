//! One counter, four units of each engine: who sees whose memory.
//! See [`threeply_demos::shapes::memory`].

use std::process::ExitCode;

fn main() -> ExitCode {
    threeply_demos::cli::run(threeply_demos::shapes::memory::main)
}
