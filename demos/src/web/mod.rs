//! Programs that talk to the web, or are it: what event loops are for.

pub mod chat;
pub mod crawl;
pub mod download;
pub mod fetch_many;
pub mod serve;
