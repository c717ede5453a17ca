//! Threeply measured beside other runtimes and beside the limits of the machine.
//!
//! Reading order: [`workload`] says what a row is, [`workloads`] holds them, each
//! with all engines side by side; [`measure`] is what runs in a child, [`runner`]
//! what runs in the parent; [`stats`] turns rounds into medians and ties,
//! [`report`] turns those into JSON, a table and a page. The binary `versus` only
//! reads the command line.

pub mod cli;
pub mod instructions;
pub mod machine;
pub mod measure;
pub mod report;
pub mod runner;
pub mod stats;
pub mod sys;
pub mod tracing;
pub mod versions;
pub mod workload;
pub mod workloads;
