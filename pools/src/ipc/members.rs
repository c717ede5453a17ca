//! Who takes part in a shared object: a table of seats in its memory.
//!
//! Every process that maps the object takes a **seat**: one word with its identity
//! in it. Whoever waits on the object looks at the table now and then, and so
//! learns of deaths. One word is one compare-and-swap, so a process that dies at
//! any instruction has either taken its seat or not.
//!
//! ```text
//!            ┌────────────────────── detach ──────────────────────┐
//!            ▼          attach: CAS, next generation              │
//!   FREE(gen) ─────────────────────────────────────────▶ ATTACHED(gen, process)
//!    │  ▲  ▲                                              ▲       │
//!    │  │  └── sweep, if the process is dead: deaths + 1 ─┼───────┘
//!    │  │                                                 │
//!    │  │ void, or sweep                  redeem: the receiver, next generation
//!    │  │                                                 │
//!    └─▶ TICKET(gen, process) ────────────────────────────┘
//!   book: the sender of a message that a handle is in
//! ```
//!
//! A **ticket** stands for a process that will attach once it has decoded a
//! message under way: nobody must be told meanwhile that there is nobody. It holds
//! as long as the process named in it lives (the sender; or the receiver, once its
//! number is known). One that was voided is no loss: the receiver takes any seat.
//!
//! 1. **A token names one stay of one process**: the seat and its generation, which
//!    every change of hands raises. So a lock word can name a dead owner whose seat
//!    is somebody else's by now, and nobody takes one for the other.
//! 2. **Only the dead are swept**, by a CAS from the very word that was found dead.
//! 3. **A death is counted before its seat is free** (and twice rather than never,
//!    if the sweeper dies in between): who compares [`Table::deaths`] misses none.
//!
//! Read before this: [`super::identity`]. Read after it: [`super::lock`].

use super::identity::Identity;
use crate::switch::{AtomicU32, AtomicU64, Ordering, Weakening, weakened};

const GENERATION_BITS: u32 = 20;
const GENERATION: u64 = (1 << GENERATION_BITS) - 1;

const FREE: u64 = 0;
const ATTACHED: u64 = 1;
const TICKET: u64 = 2;

/// A seat's word, taken apart: two bits of state, the generation, who.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word(u64);

impl Word {
    fn new(state: u64, generation: u64, who: u64) -> Word {
        Word(state << 62 | (generation & GENERATION) << Identity::BITS | who)
    }
    fn state(self) -> u64 {
        self.0 >> 62
    }
    fn generation(self) -> u64 {
        self.0 >> Identity::BITS & GENERATION
    }
    fn who(self) -> Identity {
        Identity::from_bits(self.0)
    }
}

/// One stay of one process in the table: seat and generation, in 28 bits, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token(u32);

impl Token {
    /// Bits that a token takes.
    pub const BITS: u32 = 8 + GENERATION_BITS;

    fn new(seat: usize, generation: u64) -> Token {
        Token((seat as u32 + 1) | ((generation as u32) << 8))
    }

    /// From what [`Token::bits`] gave; `None` for what none gives.
    pub fn from_bits(bits: u32) -> Option<Token> {
        (bits & 0xff != 0 && bits >> Token::BITS == 0).then_some(Token(bits))
    }

    /// As a number below two to the [`Token::BITS`], not zero.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Which seat.
    pub fn seat(self) -> usize {
        (self.0 & 0xff) as usize - 1
    }

    fn generation(self) -> u64 {
        u64::from(self.0 >> 8)
    }
}

/// A booked seat, as it is named in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booking {
    /// Which seat.
    pub seat: u32,
    /// Its generation.
    pub generation: u32,
}

/// The table; all zeros is an empty one.
#[derive(Debug)]
#[repr(C)]
pub struct Table<const N: usize> {
    seats: [AtomicU64; N],
    deaths: AtomicU32,
    shared: AtomicU32,
}

impl<const N: usize> Default for Table<N> {
    fn default() -> Self {
        Table {
            seats: std::array::from_fn(|_| AtomicU64::default()),
            deaths: AtomicU32::default(),
            shared: AtomicU32::default(),
        }
    }
}

