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
/// Loops that can be alive at a time: their ids have 16 bits, and 0 means none.
pub const MAX_LOOPS: usize = u16::MAX as usize;

/// Tasks that can be alive on one loop: slots have 24 bits, and one is the
/// loop's own (its mailbox).
pub const MAX_TASKS: usize = (1 << 24) - 1;

/// Task numbers that a loop fetches at once from the process's counter. One
/// atomic addition for this many spawns is nothing, and 2^54 fetches are enough.
pub const TASK_IDS_AT_ONCE: u64 = 1_024;

/// Step of the size classes in which task memory is kept for reuse: malloc's own.
pub const BLOCK_CLASS: usize = 16;

/// Size classes; larger tasks (beyond 2 KiB) go to the allocator each time,
/// where filling them costs more than the allocation does.
pub const BLOCK_CLASSES: usize = 129;

/// Task memory that a loop keeps for reuse. A burst of tasks twice as large as
/// any steady load needs, and small beside a process.
pub const BLOCKS_KEPT_BYTES: usize = 4 << 20;

/// Polls in a row before timers, I/O and other threads get their look-in. A look
/// costs about 200 ns with I/O, so 128 polls make it 2 ns each; and as a poll
/// takes some hundred ns, timers are late by some 10 µs at most.
pub const TURN_BUDGET: u32 = 128;

/// The length of a turn that the loop aims at when polls are slow: it then runs
/// fewer of them before it looks at timers and I/O again.
pub const TURN_TARGET_NS: u64 = 200_000;

/// Operations that a task may finish in one poll without ever having to wait,
/// before it is made to go to the back of the queue. It makes a channel's or
/// socket's loop share the thread every few µs, at under 1 % of its cost.
pub const POLL_BUDGET: u32 = 128;

/// Calls from other threads (`Handle::spawn`) that are done in one turn.
pub const MAIL_BUDGET: usize = 256;

/// Events taken from epoll at once: 12 bytes each, and more come with the next
/// turn.
pub const EVENTS_AT_ONCE: usize = 256;

/// How often the end of a loop goes through its tasks again, because destructors
/// spawned new ones. Whoever goes on after that is a loop of its own.
pub const CLOSING_ROUNDS: usize = 64;

/// A run queue longer than this gives its memory back when it has become empty.
pub const RUN_QUEUE_KEEP: usize = 65_536;
