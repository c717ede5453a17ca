//! An outcome that was found under the pool's lock and is told outside of it.

use crate::process::cell::Outcome;
use crate::process::job::Target;
use std::sync::Arc;

/// An outcome on its way to whoever waits for it.
pub struct Delivery {
    pub(super) target: Arc<dyn Target>,
    pub(super) index: usize,
    pub(super) outcome: Outcome,
}

impl Delivery {
    /// Delivers all. Runs wakers and callbacks, so no lock may be held.
    pub fn deliver_all(deliveries: &mut Vec<Delivery>) {
        let mut last: Option<Arc<dyn Target>> = None;
        for Delivery {
            target,
            index,
            outcome,
        } in deliveries.drain(..)
        {
            // Somebody else's waker or callback; the panic hook has reported it.
            let deliver = || target.deliver(index, outcome);
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(deliver));
            let this = Arc::as_ptr(&target);
            if let Some(last) = last.replace(target)
                && !std::ptr::addr_eq(Arc::as_ptr(&last), this)
            {
                last.delivered();
            }
        }
        if let Some(last) = last {
            last.delivered();
        }
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}
