//! Every number of the demos that is a choice, with the reason for it.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the number of files that this process may have open to the most that
/// it may raise it to, and returns that. A thousand connections don't fit in
/// the usual 1,024.
pub fn raise_open_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 0;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// How long the local server waits before it answers: the round trip to a
/// far-away web site, as the article's downloads have it.
pub const SERVER_DELAY: Duration = Duration::from_millis(100);

/// Connections that the local server's listener queues. A thousand clients
/// connect within a few milliseconds; the kernel's usual 128 would make most of
/// them wait a second for their SYN to be sent again.
pub const SERVER_BACKLOG: i32 = 4096;

/// Messages that `pipeline` sends: minutes of work, for Python at least.
pub const MAX_MESSAGES: u64 = 100_000_000;

/// Processes that take `pipeline`'s messages; the queue has places for 120.
pub const MAX_CONSUMERS: u32 = 100;

/// Bytes of text in one of `pipeline`'s messages: a quarter of what its queue holds.
pub const MAX_MESSAGE_BYTES: u64 = 1 << 20;

/// Messages that `pipeline`'s queue holds: enough that neither side waits for the
/// other's every step. Python's has the same bound.
pub const PIPELINE_QUEUE: u32 = 1024;

/// Units of work a demo accepts with `--tasks`. Each is at least a thread or a
/// place in a worker's queue; far more than this is a typing error.
pub const MAX_TASKS: u32 = 10_000;

/// The largest `n` whose sum `0 + 1 + … + (n - 1)` fits in 64 bits.
pub const MAX_N: u64 = 6_074_001_000;

/// Downloads a demo accepts with `--count`.
pub const MAX_DOWNLOADS: u32 = 100_000;

/// Threads that download at once; the rest of the downloads queue behind them.
/// A thread's stack is 2 MiB of address space.
pub const MAX_BLOCKING_DOWNLOADERS: usize = 1_000;

/// Workers of a pool that downloads. More threads than that are lent to it while
/// its workers block: an idle worker looks for work with every other, which is
/// nothing with 64 of them and too much with a thousand.
pub const DOWNLOAD_WORKERS: usize = 64;

/// Connections the event loop holds open at once while downloading. Each costs
/// one file descriptor; 20,000 is a common hard limit.
pub const MAX_CONCURRENT_CONNECTIONS: usize = 4_000;

/// A download that has not ended after this long is given up.
pub const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The most that one download may weigh. It is counted and thrown away, so this
/// bounds time and traffic, not memory.
pub const MAX_DOWNLOAD_BYTES: u64 = 1 << 30;

/// How often the loop's heartbeat beats in `cpu_bound --engine loop`.
pub const HEARTBEAT: Duration = Duration::from_millis(10);

/// Measured rounds of each of our engines in `compare`: enough for a median
/// that one disturbed round can't move.
pub const ROUNDS: u32 = 9;

/// Measured rounds of each Python program: a round takes up to a second, and
/// all of `compare` has one minute.
pub const PYTHON_ROUNDS: u32 = 3;

/// After so long `compare` leaves out what it can, and says so: Python's rounds,
/// and ours beyond the third. It takes 40 s on two quiet cores, and is to end
/// within a minute.
pub const COMPARE_BUDGET: Duration = Duration::from_secs(45);

/// How long `compare` waits for an answer of one of its children before it
/// calls it hung and ends it.
pub const CHILD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a Python program may be silent before it is ended. Its longest
/// round is about a second here.
pub const PYTHON_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a Python found by name may take to tell its version.
pub const PYTHON_PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Concurrent downloads of the `many_connections` workload.
pub const MANY_CONNECTIONS: u32 = 1_000;

/// Redirects that a client follows before it gives up: browsers allow 20,
/// ureq 10, and honest sites need 3.
pub const MAX_REDIRECTS: u32 = 10;

/// How long a measured child may take to shut down after its last answer.
pub const CHILD_GRACE: Duration = Duration::from_secs(2);

