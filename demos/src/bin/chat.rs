//! A chat: server, page for the browser, and client for the terminal.
//! See [`threeply_demos::web::chat`].

use std::process::ExitCode;

fn main() -> ExitCode {
    threeply_demos::cli::run(threeply_demos::web::chat::main)
}
