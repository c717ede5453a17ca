//! Starting a demo, watching it, and never waiting for ever.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longer than any test needs on a busy machine, shorter than a hang.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(60);

/// The binary `name`.
pub(crate) fn demo(name: &str) -> Command {
    let path = match name {
        "cpu_bound" => env!("CARGO_BIN_EXE_cpu_bound"),
        "io_bound" => env!("CARGO_BIN_EXE_io_bound"),
        "async_io" => env!("CARGO_BIN_EXE_async_io"),
        "memory_model" => env!("CARGO_BIN_EXE_memory_model"),
        "compare" => env!("CARGO_BIN_EXE_compare"),
        "chat" => env!("CARGO_BIN_EXE_chat"),
        "crawl" => env!("CARGO_BIN_EXE_crawl"),
        "download" => env!("CARGO_BIN_EXE_download"),
        "explain" => env!("CARGO_BIN_EXE_explain"),
        "fetch_many" => env!("CARGO_BIN_EXE_fetch_many"),
        "pipeline" => env!("CARGO_BIN_EXE_pipeline"),
        "serve" => env!("CARGO_BIN_EXE_serve"),
        other => panic!("no demo is called {other}"),
    };
    let mut command = Command::new(path);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a demo did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The one line on stderr, which says what is wrong.
    #[track_caller]
    pub(crate) fn complaint(&self) -> &str {
        assert_eq!(
            self.stderr.lines().count(),
            1,
            "not one line on stderr: {self:?}"
        );
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        self.stderr.trim_end()
    }

    #[track_caller]
    pub(crate) fn succeeded(&self) -> &str {
        assert!(self.status.success(), "{self:?}");
        assert_eq!(self.stderr, "", "{self:?}");
        &self.stdout
    }
}

/// Runs a demo to its end.
#[track_caller]
pub(crate) fn run(name: &str, arguments: &[&str]) -> Ran {
    finish(demo(name).args(arguments).spawn().expect("the demo starts"))
}

/// Waits for a demo and collects what it printed.
#[track_caller]
pub(crate) fn finish(mut child: Child) -> Ran {
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = wait(&mut child, WATCHDOG);
    Ran {
        status,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_string(&mut text);
        }
        text
    })
}

/// Waits for a child, and ends it when it takes too long.
#[track_caller]
pub(crate) fn wait(child: &mut Child, limit: Duration) -> ExitStatus {
    let until = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status;
        }
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the demo did not end within {limit:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A process, known by its id and when it started, since ids are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pid: u32,
    started: u64,
}

impl Process {
    /// The process `pid`, if it is there and not merely waited for: one that has
    /// ended and whose parent has too waits for init to notice, which may take
    /// its time.
    fn look(pid: u32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let running = !matches!(*fields.first()?, "Z" | "X");
        running.then_some(Process {
            pid,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    /// Whether it still runs.
    pub(crate) fn exists(self) -> bool {
        Process::look(self.pid) == Some(self)
    }
}

/// All that a process has started, and what those have.
pub(crate) fn descendants(pid: u32) -> Vec<Process> {
    let mut found = Vec::new();
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return found;
    };
    for thread in threads.flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
        {
            found.extend(Process::look(child));
            found.extend(descendants(child));
        }
    }
    found
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < end, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to one process that a test has started.
pub(crate) fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, signal).expect("the process is there");
}

/// A server for one test: hands each connection to a function.
pub(crate) struct Toy {
    pub(crate) url: String,
    pub(crate) port: u16,
}

/// Listens on the loopback interface and answers each connection with `answer`,
/// for as long as the test process lives.
pub(crate) fn toy_server(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> Toy {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback interface is there");
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || answer(stream));
        }
    });
    Toy {
        url: format!("http://127.0.0.1:{port}/"),
        port,
    }
}

/// Reads a request's head.
pub(crate) fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut block = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut block) {
            Ok(n @ 1..) => head.extend_from_slice(&block[..n]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// Reads a request's head, and sends `reply` as it is.
pub(crate) fn reply_once(mut stream: TcpStream, reply: &[u8]) {
    if read_head(&mut stream).is_some() {
        let _ = stream.write_all(reply);
    }
}

/// A port on which nobody listens.
pub(crate) fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A file of the tests.
pub(crate) fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}
