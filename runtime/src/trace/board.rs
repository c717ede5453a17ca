//! A process's board: where its threads keep their rings, as plain words.
//!
//! A program that records has one of its own; each worker process has one in the
//! memory that it shares with its parent, so that the parent reads what a worker
//! noted even if it was killed in the middle of it.
//!
//! ```text
//!  0        16                16 + NAMES_WORDS
//!  ├ header ┼ names … ────────┼ ring 0 ─┼ ring 1 ─┼ …
//!                             ├ 16 words about the thread ┼ places of 4 words …
//! ```
//! Everything is an atomic word, so no reading of it can be undefined, whatever a
//! broken process wrote; sizes come from the [`Format`] that both sides know,
//! never from the memory.
//!
//! Who writes what: the state, the process that decides whether is recorded;
//! everything else, the process whose board it is, and a ring after it was
//! claimed, its thread alone.
//!
//! Read before: [`super::ring`]. Next: [`super::clock`].

use super::record::WORDS;
use super::ring::Ring;
use crate::limits;
use crate::switch::atomic::{AtomicU64, Ordering};

/// What a board is made of.
pub type AtomicWord = AtomicU64;

/// Words before the names.
const HEADER: usize = 16;
/// The session that is recorded, as in [`super::gate`]; for followers.
const STATE: usize = 0;
/// How many rings have ever been claimed.
const RINGS: usize = 1;
/// How many words of names are written.
const NAMES_USED: usize = 2;
/// Events that found no ring.
const HOMELESS: usize = 3;
/// Names that found no room.
const NAMES_LOST: usize = 4;

/// Words before a ring's places.
const RING_HEADER: usize = 16;
const HEAD: usize = 0;
const STAGE: usize = 1;
const SESSION: usize = 2;
const FIRST: usize = 3;
const TID: usize = 4;
const NAME_LEN: usize = 5;
const NAME: usize = 6;
/// Bytes of a thread's name that are kept.
pub const NAME_BYTES: usize = (RING_HEADER - NAME) * 8;

/// Whose a ring is: FREE → LIVE (claimed) → ENDED (its thread has) → LIVE …
const LIVE: u64 = 1;
const ENDED: u64 = 2;

/// The size of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// How many threads can record at a time.
    pub rings: usize,
    /// Places of each ring, a power of two.
    pub places: usize,
    /// Words for names.
    pub names: usize,
}

impl Format {
    /// Of a program that records.
    pub const OWN: Format = Format {
        rings: limits::TRACE_THREADS,
        places: limits::TRACE_EVENTS,
        names: limits::TRACE_NAME_BYTES / 8,
    };
    /// Of a worker process.
    pub const WORKER: Format = Format {
        rings: limits::TRACE_WORKER_THREADS,
        places: limits::TRACE_WORKER_EVENTS,
        names: limits::TRACE_WORKER_NAME_BYTES / 8,
    };

    const fn ring_words(self) -> usize {
        RING_HEADER + self.places * WORDS
    }

    /// Its words in all.
    #[must_use]
    pub const fn words(self) -> usize {
        HEADER + self.names + self.rings * self.ring_words()
    }

    /// Its bytes, rounded up to whole pages.
    #[must_use]
    pub const fn bytes(self) -> usize {
        (self.words() * 8).next_multiple_of(4096)
    }
}

/// A board over some memory, all of which was zero at first.
#[derive(Clone, Copy, Debug)]
pub struct Board<'m> {
    words: &'m [AtomicU64],
    format: Format,
}

/// What a board says of a ring's thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its number in the system.
    pub tid: u32,
    /// Its name.
    pub name: String,
    /// The first of its ring's records that belongs to the session.
    pub first: u64,
}

impl<'m> Board<'m> {
    /// # Panics
    /// If the memory is too small.
    #[must_use]
    pub fn new(words: &'m [AtomicU64], format: Format) -> Board<'m> {
        let words = &words[..format.words()];
        Board { words, format }
    }

    /// The state that was set last.
    #[inline]
    #[must_use]
    pub fn state(&self) -> u32 {
        // Relaxed: as `gate::STATE`.
        self.words[STATE].load(Ordering::Relaxed) as u32
    }

    /// Tells a follower what to do.
    pub fn set_state(&self, state: u32) {
        self.words[STATE].store(u64::from(state), Ordering::Relaxed);
    }

    /// Counts an event that has no ring to go to.
    pub fn count_homeless(&self, events: u64) {
        self.words[HOMELESS].fetch_add(events, Ordering::Relaxed);
    }

    /// Events without a ring, and names without room, since the board was made.
    #[must_use]
    pub fn homeless(&self) -> (u64, u64) {
        let count = |at: usize| self.words[at].load(Ordering::Relaxed);
        (count(HOMELESS), count(NAMES_LOST))
    }

    fn ring_words(&self, index: usize) -> &'m [AtomicU64] {
        let start = HEADER + self.format.names + index * self.format.ring_words();
        &self.words[start..start + self.format.ring_words()]
    }