/// The first size of a client's buffers for heads, doubled as need be: a usual
/// head fits, and a thousand connections that wait hold 2 MiB and not 16.
pub const FIRST_BUFFER_BYTES: usize = 2 * 1024;

/// The size of blocks in which bodies are read and written, and of the server's
/// buffer for a connection that is not quiet.
pub const HTTP_BUFFER_BYTES: usize = 16 * 1024;

/// The largest head of a message (first line and headers) that we read, as
/// most servers and proxies have it.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The longest line of a request that we send: a very long URL or cookie.
pub const MAX_REQUEST_LINE_BYTES: usize = 1024 * 1024;

/// Connections that a client opens at once, as aiohttp has it.
pub const CLIENT_CONNECTIONS: usize = 100;

/// Idle connections that a client keeps.
pub const CLIENT_IDLE_CONNECTIONS: usize = 100;

/// How long an idle connection is kept: most servers close theirs after 60 to
/// 120 seconds, and being second costs a retry.
pub const CLIENT_IDLE_AGE: Duration = Duration::from_secs(45);

/// Servers whose limits a client remembers before it forgets those that are
/// idle.
pub const CLIENT_HOSTS_KEPT: usize = 1_000;

/// A server that has not answered a SYN or a TLS hello for this long is away.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest cookie that a client keeps, as browsers have it.
pub const MAX_COOKIE_BYTES: usize = 4096;

/// Cookies that a client keeps, of all servers together; browsers keep 3,000.
pub const MAX_COOKIES: usize = 3_000;

/// The most that a body may weigh when it is read into memory.
pub const MAX_BODY_BYTES: u64 = 64 << 20;

/// A redirect's body up to this length is read so that its connection can be
/// kept; beyond, a new connection is cheaper.
pub const DISCARD_BYTES: usize = 16 * 1024;

/// How often `memory_model` lets threads race before it admits that none of
/// them lost an update.
pub const RACE_TRIES: u32 = 20;

/// How often `explain` runs a program whose story lacks something, a theft for one,
/// before it says so.
pub const EXPLAIN_TRIES: u32 = 20;

/// How long the programs of `explain` wait where they only want to be waited for:
/// longer than it takes to fall asleep, too short to bore.
pub const EXPLAIN_MOMENT: Duration = Duration::from_millis(5);

/// How long the programs of `explain` wait for another thread or process before the
/// run is given up.
pub const EXPLAIN_PATIENCE: Duration = Duration::from_secs(2);

/// Processes, threads and tasks that `memory_model` starts at most: each
/// process and thread is started, all at once.
pub const MAX_UNITS: u32 = 64;

/// Increments by each unit of `memory_model`.
pub const MAX_INCREMENTS: u64 = 100_000_000;

/// Headers of a request that the server reads, as Apache has it.
pub const MAX_HEADERS: usize = 100;

/// Connections that a server serves at once: below the usual limit of open
/// files, 20,000, with room for files and the listener.
pub const SERVER_CONNECTIONS: usize = 16_000;

/// The most that a request's body may weigh: it is held in memory.
pub const MAX_REQUEST_BODY_BYTES: u64 = 8 << 20;

/// How long the server waits for a peer to read its last reply.
pub const LINGER: Duration = Duration::from_secs(1);

/// What a peer may send after our last reply, to be thrown away, before it is reset:
/// what was under way on a fast line when the reply left. A refused upload of
/// gigabytes must not be read for a second.
pub const LINGER_BYTES: usize = 1 << 20;

/// How long accepting pauses when there are no more file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Rounds in which the cost of one unit of concurrency is measured.
pub const UNIT_ROUNDS: u32 = 21;

/// Idle workers whose memory is looked at.
pub const UNIT_PROCESSES: usize = 4;

/// Idle threads whose memory is divided.
pub const UNIT_THREADS: usize = 64;

/// Idle tasks whose memory is divided, and tasks started in one round.
pub const UNIT_TASKS: usize = 10_000;

/// Hand-overs of a byte, there and back, in one round.
pub const UNIT_SWITCHES: u32 = 500;

/// Increments by each unit when it is found out whether they share memory.
pub const UNIT_INCREMENTS: u64 = 10_000;

