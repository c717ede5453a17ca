//! The decoders of what a worker sends, fed with anything. Short by default;
//! `THREEPLY_FUZZ=<seconds>` goes on for that long, with another seed in each run.
//!
//! Each decoder is compared with a plain one that is written for clarity alone.

use crate::watch;
use std::time::{Duration, Instant};
use threeply_pools::process::frame::{HEADER_LEN, Header, Oversized, Parsed, parse};
use threeply_pools::process::output::marks::{MARK_LEN, Part, mark, split};
use threeply_pools::process::wire;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next() as u8).collect()
    }
}

/// Calls `case` so many times, or for as long as the environment says.
fn fuzz(cases: usize, mut case: impl FnMut(&mut Random)) {
    let seconds = std::env::var("THREEPLY_FUZZ")
        .ok()
        .and_then(|text| text.parse().ok());
    let (seed, until) = match seconds {
        None => (0x5eed_0ff2, None),
        Some(seconds) => {
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
            let until = Instant::now() + Duration::from_secs(seconds);
            (now.as_nanos() as u64 | 1, Some(until))
        }
    };
    println!("seed {seed:#x}");
    let patience = Duration::from_secs(60 + seconds.unwrap_or(0));
    let _dog = watch().patience(patience).start();
    let mut random = Random(seed);
    let mut done = 0;
    while done < cases || until.is_some_and(|until| Instant::now() < until) {
        case(&mut random);
        done += 1;
    }
    println!("{done} cases");
}

/// A frame that is honest, or nearly so: flips, cuts and wrong lengths are where
/// decoders fail, more than in noise.
fn nearly_honest(random: &mut Random) -> Vec<u8> {
    let body = random.bytes(80);
    let mut bytes = wire::header(random.next() as u8, random.next(), 1, body.len())
        .to_bytes()
        .to_vec();
    bytes.extend_from_slice(&body);
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at.max(1)),
            2 => bytes.insert(at, random.next() as u8),
            3 => {
                let extreme = [0, 1, 15, 16, 0x7fff_ffff, u32::MAX][random.below(6)];
                let end = bytes.len().min(4);
                bytes[..end].copy_from_slice(&extreme.to_le_bytes()[..end]);
            }
            _ => bytes.extend_from_slice(&random.bytes(20)),
        }
    }
    bytes
}

/// What `parse` must say, said plainly.
fn plainly(bytes: &[u8], max: usize) -> Result<Parsed<'_>, Oversized> {
    if bytes.len() < HEADER_LEN {
        return Ok(Parsed::Incomplete { need: HEADER_LEN });
    }
    let len = u64::from(bytes[0])
        | u64::from(bytes[1]) << 8
        | u64::from(bytes[2]) << 16
        | u64::from(bytes[3]) << 24;
    let len = len as usize;
    if len > max {
        return Err(Oversized { len, max });
    }
    if bytes.len() < 16 + len {
        return Ok(Parsed::Incomplete { need: 16 + len });
    }
    let header = Header {
        len: len as u32,
        kind: bytes[4],
        flags: bytes[5],
        count: u16::from(bytes[6]) | u16::from(bytes[7]) << 8,
        seq: (0..8).map(|n| u64::from(bytes[8 + n]) << (8 * n)).sum(),
    };
    let body = &bytes[16..16 + len];
    let used = 16 + len;
    Ok(Parsed::Frame { header, body, used })
}

#[test]
fn frames_are_decoded_as_they_are_defined() {
    fuzz(100_000, |random| {
        let bytes = match random.below(4) {
            0 => random.bytes(120),
            _ => nearly_honest(random),
        };
        let max = [0, 16, 64, 100, usize::MAX][random.below(5)];
        assert_eq!(parse(&bytes, max), plainly(&bytes, max), "{bytes:?}, {max}");
    });
}

#[test]
fn elements_and_numbers_are_read_within_their_bytes() {
    fuzz(100_000, |random| {
        let mut bytes = random.bytes(40);
        if bytes.len() > 4 && random.below(2) == 0 {
            let len = random.below(48) as u32;
            bytes[..4].copy_from_slice(&len.to_le_bytes());
        }
        match wire::split_element(&bytes) {
            Some((element, rest)) => {
                assert_eq!(4 + element.len() + rest.len(), bytes.len());
                assert_eq!(bytes[..4], (element.len() as u32).to_le_bytes());
            }
            None => {
                let announced = bytes
                    .first_chunk()
                    .map(|len| u32::from_le_bytes(*len) as usize);
                assert!(announced.is_none_or(|len| len > bytes.len() - 4));
            }
        }
        let numbers: Option<[u64; 3]> = wire::read_numbers(&bytes);
        assert_eq!(numbers.is_some(), bytes.len() >= 24);
        if let Some(numbers) = numbers {
            assert_eq!(wire::numbers(numbers), bytes[..24]);
        }
    });
}

#[test]
fn marks_are_found_and_no_text_is_lost() {
    let magic = 0x0102_0304_0506_0708;
    fuzz(20_000, |random| {
        // Pieces of text, of marks, and of what looks like one.
        let mut bytes = Vec::new();
        let mut expected: Vec<(Option<u64>, Vec<u8>)> = vec![(None, Vec::new())];
        for _ in 0..random.below(6) {
            match random.below(3) {
                0 => {
                    let seq = random.next();
                    bytes.extend_from_slice(&mark(magic, seq));
                    expected.push((Some(seq), Vec::new()));
                }
                1 => {
                    let text =
                        [&b"\0"[..], b"\0TPL", b"\0TP", b"text", b"\0\0TPLx"][random.below(5)];
                    bytes.extend_from_slice(text);
                    expected.last_mut().unwrap().1.extend_from_slice(text);
                }
                _ => {
                    let other = mark(magic ^ (1 << random.below(64)), 1);
                    let part = &other[..random.below(MARK_LEN)];
                    // What could still become a mark isn't text yet.
                    if part.len() >= 12 {
                        bytes.extend_from_slice(part);
                        expected.last_mut().unwrap().1.extend_from_slice(part);
                    }
                }
            }
        }
        bytes.push(b'.');
        expected.last_mut().unwrap().1.push(b'.');
        let mut seen: Vec<(Option<u64>, Vec<u8>)> = vec![(None, Vec::new())];
        let (mut kept, mut rest) = (Vec::new(), &bytes[..]);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + random.below(rest.len()));
            kept.extend_from_slice(piece);
            rest = after;
            let mut unread = &kept[..];
            loop {
                let (part, after) = split(unread, magic);
                match part {
                    Part::Text(text) => seen.last_mut().unwrap().1.extend_from_slice(text),
                    Part::Mark(seq) => seen.push((Some(seq), Vec::new())),
                    Part::Incomplete => break,
                }
                unread = after;
            }
            kept = unread.to_vec();
        }
        assert!(kept.is_empty());
        assert_eq!(seen, expected);
    });
}
