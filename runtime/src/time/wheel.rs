//! The hierarchical timing wheel: where timers wait that are not due soon.
//!
//! *Read after* [`super::driver`], which owns the timers, hides this wheel and
//! holds the one window that is open; the whole picture is in the `README.md`
//! beside this file. The idea is Varghese and Lauck's (SOSP 1987), scheme 7.
//!
//! A deadline is a 64-bit count of nanoseconds. Its low 16 bits say where in a
//! *window* of 65.5 µs it lies, and each of the six bytes above is the index of
//! a slot in one level:
//!
//! ```text
//!   63      55      47      39      31      23      15               0
//!  ┌───────┬───────┬───────┬───────┬───────┬───────┬────────────────┐
//!  │level 5│level 4│level 3│level 2│level 1│level 0│  in the window │
//!  └───────┴───────┴───────┴───────┴───────┴───────┴────────────────┘
//!   2.3 y   3.3 d   18 min  4.3 s   16.8 ms 65.5 µs   one slot spans
//! ```
//!
//! An entry lives on the level of the highest byte in which its deadline differs
//! from `elapsed`, the start of the open window. So every entry of a level is
//! earlier than every entry of the level above, and the earliest slot of all is
//! the first occupied one of the lowest occupied level: two bit scans find it.
//!
//! Invariants:
//! 1. `elapsed` is a multiple of the window and never decreases.
//! 2. An entry of level `l` agrees with `elapsed` in all bytes above `l` and is
//!    greater in byte `l`.
//! 3. A bit of `Level::occupied` is set exactly if its slot holds entries, and a
//!    bit of `Wheel::occupied` exactly if its level has such a slot.
//! 4. `Slot::earliest` is at most the least deadline among its entries.
//! 5. Entries of equal deadline stand in a slot in the order of their insertion.
//!
//! Rejected: lists linked through the timers (each cascade misses the cache at
//! each timer; the vectors are read in a straight line), six bits a level as
//! tokio and the kernel have it (a sleep of a second cascades twice instead of
//! once), slots as short as a clock tick (nothing is gained over sorting a
//! window when it opens, and every timer cascades once more).

/// Low bits of a deadline that say where in a window it lies: a slot of level 0
/// spans 2^16 ns = 65.5 µs, about the shortest sleep that a kernel timer honours.
pub const WINDOW_BITS: u32 = 16;
/// Bits of a deadline that one level resolves.
pub const LEVEL_BITS: u32 = 8;
/// Slots of a level.
pub const SLOTS: usize = 1 << LEVEL_BITS;
/// Levels. Together with the window they cover all of a `u64`, 584 years, so
/// that there is no overflow list and no deadline out of range.
pub const LEVELS: usize = ((u64::BITS - WINDOW_BITS) / LEVEL_BITS) as usize;
/// A slot of at most so many entries is searched when its earliest may be dead;
/// a longer one answers with a bound that may be too early, never too late.
pub const SEARCHED_ENTRIES: usize = 32;
/// Capacity (in entries) that an emptied slot may keep for its next use.
pub const KEPT_CAPACITY: usize = 1024;

/// What a slot holds of a timer: 16 bytes, so that a cascade never touches the
/// timer itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Nanoseconds on the loop's clock.
    pub deadline: u64,
    /// Index of the timer in the driver's slab.
    pub timer: u32,
    /// The timer's generation at its insertion. If the slab has another one by
    /// now, the timer was cancelled and this entry is dead.
    pub generation: u32,
}

/// A slot's address, `level · 256 + slot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u16);

impl Place {
    fn new(level: usize, slot: usize) -> Self {
        Place((level * SLOTS + slot) as u16)
    }

    fn level(self) -> usize {
        usize::from(self.0) / SLOTS
    }

    fn slot(self) -> usize {
        usize::from(self.0) % SLOTS
    }
}

struct Slot {
    entries: Vec<Entry>,
    earliest: u64,
}

impl Slot {
    const EMPTY: Slot = Slot {
        entries: Vec::new(),
        earliest: u64::MAX,
    };

    /// Drops dead entries and makes `earliest` exact.
    fn prune(&mut self, alive: &mut impl FnMut(&Entry) -> bool) {
        let mut earliest = u64::MAX;
        self.entries.retain(|entry| {
            let keep = alive(entry);
            if keep {
                earliest = earliest.min(entry.deadline);
            }
            keep
        });
        self.earliest = earliest;
    }
}

struct Level {
    occupied: [u64; SLOTS / 64],
    slots: [Slot; SLOTS],
}

