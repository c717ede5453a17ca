//! The memory that a worker shares with its parent, and how it is laid out.
//!
//! ```text
//!  one memfd for each worker                     one memfd for the pool
//!  0        ┌───────────────────────────┐        0 ┌──────────────────────────┐
//!           │ Words: counters, bells,   │          │ large arguments, written │
//!           │ claim, last words         │          │ by the parent, read by   │
//!  4 KiB    ├───────────────────────────┤          │ every worker             │
//!           │ ring of requests          │          │ (sparse; see `arena`)    │
//!  +RING    ├───────────────────────────┤          └──────────────────────────┘
//!           │ ring of replies           │
//!  +RING    ├───────────────────────────┤
//!           │ trace, if it is built in  │
//!           ├───────────────────────────┤
//!           │ large results, written by │
//!           │ the worker (sparse)       │
//!           └───────────────────────────┘
//! ```
//!
//! Everything is mapped once, when the worker starts, and stays mapped: a page
//! fault costs more than copying the page. Nothing of it needs to be passed
//! later, so there is no descriptor traffic after the start. The file can't be
//! shrunk by anybody (it is sealed), so an access never ends in SIGBUS.
//!
//! Read before this: [`super::bell`] and [`super::claim`]. Read after it:
//! [`super::arena`].
#![allow(unsafe_code)] // maps memory and reads what another process writes

use crate::process::bell::{Asleep, Wake};
use crate::process::claim::Claim;
use crate::process::limits;
use crate::process::ring::{Bytes, Counters};
use crate::process::stay::StayAt;
use crate::switch::{AtomicU32, AtomicU64};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use threeply_runtime::trace;
use threeply_runtime::trace::board::{AtomicWord, Format};

/// Where the rings start.
const WORDS_LEN: usize = 4096;

/// A value on a cache line of its own, so that the sides don't slow each other.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Line<T>(pub T);

impl<T> std::ops::Deref for Line<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// The words at the start of a worker's memory, grouped by who stores them.
/// All zero is not their initial state: `Wake` starts as "never".
#[derive(Debug, Default)]
#[repr(C)]
pub struct Words {
    // Stored by the parent.
    /// Bytes of requests published.
    pub request_tail: Line<AtomicU64>,
    /// Bytes of replies read.
    pub reply_head: Line<AtomicU64>,
    /// From which reply on the supervisor wants its bell rung; the worker clears it.
    pub wake_supervisor: Line<Wake>,
    /// From which reply on a caller that reads itself wants its bell rung; the
    /// worker clears it.
    pub wake_caller: Wake,
    /// For how many nanoseconds an idle worker looks for requests before it sleeps.
    pub spin_ns: Line<AtomicU32>,

    /// The processor on which a caller last looked for a reply.
    pub caller_at: AtomicU32,
    /// Where the worker is to sleep.
    pub stay_at: StayAt,

    // Stored by the parent before the worker starts.
    /// Bytes of stack for the thread that runs jobs.
    pub stack: AtomicU64,
    /// The most private memory in bytes; zero for no limit.
    pub data_limit: AtomicU64,

    /// Private memory, in bytes, beyond which it is replaced; zero for never.
    pub recycle_above: AtomicU64,
    /// In which of its outputs it makes marks: 1 for stdout, 2 for stderr.
    pub marks: AtomicU32,

    // Stored by the worker.
    /// Not zero once it has more private memory than it should.
    pub outgrown: AtomicU32,
    /// Bytes of requests read.
    pub request_head: Line<AtomicU64>,
    /// Bytes of replies published.
    pub reply_tail: Line<AtomicU64>,
    /// The worker waits for requests; cleared by whoever rings.
    pub asleep: Line<Asleep>,
    /// The processor on which it last looked for requests.
    pub worker_at: AtomicU32,
    /// The worker waits for room for a reply; cleared by whoever rings.
    pub stalled: Asleep,
    /// Nanoseconds that the jobs of the last batch took, and their number.
    pub busy_ns: Line<AtomicU64>,
    /// Number of jobs that `busy_ns` is about.
    pub busy_jobs: AtomicU64,
    /// What the worker could still say before it died, as a
    /// [`LastWords`](super::worker::last_words::LastWords).
    pub last_words: AtomicU32,

