//! Follows the links of a web site, within limits.
//! See [`threeply_demos::web::crawl`].

use std::process::ExitCode;

fn main() -> ExitCode {
    threeply_demos::cli::run(threeply_demos::web::crawl::main)
}