impl<const N: usize> Table<N> {
    /// Takes a seat for the process `me`; `None` if all are taken by the living.
    pub fn attach(&self, me: Identity, is_alive: impl Fn(Identity) -> bool) -> Option<Token> {
        let (seat, generation) = self.take(ATTACHED, me, is_alive)?;
        Some(Token::new(seat, generation))
    }

    /// Books a seat for whoever decodes a message; `me` is its sender.
    pub fn book(&self, me: Identity, is_alive: impl Fn(Identity) -> bool) -> Option<Booking> {
        self.share();
        let (seat, generation) = self.take(TICKET, me, is_alive)?;
        Some(Booking {
            seat: seat as u32,
            generation: generation as u32,
        })
    }

    /// Takes the booked seat, or any, if that one isn't booked any more.
    pub fn redeem(
        &self,
        booking: Booking,
        me: Identity,
        is_alive: impl Fn(Identity) -> bool,
    ) -> Option<Token> {
        self.share();
        if let Some((seat, now)) = self.booked(booking) {
            let generation = now.generation() + 1;
            let taken = Word::new(ATTACHED, generation, me.bits());
            if self.replace(seat, now, taken) {
                return Some(Token::new(seat, generation & GENERATION));
            }
        }
        self.attach(me, is_alive)
    }

    /// Hands a ticket to another process: it now holds as long as that one lives.
    pub fn hand_to(&self, booking: Booking, who: Identity) {
        if let Some((seat, now)) = self.booked(booking) {
            self.replace(seat, now, Word::new(TICKET, now.generation(), who.bits()));
        }
    }

    /// Voids a ticket, if nobody has redeemed it.
    pub fn void(&self, booking: Booking) {
        if let Some((seat, now)) = self.booked(booking) {
            self.replace(seat, now, Word::new(FREE, now.generation(), 0));
        }
    }

    /// Leaves the seat of `token`.
    pub fn detach(&self, token: Token) {
        // Only its owner leaves a seat, and nobody sweeps the living. Release: what
        // this stay has done comes before the next one's.
        let left = Word::new(FREE, token.generation(), 0);
        self.seats[token.seat()].store(left.0, Ordering::Release);
    }

    /// Whether that stay lasts and its process lives.
    pub fn is_alive(&self, token: Token, is_alive: impl Fn(Identity) -> bool) -> bool {
        let Some(seat) = self.seats.get(token.seat()) else {
            return false;
        };
        let now = Word(seat.load(Ordering::Acquire));
        now.state() == ATTACHED && now.generation() == token.generation() && is_alive(now.who())
    }

    /// Frees the seats of the dead. Returns how many deaths of attached processes
    /// there have been.
    pub fn sweep(&self, is_alive: impl Fn(Identity) -> bool) -> u32 {
        for seat in 0..N {
            let now = Word(self.seats[seat].load(Ordering::Acquire));
            if now.state() == FREE || is_alive(now.who()) {
                continue;
            }
            let count = || {
                if now.state() == ATTACHED {
                    // Invariant 3. Release: pairs with the Acquire of `deaths`.
                    self.deaths.fetch_add(1, Ordering::Release);
                }
            };
            let free = Word::new(FREE, now.generation(), 0);
            if weakened(Weakening::SweepBeforeCounting) {
                self.replace(seat, now, free);
                count();
            } else {
                count();
                self.replace(seat, now, free);
            }
        }
        self.deaths()
    }

    /// How many deaths have been counted. Only differences mean something.
    pub fn deaths(&self) -> u32 {
        self.deaths.load(Ordering::Acquire)
    }

    /// Whether a living process other than `me` is attached or about to be; or
    /// there never was one.
    pub fn has_peers(&self, me: Identity, is_alive: impl Fn(Identity) -> bool) -> bool {
        if self.shared.load(Ordering::Relaxed) == 0 {
            return true;
        }
        self.seats.iter().any(|seat| {
            let now = Word(seat.load(Ordering::Acquire));
            match now.state() {
                FREE => false,
                ATTACHED => now.who() != me && is_alive(now.who()),
                _ => is_alive(now.who()),
            }
        })
    }

