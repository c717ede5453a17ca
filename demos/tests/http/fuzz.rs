//! Client and server fed with anything: valid messages that are bent, cut, spliced
//! and blown up, in pieces of any size, from peers that close, reset, fall silent
//! or never read. No panic, no hang, no memory beyond the limits.
//!
//! Short by default; `THREEPLY_FUZZ=<seconds>` goes on for that long, with another
//! seed in each run. Each case has a seed of its own; a case that fails names it,
//! and `THREEPLY_SEED=<number>` begins with that case.
//!
//! Time is virtual: what waits for a timeout costs nothing, and a wait without one
//! is found at once, because the case's own limit is then the next deadline. A
//! watchdog finds what turns in a circle. Peak memory belongs to a whole process,
//! so each test runs in one of its own: this binary, started once more for it.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_io::AsyncWrite;
use threeply_demos::http::client::{Client, Config};
use threeply_demos::http::server::conversation::Conversation;
use threeply_demos::http::server::{Limits, Reply, Routes};
use threeply_demos::http::stream::{read, write_all};
use threeply_runtime::cancel::CancellationToken;
use threeply_runtime::io::{duplex, split};
use threeply_runtime::net::TcpListener;
use threeply_runtime::time::timeout;
use threeply_runtime::{EventLoop, spawn, yield_now};

const ALONE: &str = "THREEPLY_TEST_ALONE";

/// No conversation lasts longer, by the virtual clock: every wait in it has a limit
/// of its own, of a minute at most, and no case has more than some dozens of them.
const CASE_LIMIT: Duration = Duration::from_secs(4 * 3_600);

/// Nor by the real one.
const CASE_REAL_LIMIT: Duration = Duration::from_secs(30);

/// How much larger the process may become: some times what the limits of client and
/// server allow, and less than the larger cases send.
const GROWTH_KIB: u64 = 4 * 1024;

/// What both sides may hold of a body.
const BODY_BYTES: u64 = 64 * 1024;

struct Random {
    state: u64,
    /// Whether nothing is blown up yet: the first cases warm code and allocator.
    calm: bool,
}

impl Random {
    /// SplitMix64: seeds that follow each other give unrelated numbers.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
    /// Another one, for another task.
    fn fork(&mut self) -> Random {
        Random {
            state: self.next(),
            calm: self.calm,
        }
    }
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
    fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next() as u8).collect()
    }
}

/// Calls `case` so many times, or for as long as the environment says, in a process
/// of its own.
fn fuzz(name: &str, cases: u64, mut case: impl FnMut(&mut Random)) {
    if std::env::var_os(ALONE).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{}\n{errors}\n{text}",
            output.status
        );
        assert!(text.contains("1 passed"), "no test of this name? {text}");
        return print!("{text}");
    }
    let number = |name| {
        let text = std::env::var(name).ok()?;
        Some(
            text.parse::<u64>()
                .unwrap_or_else(|_| panic!("{name} is a number")),
        )
    };
    let until = number("THREEPLY_FUZZ").map(|s| Instant::now() + Duration::from_secs(s));
    let seed = number("THREEPLY_SEED").unwrap_or_else(|| match until {
        None => 5_000_000,
        Some(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
    });
    let current = Arc::new(AtomicU64::new(seed));
    watch(current.clone());
    let mut before = 0;
    let mut done = 0;
    while done < cases || until.is_some_and(|until| Instant::now() < until) {
        let seed = seed + done;
        current.store(seed, Ordering::Relaxed);
        let calm = done < cases / 10;
        let mut random = Random { state: seed, calm };
        let outcome = catch_unwind(AssertUnwindSafe(|| case(&mut random)));
        if calm {
            before = peak_kib();
        }
        let grown = peak_kib() - before;
        if outcome.is_err() || grown > GROWTH_KIB {
            panic!("case {done} (grown by {grown} KiB) fails: THREEPLY_SEED={seed} repeats it");
        }
        done += 1;
    }
    println!(
        "{done} cases from {seed}, grown by {} KiB",
        peak_kib() - before
    );
}

/// Ends the process when one case takes too long.
fn watch(current: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        let mut since = (Instant::now(), current.load(Ordering::Relaxed));
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let now = current.load(Ordering::Relaxed);
            if now != since.1 {
                since = (Instant::now(), now);
            } else if since.0.elapsed() > CASE_REAL_LIMIT {
                eprintln!("a case hangs: THREEPLY_SEED={now} repeats it");
                std::process::abort();
            }
        }
    });
}

/// The most memory that this process has had.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What one side says: some bytes, and some that come again and again.
struct Speech {
    bytes: Vec<u8>,
    /// Where `again` comes in.
    at: usize,
    again: Vec<u8>,
    times: usize,
}

