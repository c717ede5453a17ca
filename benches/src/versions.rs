//! The versions in `Cargo.lock`, written by `build.rs`.

include!(concat!(env!("OUT_DIR"), "/locked.rs"));
