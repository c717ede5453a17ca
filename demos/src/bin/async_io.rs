//! Five downloads on the event loop: one thread, all at once.
//! See [`threeply_demos::shapes::async_io`].

use std::process::ExitCode;

fn main() -> ExitCode {
    threeply_demos::cli::run(threeply_demos::shapes::async_io::main)
}
