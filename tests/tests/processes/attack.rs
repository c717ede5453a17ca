//! What a worker does that has lost its mind: it writes into the memory that it shares
//! with its parent, past everything that the library does there.
#![allow(unsafe_code)] // Names descriptors by number, as nobody should.

use std::fs::File;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use threeply_pools::process::frame::HEADER_LEN;
use threeply_pools::process::page::{RESULTS, Words};
use threeply_pools::process::{limits, wire};

/// Ways to go mad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Attack {
    /// A header that announces more than there may be.
    TooLong,
    /// Half a header.
    HalfHeader,
    /// Half a body.
    HalfBody,
    /// An answer to a job that nobody asked about.
    WrongNumber,
    /// A kind of frame that there isn't.
    WrongKind,
    /// A large result that lies outside of the memory.
    Elsewhere,
    /// A large result whose length overflows.
    Overflow,
    /// A report of a panic that is none.
    NoPanic,
    /// A greeting from another program.
    Stranger,
    /// Sixty-four bytes of noise.
    Noise(u64),
    /// A counter that can't be.
    Counter(u64),
}

pub(crate) const ALL: [Attack; 14] = [
    Attack::TooLong,
    Attack::HalfHeader,
    Attack::HalfBody,
    Attack::WrongNumber,
    Attack::WrongKind,
    Attack::Elsewhere,
    Attack::Overflow,
    Attack::NoPanic,
    Attack::Stranger,
    Attack::Noise(0x9e37_79b9_7f4a_7c15),
    Attack::Noise(0x0123_4567_89ab_cdef),
    Attack::Counter(u64::MAX),
    Attack::Counter(1 << 40),
    Attack::Counter(limits::RING as u64 * 3),
];

/// The shared memory, by way of the kernel.
pub(crate) struct Memory {
    file: File,
    start: u64,
}

impl Memory {
    pub(crate) fn of_this_worker() -> Memory {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps
            .lines()
            .find(|line| line.contains("threeply-worker"))
            .unwrap();
        let start = u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
        let file = File::options()
            .read(true)
            .write(true)
            .open("/proc/self/mem")
            .unwrap();
        Memory { file, start }
    }

    pub(crate) fn number(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        self.file
            .read_exact_at(&mut bytes, self.start + at as u64)
            .unwrap();
        u64::from_le_bytes(bytes)
    }

    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        self.file
            .write_all_at(bytes, self.start + at as u64)
            .unwrap();
    }
}

const HEAD: usize = offset_of!(Words, reply_head);
const TAIL: usize = offset_of!(Words, reply_tail);
const CLAIM: usize = offset_of!(Words, claim);

impl Attack {
    /// Does it, and never returns.
    pub(crate) fn run(self) -> ! {
        let memory = Memory::of_this_worker();
        let tail = memory.number(TAIL);
        if let Attack::Counter(value) = self
            && value == UNREAD
        {
            memory.write(TAIL, &u64::MAX.to_le_bytes());
            ring_everybody();
            wait_for_the_end()
        }
        // Replies that nobody has read can be garbled, too; then their jobs fail with
        // this one, which isn't what these tests are about.
        while memory.number(HEAD) != tail {
            std::thread::yield_now();
        }
        let me = memory.number(CLAIM) - 1;
        let frame = |kind, seq, body: &[u8]| {
            let mut bytes = wire::header(kind, seq, 1, body.len()).to_bytes().to_vec();
            bytes.extend_from_slice(body);
            bytes
        };
        let mut published = None;
        let bytes = match self {
            Attack::TooLong => {
                let mut bytes = frame(wire::VALUE, me, b"");
                bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
                bytes
            }
            Attack::HalfHeader => {
                published = Some(HEADER_LEN / 2);
                frame(wire::VALUE, me, b"")
            }
            Attack::HalfBody => {
                published = Some(HEADER_LEN + 4);
                frame(wire::VALUE, me, &[7; 100])
            }
            Attack::WrongNumber => frame(wire::VALUE, me + 5, &[1]),
            Attack::WrongKind => frame(200, me, &[1]),
            Attack::Elsewhere => frame(wire::VALUE_LARGE, me, &wire::numbers([1 << 50, 8, 8])),
            Attack::Overflow => frame(
                wire::VALUE_LARGE,
                me,
                &wire::numbers([RESULTS as u64, 8, u64::MAX]),
            ),
            Attack::NoPanic => frame(wire::PANIC, me, &[0xff; 9]),
            Attack::Stranger => frame(wire::HELLO, 0, &wire::numbers([1, 2, 3])),
            Attack::Noise(mut seed) => {
                let mut noise = || {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    seed as u8
                };
                (0..64).map(|_| noise()).collect()
            }
            Attack::Counter(_) => Vec::new(),
        };
        let ring = RESULTS - limits::RING;
        for (n, byte) in bytes.iter().enumerate() {
            let place = (tail as usize + n) % limits::RING;
            memory.write(ring + place, &[*byte]);
        }
        let end = match self {
            Attack::Counter(value) => tail.wrapping_add(value),
            _ => tail + published.unwrap_or(bytes.len()) as u64,
        };
        memory.write(TAIL, &end.to_le_bytes());
        ring_everybody();
        wait_for_the_end()
    }
}

/// A counter that can't be, while replies are there that nobody has read.
pub(crate) const UNREAD: u64 = u64::MAX - 1;

fn wait_for_the_end() -> ! {
    loop {
        std::thread::park();
    }
}

/// Rings the bells of the supervisor and of a caller.
fn ring_everybody() {
    use threeply_pools::process::worker::hook::fd;
    for number in [fd::CALLER, fd::SUPERVISOR] {
        ring(number, 1);
    }
}

/// Rings the supervisor's bell so often that its counter is full.
pub(crate) fn fill_the_bell() {
    use threeply_pools::process::worker::hook::fd;
    ring(fd::SUPERVISOR, 1 << 63);
    // As much again as fits, but for what others have rung or ring meanwhile.
    for power in (0..63).rev() {
        ring(fd::SUPERVISOR, 1 << power);
    }
}

fn ring(bell: i32, times: u64) {
    // SAFETY: the worker's own, open as long as it lives.
    let bell = unsafe { std::os::fd::BorrowedFd::borrow_raw(bell) };
    match nix::unistd::write(bell, &times.to_ne_bytes()) {
        Ok(_) | Err(nix::errno::Errno::EAGAIN) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Says that everything was claimed, the next jobs too.
pub(crate) fn claim_everything() {
    let memory = Memory::of_this_worker();
    memory.write(CLAIM, &1_000_000u64.to_le_bytes());
}