    fn ring_of(words: &'m [AtomicU64]) -> Ring<'m> {
        let (places, rest) = words[RING_HEADER..].as_chunks::<WORDS>();
        debug_assert!(rest.is_empty());
        Ring::new(&words[HEAD], places)
    }

    /// Gives a thread a ring for `session`: one that nobody had, or that a thread
    /// of an earlier session had; else the one of a thread that has ended in this
    /// session, whose events are lost then. `None` if all are in use.
    ///
    /// Callers take turns (a lock of the process).
    pub fn claim(&self, session: u32, tid: u32, name: &str) -> Option<(usize, Ring<'m>)> {
        let claimed = self.words[RINGS].load(Ordering::Relaxed) as usize;
        let session = u64::from(session);
        let reusable = |same: bool| {
            (0..claimed.min(self.format.rings)).find(|&index| {
                let words = self.ring_words(index);
                words[STAGE].load(Ordering::Relaxed) == ENDED
                    && (words[SESSION].load(Ordering::Relaxed) == session) == same
            })
        };
        let index = reusable(false)
            .or_else(|| (claimed < self.format.rings).then_some(claimed))
            .or_else(|| reusable(true))?;
        let words = self.ring_words(index);
        let ring = Self::ring_of(words);
        if words[SESSION].load(Ordering::Relaxed) == session {
            let former = ring.written() - words[FIRST].load(Ordering::Relaxed);
            self.count_homeless(former);
        }
        words[SESSION].store(0, Ordering::Relaxed);
        words[STAGE].store(LIVE, Ordering::Relaxed);
        words[TID].store(u64::from(tid), Ordering::Relaxed);
        let name = &name.as_bytes()[..name.floor_char_boundary(NAME_BYTES)];
        words[NAME_LEN].store(name.len() as u64, Ordering::Relaxed);
        put_bytes(&words[NAME..RING_HEADER], name);
        self.admit(index, session as u32);
        if index == claimed {
            // Release, partner: the Acquire of `threads`.
            self.words[RINGS].store(claimed as u64 + 1, Ordering::Release);
        }
        Some((index, ring))
    }

    /// Makes the ring, which its thread has already, one of `session`.
    pub fn admit(&self, index: usize, session: u32) {
        let words = self.ring_words(index);
        let written = words[HEAD].load(Ordering::Relaxed);
        words[FIRST].store(written, Ordering::Relaxed);
        // Release, partner: the Acquire of `threads`, which so sees all of the above.
        words[SESSION].store(u64::from(session), Ordering::Release);
    }

    /// The thread of this ring has ended.
    pub fn leave(&self, index: usize) {
        self.ring_words(index)[STAGE].store(ENDED, Ordering::Relaxed);
    }

    /// The threads that have recorded in `session`, and their rings.
    pub fn threads(&self, session: u32) -> impl Iterator<Item = (Thread, Ring<'m>)> + use<'m> {
        let claimed = self.words[RINGS].load(Ordering::Acquire) as usize;
        let board = *self;
        (0..claimed.min(self.format.rings)).filter_map(move |index| {
            let words = board.ring_words(index);
            if words[SESSION].load(Ordering::Acquire) != u64::from(session) {
                return None;
            }
            let len = words[NAME_LEN].load(Ordering::Relaxed) as usize;
            let name = get_bytes(&words[NAME..RING_HEADER], len.min(NAME_BYTES));
            let thread = Thread {
                tid: words[TID].load(Ordering::Relaxed) as u32,
                name: String::from_utf8_lossy(&name).into_owned(),
                first: words[FIRST].load(Ordering::Relaxed),
            };
            Some((thread, Self::ring_of(words)))
        })
    }

    /// Notes a name under a key, unless it is noted already. Callers take turns.
    pub fn add_name(&self, key: u64, name: &str) {
        if self.names().any(|(known, _)| known == key) {
            return;
        }
        let names = &self.words[HEADER..HEADER + self.format.names];
        let used = self.words[NAMES_USED].load(Ordering::Relaxed) as usize;
        let name = &name.as_bytes()[..name.floor_char_boundary(limits::TRACE_NAME_MAX)];
        let needed = 2 + name.len().div_ceil(8);
        let Some(room) = names.get(used..used + needed) else {
            self.words[NAMES_LOST].fetch_add(1, Ordering::Relaxed);
            return;
        };
        room[0].store(key, Ordering::Relaxed);
        room[1].store(name.len() as u64, Ordering::Relaxed);
        put_bytes(&room[2..], name);
        // Release, partner: the Acquire of `names`.
        self.words[NAMES_USED].store((used + needed) as u64, Ordering::Release);
    }

    /// All names, with their keys.
    pub fn names(&self) -> impl Iterator<Item = (u64, String)> + use<'m> {
        let used = self.words[NAMES_USED].load(Ordering::Acquire) as usize;
        let names = &self.words[HEADER..HEADER + self.format.names.min(used)];
        let mut at = 0;
        std::iter::from_fn(move || {
            let key = names.get(at)?.load(Ordering::Relaxed);
            let len = names.get(at + 1)?.load(Ordering::Relaxed) as usize;
            let end = at.checked_add(2 + len.div_ceil(8))?;
            let bytes = get_bytes(names.get(at + 2..end)?, len);
            at = end;
            Some((key, String::from_utf8_lossy(&bytes).into_owned()))
        })
    }
}

fn put_bytes(words: &[AtomicU64], bytes: &[u8]) {
    for (word, chunk) in words.iter().zip(bytes.chunks(8)) {
        let mut eight = [0; 8];
        eight[..chunk.len()].copy_from_slice(chunk);
        word.store(u64::from_ne_bytes(eight), Ordering::Relaxed);
    }
}

fn get_bytes(words: &[AtomicU64], len: usize) -> Vec<u8> {
    let load = |word: &AtomicU64| word.load(Ordering::Relaxed).to_ne_bytes();
    let mut bytes: Vec<u8> = words.iter().flat_map(load).collect();
    bytes.truncate(len);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Format = Format {
        rings: 2,
        places: 4,
        names: 16,
    };

    fn memory() -> Vec<AtomicU64> {
        (0..SMALL.words()).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn rings_are_claimed_left_and_used_again() {
        let memory = memory();
        let board = Board::new(&memory, SMALL);
        let (first, ring) = board.claim(4, 10, "one").unwrap();
        ring.push(0, [0; WORDS]);
        let (second, _) = board.claim(4, 11, "two").unwrap();
        assert_eq!((first, second), (0, 1));
        assert!(board.claim(4, 12, "three").is_none(), "all are in use");
        board.leave(0);
        let (third, _) = board.claim(4, 12, "three").unwrap();
        assert_eq!((third, board.homeless().0), (0, 1), "its event is lost");
        let threads: Vec<_> = board.threads(4).map(|(thread, _)| thread).collect();
        let expected = |tid, name: &str, first| Thread {
            tid,
            name: name.into(),
            first,
        };
        assert_eq!(threads, [expected(12, "three", 1), expected(11, "two", 0)]);
        board.leave(1);
        assert_eq!(board.claim(8, 13, "four").unwrap().0, 1);
        assert_eq!(board.threads(8).count(), 1);
        assert_eq!(
            board.homeless().0,
            1,
            "an earlier session's were read by then"
        );
    }

    #[test]
    fn names_are_kept_once_and_those_without_room_are_counted() {
        let memory = memory();
        let board = Board::new(&memory, SMALL);
        board.add_name(7, "seven");
        board.add_name(7, "seven");
        board.add_name(8, "sixteen in total");
        board.add_name(9, "");
        let names: Vec<_> = board.names().collect();
        assert_eq!(names.len(), 3);
        assert_eq!(names[1], (8, "sixteen in total".to_owned()));
        board.add_name(
            10,
            "this one is so long that it finds no room any more at all",
        );
        assert_eq!((board.names().count(), board.homeless().1), (3, 1));
    }

    #[test]
    fn whatever_stands_in_the_memory_it_can_be_read() {
        let memory = memory();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..1_000 {
            for word in &memory {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                word.store(random >> (random % 64), Ordering::Relaxed);
            }
            memory[HEADER + SMALL.names + SESSION].store(4, Ordering::Relaxed);
            let board = Board::new(&memory, SMALL);
            let _ = board.names().count();
            for (thread, ring) in board.threads(4) {
                assert!(ring.read(thread.first).records.len() <= SMALL.places);
            }
        }
    }
}
