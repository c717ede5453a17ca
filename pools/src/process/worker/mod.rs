//! The worker: what runs in the other process.
//!
//! ```text
//!   exec ─▶ hook: is there a marker for us? ─no─▶ the program's own main
//!             │ yes
//!             ├─ main thread: the guardian, waits for the parent's end
//!             └─ thread "threeply-worker": frame ─▶ claim ─▶ call ─▶ reply ─┐
//!                          ▲                                               │
//!                          └──── looks, spins, sleeps on the bell ◀────────┘
//! ```
//!
//! Read in this order: [`hook`] (how the process gets here), [`begin`] (how it becomes a
//! worker), [`serve`] (its life) with [`bells`] and [`marks`], [`reply`] (what it sends),
//! [`panics`], [`end`] (how it goes), [`last_words`] (what it can still say when it dies).

pub mod begin;
pub mod bells;
pub mod end;
pub mod hook;
pub mod last_words;
pub mod marks;
pub mod panics;
pub mod reply;
pub mod serve;
