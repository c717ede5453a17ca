//! Every limit and default of this crate, with its reason.

/// A wait queue that once held more waiters than this gives its memory back
/// when the last one leaves. A slot is 48 bytes, so what stays is at most
/// 48 KiB a primitive; smaller crowds come again and should allocate nothing.
pub const WAIT_QUEUE_KEEP: usize = 1_024;

/// A channel's buffer larger than this is freed once it was emptied; smaller
/// ones are used again. 256 KiB is what a flood of some ten thousand messages
/// needs, and cheap enough to keep for the next.
pub const CHANNEL_KEEP_BYTES: usize = 256 * 1_024;

/// Readers of one `RwLock` at a time. No program comes near, and two of these
/// fit a `usize`, so that no sum of permits can overflow.
pub const MAX_READERS: usize = u32::MAX as usize;
