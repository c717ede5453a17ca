//! [`Shared`] and [`SharedMut`]: slices that jobs are given without copying.
//!
//! Both are a file in memory and a mapping of it; what travels to a job is the
//! file's descriptor, and the job's process maps the same pages.
//!
//! ```text
//!   SharedMut::zeroed ─▶ SharedMut ─ into_shared ─▶ Shared ◀─ Shared::from_slice
//!                         │     ▲                    │   │
//!                 moved to a job, and back      to any number of jobs at once
//! ```
//!
//! What makes references into memory that other processes have mapped sound:
//!
//! 1. **A [`Shared`] never changes.** Its file is sealed against writing
//!    (`F_SEAL_WRITE`): the kernel refuses that while anybody has a writable mapping
//!    and refuses every later one. Whoever receives one checks the seal.
//! 2. **A [`SharedMut`] has one owner.** To serialize it is to move it: the sender's
//!    mapping goes, and what stays behind is empty. It gives out its memory by
//!    `&mut self` only, so nobody can hold a reference into it while it is serialized
//!    (which takes `&self`).
//! 3. **No access ends in SIGBUS**: every file is sealed against shrinking.
//!
//! Read after [`super::page`] (mappings) and [`crate::ipc::travel`] (how a descriptor
//! goes along with bytes).
//!
//! Rejected: *one type with interior mutability* (`&[T]` of memory that another
//! process writes is undefined behaviour); *counting owners across processes to allow
//! writing when there is one* (a count is wrong once a process dies); *`Deref` for
//! [`SharedMut`]* (a reference could be alive while the value is moved).
#![allow(unsafe_code)] // views mapped bytes as values

use super::page::{Mapping, map_file};
use crate::ipc::{Plain, travel};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::fmt;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::{Bound, Deref, RangeBounds};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

/// A slice that never changes, given to jobs without copying; use it as
/// `Shared<[T]>`.
///
/// Cloning, and serializing as part of a job's argument or result, share the memory.
/// `T` is plain data ([`Plain`]): numbers, arrays of them, and structs that
/// derive it.
///
/// ```
/// use threeply_pools::process::{ProcessPool, Shared};
///
/// let pool = ProcessPool::new(2)?;
/// let table = Shared::from_slice(&[1.0f64, 2.0, 4.0])?;
/// let sum = |(table, factor): (Shared<[f64]>, f64)| table.iter().sum::<f64>() * factor;
/// let jobs = [10.0, 100.0].map(|factor| pool.submit(sum, (table.clone(), factor)));
/// for (job, expected) in jobs.into_iter().zip([70.0, 700.0]) {
///     assert_eq!(job?.wait()?, expected);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The memory is freed when the last process has dropped its last clone. Each job
/// that carries one costs a message with a descriptor beside its frame, some
/// microseconds, so small arguments are better sent as they are.
pub struct Shared<S: ?Sized> {
    region: Arc<Region>,
    /// First byte and number of values.
    start: usize,
    len: usize,
    slice: PhantomData<S>,
}

/// A sealed file, and where it is mapped.
struct Region {
    file: OwnedFd,
    mapping: Arc<Mapping>,
}

impl<T: Plain> Shared<[T]> {
    /// Copies `values` into new shared memory: the one copy that there will be.
    ///
    /// # Errors
    /// The kernel's: memory or descriptors have run out.
    pub fn from_slice(values: &[T]) -> io::Result<Shared<[T]>> {
        let file = new_file(size_of_val(values))?;
        // Written rather than copied into a mapping: whole pages that are written
        // needn't be zeroed first, and nothing has to be unmapped for the seal.
        let file = File::from(file);
        file.write_all_at(bytemuck::cast_slice(values), 0)?;
        Shared::sealed(file.into(), values.len())
    }

    /// Seals a file that nobody has mapped for writing.
    fn sealed(file: OwnedFd, len: usize) -> io::Result<Shared<[T]>> {
        let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        Shared::of_file(file, 0, len)
    }

