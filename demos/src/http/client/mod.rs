//! The HTTP client.
//!
//! Read in this order: [`session`] (the life of a request, and what bounds it),
//! [`request`] (with [`multipart`]) and [`response`] (what a user sees), [`connection`] (one exchange
//! after another on one stream), [`connect`] and [`tls`] (how a stream is made),
//! [`pool`] (how it is kept); then [`redirect`], [`retry`],
//! [`decode`], [`cookies`], [`mod@file`] and [`download`] (a file, whatever happens
//! on the way; [`checksum`] says whether it is the right one).

pub mod checksum;
pub mod connect;
pub mod connection;
pub mod cookies;
pub mod decode;
pub mod download;
pub mod file;
pub mod multipart;
pub mod pool;
pub mod redirect;
pub mod request;
pub mod response;
pub mod retry;
pub mod session;
pub mod tls;

pub use checksum::Sha256;
pub use cookies::Cookies;
pub use download::{Download, Progress, Saved};
pub use multipart::Form;
pub use request::RequestBuilder;
pub use response::Response;
pub use retry::Retry;
pub use session::{Client, Config};
pub use tls::Tls;
