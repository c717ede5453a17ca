//! Which function to call, said so that another process understands it.
//!
//! Parent and worker are the same executable, but the kernel may load it at
//! different addresses. A function is therefore named by its **offset** from
//! the executable's load base. That is only meaningful for functions that lie
//! in the executable's own code: one from a shared library, or from memory that
//! was written at run time, has no fixed offset and is refused
//! ([`Text::offset_of`] gives `None`, the pool says `NotInExecutable`).
//!
//! Read before this: nothing. Read after it: [`super::trampoline`], which makes
//! the two functions whose offsets cross.
//!
//! Rejected: *names* (a symbol table may be stripped, and generic functions have
//! mangled names that nobody can look up); *conjuring the closure in the worker
//! from its zero-sized type* (it would let safe code forge values whose mere
//! existence is a proof, such as tokens); *a registry of functions that the user
//! fills in* (a line of set-up for each function, and forgotten ones fail late).
#![allow(unsafe_code)] // reads the program headers that the loader hands out

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

/// At most so many executable segments are remembered; linkers make one, some two.
const MAX_SEGMENTS: usize = 4;

/// The code of the main executable as it is loaded in this process.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    base: usize,
    segments: [(usize, usize); MAX_SEGMENTS],
    len: usize,
}

impl Text {
    /// The executable that this process runs. Looked up once.
    pub fn of_this_program() -> &'static Text {
        static TEXT: OnceLock<Text> = OnceLock::new();
        TEXT.get_or_init(Text::look_up)
    }

    fn look_up() -> Text {
        let mut text = Text {
            base: 0,
            segments: [(0, 0); MAX_SEGMENTS],
            len: 0,
        };
        // SAFETY: `first_object` matches the callback's type and only touches
        // `text`, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(first_object), (&raw mut text).cast()) };
        text
    }

    /// Where `address` lies from the load base, if it is in the executable's
    /// own code.
    #[inline]
    pub fn offset_of(&self, address: usize) -> Option<u64> {
        self.contains(address)
            .then(|| address.wrapping_sub(self.base) as u64)
    }

    /// The address in this process of what lies `offset` from the load base, if
    /// that is in the executable's own code.
    #[inline]
    pub fn address_of(&self, offset: u64) -> Option<usize> {
        let address = self.base.wrapping_add(usize::try_from(offset).ok()?);
        self.contains(address).then_some(address)
    }

    #[inline]
    fn contains(&self, address: usize) -> bool {
        self.segments[..self.len]
            .iter()
            .any(|&(start, end)| (start..end).contains(&address))
    }

    /// A number that is equal in two processes exactly when they may exchange
    /// offsets: it mixes the code's size with the place of one function in it.
    /// Compared in the handshake.
    pub fn fingerprint(&self) -> u64 {
        let anchor = self.offset_of(Text::look_up as fn() -> Text as usize);
        let size: usize = self.segments[..self.len].iter().map(|(s, e)| e - s).sum();
        (size as u64).rotate_left(32) ^ anchor.unwrap_or(u64::MAX)
    }
}

/// Called by the loader for each loaded object; the first is the executable.
extern "C" fn first_object(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    out: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes a valid `info` for the duration of the call.
    let info = unsafe { &*info };
    // SAFETY: `look_up` passed a `Text` that nobody else refers to meanwhile.
    let text = unsafe { &mut *out.cast::<Text>() };
    text.base = info.dlpi_addr as usize;
    for i in 0..usize::from(info.dlpi_phnum) {
        // SAFETY: `dlpi_phdr` points at `dlpi_phnum` program headers.
        let header = unsafe { info.dlpi_phdr.add(i) };
        // SAFETY: one of them, mapped as long as the program runs.
        let header = unsafe { &*header };
        let executable = header.p_flags & libc::PF_X != 0;
        if header.p_type == libc::PT_LOAD && executable && text.len < MAX_SEGMENTS {
            let start = text.base.wrapping_add(header.p_vaddr as usize);
            text.segments[text.len] = (start, start + header.p_memsz as usize);
            text.len += 1;
        }
    }
    1 // Not zero: stop after the first object.
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(x: u32) -> u32 {
        x + 1
    }

    #[test]
    fn a_function_of_ours_has_an_offset_that_leads_back_to_it() {
        let text = Text::of_this_program();
        let address = ours as fn(u32) -> u32 as usize;
        let offset = text.offset_of(address).expect("in the executable");
        assert_eq!(text.address_of(offset), Some(address));
    }

    #[test]
    fn a_function_of_a_shared_library_has_none() {
        // SAFETY: asks the loader for a symbol by a terminated name.
        let getpid = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"getpid".as_ptr()) } as usize;
        assert_ne!(getpid, 0);
        assert_eq!(Text::of_this_program().offset_of(getpid), None);
    }

    #[test]
    fn offsets_outside_the_code_lead_nowhere() {
        let text = Text::of_this_program();
        assert_eq!(text.address_of(u64::MAX), None);
        assert_eq!(text.address_of(1 << 40), None);
    }
}
