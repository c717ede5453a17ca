//! Every limit and default of this crate, each with its reason.

use std::time::Duration;

/// Forks that a thread keeps unpromoted; with so many, `join` runs both halves
/// without recording anything. The oldest forks are the largest, so what the
/// thieves of eight of them leave over is small. A power of two, because positions
/// wrap.
pub const UNPROMOTED_FORKS: usize = 8;

/// Recorded joins around a join, from which on it records its fork only if nothing
/// else is there to offer. Recording costs about 8 ns, and six levels of a balanced
/// tree are 63 forks: enough pieces, as a stolen one is cut anew from level 0.
/// Without this, a tree of 1,023 nodes records nearly all of its forks, because in
/// second halves those of the first are gone: 10 µs in place of 4.
pub const RECORDED_LEVELS: u32 = 6;

/// Recorded joins around a fork of a parallel iterator, from which on it waits for a
/// demand like any other. Four levels are 15 forks at some 20 ns, and what runs one
/// of their 16 pieces may not look at demands for milliseconds: thieves would sleep.
pub const OFFERED_LEVELS: u32 = 4;

/// Rounds over all queues that an idle worker makes before it sleeps. A wake-up
/// costs 30 to 50 µs across cores, so looking on for about a third of that is
/// cheap insurance, and an idle pool is quiet after it.
pub const SEARCH_ROUNDS: u32 = 48;

/// A thread outside of the pool that waits for a job looks for its end for so long
/// before it sleeps, if that has paid lately: what a sleep and the wake-up after it cost
/// across cores, so that looking in vain at most doubles the price.
pub const LOOK_BEFORE_SLEEP: Duration = Duration::from_micros(50);

/// Spin-loop hints between two rounds of a search.
pub const SEARCH_PAUSE: u32 = 24;

/// The rounds after which a searcher also offers its core to the system.
pub const SEARCH_YIELD_AFTER: u32 = 24;

/// Marked lanes that an idle worker looks into at a time, and lanes that it asks
/// for forks; the next look goes on behind them. So a round costs the same in a
/// pool of 1,000, and a search of [`SEARCH_ROUNDS`] still comes round it.
pub const LANES_A_LOOK: usize = 32;

/// How many jobs a thread that waits for the first of them names one by one in dumps:
/// it makes the list each time that it goes to sleep.
pub const JOBS_NAMED: usize = 16;

/// Handles of threads beyond twice those alive, before the ended are let go.
pub const ENDED_THREADS: usize = 16;

/// A root (an outermost call from outside, or a job) that ends within this time
/// was not worth waking a sleeper for: the waker alone pays 11 to 13 µs.
pub const WORTH_A_WAKE: Duration = Duration::from_micros(25);

/// A root that was taken for small lets thieves that are awake have a fork after this
/// time: a tree of 1,023 forks in 5.7 µs took 9.4 when it was shared at once.
pub const WORTH_A_THEFT: Duration = Duration::from_micros(10);

/// So many runs in a row within [`WORTH_A_WAKE`] make a root count as small.
pub const SMALL_RUNS: u8 = 4;

/// Jobs in the deque of a thread, before further ones go to its attic: as many as the
/// library's deque has room for at least, so that it neither grows nor shrinks.
pub const JOBS_A_DEQUE: usize = 64;

/// Jobs in a room of a thread's attic: 2 MiB, a huge page.
pub const JOBS_A_ROOM: usize = 1 << 16;

/// The most jobs that a thief takes from an attic at a time; as the library's.
pub const JOBS_A_THEFT: usize = 32;

/// Empty rooms that a thread's attic keeps for the next jobs: those of a million, 32 MiB.
pub const SPARE_ROOMS: usize = 16;

/// How long it keeps them unused before it gives their memory back, when the thread has
/// nothing to do: programs that spawn by the million do so again within that, or
/// won't notice the time that new memory takes.
pub const KEEP_SPARE_ROOMS: Duration = Duration::from_secs(1);

/// Forks recorded by a root that was taken for small, before the first look at the clock
/// that may prove it large. From look to look they double.
pub const RECHECK_AFTER: u32 = 8;

/// Up to so many: a look costs some 60 ns, as much as ten recorded forks.
pub const RECHECK_EVERY: u32 = 64;

/// Slots of the table that remembers which roots are small. Two roots that share
/// one are taken for small only if both are.
pub const SITES: usize = 1024;

/// Spare threads that `blocking` may lend beyond the pool's own, by default.
/// They exist only while as many jobs block, and bound what a mistake can cost.
pub const MAX_SPARES: usize = 64;

/// How long a thread that isn't needed any more waits to be needed again before
/// it ends. Blocking comes in bursts; a start costs 30 to 60 µs.
pub const SPARE_LINGER: Duration = Duration::from_secs(2);

/// The most threads a pool may be asked for: far beyond any machine, and a typo
/// should be an error before it exhausts memory.
pub const MAX_THREADS: usize = 4096;

/// The smallest stack a worker may be asked for: what std itself needs with
/// room for one level of a user's code.
pub const MIN_STACK_SIZE: usize = 64 * 1024;

/// How often the injector goes first: a worker that feeds itself would starve
/// what came from outside. Coprime to powers of two, as Go's 61.
pub const INJECTOR_EVERY: u32 = 61;

/// Items below which `par_sort` sorts on the spot: 2^13 items sort in 100 to
/// 200 µs, a few times the cost of involving a second thread.
pub const SORT_LEAF: usize = 1 << 13;

/// Items below which two runs are merged on the spot.
pub const MERGE_LEAF: usize = 1 << 13;

/// Pieces per thread that a parallel iterator splits into if nobody steals: an
/// unstolen fork costs a few ns, and uneven pieces need some to spare.
pub const PIECES_PER_THREAD: usize = 8;

/// Chunks per thread that `map` keeps in flight: enough that no thread waits
/// while the results are taken.
pub const CHUNKS_PER_THREAD: usize = 8;

/// How long `shutdown` waits, after its deadline, for threads that had only
/// waited for queued jobs to notice that these were cancelled.
pub const CANCEL_GRACE: Duration = Duration::from_millis(20);

/// A chunk of `map` shorter than this is doubled: a job costs up to 0.5 µs, and
/// then is under half a percent of it.
pub const CHUNK_MIN: Duration = Duration::from_micros(100);

/// A chunk of `map` longer than this is halved, so that threads end together.
pub const CHUNK_MAX: Duration = Duration::from_millis(10);

/// The most items in an automatic chunk of `map`, to bound its memory.
pub const CHUNK_ITEMS: usize = 4096;

/// How often a pool's watchdog looks within its limit: a stall is told at most a
/// quarter of the limit late.
pub const WATCHDOG_LOOKS: u32 = 4;

/// The least limit of a pool's watchdog: jobs may well take that long.
pub const WATCHDOG_MIN: Duration = Duration::from_millis(1);
