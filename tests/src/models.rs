//! The one table of loom models and their broken twins.
//!
//! `cargo loom` fails when fewer of them ran than stand here, so a model can
//! not drop out unnoticed.

/// One loom model, or the broken twin of one.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// The test's path inside `tests/loom`, as `cargo test` prints it.
    pub name: &'static str,
    /// What the model proves; for a twin, which weakening it must catch.
    pub proves: &'static str,
    /// The source file, from the top of the repository, that holds the protocol.
    pub file: &'static str,
}

/// Every model, grouped by the file that it drives.
pub const MODELS: &[Model] = &[];
