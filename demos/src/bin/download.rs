//! Downloads files, many at once, each until it is whole and right.
//! See [`threeply_demos::web::download`].

use std::process::ExitCode;

fn main() -> ExitCode {
    threeply_demos::cli::run(threeply_demos::web::download::main)
}
