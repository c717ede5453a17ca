//! Time on the loop: timers, and the futures made of them.
//!
//! Reading order: [`timers`] (what a loop has of time), [`clock`], then
//! [`driver`] (all timers of a loop) and [`wheel`] (where those wait that aren't
//! due soon).

pub mod clock;
pub mod driver;
pub mod timers;
pub mod wheel;

pub use timers::Timers;
