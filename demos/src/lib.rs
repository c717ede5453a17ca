//! The article's workloads as programs, and the comparison that measures them.
//!
//! Each binary is a thin `main` over one module of this library:
//!
//! | binary | what it shows | reads |
//! |---|---|---|
//! | `cpu_bound` | four sums, on each engine | [`shapes::cpu`] |
//! | `io_bound` | five downloads with blocking calls | [`shapes::io`] |
//! | `async_io` | the same downloads on one thread | [`shapes::async_io`], [`http`] |
//! | `memory_model` | who sees whose memory | [`shapes::memory`] |
//! | `compare` | all of it, measured, beside Python | [`compare`] |
//! | `explain` | one run of a small program, step by step | [`explain`] |
//! | `serve` | a web server: files and a JSON API | [`web::serve`] |
//! | `fetch_many` | API calls with a limit on how many at once | [`web::fetch_many`] |
//! | `chat` | a WebSocket chat for browsers and terminals | [`web::chat`] |
//! | `download` | many files at once, each until it is whole | [`web::download`] |
//! | `crawl` | a web site by its links | [`web::crawl`] |
//!
//! What they share: [`cli`] (arguments, exit codes, one-line errors),
//! [`output`] (a stdout that may be closed or full), [`roles`] (how a binary
//! starts itself again as a server or as a measured child), [`trace`] (`--trace FILE`), [`local_server`]
//! (a web that answers after 100 ms, so that everything runs offline), and
//! [`limits`] (every number that is a choice).
//!
//! Nothing here is an engine: those are `threeply_runtime` and
//! `threeply_pools`. What isn't their purpose is somebody else's library.

pub mod cli;
pub mod compare;
pub mod engine;
pub mod error;
pub mod explain;
pub mod http;
pub mod limits;
pub mod local_server;
pub mod output;
pub mod roles;
pub mod shapes;
pub mod trace;
pub mod web;

pub use error::Error;
