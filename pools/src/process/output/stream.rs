//! One pipe from a worker, and what is done with what comes out of it.
//!
//! Whoever wants to may read it ([`Source::read`]): the pool's reader thread when it
//! is readable, or whoever buries the worker, for its last words. Reading happens
//! under a lock and never blocks; writing and calling back happen outside of that
//! lock, on the reader thread only ([`Source::hand_on`]), and may block it.

use crate::process::job::Job;
use crate::process::limits::{LABELS_KEPT, LAST_OUTPUT, LINE_MAX, OUTPUT_KEPT};
use crate::process::output::marks::{MARK_LEN, Part, split};
use crate::process::output::{Callback, Line, Stream, Way};
use crate::process::terms::JobLabel;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// See the head of this file.
#[derive(Debug)]
pub struct Source {
    pid: u32,
    stream: Stream,
    /// What marks in it look like.
    magic: u64,
    /// What is called with each line; none for a relay.
    callback: Option<Callback>,
    pipe: OwnedFd,
    inner: Mutex<Inner>,
    /// What jobs are called by number, for lines only; older ones first.
    labels: Mutex<VecDeque<(u64, u16, JobLabel)>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Read, not handed on.
    pending: Vec<u8>,
    /// The end of what was read.
    tail: VecDeque<u8>,
    /// Nothing more will come.
    ended: bool,
    /// The worker's process has ended: once the pipe is empty, so is this.
    worker_ended: bool,
    /// A line that isn't whole.
    line: Vec<u8>,
    job: Option<JobLabel>,
}

