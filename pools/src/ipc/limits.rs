//! Every size and time of the toolbox, each with its reason.

use std::time::Duration;

/// How often a sleeper wakes up by itself to see whether those it waits for are
/// still alive. Bounds how late a death is noticed; costs a sleeper 20 looks a
/// second of some 10 µs each, a fiftieth of a percent of a core.
pub const PULSE: Duration = Duration::from_millis(50);

/// Processes that may be attached to one shared object at a time, tickets under
/// way included. The table of them fits in half a page.
pub const MEMBERS: usize = 120;

/// Rounds of looking at a lock that another process holds before sleeping. Locks
/// inside objects are held for fractions of a microsecond; a wake-up costs tens.
pub const LOOKS: u32 = 64;

/// Bytes that a queue made by `Queue::new` may hold: the memory is sparse and
/// costs only what has been used.
pub const QUEUE_BYTES: usize = 4 << 20;

/// The most bytes of one packet of a channel. Longer messages are cut up. A
/// socket's buffer takes three such packets by default.
pub const PACKET: usize = 64 * 1024;

/// The longest message of a channel: beyond it the length is taken for garbage.
pub const MESSAGE_MAX: usize = 1 << 32;

/// The first number of the descriptors that a [`Process`](super::Process) gets
/// with its arguments; below are 0, 1, 2 and the call.
pub const FIRST_FD: i32 = 4;

/// How long the thread that watches a word for futures waits for the next one.
pub const LINGER: Duration = Duration::from_secs(1);
