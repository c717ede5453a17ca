//! Many API calls, no more than so many at once.
//! See [`threeply_demos::web::fetch_many`].

use std::process::ExitCode;

fn main() -> ExitCode {
    threeply_demos::cli::run(threeply_demos::web::fetch_many::main)
}