/// Bends one of `corpus`, with the words that mean something here.
fn speech(random: &mut Random, corpus: &[Vec<u8>], words: &[&[u8]]) -> Speech {
    let mut bytes = match random.below(20) {
        0 => random.bytes(300),
        // The last one is a bomb, where there is one.
        _ => corpus[random.below(corpus.len() - usize::from(random.calm))].clone(),
    };
    for _ in 0..random.below(5) {
        let at = random.below(bytes.len() + 1);
        let to = at + random.below(bytes.len() - at + 1).min(20);
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] = random.next() as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..to)),
            4 => {
                let twice = bytes[at..to].to_vec();
                drop(bytes.splice(at..at, twice));
            }
            5 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            6 => drop(bytes.splice(at..at, random.bytes(8))),
            _ => drop(bytes.splice(at..to, random.of(words).to_vec())),
        }
    }
    // Now and then it is blown up, to some megabytes at most.
    let again = match random.below(3) {
        0 => random.bytes(64),
        _ => random.of(words).to_vec(),
    };
    let most = match random.below(40) {
        _ if random.calm => 0,
        0 => 6 << 20,
        1..8 => 100_000,
        _ => 0,
    };
    Speech {
        at: random.below(bytes.len() + 1),
        bytes,
        times: most / again.len().max(1),
        again,
    }
}

impl Speech {
    /// Says it all, in pieces, as long as anybody listens.
    async fn say<S: AsyncWrite + Unpin>(&self, stream: &mut S, random: &mut Random) -> bool {
        let (first, last) = self.bytes.split_at(self.at);
        let many = self.again.repeat(8_192 / self.again.len().max(1));
        let blocks = self.times * self.again.len() / many.len().max(1);
        let middle = std::iter::repeat_n(&many[..], blocks);
        for part in [first].into_iter().chain(middle).chain([last]) {
            let mut rest = part;
            while !rest.is_empty() {
                let most = [1, 7, 100, 100_000][random.below(4)];
                let (piece, others) = rest.split_at(rest.len().min(most));
                if write_all(stream, piece).await.is_err() {
                    return false;
                }
                // So that the other side sees the pieces.
                if most < 1_000 {
                    yield_now().await;
                }
                rest = others;
            }
        }
        true
    }
}

fn virtual_time<F: Future>(test: F) -> F::Output {
    let event_loop = EventLoop::builder().virtual_time(true).build().unwrap();
    event_loop
        .block_on(async { timeout(CASE_LIMIT, test).await })
        .expect("it waits for ever")
}

#[test]
fn no_request_breaks_the_server() {
    let corpus: Vec<Vec<u8>> = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /?q=%20x&y HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "HEAD /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
        "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\nGET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /big HTTP/1.1\r\nHost: a\r\n\r\nGET /things/%e2%82%ac HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    let words: [&[u8]; 18] = [
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b"\0",
        b"\xff",
        b" ",
        b":",
        b"%",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Content-Length: 18446744073709551615\r\n",
        b"Content-Length: 9\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"ffffffffffffffff\r\n",
        b"1\r\nx\r\n",
        b"0\r\n",
        b"X: y\r\n",
        b"\xe2\x82\xac",
    ];
    let answered = Cell::new(0);
    fuzz("fuzz::no_request_breaks_the_server", 1_500, |random| {
        let routes = Routes::new()
            .get("/", |_| async { Reply::text("hello") })
            .get("/things/{name}", |request| async move {
                Reply::text(request.params[0].clone())
            })
            .get("/stream", |_| async {
                Reply::reader(&b"streamed"[..], None, "text/plain")
            })
            .get("/big", |_| async {
                Reply::bytes(vec![b'x'; 100_000], "text/plain")
            })
            .on(http::Method::POST, "/echo", |request| async move {
                Reply::bytes(request.body, "text/plain")
            });
        let limits = Limits {
            body_bytes: BODY_BYTES,
            ..Limits::default()
        };
        let speech = speech(random, &corpus, &words);
        virtual_time(async {
            let (mut near, far) = duplex(match speech.times {
                0 => [1, 50, 4_096, 200_000][random.below(4)],
                _ => 64 * 1024,
            });
            let server = spawn(async move {
                let shutdown = CancellationToken::new();
                Conversation::new(far, None, Rc::new(limits), shutdown)
                    .run(&routes)
                    .await;
            });
            // One that never reads is given up, so what it says has an end too.
            if random.one_in(10) {
                speech.say(&mut near, random).await;
                return server.await.expect("no panic");
            }
            let (mut listener, mut speaker) = split(near);
            let hearing = spawn(async move {
                let mut all = Vec::new();
                let mut block = [0; 4_096];
                while let Ok(n @ 1..) = read(&mut listener, &mut block).await {
                    if all.len() < 64 {
                        all.extend_from_slice(&block[..n]);
                    }
                }
                all
            });
            let whole = speech.say(&mut speaker, random).await;
            // It closes its half, or falls silent: then the server ends it.
            if whole && random.one_in(2) {
                let _ = poll_fn(|cx| Pin::new(&mut speaker).poll_close(cx)).await;
            }
            let heard = hearing.await.unwrap();
            assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 "));
            answered.set(answered.get() + u32::from(heard.starts_with(b"HTTP/1.1 200 ")));
            server.await.expect("no panic");
        });
    });
    assert!(
        std::env::var_os(ALONE).is_none() || answered.get() > 100,
        "too few are understood"
    );
}

