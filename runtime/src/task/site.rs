//! Where a task was spawned, in four bytes.
//!
//! *Read after* `cell`, whose header it is a part of.
//!
//! The compiler makes a static of each place in the program from which a
//! `#[track_caller]` function is called, and statics of one program or library lie
//! within two gigabytes of each other: the code that refers to them relies on
//! that. So the distance from a static of ours names the place. Where a program
//! loads libraries at run time, a place may be farther off; the task then keeps its
//! address elsewhere.

#![allow(unsafe_code)] // From the distance back to the reference.

use std::panic::Location;
use std::ptr;

/// See the [module](self).
#[derive(Clone, Copy)]
pub(super) struct Site(i32);

/// Not a place in a program, so no place has the distance 0.
static ANCHOR: u8 = 0;

const FAR: i32 = 0;

#[inline]
fn anchor() -> usize {
    ptr::from_ref(&ANCHOR).addr()
}

impl Site {
    /// The name of `site`, if it is near enough to have one.
    #[inline]
    pub(super) fn of(site: &'static Location<'static>) -> Site {
        let address = ptr::from_ref(site).expose_provenance();
        let distance = address.wrapping_sub(anchor()).cast_signed();
        Site(i32::try_from(distance).unwrap_or(FAR))
    }

    #[inline]
    pub(super) fn is_far(self) -> bool {
        self.0 == FAR
    }

    pub(super) fn get(self) -> Option<&'static Location<'static>> {
        if self.is_far() {
            return None;
        }
        let address = anchor().wrapping_add_signed(self.0 as isize);
        // SAFETY: by `of`, this is the address of a `Location` that is borrowed for
        // ever, whose provenance was exposed there.
        Some(unsafe { &*ptr::with_exposed_provenance(address) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::OnceLock;

    #[test]
    fn a_site_is_found_again() {
        let site = Location::caller();
        assert!(ptr::eq(Site::of(site).get().expect("it is near"), site));
    }

    #[test]
    fn a_site_that_is_too_far_has_no_name() {
        // On the heap, as a library that was loaded later would be.
        static SITE: OnceLock<Box<Location>> = OnceLock::new();
        let site: &Location = SITE.get_or_init(|| Box::new(*Location::caller()));
        let distance = ptr::from_ref(site).addr().abs_diff(anchor());
        assert_eq!(Site::of(site).is_far(), distance > i32::MAX as usize);
        assert!(
            Site::of(site)
                .get()
                .is_none_or(|found| ptr::eq(found, site))
        );
    }
}
