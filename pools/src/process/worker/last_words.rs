//! What a dying worker can still say.
//!
//! A stack overflow is a write to the guard page below the stack: SIGSEGV, like
//! any wild pointer. std tells the two apart in programs whose `main` it started;
//! a worker never gets there, so it has a handler of its own. It runs on a stack
//! of its own, stores one word in the shared memory, and lets the signal kill
//! the process as it would have.
#![allow(unsafe_code)] // a signal handler

use crate::process::page::{Mapping, Words};
use crate::switch::Ordering;
use std::io;
use std::sync::atomic::{AtomicPtr, AtomicUsize};

/// The word that a handler leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum LastWords {
    /// Nothing was said.
    None = 0,
    /// The stack of the thread that runs jobs was too small.
    StackOverflow = 1,
}

impl LastWords {
    /// Reads the word; anything unknown is nothing.
    pub fn read(words: &Words) -> LastWords {
        match words.last_words.load(Ordering::Relaxed) {
            1 => LastWords::StackOverflow,
            _ => LastWords::None,
        }
    }
}

// What the handler needs. Statics, since a handler has no arguments of ours.
static WORDS: AtomicPtr<Words> = AtomicPtr::new(std::ptr::null_mut());
static GUARD_START: AtomicUsize = AtomicUsize::new(0);
static GUARD_END: AtomicUsize = AtomicUsize::new(0);
/// The stack that it runs on, which only the kernel knows otherwise: whoever looks for leaks
/// is to find it.
static STACK: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

/// Says what there is to say in this memory, from now on.
pub fn leave_in(memory: &'static Mapping) {
    // The words stay mapped for ever: the handler may run at any time.
    let words = std::ptr::from_ref(memory.words()).cast_mut();
    WORDS.store(words, Ordering::Release);
}

/// Watches the calling thread's stack until the process ends.
///
/// # Errors
/// The kernel's, if there is no memory for the handler's stack.
pub fn watch_this_stack() -> io::Result<()> {
    let (start, end) = guard_of_this_thread()?;
    GUARD_START.store(start, Ordering::Relaxed);
    GUARD_END.store(end, Ordering::Relaxed);
    // Not written to before the handler runs: that would cost a page fault for each 4 KiB.
    let stack = Box::leak(Box::<[u8]>::new_uninit_slice(64 * 1024));
    STACK.store(stack.as_mut_ptr().cast(), Ordering::Relaxed);
    let alternative = libc::stack_t {
        ss_sp: stack.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: stack.len(),
    };
    // SAFETY: the memory is leaked, so it is there whenever the handler runs.
    if unsafe { libc::sigaltstack(&raw const alternative, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: all zeros is a valid sigaction.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler has the type that SA_SIGINFO asks for and calls
        // only what may be called in a handler.
        if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The addresses below this thread's stack that mean "overflow".
fn guard_of_this_thread() -> io::Result<(usize, usize)> {
    // SAFETY: all zeros is a valid pthread_attr_t to be filled in.
    let mut attributes: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
    // SAFETY: can't fail and touches no memory.
    let this = unsafe { libc::pthread_self() };
    // SAFETY: asks about the calling thread, which is alive.
    let failed = unsafe { libc::pthread_getattr_np(this, &raw mut attributes) };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed));
    }
    let mut start = std::ptr::null_mut();
    let (mut size, mut guard) = (0, 0);
    // SAFETY: filled in above; the pointers are to locals of the right types.
    unsafe { libc::pthread_attr_getstack(&raw const attributes, &raw mut start, &raw mut size) };
    // SAFETY: as above.
    unsafe { libc::pthread_attr_getguardsize(&raw const attributes, &raw mut guard) };
    // SAFETY: made by pthread_getattr_np, destroyed once.
    unsafe { libc::pthread_attr_destroy(&raw mut attributes) };
    // Whether the stack's start includes the guard differs between C libraries:
    // both places count.
    let guard = guard.max(4096);
    Ok((start as usize - guard, start as usize + guard))
}

extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo_t.
    let info = unsafe { &*info };
    // SAFETY: it has an address for these signals.
    let address = unsafe { info.si_addr() } as usize;
    let guard = GUARD_START.load(Ordering::Relaxed)..GUARD_END.load(Ordering::Relaxed);
    if guard.contains(&address) {
        let words = WORDS.load(Ordering::Acquire);
        // SAFETY: null, or stored by `leave_in` and mapped for ever.
        if let Some(words) = unsafe { words.as_ref() } {
            let said = LastWords::StackOverflow as u32;
            words.last_words.store(said, Ordering::Relaxed);
        }
        let text = b"a job of a threeply worker has overflowed its stack\n";
        // SAFETY: write may be called in a handler; the text is static.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    }
    // Back to what the signal does by default: the instruction is tried again
    // after the return, and kills.
    // SAFETY: signal may be called in a handler.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}
