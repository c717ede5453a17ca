//! What the integration tests share: the table of loom models.

pub mod models;