    // Stored by both.
    /// Which jobs the worker has claimed.
    pub claim: Line<Claim>,
}

/// A file that exists in memory only, whose size is final.
#[derive(Debug)]
pub struct SharedFile {
    fd: OwnedFd,
    len: usize,
}

impl SharedFile {
    /// Makes one of `len` bytes; if the process may not have files of that size,
    /// halves the part above `least` until it may.
    ///
    /// # Errors
    /// The kernel's: no descriptor or no memory left, or memfd not supported.
    pub fn new(name: &std::ffi::CStr, least: usize, len: usize) -> io::Result<SharedFile> {
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        // SAFETY: the name is a terminated string, which the kernel copies.
        let fd = check(unsafe { libc::memfd_create(name.as_ptr(), flags) })?;
        // SAFETY: the descriptor is new, so nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // Beyond this limit the kernel answers with a signal that kills.
        let allowed = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_FSIZE);
        let allowed = allowed.map_or(u64::MAX, |(soft, _)| soft) & !(limits::PAGE as u64 - 1);
        let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
        if allowed < least {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut len = len.min(allowed).max(least);
        // SAFETY: sets the size of a file that is ours.
        while let Err(error) = check(unsafe { libc::ftruncate(fd.as_raw_fd(), len as libc::off_t) })
        {
            if len == least {
                return Err(error);
            }
            len = least + (((len - least) / 2) & !(limits::PAGE - 1));
        }
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: seals a file that is ours.
        check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
        Ok(SharedFile { fd, len })
    }

    /// Takes over a descriptor that the parent handed down.
    ///
    /// # Errors
    /// If it can't be asked for its size.
    pub fn inherited(fd: OwnedFd) -> io::Result<SharedFile> {
        let len = nix::sys::stat::fstat(&fd)?.st_size;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        Ok(SharedFile { fd, len })
    }

    /// Maps all of it.
    ///
    /// # Errors
    /// The kernel's: too little address space is left.
    pub fn map(&self, writable: bool) -> io::Result<Arc<Mapping>> {
        map_file(self.as_fd(), self.len, writable)
    }
}

/// Maps the first `len` bytes of a file.
///
/// # Errors
/// The kernel's: too little address space is left, or the file may not be written.
pub fn map_file(file: BorrowedFd<'_>, len: usize, writable: bool) -> io::Result<Arc<Mapping>> {
    let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
    // SAFETY: a new mapping, wherever the kernel has room; no memory that is
    // in use changes.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            protection,
            libc::MAP_SHARED | libc::MAP_NORESERVE,
            file.as_raw_fd(),
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let start = NonNull::new(start.cast()).expect("not mapped at zero");
    Ok(Arc::new(Mapping { start, len }))
}

