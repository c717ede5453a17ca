//! A worker's life: look for a request, claim it, call, reply; sleep if there is
//! nothing.
//!
//! Read before this: [`super::begin`].
#![allow(unsafe_code)] // calls by address

use crate::process::arena::{Arena, Extent};
use crate::process::codec::CodecError;
use crate::process::frame::{self, HEADER_LEN, Header, Parsed};
use crate::process::limits::{BODY_MAX, INLINE_MAX};
use crate::process::page::{Mapping, RESULTS, RingBytes, Words, request_counters};
use crate::process::passing::{self, Lost};
use crate::process::ring::Reader;
use crate::process::sink::Sink;
use crate::process::text::Text;
use crate::process::trampoline::{Call, Ran};
use crate::process::wire;
use crate::process::worker::bells::Bells;
use crate::process::worker::end::{Gone, leave};
use crate::process::worker::marks::Marks;
use crate::process::worker::panics;
use crate::process::worker::reply::Replies;
use crate::spin::Spin;
use crate::switch::{AtomicU64, Ordering};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use threeply_runtime::trace::{self, Kind, emit};

/// All that the thread which runs jobs needs.
#[derive(Debug)]
pub struct Worker {
    words: &'static Words,
    requests: Reader<RingBytes>,
    replies: Replies<'static>,
    arguments: Arc<Mapping>,
    results: Arena,
    nonce: u64,
    /// Our process id, for traces.
    pid: u64,
    parent: u32,
    /// The frame that is being worked at, as long as the longest yet.
    frame: Vec<u8>,
    /// Reused for every result that fits in a ring.
    buffer: Vec<u8>,
    spin: Spin,
    marks: Marks,
    /// Private memory that is too much; zero for no limit.
    recycle_above: u64,
    /// Since when the current stretch of work goes on.
    busy_since: Instant,
}

/// What a worker is made of.
#[derive(Debug)]
pub struct Parts {
    /// The memory that it shares with its parent, which stays mapped for ever.
    pub memory: &'static Arc<Mapping>,
    /// The arena of arguments.
    pub arguments: Arc<Mapping>,
    /// What wakes it, and what it wakes by.
    pub bells: Bells,
    /// What it says in the handshake.
    pub nonce: u64,
    /// The process whose worker this is.
    pub parent: u32,
    /// Room for frames.
    pub frame: Vec<u8>,
}

/// Bytes of memory that this process has for itself; zero if that can't be found out.
fn private_memory() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = statm.split(' ').skip(1).map(|n| n.parse().unwrap_or(0));
    let (resident, shared): (u64, u64) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    // SAFETY: asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    resident.saturating_sub(shared) * page.unsigned_abs()
}

impl Worker {
    /// A worker that has done nothing yet.
    pub fn new(parts: Parts) -> Worker {
        let Parts { memory, nonce, .. } = parts;
        let words = memory.words();
        Worker {
            requests: Reader::new(RingBytes::requests(memory)),
            replies: Replies::new(RingBytes::replies(memory), words, parts.bells),
            results: Arena::new(Arc::clone(memory), RESULTS),
            words,
            arguments: parts.arguments,
            nonce,
            pid: u64::from(std::process::id()),
            parent: parts.parent,
            frame: parts.frame,
            buffer: Vec::with_capacity(INLINE_MAX),
            spin: Spin::default(),
            marks: Marks::new(words.marks.load(Ordering::Relaxed), nonce),
            recycle_above: words.recycle_above.load(Ordering::Relaxed),
            busy_since: Instant::now(),
        }
    }

    /// Says that it is there, then runs jobs, on this thread, until there are to be no
    /// more; ends the process then.
    pub fn live(mut self, ready: impl FnOnce()) -> ! {
        let Err(gone) = self.serve(ready);
        leave(gone.exit_code())
    }