    fn share(&self) {
        if self.shared.load(Ordering::Relaxed) == 0 {
            self.shared.store(1, Ordering::Relaxed);
        }
    }

    fn booked(&self, booking: Booking) -> Option<(usize, Word)> {
        let seat = booking.seat as usize;
        let now = Word(self.seats.get(seat)?.load(Ordering::Acquire));
        let same = now.state() == TICKET && now.generation() == u64::from(booking.generation);
        same.then_some((seat, now))
    }

    fn take(
        &self,
        state: u64,
        me: Identity,
        is_alive: impl Fn(Identity) -> bool,
    ) -> Option<(usize, u64)> {
        for round in 0..2 {
            for seat in 0..N {
                let now = Word(self.seats[seat].load(Ordering::Relaxed));
                let generation = (now.generation() + 1) & GENERATION;
                if now.state() == FREE
                    && self.replace(seat, now, Word::new(state, generation, me.bits()))
                {
                    return Some((seat, generation));
                }
            }
            if round == 0 {
                self.sweep(&is_alive);
            }
        }
        None
    }

    fn replace(&self, seat: usize, from: Word, to: Word) -> bool {
        if weakened(Weakening::SeatWithoutCas) {
            self.seats[seat].store(to.0, Ordering::Release);
            return true;
        }
        // AcqRel: what the last stay in the seat has done comes before this one's.
        self.seats[seat]
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Identity = Identity::from_bits(1);
    const YOU: Identity = Identity::from_bits(2);

    fn all_live(_: Identity) -> bool {
        true
    }

    #[test]
    fn a_seat_that_changes_hands_has_another_token() {
        let table = Table::<2>::default();
        let first = table.attach(ME, all_live).unwrap();
        assert!(table.is_alive(first, all_live));
        table.detach(first);
        assert!(!table.is_alive(first, all_live));
        let second = table.attach(ME, all_live).unwrap();
        assert_eq!(first.seat(), second.seat());
        assert_ne!(first, second);
        assert!(!table.is_alive(first, all_live));
        assert_eq!(Token::from_bits(second.bits()), Some(second));
        assert_eq!(Token::from_bits(0), None);
    }

    #[test]
    fn a_full_table_makes_room_of_the_dead_and_counts_them() {
        let table = Table::<2>::default();
        table.attach(ME, all_live).unwrap();
        table.attach(YOU, all_live).unwrap();
        assert_eq!(table.attach(ME, all_live), None);
        assert_eq!(table.deaths(), 0);
        assert!(table.attach(ME, |who| who != YOU).is_some());
        assert_eq!(table.deaths(), 1);
    }

    #[test]
    fn peers_are_other_processes_and_those_under_way() {
        let table = Table::<4>::default();
        let me = table.attach(ME, all_live).unwrap();
        assert!(table.has_peers(ME, all_live), "it was never shared");
        let booking = table.book(ME, all_live).unwrap();
        assert!(table.has_peers(ME, all_live), "one is under way");
        let you = table.redeem(booking, YOU, all_live).unwrap();
        assert_eq!(you.seat(), booking.seat as usize);
        table.void(booking);
        assert!(
            table.is_alive(you, all_live),
            "the ticket was redeemed before"
        );
        assert!(table.has_peers(ME, all_live));
        assert!(!table.has_peers(ME, |who| who != YOU), "it is dead");
        table.detach(you);
        assert!(!table.has_peers(ME, all_live));
        assert!(table.has_peers(YOU, all_live));
        table.detach(me);
    }

    #[test]
    fn a_ticket_holds_as_long_as_whoever_it_was_handed_to() {
        let table = Table::<4>::default();
        let booking = table.book(ME, all_live).unwrap();
        table.hand_to(booking, YOU);
        assert!(table.has_peers(ME, |who| who == YOU));
        assert!(!table.has_peers(ME, |who| who == ME));
        table.sweep(|who| who == ME);
        assert_eq!(table.deaths(), 0, "nobody was attached");
        let token = table.redeem(booking, YOU, all_live).unwrap();
        assert!(table.is_alive(token, all_live), "any seat will do");
    }
}
