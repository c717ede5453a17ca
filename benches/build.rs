//! Reads the versions of the peers from `Cargo.lock`, so that what the report
//! names is what was built.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() {
    let lock =
        Path::new(&env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("../Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    println!("cargo::rerun-if-changed=build.rs");
    let text = fs::read_to_string(&lock).expect("the workspace has a Cargo.lock");
    let mut table = String::from("/// Name and version of every package in `Cargo.lock`.\n");
    table.push_str("pub const LOCKED: &[(&str, &str)] = &[\n");
    let mut name = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("name = ") {
            name = Some(rest.trim_matches('"'));
        } else if let (Some(rest), Some(name)) = (line.strip_prefix("version = "), name.take()) {
            writeln!(table, "    ({name:?}, {rest}),").expect("a String takes any text");
        }
    }
    table.push_str("];\n");
    let out = Path::new(&env::var("OUT_DIR").expect("set by cargo")).join("locked.rs");
    fs::write(out, table).expect("OUT_DIR is writable");
}