/// A file is read in blocks of this size: each is a trip to the blocking pool
/// and back, which costs as much as copying some tens of kilobytes.
pub const FILE_BLOCK_BYTES: usize = 64 * 1024;

/// How long `serve` lets requests end that are under way when it is told to stop.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Notes that `serve` keeps in memory.
pub const MAX_NOTES: usize = 10_000;

/// API calls that `fetch_many` has under way at once by default: enough to hide
/// a 100 ms round trip, few enough for most servers' own limits.
pub const API_CALLS_AT_ONCE: u32 = 20;

/// Files that `download` receives at once by default: enough to fill a line
/// when single connections are slow, few enough to be no burden to a server.
pub const FILES_AT_ONCE: u32 = 4;

/// The longest URL that `crawl` follows: browsers and servers stop at about so much.
pub const MAX_URL_BYTES: usize = 8 * 1024;

/// Pages that `crawl` visits by default.
pub const CRAWL_PAGES: u64 = 1_000;

/// Pages that `crawl` can be told to visit: their URLs are kept in memory.
pub const MAX_PAGES: u64 = 10_000_000;

/// Pages that `crawl` visits at once by default, all hosts together.
pub const CRAWL_AT_ONCE: u32 = 16;

/// Pages of one host that `crawl` visits at once by default: about what a
/// browser opens.
pub const CRAWL_PER_HOST: u32 = 6;

/// Pages that wait in `crawl`'s frontier at most; a URL and its page of origin
/// are a few hundred bytes.
pub const CRAWL_FRONTIER: usize = 100_000;

/// The most that a page may weigh, to be looked through for links.
pub const MAX_PAGE_BYTES: u64 = 8 << 20;

/// The longest pause between visits that a site may ask `crawl` for.
pub const MAX_CRAWL_DELAY: Duration = Duration::from_secs(10);

/// Broken links that `crawl` lists; more are counted.
pub const BROKEN_LISTED: usize = 100;

/// People in a `chat` at once: each line is sent to all of them.
pub const CHAT_MEMBERS: usize = 10_000;

/// Lines that wait for one member of a `chat` by default: a burst of several
/// members fits, and so does a line that is lost for some seconds.
pub const CHAT_QUEUE: usize = 64;

/// Lines that a newcomer to a `chat` is told by default: about two screens.
pub const CHAT_HISTORY: usize = 50;

/// The longest name in a `chat`, in characters.
pub const CHAT_NAME_CHARS: usize = 32;

/// The longest line in a `chat`, in characters.
pub const CHAT_TEXT_CHARS: usize = 2_000;

/// The longest frame that a `chat` reads: the longest line, each character of
/// it escaped in JSON.
pub const CHAT_FRAME_BYTES: usize = 32 * 1024;

/// The longest frame that a member reads: the welcome has the history in it.
pub const CHAT_WELCOME_BYTES: usize = 64 << 20;

/// A member's read buffer.
pub const CHAT_BUFFER_BYTES: usize = 4 * 1024;

/// What the kernel may hold for a member who takes nothing: some of the longest
/// lines. It doubles this.
pub const CHAT_SEND_BUFFER_BYTES: usize = 16 * 1024;

/// Lines that a member may say at once …
pub const CHAT_BURST: u32 = 10;

/// … and how long it takes until one more may be said: faster than anybody
/// types.
pub const CHAT_PACE: Duration = Duration::from_millis(500);

/// Refusals one after the other after which a member is shown the door; and pings
/// beyond a burst that are answered.
pub const CHAT_REFUSALS: u32 = 50;

/// How long a connection may take to say who it is.
pub const CHAT_JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a frame may take to be taken by the kernel of a member that reads
/// nothing: after that, with either policy, the member is gone.
pub const CHAT_WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a member may take to say goodbye.
pub const CHAT_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a download waits for the lock of its unfinished file before it says that
/// another one has it: longer than a child takes from `fork` to `exec`, on a busy machine too.
pub const DOWNLOAD_LOCK_PATIENCE: Duration = Duration::from_millis(500);
