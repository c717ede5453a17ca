//! The HTTP server: routes, keep-alive, pipelining, limits, graceful shutdown.
//!
//! Read in this order: [`serve`] (accepting, and how it all ends),
//! [`conversation`] (the life of one connection), `quiet` (how it waits), [`head`], [`headers`] and [`body`]
//! (what a client may send), [`reply`] (what it gets), [`routes`], [`files`].

pub mod body;
pub mod conversation;
pub mod files;
pub mod head;
pub mod headers;
mod quiet;
pub mod reply;
pub mod routes;
pub mod serve;

pub use head::Head;
pub use headers::Headers;
pub use reply::Reply;
pub use routes::{Request, Routes};
pub use serve::{Limits, Server};