    /// Checks the file, and maps it.
    fn of_file(file: OwnedFd, start: usize, len: usize) -> io::Result<Shared<[T]>> {
        let seals = SealFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GET_SEALS)?);
        let size = size_of_file(&file)?;
        let end = len
            .checked_mul(size_of::<T>())
            .and_then(|bytes| bytes.checked_add(start));
        let whole = end.is_some_and(|end| end <= size) && start.is_multiple_of(align_of::<T>());
        if !whole || !seals.contains(SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK) {
            return Err(invalid(
                "the descriptor isn't that of a `Shared` of this type",
            ));
        }
        let mapping = map_file(file.as_fd(), size, false)?;
        Ok(Shared {
            region: Arc::new(Region { file, mapping }),
            start,
            len,
            slice: PhantomData,
        })
    }

    /// A part of it, which shares the memory.
    ///
    /// # Panics
    /// If the range isn't within the slice.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Shared<[T]> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end + 1,
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len,
        };
        assert!(
            start <= end && end <= self.len,
            "the range {start}..{end} of a Shared with {} values",
            self.len
        );
        Shared {
            region: Arc::clone(&self.region),
            start: self.start + start * size_of::<T>(),
            len: end - start,
            slice: PhantomData,
        }
    }
}

impl<S: ?Sized> Clone for Shared<S> {
    fn clone(&self) -> Shared<S> {
        Shared {
            region: Arc::clone(&self.region),
            start: self.start,
            len: self.len,
            slice: PhantomData,
        }
    }
}

impl<T: Plain> Deref for Shared<[T]> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: nobody writes a file that is sealed against it (invariant 1).
        let bytes = unsafe {
            let mapping = &self.region.mapping;
            mapping.slice(self.start, self.len * size_of::<T>())
        };
        bytemuck::cast_slice(bytes.expect("checked when it was made"))
    }
}

impl<T: Plain> AsRef<[T]> for Shared<[T]> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Shared<[T]> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// # Errors
/// Anywhere but in what goes to another process with descriptors: a job's argument
/// or result, a message of a channel.
impl<T: Plain> Serialize for Shared<[T]> {
    fn serialize<W: Serializer>(&self, serializer: W) -> Result<W::Ok, W::Error> {
        let file = told(self.region.file.try_clone()).map_err(ser::Error::custom)?;
        let index = travel::pack(file).map_err(ser::Error::custom)?;
        (index, self.start as u64, self.len as u64).serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Shared<[T]> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shared<[T]>, D::Error> {
        let (index, start, len) = <(u32, u64, u64)>::deserialize(deserializer)?;
        let file = travel::unpack(index).map_err(de::Error::custom)?;
        told(Shared::of_file(file, start as usize, len as usize)).map_err(de::Error::custom)
    }
}

/// A slice of shared memory with one owner, who may write it; use it as
/// `SharedMut<[T]>`.
///
/// Giving it to a job **moves** it there, without copying; the job may give it back
/// as its result. It is lost with the job if that fails.
///
/// ```
/// use threeply_pools::process::{ProcessPool, SharedMut};
///
/// let pool = ProcessPool::new(2)?;
/// let mut numbers = SharedMut::<[u32]>::zeroed(1 << 20)?;
/// numbers.as_mut_slice()[0] = 6;
/// let mut numbers = pool.call(
///     |mut numbers: SharedMut<[u32]>| {
///         numbers.as_mut_slice()[0] *= 7;
///         numbers
///     },
///     numbers,
/// )??;
/// assert_eq!(numbers.as_mut_slice()[0], 42);
/// let numbers = numbers.into_shared()?; // From here on it never changes.
/// assert_eq!(numbers[0], 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SharedMut<S: ?Sized> {
    /// `None` once it has been moved to another process.
    owned: Mutex<Option<Region>>,
    len: usize,
    slice: PhantomData<S>,
}

impl<T: Plain> SharedMut<[T]> {
    /// `len` values whose bytes are all zero. Memory is used as it is written.
    ///
    /// # Errors
    /// The kernel's: memory, address space or descriptors have run out.
    pub fn zeroed(len: usize) -> io::Result<SharedMut<[T]>> {
        let bytes = len
            .checked_mul(size_of::<T>())
            .ok_or(io::ErrorKind::OutOfMemory)?;
        SharedMut::of_file(new_file(bytes)?, len)
    }

