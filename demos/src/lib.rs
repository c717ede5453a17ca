//! What the demo binaries share.
