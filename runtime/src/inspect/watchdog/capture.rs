//! How a thread that is blocked is made to show its stack.
//!
//! One capture at a time in a process, in one fixed place:
//! ```text
//!          1 ask (watchdog)      2 begin (handler)      3 end (handler)
//!   IDLE ────────────────▶ ASKED ────────────────▶ TAKING ─────────▶ DONE
//!    ▲                       │ 5 withdraw, if no answer comes         │
//!    └───────────────────────┴────────────────────────────────────────┘
//!                                        4 take (watchdog)
//! ```
//! Invariant: in ASKED nobody touches the place; in TAKING the handler alone, which
//! got there by a compare-and-exchange; in all other states the watchdog that holds
//! `ONE`. A late signal, after a withdrawal, finds IDLE and does nothing; one that
//! finds another's ASKED compares its thread's number and does nothing either.
//!
//! The states are atomics of the standard library and not of the switch file: the
//! other side is a signal handler, which models can't run.

#![allow(unsafe_code)] // A signal handler and the place that it writes to.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::machine::{self, REGISTERS, STACK_POINTER};
use super::memory;
use crate::limits::{WATCHDOG_SIGNAL_PATIENCE, WATCHDOG_STACK_BYTES};

const IDLE: u32 = 0;
const ASKED: u32 = 1;
const TAKING: u32 = 2;
const DONE: u32 = 3;

static STATE: AtomicU32 = AtomicU32::new(IDLE);
/// The kernel's number of the thread that is asked.
static WHOM: AtomicI32 = AtomicI32::new(0);
static ONE: Mutex<()> = Mutex::new(());
static PLACE: Place = Place(UnsafeCell::new(Taken {
    registers: [0; REGISTERS],
    length: 0,
    stack: [0; WATCHDOG_STACK_BYTES],
}));

struct Place(UnsafeCell<Taken>);

// SAFETY: by the invariant of the module one thread at a time touches it.
unsafe impl Sync for Place {}

struct Taken {
    registers: [u64; REGISTERS],
    length: usize,
    stack: [u8; WATCHDOG_STACK_BYTES],
}

/// What a thread has shown of itself.
#[derive(Debug)]
pub struct Captured {
    /// By the numbers of unwind tables.
    pub registers: [u64; REGISTERS],
    /// From the stack pointer on.
    pub stack: Vec<u8>,
}

/// A thread that can be asked.
#[derive(Debug)]
pub struct Victim {
    thread: i32,
}

impl Victim {
    /// The thread that calls this.
    #[must_use]
    pub fn this_thread() -> Victim {
        Victim {
            thread: this_thread(),
        }
    }
}

fn this_thread() -> i32 {
    // SAFETY: asks for nothing and can't fail.
    unsafe { libc::gettid() }
}

/// The last but one: the last ones are the least likely to be in use.
fn signal() -> c_int {
    libc::SIGRTMAX() - 1
}

/// Runs on the thread that is asked, between any two of its instructions. Takes no
/// lock, allocates nothing, and leaves `errno` as it was.
extern "C" fn handler(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: returns the address of this thread's errno, which is always valid.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    // Acquire, with the Release of `ask`: who finds ASKED sees whom.
    if STATE.load(Ordering::Acquire) == ASKED
        && WHOM.load(Ordering::Relaxed) == this_thread()
        && STATE
            .compare_exchange(ASKED, TAKING, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    {
        // SAFETY: the kernel gives a handler with SA_SIGINFO the context.
        let context = unsafe { &*context.cast::<libc::ucontext_t>() };
        // SAFETY: the invariant of the module: this is TAKING.
        let place = unsafe { &mut *PLACE.0.get() };
        place.registers = machine::registers(context);
        let stack_pointer = place.registers[STACK_POINTER] as usize;
        // Where the stack ends, the kernel reads less, or nothing of the rest.
        place.length = memory::read_into(stack_pointer, &mut place.stack).unwrap_or(0);
        STATE.store(DONE, Ordering::Release); // Partner: the Acquire of `capture`.
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// Installs the handler, unless the program uses the signal.
fn install() -> Result<(), String> {
    let mut former = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: only asks, and writes to `former`.
    let asked = unsafe { libc::sigaction(signal(), ptr::null(), former.as_mut_ptr()) };
    if asked != 0 {
        return Err(io::Error::last_os_error().to_string());
    }
    // SAFETY: written by the kernel; all zeroes is valid too.
    let former = unsafe { former.assume_init() };
    let ours = handler as extern "C" fn(_, _, _) as usize;
    if former.sa_sigaction == ours {
        return Ok(());
    }
    if former.sa_sigaction != libc::SIG_DFL {
        return Err(format!(
            "the program has a handler of its own for signal {}, which the watchdog would use",
            signal()
        ));
    }
    // SAFETY: a plain structure of C, for which all zeroes is valid.
    let mut action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
    action.sa_sigaction = ours;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: the handler keeps to what handlers may do, see there.
    match unsafe { libc::sigaction(signal(), &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().to_string()),
    }
}

/// Has the thread show itself.
///
/// # Errors
/// In words, why it couldn't.
pub fn capture(victim: &Victim) -> Result<Captured, String> {
    if !machine::CAN_UNWIND {
        return Err("stacks can be unwound on x86-64 only".into());
    }
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    install()?;
    WHOM.store(victim.thread, Ordering::Relaxed);
    STATE.store(ASKED, Ordering::Release); // Transition 1.
    let process = nix::unistd::getpid().as_raw();
    // SAFETY: sends a signal that has a handler; if the thread is gone, an error.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, victim.thread, signal()) };
    let began = Instant::now();
    while sent == 0 && began.elapsed() < WATCHDOG_SIGNAL_PATIENCE {
        if STATE.load(Ordering::Acquire) == DONE {
            break;
        }
        thread::sleep(Duration::from_micros(100));
    }
    // Transition 5, in vain if the handler has begun; then it ends soon.
    if STATE
        .compare_exchange(ASKED, IDLE, Ordering::Relaxed, Ordering::Relaxed)
        .is_ok()
    {
        return Err("the thread doesn't take signals".into());
    }
    while STATE.load(Ordering::Acquire) != DONE {
        thread::sleep(Duration::from_micros(100));
    }
    // SAFETY: the invariant of the module: this is DONE, and we hold `ONE`.
    let place = unsafe { &*PLACE.0.get() };
    let captured = Captured {
        registers: place.registers,
        stack: place.stack[..place.length].to_vec(),
    };
    STATE.store(IDLE, Ordering::Relaxed); // Transition 4.
    match captured.stack.is_empty() {
        true => Err("the kernel refuses to read the stack (process_vm_readv)".into()),
        false => Ok(captured),
    }
}
