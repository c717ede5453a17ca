//! What the integration tests share: the table of loom models, and a watchdog.

pub mod models;
pub mod watchdog;