    fn serve(&mut self, ready: impl FnOnce()) -> Result<std::convert::Infallible, Gone> {
        let hello = wire::numbers([
            u64::from(wire::VERSION),
            self.nonce,
            Text::of_this_program().fingerprint(),
        ]);
        self.replies.publish(wire::HELLO, 0, 0, &hello)?;
        ready();
        let mut frame = std::mem::take(&mut self.frame);
        loop {
            let (header, len) = self.next(&mut frame)?;
            let body = &frame[..len];
            match header.kind {
                wire::JOB => {
                    let (fixed, elements) = body.split_at_checked(24).ok_or(Gone::Broken)?;
                    self.run(&header, fixed, elements)?;
                }
                wire::JOB_LARGE => {
                    let (fixed, place) = body.split_at_checked(24).ok_or(Gone::Broken)?;
                    let [offset, len] = wire::read_numbers(place).ok_or(Gone::Broken)?;
                    let arguments = Arc::clone(&self.arguments);
                    // SAFETY: the parent wrote these before it sent the frame, and
                    // leaves them alone until it has our reply.
                    let elements = unsafe { arguments.slice(offset as usize, len as usize) };
                    self.run(&header, fixed, elements.ok_or(Gone::Broken)?)?;
                }
                wire::FREE => {
                    let [offset, capacity, used] = wire::read_numbers(body).ok_or(Gone::Broken)?;
                    let (offset, capacity) = (offset as usize, capacity as usize);
                    self.results
                        .free(Extent { offset, capacity }, used as usize);
                }
                wire::EXIT => return Err(Gone::Told),
                _ => return Err(Gone::Broken),
            }
        }
    }

    /// Waits for the next frame and copies it out.
    fn next(&mut self, frame: &mut Vec<u8>) -> Result<(Header, usize), Gone> {
        let counters = request_counters(self.words);
        loop {
            let available = self
                .requests
                .available(&counters)
                .map_err(|_| Gone::Broken)?;
            if available == 0 {
                self.idle()?;
                continue;
            }
            let mut header = [0; HEADER_LEN];
            self.requests.peek(0, &mut header);
            // The parent publishes whole frames, so less than one is a fault.
            let Ok(Parsed::Incomplete { need } | Parsed::Frame { used: need, .. }) =
                frame::parse(&header, BODY_MAX)
            else {
                return Err(Gone::Broken);
            };
            if need > available {
                return Err(Gone::Broken);
            }
            let header = Header::from_bytes(header);
            let len = need - HEADER_LEN;
            if len > frame.len() {
                frame.resize(len, 0);
            }
            self.requests.peek(HEADER_LEN, &mut frame[..len]);
            self.requests.advance(&counters, need);
            trace::session::look_at_the_parent();
            if header.count != 0 {
                let frame = self.pid | u64::from(header.count) << 32;
                emit(Kind::FrameIn, line!(), frame, header.seq);
            }
            return Ok((header, len));
        }
    }

    /// Nothing to do: tell those who wait, look for a while if that has paid off
    /// lately, then sleep.
    fn idle(&mut self) -> Result<(), Gone> {
        self.replies.wake(u64::MAX - 1)?;
        let _ = io::stdout().flush(); // What a job printed without a newline.
        let words = self.words;
        let counters = request_counters(words);
        let limit = Duration::from_nanos(u64::from(self.words.spin_ns.load(Ordering::Relaxed)));
        let is_there = || self.requests.available(&counters) != Ok(0);
        if !limit.is_zero()
            && self
                .spin
                .look(limit, Some(&words.worker_at), &words.caller_at, is_there)
        {
            self.busy_since = Instant::now();
            return Ok(());
        }
        let stay = words.stay_at.stay();
        self.words.asleep.announce();
        if self.requests.available(&counters) == Ok(0) {
            self.replies.bells().sleep()?;
        }
        self.words.asleep.cancel();
        drop(stay); // Before anything of the user's runs.
        self.busy_since = Instant::now();
        Ok(())
    }

