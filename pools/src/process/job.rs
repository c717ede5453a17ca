//! One job, from `submit` until its outcome is delivered.
//!
//! A job is one element or a *chunk* of several with the same function; an
//! element is what is claimed, run, answered and killed, so all promises are about
//! elements.

use crate::ipc::travel::Baggage;
use crate::process::arena::{Arena, Extent};
use crate::process::cell::{Cell, Outcome};
use crate::process::codec::Bytes;
use crate::process::limits::BODY_MAX;
use crate::process::sink::Encoded;
use crate::process::terms::{JobLabel, Retry, Terms};
use crate::process::wire;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// Where outcomes go.
pub trait Target: Send + Sync {
    /// The outcome of element `index`. Called once for each, without a lock held.
    fn deliver(&self, index: usize, outcome: Outcome);
    /// An outcome was found and is on its way: it is too late to cancel. Called under the
    /// pool's lock.
    fn decided(&self) {}
    /// No more will be delivered for the moment: time to tell whoever waits.
    fn delivered(&self) {}
    /// Whether nobody wants it any more: then it needn't be started.
    fn is_unwanted(&self) -> bool;
    /// Whether it is the pool's own business (a worker's initializer), which isn't
    /// counted and isn't run on another worker.
    fn is_internal(&self) -> bool {
        false
    }
}

impl Target for Cell {
    fn deliver(&self, _: usize, outcome: Outcome) {
        self.complete(outcome);
    }
    fn decided(&self) {
        self.decide();
    }
    fn is_unwanted(&self) -> bool {
        self.is_done()
    }
}

/// A job, or the part of it that is yet to be run.
pub struct Job {
    /// Where its outcomes go.
    pub target: Arc<dyn Target>,
    /// Offsets of trampoline and function.
    pub call: [u64; 2],
    /// The arguments.
    pub arguments: Arguments,
    /// Index of its first element in the target.
    pub index: usize,
    /// How many elements there are.
    pub count: u16,
    /// What it may cost and what it is called, if anything was said about that.
    pub terms: Option<Arc<Terms>>,
    /// Where it was submitted.
    pub site: &'static Location<'static>,
    /// Which run of it this is; the first is 1.
    pub attempt: u32,
    /// What its last element has besides bytes ([`super::passing`]). Kept until the
    /// job is done, since its worker may die before it begins.
    pub baggage: Option<Arc<Baggage>>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("index", &self.index)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Job {
    /// What it occupies while it is queued, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Job>() + self.arguments.len()
    }

    /// For how long each of its elements may run.
    pub fn limit(&self) -> Option<Duration> {
        self.terms.as_ref()?.limit
    }

    /// How much processor time each of its elements may use.
    pub fn cpu_limit(&self) -> Option<Duration> {
        self.terms.as_ref()?.cpu_limit
    }

    /// Whether it may be sent to a worker that has something else to do. Limits are
    /// watched over for the job that runs, and descriptors would fill the socket.
    pub fn goes_ahead(&self) -> bool {
        !self.is_limited() && self.baggage.is_none()
    }

    /// Whether its worker must be watched while it runs: then nothing is sent along
    /// with it.
    pub fn is_limited(&self) -> bool {
        self.limit().is_some() || self.cpu_limit().is_some()
    }

    /// What is to be done when it dies.
    pub fn retry(&self) -> Retry {
        self.terms
            .as_ref()
            .map_or(Retry::default(), |terms| terms.retry)
    }

    /// What it is called.
    pub fn label(&self) -> JobLabel {
        JobLabel {
            name: self.terms.as_ref().and_then(|terms| terms.name.clone()),
            site: self.site,
        }
    }

    /// Splits off everything from element `at` on as a job of its own; `at` is
    /// less than the count.
    pub fn split_off(&mut self, at: u16) -> Job {
        debug_assert!(at < self.count);
        let rest = Job {
            target: Arc::clone(&self.target),
            call: self.call,
            arguments: self.arguments.rest_from(at),
            index: self.index + usize::from(at),
            count: self.count - at,
            terms: self.terms.clone(),
            site: self.site,
            attempt: self.attempt,
            baggage: self.baggage.take(),
        };
        self.count = at;
        rest
    }

