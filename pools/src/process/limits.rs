//! Every size and time of the process pool, each with its reason.

use std::time::Duration;

/// Bytes of a page, the unit of mappings.
pub const PAGE: usize = 4096;

/// Bytes of one ring. Room for some thousand small jobs, so that a worker never
/// runs dry while the parent is busy elsewhere; small enough to stay in the
/// second-level cache. A power of two.
pub const RING: usize = 128 * 1024;

/// The largest body of a frame in a ring. Larger arguments and results go
/// through an arena, where they are written and read without a further copy. An
/// eighth of the ring, so that several fit side by side.
pub const INLINE_MAX: usize = 16 * 1024;

/// Encoded values of so few bytes (a few numbers) need no allocation: they stand in the
/// job, or in its outcome, itself. What one thread allocates and another frees costs both
/// of them a lock of the allocator.
pub const SHORT: usize = 24;

/// The largest body of any frame in a ring: [`INLINE_MAX`] and the fixed numbers
/// before it.
pub const BODY_MAX: usize = INLINE_MAX + 64;

/// Bytes that a worker has for the body of a frame before it has seen any; it takes more
/// when one is longer. Less than a page, since a first write to each costs a fault.
pub const FRAME: usize = 1024;

/// Address space of an arena. It is sparse: only what is used costs memory. The
/// bound on one argument or result follows from it.
pub const ARENA: usize = 1 << 34;

/// The arena's smallest extent: what is larger than [`INLINE_MAX`] begins here.
pub const EXTENT_MIN: usize = 32 * 1024;

/// How much freed memory an arena keeps for reuse (a warm page saves 2 µs); the
/// rest goes back to the system at once.
pub const ARENA_KEPT: usize = 256 << 20;

/// A worker that hasn't reported within this time after its start is given up.
/// A start takes 1 ms on an idle machine; a swamped one may need seconds.
pub const HANDSHAKE: Duration = Duration::from_secs(20);

/// How often whoever waits for a fork server asks himself whether the worker is still
/// wanted. It answers in some hundred microseconds.
pub const ZYGOTE_SILENCE: Duration = Duration::from_millis(100);

/// The longest pause before a job that died is run again, however often it has
/// been doubled (a longer one that was asked for stands).
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// So many workers in a row may fail to start before the pool gives up and
/// fails what is queued, instead of starting processes for ever.
pub const START_FAILURES: u32 = 3;

/// A pool that has worked before tries for at least so long: descriptors or memory may
/// have run out for a moment.
pub const START_PATIENCE: Duration = Duration::from_secs(2);

/// Time between a failed start and the next try.
pub const START_RETRY: Duration = Duration::from_millis(100);

/// The most jobs that are sent to one worker ahead of its running one.
pub const AHEAD_MAX: usize = 1024;

/// Jobs are sent ahead for so much work by their measured length: enough to hide
/// the parent's reaction time, short enough that nothing waits long behind a
/// running job while another worker is free.
pub const AHEAD_TIME: Duration = Duration::from_micros(400);

/// Jobs queued in the parent before `submit` blocks.
pub const QUEUE_JOBS: usize = 1 << 20;

/// Bytes of queued arguments before `submit` blocks.
pub const QUEUE_BYTES: usize = 1 << 30;

/// Waiting by looking instead of sleeping: at most so long, after a caller or a
/// worker has shown that it reacts faster than that.
pub const SPIN: Duration = Duration::from_micros(50);

/// Stack of the thread that runs jobs; only what is used costs memory. What the
/// main thread of a program has by default.
pub const STACK: usize = 8 << 20;

/// The most text of a panic message that crosses.
pub const TEXT_MAX: usize = 4096;

/// The most text of a backtrace that crosses: some eighty frames. With message and place it
/// must fit in a frame of [`INLINE_MAX`].
pub const BACKTRACE_MAX: usize = 10 * 1024;

/// When nothing is due: the supervisor looks around now and then nevertheless.
pub const FAR: Duration = Duration::from_secs(3600);

/// How much of the end of a worker's output is remembered for its death.
pub const LAST_OUTPUT: usize = 4096;

/// Lines of a worker's output that are longer come in pieces.
pub const LINE_MAX: usize = 64 * 1024;

/// How much of a worker's output is read before it must have been handed on.
pub const OUTPUT_KEPT: usize = 256 * 1024;

/// What the jobs in so many frames are called is remembered for their output: more
/// than marks fit in a pipe.
pub const LABELS_KEPT: usize = 8192;

/// How often the supervisor looks at workers that have been sent jobs ahead: for
/// replies that wait for company, and for jobs that another worker could run.
pub const TICK: Duration = Duration::from_millis(1);

/// A job that has run for so long holds up those behind it: they are taken back
/// if another worker is free.
pub const HELD_UP: Duration = Duration::from_micros(500);

/// Workers that were told to exit are killed after this time.
pub const EXIT_PATIENCE: Duration = Duration::from_secs(2);

/// Callers that submit again within this time after a result are worth waiting
/// for by looking.
pub const THINK: Duration = Duration::from_micros(20);

/// Callers whose next job comes later than this find a processor that sleeps: a worker may
/// then stay on theirs. Five times what counts as soon ([`THINK`]).
pub const SPARSE: Duration = Duration::from_micros(100);

/// A caller that comes to wait so long after it submitted has done something else meanwhile.
pub const PROMPT: Duration = Duration::from_micros(200);

/// After so many jobs in a row a caller counts as alone. Each time that this is wrong a job
/// begins on its caller's processor while another might be free.
pub const LONE: u32 = 8;

/// At most so many replies are taken from a ring before those who wait for them
/// are told.
pub const BATCH: usize = 256;

/// A chunk of a map is so much work by the measured length of jobs: a hundred
/// times what sending it costs, and little enough to share out evenly at the end.
pub const CHUNK_TIME: Duration = Duration::from_micros(200);

/// The most elements of a chunk.
pub const CHUNK_MAX: usize = 2048;

/// A chunk is complete once its arguments have so many bytes: it then still fits
/// in a ring, several times.
pub const CHUNK_BYTES: usize = 12 * 1024;

/// How long to wait until a worker's control group is empty, after what was in it has been
/// killed, or moved out (it is at once, unless something is in the middle of what can't be
/// interrupted, or of its end).
pub const GROUP_PATIENCE: Duration = Duration::from_secs(1);