    /// Runs the jobs of one frame, one after the other.
    fn run(&mut self, header: &Header, fixed: &[u8], mut elements: &[u8]) -> Result<(), Gone> {
        let [trampoline, function, skip] = wire::read_numbers(fixed).ok_or(Gone::Broken)?;
        let text = Text::of_this_program();
        let call = Call {
            trampoline: text.address_of(trampoline).ok_or(Gone::Broken)?,
            function: text.address_of(function).ok_or(Gone::Broken)?,
        };
        for _ in 0..skip {
            (_, elements) = wire::split_element(elements).ok_or(Gone::Broken)?;
        }
        let mut ran = 0;
        for seq in header.seq..header.seq + u64::from(header.count) {
            let (argument, rest) = wire::split_element(elements).ok_or(Gone::Broken)?;
            elements = rest;
            if !self.words.claim.try_claim(seq) {
                break; // Taken back, and with it all that follow.
            }
            emit(Kind::ProcessRun, line!(), self.pid, seq);
            let last = ran + 1 == u64::from(header.count);
            let succeeded = if last && header.flags & wire::DESCRIPTORS != 0 {
                match passing::receive(self.replies.bells().passing(), seq) {
                    Ok(fds) => self.run_one(call, seq, argument, fds)?,
                    Err(Lost::Never) => return Err(Gone::Broken),
                    Err(Lost::Refused(error)) => {
                        let error = CodecError::Malformed(error.to_string());
                        self.replies.failure(wire::BAD_ARGUMENT, seq, &error)?;
                        false
                    }
                }
            } else {
                self.run_one(call, seq, argument, Vec::new())?
            };
            emit(Kind::ProcessRunEnd, line!(), self.pid, seq);
            if header.flags & wire::FIRST != 0 && !succeeded {
                self.replies.wake(u64::MAX - 1)?;
                loop {
                    std::thread::park(); // The parent ends us.
                }
            }
            ran += 1;
        }
        let now = Instant::now();
        let busy = now.duration_since(self.busy_since).as_nanos() as u64;
        self.busy_since = now;
        // Nobody else stores them.
        let add = |word: &AtomicU64, more| {
            let sum = word.load(Ordering::Relaxed).wrapping_add(more);
            word.store(sum, Ordering::Relaxed);
        };
        add(&self.words.busy_ns, busy);
        add(&self.words.busy_jobs, ran);
        Ok(())
    }

    /// Runs one job. Returns whether it gave a result.
    fn run_one(
        &mut self,
        call: Call,
        seq: u64,
        argument: &[u8],
        fds: Vec<OwnedFd>,
    ) -> Result<bool, Gone> {
        let buffer = std::mem::take(&mut self.buffer);
        let mut sink = Sink::reusing(buffer, &self.results, usize::MAX);
        self.marks.before(seq);
        // SAFETY: the parent made the addresses for this executable (the
        // handshake compared fingerprints), and offsets outside its code were
        // refused above.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| unsafe {
            call.run(argument, fds, &mut sink)
        }));
        self.marks.after();
        if self.recycle_above != 0 && private_memory() > self.recycle_above {
            // Relaxed: the reply's Release store follows, so who reads that sees it.
            self.words.outgrown.store(1, Ordering::Relaxed);
        }
        match outcome {
            Ok(Ran::Value(baggage)) if baggage.is_empty() => {
                self.buffer = self.replies.value(seq, 0, sink.finish())?;
                return Ok(true);
            }
            Ok(Ran::Value(mut baggage)) => {
                self.replies.pass(seq, baggage.fds())?;
                baggage.hand_to(self.parent);
                let encoded = sink.finish();
                self.buffer = self.replies.value(seq, wire::DESCRIPTORS, encoded)?;
                return Ok(true);
            }
            Ok(Ran::BadArgument(error)) => {
                self.replies.failure(wire::BAD_ARGUMENT, seq, &error)?;
            }
            Ok(Ran::BadResult(error)) => self.replies.failure(wire::BAD_RESULT, seq, &error)?,
            Err(payload) => {
                let report = panics::report(&*payload);
                // A payload may panic when it is dropped; that mustn't reach us.
                let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(payload)));
                drop(sink);
                // Texts are shortened, so it fits.
                let bytes = postcard::to_stdvec(&report).map_err(|_| Gone::Broken)?;
                self.replies.publish(wire::PANIC, 0, seq, &bytes)?;
            }
        }
        Ok(false)
    }
}
