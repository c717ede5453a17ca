//! Names in a trace: where tasks were spawned, and what they are called.
//!
//! A record has no room for text, so it holds a key, and the board the text,
//! once. The key of a spawn site is its address, which is free to take; that of a
//! name, a hash of it. A thread remembers the keys that it has noted lately, so
//! that a program that spawns in a loop looks at the board once.
//!
//! Read before: [`super::writer`]. Next: [`super::session`].

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::Location;

use super::event::Kind;
use super::gate::{emit, is_on};
use super::{session, writer};

/// Set in keys of names, which addresses of this program never have.
const NAME: u64 = 1 << 63;

/// The key of a spawn site, whose text is noted if it wasn't yet.
#[inline]
pub(crate) fn site(site: &'static Location<'static>) -> u64 {
    let key = std::ptr::from_ref(site).addr() as u64;
    if is_on() && !writer::knows_name(key) {
        note(key, &site.to_string());
    }
    key
}

/// Tells that a task has a name.
pub(crate) fn name_task(task: u64, name: &str) {
    if !is_on() {
        return;
    }
    emit(Kind::Named, line!(), task, key(name));
}

/// The key of a name, whose text is noted if it wasn't yet. Only while something is
/// recorded.
pub(crate) fn key(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let key = hasher.finish() | NAME;
    if !writer::knows_name(key) {
        note(key, name);
    }
    key
}

#[cold]
fn note(key: u64, text: &str) {
    if let Some((board, _turn)) = session::board_in_turn() {
        board.add_name(key, text);
    }
}