impl Level {
    fn new() -> Box<Self> {
        Box::new(Level {
            occupied: [0; SLOTS / 64],
            slots: [Slot::EMPTY; SLOTS],
        })
    }

    fn first(&self) -> Option<usize> {
        let word = self.occupied.iter().position(|&word| word != 0)?;
        Some(word * 64 + self.occupied[word].trailing_zeros() as usize)
    }

    fn mark(&mut self, slot: usize) {
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// Returns whether the level is empty now.
    fn unmark(&mut self, slot: usize) -> bool {
        self.occupied[slot / 64] &= !(1 << (slot % 64));
        self.occupied == [0; SLOTS / 64]
    }
}

/// The wheel: levels of slots, each level allocated (8 KiB) on its first use.
pub struct Wheel {
    elapsed: u64,
    occupied: u8,
    levels: [Option<Box<Level>>; LEVELS],
}

impl Wheel {
    /// An empty wheel that stands at time 0. Allocates nothing.
    pub const fn new() -> Self {
        Wheel {
            elapsed: 0,
            occupied: 0,
            levels: [const { None }; LEVELS],
        }
    }

    /// The last nanosecond of the open window.
    #[inline]
    pub fn window_end(&self) -> u64 {
        self.elapsed | ((1 << WINDOW_BITS) - 1)
    }

    /// Whether no slot holds an entry.
    pub fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// Puts an entry into its slot. O(1).
    ///
    /// # Panics
    /// If the deadline isn't after [`window_end`](Self::window_end): such an
    /// entry belongs to the open window, which is the driver's (debug builds).
    #[inline]
    pub fn insert(&mut self, entry: Entry) -> Place {
        debug_assert!(entry.deadline > self.window_end());
        let differs = entry.deadline ^ self.elapsed;
        let level = ((63 - differs.leading_zeros() - WINDOW_BITS) / LEVEL_BITS) as usize;
        let slot = (entry.deadline >> shift(level)) as usize % SLOTS;
        let at = self.levels[level].get_or_insert_with(Level::new);
        let list = &mut at.slots[slot];
        list.earliest = list.earliest.min(entry.deadline);
        list.entries.push(entry);
        at.mark(slot);
        self.occupied |= 1 << level;
        Place::new(level, slot)
    }

    /// Takes the timer's entry out if it is the last one of the slot at `place`,
    /// which it is in the common case of a timer that is cancelled soon after it
    /// was made. `place` may be out of date (the entry has cascaded since): the
    /// timer then just isn't found. O(1).
    #[inline]
    pub fn remove_last(&mut self, place: Place, timer: u32, generation: u32) -> bool {
        let Some(level) = &mut self.levels[place.level()] else {
            return false;
        };
        let slot = &mut level.slots[place.slot()];
        let found = slot
            .entries
            .pop_if(|last| last.timer == timer && last.generation == generation)
            .is_some();
        if found && slot.entries.is_empty() {
            slot.earliest = u64::MAX;
            self.unmark(place.level(), place.slot());
        }
        found
    }

    /// A bound on the earliest deadline: never later than that of an entry that
    /// is alive; exact unless the earliest entry of a slot with more than
    /// [`SEARCHED_ENTRIES`] is dead.
    pub fn earliest(&mut self, mut alive: impl FnMut(&Entry) -> bool) -> Option<u64> {
        while let Some((at, index)) = self.first() {
            let level = self.levels[at].as_mut().expect("an occupied level exists");
            let slot = &mut level.slots[index];
            if slot.entries.len() <= SEARCHED_ENTRIES {
                slot.prune(&mut alive);
                if slot.entries.is_empty() {
                    self.unmark(at, index);
                    continue;
                }
            }
            return Some(slot.earliest);
        }
        None
    }

    /// Opens the earliest slot if its first nanosecond is not after `now`: the
    /// wheel moves there, entries of what is now the open window are appended to
    /// `window` in order of insertion, the others go to lower levels, dead ones
    /// go away. Returns how many entries were dead, or `None` if nothing opened.
    ///
    /// The caller must have emptied the open window before. Each entry is moved
    /// at most once per level, in practice once.
    pub fn open(
        &mut self,
        now: u64,
        window: &mut Vec<Entry>,
        mut alive: impl FnMut(&Entry) -> bool,
    ) -> Option<usize> {
        let (at, index) = self.first()?;
        let above = self.elapsed & !(u64::MAX >> (u64::BITS - shift(at) - LEVEL_BITS));
        let start = above | ((index as u64) << shift(at));
        if start > now {
            return None;
        }
        self.elapsed = start;
        let level = self.levels[at].as_mut().expect("an occupied level exists");
        let slot = &mut level.slots[index];
        slot.earliest = u64::MAX;
        let mut entries = std::mem::take(&mut slot.entries);
        self.unmark(at, index);
        let mut dead = 0;
        for entry in entries.drain(..) {
            if !alive(&entry) {
                dead += 1;
            } else if entry.deadline <= self.window_end() {
                window.push(entry);
            } else {
                self.insert(entry);
            }
        }
        if entries.capacity() <= KEPT_CAPACITY
            && let Some(level) = &mut self.levels[at]
        {
            level.slots[index].entries = entries;
        }
        Some(dead)
    }

