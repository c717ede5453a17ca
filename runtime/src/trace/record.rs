//! One event in a ring: 32 bytes, four words.
//!
//! ```text
//!  word 0   time, in ticks of the session's clock; 0: that of the next record
//!  word 1   kind 0…7 │ line 8…31 │ number in its ring 32…63
//!  word 2   a
//!  word 3   b
//! ```
//! The number says whether a word belongs to the record that the reader
//! expects there: rings go round, and processes are killed while they write.
//!
//! Read before: [`super::event`]. Next: [`super::ring`].

use super::event::Kind;

/// Words of a record.
pub const WORDS: usize = 4;

/// For the time of a record: it is that of the next one in its ring that has one.
pub const WITH_THE_NEXT: u64 = 0;

/// What an event is, and the line that told it: the low half of its second word. Of
/// constants, it is one.
#[inline(always)]
#[must_use]
pub const fn label(kind: Kind, line: u32) -> u32 {
    kind as u32 | line << 8
}

/// The words of a record, as number `number` of a ring.
#[inline(always)]
#[must_use]
pub fn words(number: u64, ticks: u64, label: u32, a: u64, b: u64) -> [u64; WORDS] {
    [ticks, u64::from(label) | number << 32, a, b]
}

/// One event, as its thread noted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, by the session's clock; or [`WITH_THE_NEXT`].
    pub ticks: u64,
    /// What.
    pub kind: Kind,
    /// The line that told it.
    pub line: u32,
    /// See [`Kind`].
    pub a: u64,
    /// See [`Kind`].
    pub b: u64,
}

impl Record {
    /// The record that these words are, if they are number `number` of a ring.
    #[must_use]
    pub fn from_words([ticks, head, a, b]: [u64; WORDS], number: u64) -> Option<Record> {
        if head >> 32 != number & u64::from(u32::MAX) {
            return None;
        }
        Some(Record {
            ticks,
            kind: Kind::from_number(head as u8)?,
            line: head as u32 >> 8,
            a,
            b,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_give_back_the_record_and_only_in_its_place() {
        let record = Record {
            ticks: u64::MAX,
            kind: Kind::ReplyIn,
            line: (1 << 24) - 1,
            a: 7,
            b: u64::MAX,
        };
        for number in [0, 1, u64::from(u32::MAX), 1 << 40] {
            let Record {
                ticks,
                kind,
                line,
                a,
                b,
            } = record;
            let words = words(number, ticks, label(kind, line), a, b);
            assert_eq!(Record::from_words(words, number), Some(record));
            assert_eq!(Record::from_words(words, number + 1), None);
        }
        assert_eq!(Record::from_words([0; WORDS], 0), None, "never written");
    }
}
