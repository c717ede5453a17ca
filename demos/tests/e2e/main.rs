//! The demo binaries from outside: what they print, how they fail, and that
//! they leave nothing behind.
//!
//! Everything runs on the loopback interface, and every wait has a limit.

mod bad_input;
mod browser;
mod chat;
mod compare;
mod crawl;
mod download;
mod explain;
mod interrupted;
mod kit;
mod output;
mod pipeline;
mod shapes;
mod trace;
mod web;
