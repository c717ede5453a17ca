//! The frame: how one message is told from the next.
//!
//! Every message between parent and worker, and every message of a
//! channel between processes, is a 16-byte header and a body:
//!
//! ```text
//!  0      4    5     6         8              16            16+len
//!  ├──────┼────┼─────┼─────────┼──────────────┼── body … ──┤
//!  │ len  │kind│flags│ count   │ seq          │
//!  └──────┴────┴─────┴─────────┴──────────────┘   all little-endian
//! ```
//!
//! `len` is the body's length and has an upper bound that the reader sets;
//! `seq` is the number of the job that the frame is about; `count` is the number
//! of jobs in it (a chunk has many). [`parse`] is incremental (bytes that are
//! too few are [`Parsed::Incomplete`], not an error), total (no input makes it
//! panic) and allocates nothing, so that garbage from a broken worker costs an
//! error and no more.
//!
//! Read before this: nothing. Read after it: [`super::ring`], which carries
//! frames. What the bodies hold stands in [`super::wire`].

use std::fmt;

/// Bytes before the body.
pub const HEADER_LEN: usize = 16;

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Length of the body in bytes.
    pub len: u32,
    /// What the body means.
    pub kind: u8,
    /// Bits whose meaning depends on the kind.
    pub flags: u8,
    /// How many jobs the frame is about.
    pub count: u16,
    /// The number of the (first) job that the frame is about.
    pub seq: u64,
}

impl Header {
    /// The header's bytes.
    #[inline]
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4] = self.kind;
        bytes[5] = self.flags;
        bytes[6..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.seq.to_le_bytes());
        bytes
    }

    /// Reads a header. Any 16 bytes are one; whether it makes sense is for
    /// [`parse`] and the reader of the body to say.
    #[inline]
    pub fn from_bytes(bytes: [u8; HEADER_LEN]) -> Header {
        let [
            a,
            b,
            c,
            d,
            kind,
            flags,
            n0,
            n1,
            s0,
            s1,
            s2,
            s3,
            s4,
            s5,
            s6,
            s7,
        ] = bytes;
        Header {
            len: u32::from_le_bytes([a, b, c, d]),
            kind,
            flags,
            count: u16::from_le_bytes([n0, n1]),
            seq: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
        }
    }
}

/// What [`parse`] found at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A whole frame; the next one starts `used` bytes on.
    Frame {
        /// Its header.
        header: Header,
        /// Its body.
        body: &'a [u8],
        /// Length of header and body.
        used: usize,
    },
    /// The frame isn't whole until there are `need` bytes in all.
    Incomplete {
        /// How many bytes the frame needs as far as is known yet.
        need: usize,
    },
}

/// A header announces a body that is longer than the reader takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oversized {
    /// The length that the header announces.
    pub len: usize,
    /// The most that the reader takes.
    pub max: usize,
}

impl fmt::Display for Oversized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Oversized { len, max } = self;
        write!(
            f,
            "a frame of {len} bytes is announced, the limit is {max} bytes"
        )
    }
}

impl std::error::Error for Oversized {}

/// Looks for one frame at the start of `bytes`, whose body has at most
/// `max_body` bytes.
///
/// # Errors
/// [`Oversized`] as soon as the header is there; nothing is read past it, since
/// where the next frame would start can no longer be trusted.
#[inline]
pub fn parse(bytes: &[u8], max_body: usize) -> Result<Parsed<'_>, Oversized> {
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
        return Ok(Parsed::Incomplete { need: HEADER_LEN });
    };
    let header = Header::from_bytes(*header);
    let len = header.len as usize;
    if len > max_body {
        return Err(Oversized { len, max: max_body });
    }
    let used = HEADER_LEN + len;
    match bytes.get(HEADER_LEN..used) {
        Some(body) => Ok(Parsed::Frame { header, body, used }),
        None => Ok(Parsed::Incomplete { need: used }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xorshift, so that the cases are the same in every run.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, bound: u64) -> u64 {
            self.next() % bound
        }
    }

    fn some_frames(random: &mut Random) -> (Vec<(Header, Vec<u8>)>, Vec<u8>) {
        let mut frames = Vec::new();
        let mut stream = Vec::new();
        for _ in 0..random.below(8) {
            let body: Vec<u8> = (0..random.below(60)).map(|_| random.next() as u8).collect();
            let header = Header {
                len: body.len() as u32,
                kind: random.next() as u8,
                flags: random.next() as u8,
                count: random.next() as u16,
                seq: random.next(),
            };
            stream.extend_from_slice(&header.to_bytes());
            stream.extend_from_slice(&body);
            frames.push((header, body));
        }
        (frames, stream)
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_the_stream_is_cut() {
        let mut random = Random(0x7ee9_5eed);
        for _ in 0..500 {
            let (frames, stream) = some_frames(&mut random);
            let mut seen = Vec::new();
            let mut buffer: Vec<u8> = Vec::new();
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let cut = 1 + random.below(rest.len() as u64) as usize;
                buffer.extend_from_slice(&rest[..cut]);
                rest = &rest[cut..];
                loop {
                    match parse(&buffer, 64).expect("honest frames") {
                        Parsed::Frame { header, body, used } => {
                            seen.push((header, body.to_vec()));
                            buffer.drain(..used);
                        }
                        Parsed::Incomplete { need } => {
                            assert!(need > buffer.len(), "more was asked for than is missing");
                            break;
                        }
                    }
                }
            }
            assert!(buffer.is_empty());
            assert_eq!(seen, frames);
        }
    }

    #[test]
    fn any_bytes_at_all_are_a_frame_too_few_bytes_or_an_error() {
        let mut random = Random(0xbad_c0de);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..random.below(80)).map(|_| random.next() as u8).collect();
            match parse(&bytes, 32) {
                Ok(Parsed::Frame { header, body, used }) => {
                    assert_eq!(body.len(), header.len as usize);
                    assert!(used <= bytes.len() && body.len() <= 32);
                }
                Ok(Parsed::Incomplete { need }) => {
                    assert!(need > bytes.len() && need <= HEADER_LEN + 32);
                }
                Err(Oversized { len, max }) => assert!(len > max),
            }
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_the_body_arrives() {
        let header = Header {
            len: u32::MAX,
            kind: 1,
            flags: 0,
            count: 1,
            seq: 7,
        };
        let refused = parse(&header.to_bytes(), 1024).unwrap_err();
        assert_eq!(refused.len, u32::MAX as usize);
        assert!(refused.to_string().contains("1024"));
    }
}