    fn of_file(file: OwnedFd, len: usize) -> io::Result<SharedMut<[T]>> {
        let seals = SealFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GET_SEALS)?);
        let size = size_of_file(&file)?;
        let bytes = len.checked_mul(size_of::<T>());
        if bytes.is_none_or(|bytes| bytes > size) || !seals.contains(SealFlag::F_SEAL_SHRINK) {
            return Err(invalid(
                "the descriptor isn't that of a `SharedMut` of this type",
            ));
        }
        let mapping = map_file(file.as_fd(), size, true)?;
        Ok(SharedMut {
            owned: Mutex::new(Some(Region { file, mapping })),
            len,
            slice: PhantomData,
        })
    }

    /// The values. By `&mut self` also for reading, see invariant 2 in the source.
    ///
    /// # Panics
    /// If it has been serialized, and so belongs to another process.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        let len = self.len;
        let region = self
            .region()
            .expect("a SharedMut was used after it was moved to a job");
        let address = region.mapping.at(0, len * size_of::<T>());
        let address = address.expect("checked when it was made");
        // SAFETY: mapped and writable as long as `self` lives, aligned to a page;
        // every bit pattern is a `T`; nobody else has it mapped (invariant 2).
        unsafe { std::slice::from_raw_parts_mut(address.cast().as_ptr(), len) }
    }

    /// Ends the writing: from now on it never changes, and may be given to many.
    ///
    /// # Errors
    /// The kernel's, such as too little address space.
    ///
    /// # Panics
    /// As [`as_mut_slice`](SharedMut::as_mut_slice).
    pub fn into_shared(mut self) -> io::Result<Shared<[T]>> {
        let len = self.len;
        let owned = self.owned.get_mut().unwrap_or_else(PoisonError::into_inner);
        let region = owned
            .take()
            .expect("a SharedMut was used after it was moved to a job");
        drop(region.mapping); // The seal is refused while somebody could write.
        Shared::sealed(region.file, len)
    }

    fn region(&mut self) -> Option<&Region> {
        let owned = self.owned.get_mut().unwrap_or_else(PoisonError::into_inner);
        owned.as_ref()
    }
}

impl<S: ?Sized> fmt::Debug for SharedMut<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMut")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// Moves it: what stays behind can't be used any more.
///
/// # Errors
/// As for [`Shared`]; and if it has been moved already.
impl<T: Plain> Serialize for SharedMut<[T]> {
    fn serialize<W: Serializer>(&self, serializer: W) -> Result<W::Ok, W::Error> {
        let mut owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(region) = owned.as_ref() else {
            return told(Err(invalid("a SharedMut was moved to a job already")))
                .map_err(ser::Error::custom);
        };
        let file = told(region.file.try_clone()).map_err(ser::Error::custom)?;
        let index = travel::pack(file).map_err(ser::Error::custom)?;
        *owned = None; // And with it our mapping.
        drop(owned);
        (index, self.len as u64).serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for SharedMut<[T]> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharedMut<[T]>, D::Error> {
        let (index, len) = <(u32, u64)>::deserialize(deserializer)?;
        let file = travel::unpack(index).map_err(de::Error::custom)?;
        told(SharedMut::of_file(file, len as usize)).map_err(de::Error::custom)
    }
}

/// A file in memory, of at least a byte since nothing can't be mapped, that can't
/// change its size any more.
fn new_file(len: usize) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(memfd_create(c"threeply-shared", flags)?);
    file.set_len(len.max(1) as u64)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

fn size_of_file(file: &OwnedFd) -> io::Result<usize> {
    let status = nix::sys::stat::fstat(file)?;
    usize::try_from(status.st_size).map_err(io::Error::other)
}

/// Keeps the text of an error, which postcard drops.
fn told<T>(result: io::Result<T>) -> io::Result<T> {
    result.inspect_err(|error| travel::note_refusal(error.to_string()))
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
