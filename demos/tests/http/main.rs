//! Our HTTP client against our server and against servers that misbehave, and
//! our server against clients that do; client, server and test on one loop.

mod client;
mod download;
mod exhausted;
mod fuzz;
mod kit;
mod server;
mod session;
