//! HTTP/1.1 on the event loop.
//!
//! The protocol itself is other people's work: `ureq-proto` for the client
//! (sans-IO, the engine of `ureq`), `httparse` for the server. Ours is what
//! joins it to the loop.
//!
//! Read [`error`] and [`target`] for the words, then the client, then the server.

pub mod client;
pub mod error;
pub mod server;
pub mod stream;
pub mod target;

pub use error::Error;

/// How our clients introduce themselves.
pub const USER_AGENT: &str = concat!("threeply/", env!("CARGO_PKG_VERSION"));
