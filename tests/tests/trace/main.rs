//! What a trace of a small program holds, event by event and cause by cause.
//!
//! A process has one session at a time, so tests take turns.

mod documents;
mod kit;
mod loops;
mod page;
mod processes;
mod rings;
mod threads;