impl AsFd for SharedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// A mapped [`SharedFile`]; unmapped when the last user drops it.
///
/// Invariant 1: `start .. start + len` stays mapped and readable while this
/// lives. Its bytes may change at any time, since another process writes them:
/// no `&[u8]` of it is made except through [`Mapping::slice`].
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to no thread; who may write which part is decided
// by the rings and the arena.
unsafe impl Send for Mapping {}
// SAFETY: as above; shared access is by atomics or by copying.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never true: a shared file has at least a page.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address of byte `offset`, after checking that `len` bytes from there on
    /// are mapped.
    #[inline]
    pub fn at(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        let end = offset.checked_add(len)?;
        if end > self.len {
            return None;
        }
        // SAFETY: within the mapping (invariant 1).
        Some(unsafe { self.start.add(offset) })
    }

    /// The bytes from `offset` on, `None` if they aren't all mapped.
    ///
    /// # Safety
    /// Nobody, in this process or another, writes them while the slice lives.
    pub unsafe fn slice(&self, offset: usize, len: usize) -> Option<&[u8]> {
        let start = self.at(offset, len)?;
        // SAFETY: mapped (invariant 1), and unchanging by the caller's promise.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), len) })
    }

    /// The words at the start of a worker's memory.
    #[inline]
    pub fn words(&self) -> &Words {
        const { assert!(size_of::<Words>() <= WORDS_LEN) };
        // SAFETY: every worker's file is longer than the words, the start of a
        // mapping is aligned to a page, and every bit pattern is a valid atomic.
        unsafe { self.start.cast::<Words>().as_ref() }
    }

    /// The words of the worker's trace; none if tracing isn't built in.
    pub fn trace_words(&self) -> &[AtomicWord] {
        let start = self
            .at(TRACE, TRACE_LEN)
            .expect("part of every worker's file");
        let len = TRACE_LEN / size_of::<AtomicWord>();
        // SAFETY: mapped (invariant 1), at a whole page, and every bit pattern is
        // a valid atomic.
        unsafe { std::slice::from_raw_parts(start.cast().as_ptr(), len) }
    }

    /// Puts the words into their initial state, before the worker is started: its
    /// first word is for the supervisor.
    pub fn initialize(&self) {
        self.words().wake_supervisor.ask(0);
        self.words().wake_caller.silence();
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `SharedFile::map`, and nobody refers to it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// One of the two rings' bytes in a worker's memory.
#[derive(Debug)]
pub struct RingBytes {
    mapping: Arc<Mapping>,
    offset: usize,
}

impl RingBytes {
    /// The ring of requests: parent to worker.
    pub fn requests(mapping: &Arc<Mapping>) -> RingBytes {
        RingBytes::at(mapping, WORDS_LEN)
    }

    /// The ring of replies: worker to parent.
    pub fn replies(mapping: &Arc<Mapping>) -> RingBytes {
        RingBytes::at(mapping, WORDS_LEN + limits::RING)
    }

    fn at(mapping: &Arc<Mapping>, offset: usize) -> RingBytes {
        assert!(offset + limits::RING <= mapping.len());
        RingBytes {
            mapping: Arc::clone(mapping),
            offset,
        }
    }

    /// Calls `copy` with the address of each of the at most two stretches that
    /// `len` bytes from count `at` on occupy, and the bytes before it.
    #[inline]
    fn stretches(&self, at: u64, len: usize, mut copy: impl FnMut(NonNull<u8>, usize, usize)) {
        let place = (at % limits::RING as u64) as usize;
        let first = len.min(limits::RING - place);
        for (place, done, len) in [(place, 0, first), (0, first, len - first)] {
            if len > 0 {
                let address = self.mapping.at(self.offset + place, len);
                copy(address.expect("rings are mapped"), done, len);
            }
        }
    }
}

impl Bytes for RingBytes {
    #[inline]
    fn capacity(&self) -> usize {
        limits::RING
    }

    #[inline]
    fn put(&self, at: u64, bytes: &[u8]) {
        self.stretches(at, bytes.len(), |to, done, len| {
            let from = &bytes[done..done + len];
            // SAFETY: mapped and writable; the other side doesn't touch free
            // places (the ring's invariant 3), and `bytes` is our own memory.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.as_ptr(), len) };
        });
    }

    #[inline]
    fn get(&self, at: u64, bytes: &mut [u8]) {
        self.stretches(at, bytes.len(), |from, done, len| {
            let to = &mut bytes[done..done + len];
            // SAFETY: mapped; an honest writer doesn't touch published places
            // (the ring's invariant 3), a broken one garbles bytes that are
            // checked after the copy.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr(), len) };
        });
    }
}

/// The counters of the ring of requests.
#[inline]
pub fn request_counters(words: &Words) -> Counters<'_> {
    Counters {
        head: &words.request_head,
        tail: &words.request_tail,
    }
}

/// The counters of the ring of replies.
#[inline]
pub fn reply_counters(words: &Words) -> Counters<'_> {
    Counters {
        head: &words.reply_head,
        tail: &words.reply_tail,
    }
}

/// Where the worker's trace lies in its memory, and how long it is.
const TRACE: usize = WORDS_LEN + 2 * limits::RING;
const TRACE_LEN: usize = if trace::BUILT_IN {
    Format::WORKER.bytes()
} else {
    0
};

/// Where large results start in a worker's memory.
pub const RESULTS: usize = TRACE + TRACE_LEN;
