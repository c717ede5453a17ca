//! Time on the loop: timers, and the futures made of them.
//!
//! Reading order: [`driver`] (all timers of a loop), then [`wheel`] (where those
//! wait that aren't due soon).

pub mod driver;
pub mod wheel;
