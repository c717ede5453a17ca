//! Five downloads with blocking calls, on threads or one after the other.
//! See [`threeply_demos::shapes::io`].

use std::process::ExitCode;

fn main() -> ExitCode {
    threeply_demos::cli::run(threeply_demos::shapes::io::main)
}
