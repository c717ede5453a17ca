//! Marks in a worker's output: which job's text follows.
//!
//! ```text
//!   ── text of job 6 ──┤ 0 'T' 'P' 'L' │ magic: 8 bytes │ job: 8 bytes ├── text of job 7 ──
//! ```
//!
//! A mark is 20 bytes, written at once, so nobody's text gets in between. The magic
//! number is the worker's nonce, which no job knows; text that looks like a mark and
//! has another number is text.
//!
//! [`split`] is incremental and total, as [`super::super::frame::parse`] is.

/// Bytes of a mark.
pub const MARK_LEN: usize = 20;

const START: [u8; 4] = [0, b'T', b'P', b'L'];

/// The mark before the output of job `seq`.
pub fn mark(magic: u64, seq: u64) -> [u8; MARK_LEN] {
    let mut bytes = [0; MARK_LEN];
    bytes[..4].copy_from_slice(&START);
    bytes[4..12].copy_from_slice(&magic.to_le_bytes());
    bytes[12..].copy_from_slice(&seq.to_le_bytes());
    bytes
}

/// What [`split`] found at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// So much text.
    Text(&'a [u8]),
    /// The mark of this job.
    Mark(u64),
    /// Nothing, or what may become a mark when more is there.
    Incomplete,
}

/// What comes first in `bytes`, and what comes after that.
pub fn split(bytes: &[u8], magic: u64) -> (Part<'_>, &[u8]) {
    let mut from = 0;
    loop {
        let rest = &bytes[from..];
        let Some(at) = rest.iter().position(|&byte| byte == START[0]) else {
            return text(bytes, bytes.len());
        };
        let at = from + at;
        let candidate = &bytes[at..];
        let start = mark(magic, 0);
        let compared = candidate.len().min(12);
        if candidate[..compared] != start[..compared] {
            from = at + 1;
        } else if at > 0 {
            return text(bytes, at);
        } else if let Some((whole, rest)) = candidate.split_first_chunk::<MARK_LEN>() {
            let [.., a, b, c, d, e, f, g, h] = *whole;
            return (
                Part::Mark(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
                rest,
            );
        } else {
            return (Part::Incomplete, bytes);
        }
    }
}

fn text(bytes: &[u8], len: usize) -> (Part<'_>, &[u8]) {
    let (text, rest) = bytes.split_at(len);
    if text.is_empty() {
        return (Part::Incomplete, rest);
    }
    (Part::Text(text), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_marks_come_apart_wherever_the_bytes_are_cut() {
        let magic = 0x1122_3344_5566_7788;
        let mut bytes = Vec::new();
        bytes.extend_from_slice(b"before\0");
        bytes.extend_from_slice(&mark(magic, 7));
        bytes.extend_from_slice(b"\0TPL seven");
        bytes.extend_from_slice(&mark(magic ^ 1, 9));
        bytes.extend_from_slice(&mark(magic, 8));
        bytes.extend_from_slice(&mark(magic, 9));
        bytes.extend_from_slice(b"nine");
        for cut in 0..=bytes.len() {
            let mut seen: Vec<(u64, Vec<u8>)> = vec![(0, Vec::new())];
            let mut kept = Vec::new();
            for piece in [&bytes[..cut], &bytes[cut..]] {
                kept.extend_from_slice(piece);
                let mut rest = &kept[..];
                loop {
                    let (part, after) = split(rest, magic);
                    match part {
                        Part::Text(text) => seen.last_mut().unwrap().1.extend_from_slice(text),
                        Part::Mark(seq) => seen.push((seq, Vec::new())),
                        Part::Incomplete => break,
                    }
                    rest = after;
                }
                kept = rest.to_vec();
            }
            assert!(kept.is_empty());
            let mut seven = b"\0TPL seven".to_vec();
            seven.extend_from_slice(&mark(magic ^ 1, 9));
            let expected = [
                (0, b"before\0".to_vec()),
                (7, seven),
                (8, Vec::new()),
                (9, b"nine".to_vec()),
            ];
            assert_eq!(seen, expected, "cut at {cut}");
        }
    }
}
