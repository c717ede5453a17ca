//! The shared parts of the side-by-side runner.