impl Source {
    /// The reading end of a worker's pipe, which must not block.
    pub(crate) fn new(pid: u32, stream: Stream, magic: u64, way: &Way, pipe: OwnedFd) -> Source {
        let callback = match way {
            Way::Lines(callback) => Some(callback.clone()),
            _ => None,
        };
        Source {
            pid,
            stream,
            magic,
            callback,
            pipe,
            inner: Mutex::default(),
            labels: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pipe, to be waited for.
    pub fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Whether nothing more will come and everything was handed on: also the last line,
    /// which nobody could know to be whole before the end was known. For the reader thread
    /// only.
    pub fn is_over(&self) -> bool {
        let inner = self.lock();
        inner.ended && inner.pending.is_empty() && inner.line.is_empty()
    }

    /// Notes what jobs from number `first` on are called.
    pub fn announce(&self, first: u64, job: &Job) {
        if self.callback.is_some() {
            let mut labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
            labels.push_back((first, job.count, job.label()));
            if labels.len() > LABELS_KEPT {
                labels.pop_front(); // The worker makes no marks any more.
            }
        }
    }

    /// Takes that back.
    pub fn retract(&self, first: u64) {
        let mut labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        if labels.back().is_some_and(|(last, ..)| *last == first) {
            labels.pop_back();
        }
    }

    /// The worker has ended: what the pipe holds now is all (a process that it left
    /// behind may hold the other end for ever).
    pub fn worker_has_ended(&self) {
        self.lock().worker_ended = true;
        self.read();
    }

    /// The end of what was read so far.
    pub fn last_words(&self) -> String {
        let bytes: Vec<u8> = self.lock().tail.iter().copied().collect();
        if self.callback.is_none() {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        // Without the marks, the first of which may have been cut in two.
        let cut = if bytes.len() < LAST_OUTPUT {
            0
        } else {
            MARK_LEN
        };
        let (mut rest, mut text) = (&bytes[cut..], Vec::new());
        loop {
            match split(rest, self.magic) {
                (Part::Text(piece), after) => {
                    text.extend_from_slice(piece);
                    rest = after;
                }
                (Part::Mark(_), after) => rest = after,
                (Part::Incomplete, _) => return String::from_utf8_lossy(&text).into_owned(),
            }
        }
    }

    /// Reads what is there, up to a limit. Never blocks.
    pub fn read(&self) {
        let mut inner = self.lock();
        let mut buffer = [0; 4096];
        while !inner.ended && inner.pending.len() < OUTPUT_KEPT {
            match nix::unistd::read(&self.pipe, &mut buffer) {
                Ok(0) => inner.ended = true,
                Ok(len) => inner.take(&buffer[..len]),
                Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::EAGAIN) => {
                    inner.ended = inner.worker_ended;
                    return;
                }
                Err(_) => inner.ended = true,
            }
        }
        // A daemon that goes on writing for ever isn't the worker.
        inner.ended |= inner.worker_ended && inner.pending.len() >= OUTPUT_KEPT;
    }

    /// Writes what was read to where it belongs, or calls back. May block. For the
    /// reader thread only.
    pub fn hand_on(&self) {
        let (bytes, ended) = {
            let mut inner = self.lock();
            (std::mem::take(&mut inner.pending), inner.ended)
        };
        match &self.callback {
            None => relay(self.stream, &bytes),
            Some(callback) => self.hand_on_lines(callback, bytes, ended),
        }
    }

    fn hand_on_lines(&self, callback: &Callback, bytes: Vec<u8>, ended: bool) {
        // What of it isn't whole; only this thread touches these two.
        let (mut line, mut job) = {
            let mut inner = self.lock();
            (std::mem::take(&mut inner.line), inner.job.take())
        };
        let mut rest = &bytes[..];
        loop {
            let (part, after) = split(rest, self.magic);
            match part {
                Part::Text(text) => self.text(callback, text, &mut line, job.as_ref()),
                Part::Mark(seq) => {
                    self.end_line(callback, &mut line, job.as_ref());
                    job = self.label_of(seq).or(job);
                }
                Part::Incomplete => break,
            }
            rest = after;
        }
        if ended {
            self.text(callback, rest, &mut line, job.as_ref());
            self.end_line(callback, &mut line, job.as_ref());
            rest = &[];
        }
        let mut inner = self.lock();
        inner.line = line;
        inner.job = job;
        if !rest.is_empty() {
            // The beginning of a mark, perhaps.
            inner.pending.splice(0..0, rest.iter().copied());
        }
    }

    fn text(&self, callback: &Callback, text: &[u8], line: &mut Vec<u8>, job: Option<&JobLabel>) {
        for piece in text.split_inclusive(|&byte| byte == b'\n') {
            for piece in piece.chunks(LINE_MAX) {
                if line.len() + piece.len() > LINE_MAX + 1 {
                    self.call(callback, line, job);
                }
                line.extend_from_slice(piece);
            }
            if line.last() == Some(&b'\n') {
                line.pop();
                self.call(callback, line, job);
            }
        }
    }

    fn end_line(&self, callback: &Callback, line: &mut Vec<u8>, job: Option<&JobLabel>) {
        if !line.is_empty() {
            self.call(callback, line, job);
        }
    }

    fn call(&self, callback: &Callback, line: &mut Vec<u8>, job: Option<&JobLabel>) {
        let text = String::from_utf8_lossy(line);
        let said = Line {
            pid: self.pid,
            stream: self.stream,
            job,
            text: &text,
        };
        // The panic hook has reported it; the next line may go better.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(|| (callback.0)(&said)));
        line.clear();
    }

    fn label_of(&self, seq: u64) -> Option<JobLabel> {
        let mut labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((first, count, label)) = labels.front() {
            if seq < *first {
                return None;
            }
            if seq < *first + u64::from(*count) {
                return Some(label.clone());
            }
            labels.pop_front();
        }
        None
    }
}

impl Inner {
    fn take(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        self.tail.extend(bytes);
        let surplus = self.tail.len().saturating_sub(LAST_OUTPUT);
        self.tail.drain(..surplus);
    }
}

/// Writes to this process's own stdout or stderr, past their buffers and locks: a
/// thread that holds those may be waiting for the job that wrote this.
fn relay(stream: Stream, mut bytes: &[u8]) {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let to = match stream {
        Stream::Stdout => stdout.as_fd(),
        Stream::Stderr => stderr.as_fd(),
    };
    while !bytes.is_empty() {
        match nix::unistd::write(to, bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(nix::errno::Errno::EINTR) => {}
            // Somebody has made our own stderr non-blocking.
            Err(nix::errno::Errno::EAGAIN) => {
                use nix::poll::{PollFd, PollFlags, PollTimeout};
                let mut room = [PollFd::new(to, PollFlags::POLLOUT)];
                let _ = nix::poll::poll(&mut room, PollTimeout::NONE);
            }
            // Nowhere to write it to, and nobody to tell.
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::cell::Cell;
    use crate::process::codec::Bytes;
    use crate::process::job::Arguments;
    use crate::process::output::Output;
    use crate::process::output::marks::mark;
    use crate::process::terms::Terms;
    use std::panic::Location;
    use std::sync::Arc;
    use threeply_runtime::sys::pipe;

    /// A worker's pipe, the end that it writes to, and the lines that come out.
    fn source() -> (Source, OwnedFd, Arc<Mutex<Vec<String>>>) {
        let (reads, writes) = pipe::pipe().unwrap();
        pipe::set_nonblocking(&reads, true).unwrap();
        let lines = Arc::default();
        let seen: Arc<Mutex<Vec<String>>> = Arc::clone(&lines);
        let output = Output::lines(move |line| {
            let name = line.job.and_then(|job| job.name().map(str::to_owned));
            let name = name.unwrap_or_default();
            seen.lock().unwrap().push(format!("{name}: {}", line.text));
        });
        let source = Source::new(1, Stream::Stdout, 7, &output.0, reads);
        (source, writes, lines)
    }

    #[test]
    fn a_last_line_is_handed_on_though_the_end_is_known_later() {
        let (source, writes, lines) = source();
        nix::unistd::write(&writes, b"no end of line").unwrap();
        source.read();
        source.hand_on();
        // Whoever buries the worker; a process that it left behind keeps the pipe open.
        source.worker_has_ended();
        assert!(!source.is_over());
        source.hand_on();
        assert_eq!(*lines.lock().unwrap(), [": no end of line"]);
        assert!(source.is_over());
    }

    fn job(name: &str) -> Job {
        let terms = Terms {
            name: Some(name.into()),
            ..Terms::default()
        };
        Job {
            target: Arc::new(Cell::default()),
            call: [1, 2],
            arguments: Arguments::Inline(Bytes::new()),
            index: 0,
            count: 1,
            terms: Some(Arc::new(terms)),
            site: Location::caller(),
            attempt: 1,
            baggage: None,
        }
    }

    #[test]
    fn a_job_that_was_not_sent_after_all_leaves_its_number_to_another() {
        let (source, writes, lines) = source();
        source.announce(5, &job("too large for the room that is left"));
        source.retract(5);
        source.announce(5, &job("sent"));
        source.retract(6); // Never announced.
        nix::unistd::write(&writes, &mark(7, 5)).unwrap();
        nix::unistd::write(&writes, b"it\n").unwrap();
        source.read();
        source.hand_on();
        assert_eq!(*lines.lock().unwrap(), ["sent: it"]);
    }
}