    /// Its frame, in parts, for job number `seq` of a worker.
    pub fn with_frame<T>(&self, seq: u64, write: impl FnOnce(&[&[u8]]) -> T) -> T {
        let [trampoline, function] = self.call;
        let header = |kind, len| {
            let mut header = wire::header(kind, seq, self.count, len);
            if self.baggage.is_some() {
                header.flags |= wire::DESCRIPTORS;
            }
            if self.target.is_internal() {
                header.flags |= wire::FIRST;
            }
            header.to_bytes()
        };
        let mut fixed = [0; 24];
        fixed[0..8].copy_from_slice(&trampoline.to_le_bytes());
        fixed[8..16].copy_from_slice(&function.to_le_bytes());
        match &self.arguments {
            Arguments::Inline(elements) => {
                let len = fixed.len() + elements.len();
                debug_assert!(len <= BODY_MAX);
                write(&[&header(wire::JOB, len), &fixed, elements])
            }
            Arguments::Large { shared, skip } => {
                fixed[16..24].copy_from_slice(&skip.to_le_bytes());
                let [a, b] = [shared.extent().offset as u64, shared.len as u64];
                let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
                write(&[&header(wire::JOB_LARGE, 40), &fixed, &a, &b])
            }
        }
    }
}

/// Encoded arguments: for each element its length and its bytes.
#[derive(Debug)]
pub enum Arguments {
    /// Kept until the job is done, since its worker may die before it begins.
    Inline(Bytes),
    /// In the arena.
    Large {
        /// Shared by the parts of a chunk.
        shared: Arc<LargeArguments>,
        /// Elements to step over.
        skip: u64,
    },
}

impl Arguments {
    /// Takes over what was encoded into `arena`.
    pub fn new(encoded: Encoded, arena: &Arc<Arena>) -> Arguments {
        match encoded {
            Encoded::Inline(bytes) => Arguments::Inline(Bytes::from_vec(bytes)),
            Encoded::Large { extent, len } => Arguments::Large {
                shared: Arc::new(LargeArguments {
                    arena: Arc::clone(arena),
                    extent: Some(extent),
                    len,
                }),
                skip: 0,
            },
        }
    }

    fn len(&self) -> usize {
        match self {
            Arguments::Inline(bytes) => bytes.len(),
            Arguments::Large { shared, .. } => shared.len,
        }
    }

    fn rest_from(&self, at: u16) -> Arguments {
        match self {
            Arguments::Inline(bytes) => {
                let mut rest = &bytes[..];
                for _ in 0..at {
                    rest = wire::split_element(rest).map_or(&[], |(_, rest)| rest);
                }
                Arguments::Inline(Bytes::from_slice(rest))
            }
            Arguments::Large { shared, skip } => Arguments::Large {
                shared: Arc::clone(shared),
                skip: skip + u64::from(at),
            },
        }
    }
}

/// Arguments in the arena, whose room is given back on drop.
#[derive(Debug)]
pub struct LargeArguments {
    arena: Arc<Arena>,
    extent: Option<Extent>,
    len: usize,
}

impl LargeArguments {
    fn extent(&self) -> &Extent {
        self.extent.as_ref().expect("there until drop")
    }
}

impl Drop for LargeArguments {
    fn drop(&mut self) {
        if let Some(extent) = self.extent.take() {
            self.arena.free(extent, self.len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_chunk_begins_where_it_was_split() {
        let mut elements = Vec::new();
        for text in ["a", "", "ccc", "dd"] {
            elements.extend_from_slice(&(text.len() as u32).to_le_bytes());
            elements.extend_from_slice(text.as_bytes());
        }
        let mut job = Job {
            target: Arc::new(Cell::default()),
            call: [1, 2],
            arguments: Arguments::Inline(Bytes::from_vec(elements)),
            index: 10,
            count: 4,
            terms: None,
            site: Location::caller(),
            attempt: 1,
            baggage: None,
        };
        let rest = job.split_off(2);
        assert_eq!((job.index, job.count), (10, 2));
        assert_eq!((rest.index, rest.count), (12, 2));
        let Arguments::Inline(bytes) = &rest.arguments else {
            panic!("small");
        };
        assert_eq!(wire::split_element(bytes).unwrap().0, b"ccc");
    }
}
