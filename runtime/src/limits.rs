//! Every limit and default of this crate, with its reason.

use std::time::Duration;

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

/// Items of an unbounded channel that count as one operation, once the receiver has
/// taken a batch of them: each takes some 5 ns then, so that a poll's budget lasts
/// 5 µs, as for others, and not 0.6. (With one operation an item, a receiver fell
/// behind a sender that made way after every thousand, and the queue grew into
/// memory that was cold: 11 ns an item instead of 5.)
pub const ITEMS_PER_OPERATION: u32 = 8;

/// Calls from other threads (`Handle::spawn`) that are done in one turn.
pub const MAIL_BUDGET: usize = 256;

/// Events taken from epoll at once: 12 bytes each, and more come with the next
/// turn.
pub const EVENTS_AT_ONCE: usize = 256;

/// How often the end of a loop goes through its tasks again, because destructors
/// spawned new ones. Whoever goes on after that is a loop of its own.
pub const CLOSING_ROUNDS: usize = 64;

/// A run queue with room for more than this gives memory back as it becomes
/// shorter. This much is 256 KiB.
pub const RUN_QUEUE_KEEP: usize = 65_536;

/// Blocking calls mostly wait, so far more threads than processors make sense;
/// but each holds a stack (2 MiB of address space, some 10 KiB of memory in
/// use) and counts against the container's limit on processes.
pub const BLOCKING_THREADS: usize = 256;

/// Long enough that a steady trickle of blocking calls keeps its threads warm,
/// short enough that a burst's threads are soon given back.
pub const BLOCKING_IDLE: Duration = Duration::from_secs(10);

/// The stack of a child between `clone` and `exec`. It calls a dozen thin
/// wrappers of system calls, one deep; debug builds need 2 KiB of this. Only
/// touched pages cost memory.
pub const SPAWN_STACK_BYTES: usize = 64 * 1024;

/// The buffer of buffered readers and writers and of `copy`, as in std. Larger
/// ones save little, since a loopback read returns what is there, and 10,000
/// connections that copy would hold 640 MiB at 64 KiB each.
pub const IO_BUFFER_BYTES: usize = 8 * 1024;

/// How many connections may wait to be accepted. The kernel takes at most
/// `net.core.somaxconn`, 4,096 unless changed; a flood should find all of that.
pub const LISTEN_BACKLOG: i32 = 4_096;

/// How long no further accept is tried after one that failed for want of
/// descriptors or memory. Long enough that a server which can't accept doesn't
/// burn its processor trying, short enough that clients hardly notice.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The head start of each attempt to connect to one of several addresses: what
/// RFC 8305 recommends.
pub const CONNECT_STAGGER: Duration = Duration::from_millis(250);

/// How many streams of signals may exist at once. Each keeps an eventfd for the
/// life of the process, and a signal handler looks at all of them, so it must be
/// a fixed table; programs have one or two.
pub const SIGNAL_STREAMS: usize = 32;

/// How much of a file one call on the blocking pool reads or writes at most. The
/// hand-over to a thread costs tens of microseconds, a page of the cache a
/// fraction of one: so larger than other buffers.
pub const FILE_BUFFER_BYTES: usize = 128 * 1024;

/// With more tasks than this, the loop asks for the memory of the next ones ahead
/// of time. Fewer (some 300 bytes each) stay in the caches by themselves.
pub const PREFETCH_FROM_TASKS: usize = 4_096;

/// How many polls ahead it asks for a task's place in the slab, and half as many
/// for the task: a poll takes some tens of ns, memory a hundred or two.
pub const PREFETCH_PLACES_AHEAD: usize = 8;

/// How long a loop that other threads have just woken looks for more wakes before
/// it sleeps, where that pays: about as long as two threads on two cores take to
/// answer each other.
pub const SPIN_AFTER_WAKES: Duration = Duration::from_micros(2);