    /// Moves the open window to the one that contains `now`. Nothing may be due
    /// by then: [`open`](Self::open) said `None` and the old window is empty.
    #[inline]
    pub fn skip_to(&mut self, now: u64) {
        let window = now & !((1 << WINDOW_BITS) - 1);
        self.elapsed = self.elapsed.max(window);
    }

    /// Drops all dead entries. O(entries + occupied slots).
    pub fn sweep(&mut self, mut alive: impl FnMut(&Entry) -> bool) {
        for at in 0..LEVELS {
            let Some(level) = self.levels[at].as_deref_mut() else {
                continue;
            };
            let mut emptied = [0; SLOTS / 64];
            for (word, bits) in level.occupied.into_iter().enumerate() {
                for bit in (0..64).filter(|bit| bits & (1 << bit) != 0) {
                    let slot = &mut level.slots[word * 64 + bit];
                    slot.prune(&mut alive);
                    if slot.entries.is_empty() {
                        emptied[word] |= 1 << bit;
                        if slot.entries.capacity() > KEPT_CAPACITY {
                            slot.entries = Vec::new();
                        }
                    }
                }
            }
            for (occupied, emptied) in level.occupied.iter_mut().zip(emptied) {
                *occupied &= !emptied;
            }
            if level.first().is_none() {
                self.occupied &= !(1 << at);
            }
        }
    }

    #[inline]
    fn first(&self) -> Option<(usize, usize)> {
        if self.occupied == 0 {
            return None;
        }
        let at = self.occupied.trailing_zeros() as usize;
        let level = self.levels[at].as_ref()?;
        Some((at, level.first()?))
    }

    #[inline]
    fn unmark(&mut self, at: usize, slot: usize) {
        let level = self.levels[at].as_mut().expect("an occupied level exists");
        if level.unmark(slot) {
            self.occupied &= !(1 << at);
        }
    }
}

impl Default for Wheel {
    fn default() -> Self {
        Self::new()
    }
}

/// Position of a level's byte in a deadline.
#[inline]
const fn shift(level: usize) -> u32 {
    WINDOW_BITS + LEVEL_BITS * level as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(deadline: u64) -> Entry {
        Entry {
            deadline,
            timer: deadline as u32,
            generation: 0,
        }
    }

    #[test]
    fn every_deadline_has_a_slot() {
        for bit in WINDOW_BITS..64 {
            let mut wheel = Wheel::new();
            let deadline = 1 << bit;
            wheel.insert(entry(deadline));
            assert_eq!(wheel.earliest(|_| true), Some(deadline));
            let mut window = Vec::new();
            assert_eq!(wheel.open(deadline - 1, &mut window, |_| true), None);
            assert_eq!(wheel.open(deadline, &mut window, |_| true), Some(0));
            assert_eq!(window, [entry(deadline)]);
            assert!(wheel.is_empty());
        }
        let mut wheel = Wheel::new();
        wheel.insert(entry(u64::MAX));
        assert_eq!(wheel.earliest(|_| true), Some(u64::MAX));
    }

    #[test]
    fn a_cascade_keeps_the_order_of_insertion() {
        let mut wheel = Wheel::new();
        let base = 3 << shift(2);
        let entries: Vec<Entry> = (0..10)
            .map(|timer| Entry {
                deadline: base + 7,
                timer,
                generation: 0,
            })
            .collect();
        for &entry in &entries {
            wheel.insert(entry);
        }
        let mut window = Vec::new();
        while wheel.open(base + 7, &mut window, |_| true).is_some() {}
        assert_eq!(window, entries);
    }

    #[test]
    fn the_last_entry_of_a_slot_leaves_at_once() {
        let mut wheel = Wheel::new();
        let place = wheel.insert(entry(1 << 40));
        assert!(!wheel.remove_last(place, 7, 0));
        assert!(wheel.remove_last(place, (1u64 << 40) as u32, 0));
        assert!(wheel.is_empty());
        assert_eq!(wheel.earliest(|_| true), None);
    }
}
