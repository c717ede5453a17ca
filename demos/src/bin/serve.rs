//! A web server: the files of a folder and a JSON API.
//! See [`threeply_demos::web::serve`].

use std::process::ExitCode;

fn main() -> ExitCode {
    threeply_demos::cli::run(threeply_demos::web::serve::main)
}
