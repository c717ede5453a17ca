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
pub const MODELS: &[Model] = &[
    Model {
        name: "ready::child_wakes_against_parent_poll",
        proves: "two children woken while their parent polls: the parent sees both or is woken again",
        file: "runtime/src/future/ready.rs",
    },
    Model {
        name: "ready::child_wakes_against_parent_poll_broken",
        proves: "twin: the parent clears its flag by a store, which synchronizes with no wake",
        file: "runtime/src/future/ready.rs",
    },
    Model {
        name: "token::cancel_against_wait",
        proves: "a waiter that comes while a token is cancelled is ready or is woken",
        file: "runtime/src/cancel/token.rs",
    },
    Model {
        name: "token::cancel_against_wait_broken",
        proves: "twin: waiters are taken in one locked section, the reason is set in the next",
        file: "runtime/src/cancel/token.rs",
    },
    Model {
        name: "token::cancel_against_child",
        proves: "a child made while its parent is cancelled is cancelled too",
        file: "runtime/src/cancel/token.rs",
    },
    Model {
        name: "token::cancel_against_child_broken",
        proves: "twin: a new child doesn't look again at its parent",
        file: "runtime/src/cancel/token.rs",
    },
];

#[cfg(test)]
mod tests {
    use super::MODELS;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = MODELS.iter().map(|model| model.name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(before, names.len(), "a name stands twice in MODELS");
    }

    /// A model that cannot fail proves nothing, so each needs a twin whose name
    /// begins with the model's and ends in `_broken`.
    #[test]
    fn every_model_has_a_broken_twin_and_every_twin_a_model() {
        let is_twin = |name: &str| name.ends_with("_broken");
        for model in MODELS.iter().filter(|model| !is_twin(model.name)) {
            let twin = MODELS
                .iter()
                .any(|twin| is_twin(twin.name) && twin.name.starts_with(model.name));
            assert!(
                twin,
                "{} has no twin: add `{}_…broken`",
                model.name, model.name
            );
        }
        for twin in MODELS.iter().filter(|twin| is_twin(twin.name)) {
            let model = MODELS
                .iter()
                .any(|model| !is_twin(model.name) && twin.name.starts_with(model.name));
            assert!(model, "{} is the twin of no model in MODELS", twin.name);
        }
    }
}
