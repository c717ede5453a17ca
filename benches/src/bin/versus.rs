//! `cargo versus`: runs each workload on Threeply, its peers and the limits of
//! the machine. See `benches/README.md`.

fn main() -> std::process::ExitCode {
    // A worker of procspawn is this program again; it never comes back from here.
    procspawn::init();
    threeply_benches::cli::main()
}