/// How a server that is none behaves on each connection.
#[derive(Clone, Copy)]
enum Ending {
    Close,
    Reset,
    Silence,
}

/// Says `speeches`, one on each connection, again and again.
async fn malicious(speeches: Vec<Speech>, ending: Ending, mut random: Random) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(spawn(async move {
        let mut kept = Vec::new();
        for speech in speeches.iter().cycle() {
            let Ok((mut stream, _)) = listener.accept().await else {
                return;
            };
            // Sometimes it speaks before it was asked.
            if !random.one_in(8) {
                let _ = read(&mut stream, &mut [0; 1_024]).await;
            }
            speech.say(&mut stream, &mut random).await;
            match ending {
                Ending::Close => drop(stream.shutdown(Shutdown::Write)),
                Ending::Reset => drop(stream.set_linger(Some(Duration::ZERO))),
                Ending::Silence => kept.push(stream),
            }
        }
    }));
    address
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

/// A response with this body.
fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{head}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

#[test]
fn no_response_breaks_the_client() {
    let mut corpus: Vec<Vec<u8>> = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a=b; Path=/; Max-Age=60\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain; charset=shift_jis\r\n\r\nuntil the end",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 302 Found\r\nLocation: /there?x=%20#y\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: //127.0.0.1:1/\r\nContent-Length: 4\r\n\r\nmove",
        "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    let text = b"the quick brown fox ".repeat(50);
    let bomb = packed(&vec![0; 8 << 20]);
    corpus.push(answer("Content-Encoding: gzip", &packed(&text)));
    corpus.push(answer("Content-Encoding: deflate", &packed(&text)[10..]));
    corpus.push(answer(
        "Content-Type: application/json",
        b"{\"a\": [1, 2.5, null, \"x\"]}",
    ));
    corpus.push(answer("Content-Encoding: gzip", &bomb));
    let words: [&[u8]; 19] = [
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b"\0",
        b"\xff",
        b" ",
        b";",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Content-Length: 18446744073709551615\r\n",
        b"Content-Length: 9\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"ffffffffffffffff\r\n",
        b"1\r\nx\r\n",
        b"0\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Location: http://[::1\r\n",
        b"Set-Cookie: x=y; Domain=a; Expires=Thu, 99 Foo 0000 99:99:99 GMT\r\n",
        b"Connection: close\r\n",
    ];
    let understood = Cell::new(0);
    fuzz("fuzz::no_response_breaks_the_client", 1_000, |random| {
        let count = 1 + random.below(3);
        let speeches = (0..count)
            .map(|_| speech(random, &corpus, &words))
            .collect();
        let ending = [Ending::Close, Ending::Reset, Ending::Silence][random.below(3)];
        virtual_time(async {
            let address = malicious(speeches, ending, random.fork()).await;
            let client = Client::new(Config {
                body_bytes: BODY_BYTES,
                redirects: 3,
                total_timeout: random.one_in(2).then_some(Duration::from_secs(100)),
                ..Config::default()
            });
            for _ in 0..count {
                let url = format!("http://{address}/");
                let request = match random.below(3) {
                    0 => client.post(url).body(random.bytes(100)),
                    _ => client.get(url),
                };
                let Ok(response) = request.send().await else {
                    continue;
                };
                let read = match random.below(4) {
                    0 => response
                        .bytes()
                        .await
                        .inspect(|all| {
                            assert!(all.len() as u64 <= BODY_BYTES);
                        })
                        .is_ok(),
                    1 => response.text().await.is_ok(),
                    2 => response.json::<serde_json::Value>().await.is_ok(),
                    _ => response.drain().await.is_ok(),
                };
                understood.set(understood.get() + u32::from(read));
            }
        });
    });
    assert!(
        std::env::var_os(ALONE).is_none() || understood.get() > 100,
        "too few are understood"
    );
}