/// Where a moment's patience doesn't pay, the most chances that go without it: 2 µs in
/// 256 sleeps, or 600 ns in 256 looks at a channel.
pub const BACKOFF_MAX: u32 = 255;

/// A look for more wakes that took longer than this has failed, whatever it found:
/// the loop made way for others on its core, and they took their time.
pub const SPIN_TOO_LONG: Duration = Duration::from_micros(50);

/// How long the receiver of a busy channel lets a sender on another thread get ahead,
/// where that pays. Measured with 10^6 items; nothing else was tried.
pub const RECEIVE_PAUSE: Duration = Duration::from_nanos(600);

/// Fewer items than this after a pause, and it didn't pay.
pub const RECEIVE_PAUSE_BATCH: usize = 8;

/// After a batch of this many items the receiver is the slower one, and pauses for nobody.
pub const RECEIVE_BEHIND_BATCH: usize = 64;

/// How many of a semaphore's or read-write lock's holders are known by name at a time.
/// Each costs a word, and a comparison for those who come after it.
pub const HOLDERS_KNOWN: usize = 4;

/// How long [`inspect::why`](crate::inspect::why) waits for the dumps of other loops
/// that it was led to. One that doesn't turn has none to give.
pub const WHY_PATIENCE: Duration = Duration::from_millis(500);

/// How many waits [`inspect::why`](crate::inspect::why) follows at most: more than
/// that nobody reads.
pub const WHY_STEPS: usize = 1_000;

/// How many of its last events a thread keeps in a trace: 2 MiB, of which only
/// what is written to exists. At a million events a second, the last 65 ms.
pub const TRACE_EVENTS: usize = 65_536;

/// How many threads of a program can record at a time; those beyond are counted.
/// It is address space only, half a GiB.
pub const TRACE_THREADS: usize = 256;

/// Room for the names and spawn sites in a trace: a few thousand.
pub const TRACE_NAME_BYTES: usize = 256 * 1024;

/// How much of a name is kept.
pub const TRACE_NAME_MAX: usize = 256;

/// How many names a thread remembers to have noted. Spawns in a program come from
/// some dozens of places.
pub const TRACE_NAMES_CACHED: usize = 64;

/// After how many events of epoll, at some 100 ns each, the first poll of a traced turn
/// looks at the clock anew: fewer are told of as if they took no time.
pub const TRACE_TOLD_AT_ONCE: usize = 4;

/// As [`TRACE_EVENTS`], of a worker process: 512 KiB for each thread.
pub const TRACE_WORKER_EVENTS: usize = 16_384;

/// As [`TRACE_THREADS`], of a worker process: one runs jobs, and a job may start
/// some.
pub const TRACE_WORKER_THREADS: usize = 4;

/// As [`TRACE_NAME_BYTES`], of a worker process.
pub const TRACE_WORKER_NAME_BYTES: usize = 16 * 1024;

/// How often one looks at what a loop publishes before one gives up: it changes at
/// each poll, and two polls of some ns each may well lie within one look.
pub const PUBLISHED_LOOKS: usize = 8;

/// How often within its limit the watchdog looks whether the loop has turned: so
/// late at most, in parts of the limit, does it notice.
pub const WATCHDOG_LOOKS: u32 = 4;

/// How much of a blocked thread's stack the watchdog takes for a backtrace, from
/// the innermost frame on. Deep recursion is shown by its inner end.
pub const WATCHDOG_STACK_BYTES: usize = 256 * 1024;

/// The most frames of such a backtrace.
pub const WATCHDOG_FRAMES: usize = 256;

/// How long the watchdog waits for a blocked thread to take its signal. A thread in
/// an uninterruptible system call doesn't.
pub const WATCHDOG_SIGNAL_PATIENCE: Duration = Duration::from_millis(200);

/// How long a dump that a signal asked for waits for the loop.
pub const DUMP_ON_SIGNAL_PATIENCE: Duration = Duration::from_secs(1);
