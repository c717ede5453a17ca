//! The call itself: bytes in, a function, bytes out.
//!
//! A job is `fn(A) -> R` and an argument. The worker knows neither `A` nor `R`:
//! it gets the address of `run::<A, R>`, which does. The two addresses,
//! trampoline and function, cross as offsets ([`super::text`]).
//!
//! `fn(A) -> R` takes function items and closures that capture nothing; for a
//! closure that captures, the compiler says so itself at the `submit`. What a
//! closure would have captured goes into the argument.
//!
//! Read before this: [`super::text`] and [`super::codec`]. Read after it:
//! [`super::worker`].
#![allow(unsafe_code)] // turns addresses back into function pointers

use crate::ipc::travel::{self, Baggage};
use crate::process::codec::{CodecError, check_baggage, decode};
use crate::process::sink::Sink;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::os::fd::OwnedFd;

/// How a call went. A panic of the function unwinds instead.
#[derive(Debug)]
pub enum Ran {
    /// The result is in the sink, and this is what it has besides bytes.
    Value(Baggage),
    /// The argument couldn't be decoded; the function didn't run.
    BadArgument(CodecError),
    /// The function ran, its result couldn't be encoded.
    BadResult(CodecError),
}

/// The type of every `run`.
pub type Trampoline = unsafe fn(usize, &[u8], Vec<OwnedFd>, &mut Sink<'_>) -> Ran;

/// The two addresses that name a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Address of `run::<A, R>`.
    pub trampoline: usize,
    /// Address of the function.
    pub function: usize,
}

impl Call {
    /// The addresses in this process for calling `function`.
    #[inline]
    pub fn of<A: DeserializeOwned, R: Serialize>(function: fn(A) -> R) -> Call {
        Call {
            trampoline: run::<A, R> as Trampoline as usize,
            function: function as usize,
        }
    }

    /// The addresses in this process for calling a `function` of two arguments,
    /// which cross as a pair.
    #[inline]
    pub fn of_two<A, B, R>(function: fn(A, B) -> R) -> Call
    where
        A: DeserializeOwned,
        B: DeserializeOwned,
        R: Serialize,
    {
        Call {
            trampoline: run_two::<A, B, R> as Trampoline as usize,
            function: function as usize,
        }
    }

    /// Decodes the argument, calls, and encodes the result.
    ///
    /// # Safety
    /// The addresses come from [`Call::of`] in a process of the same executable,
    /// translated by offset.
    #[inline]
    pub unsafe fn run(self, argument: &[u8], fds: Vec<OwnedFd>, result: &mut Sink<'_>) -> Ran {
        // SAFETY: the address of a function of exactly this type (the caller's
        // promise).
        let trampoline = unsafe { std::mem::transmute::<usize, Trampoline>(self.trampoline) };
        // SAFETY: both addresses were made together by `of`.
        unsafe { trampoline(self.function, argument, fds, result) }
    }
}

/// Calls the `fn(A) -> R` at address `function`.
///
/// # Safety
/// There is a function of that type at that address.
unsafe fn run<A: DeserializeOwned, R: Serialize>(
    function: usize,
    argument: &[u8],
    fds: Vec<OwnedFd>,
    result: &mut Sink<'_>,
) -> Ran {
    // SAFETY: the caller's promise.
    let function = unsafe { std::mem::transmute::<usize, fn(A) -> R>(function) };
    match travel::unpacking(fds, || decode::<A>(argument)) {
        Err(error) => Ran::BadArgument(error),
        Ok(argument) => answer(&function(argument), result),
    }
}

/// Calls the `fn(A, B) -> R` at address `function`.
///
/// # Safety
/// There is a function of that type at that address.
unsafe fn run_two<A: DeserializeOwned, B: DeserializeOwned, R: Serialize>(
    function: usize,
    argument: &[u8],
    fds: Vec<OwnedFd>,
    result: &mut Sink<'_>,
) -> Ran {
    // SAFETY: the caller's promise.
    let function = unsafe { std::mem::transmute::<usize, fn(A, B) -> R>(function) };
    match travel::unpacking(fds, || decode::<(A, B)>(argument)) {
        Err(error) => Ran::BadArgument(error),
        Ok((a, b)) => answer(&function(a, b), result),
    }
}

/// Encodes the result.
fn answer<R: Serialize>(value: &R, result: &mut Sink<'_>) -> Ran {
    let (encoded, baggage) = travel::packing(|| result.value(value));
    match encoded.and_then(|()| check_baggage(&baggage)) {
        Ok(()) => Ran::Value(baggage),
        Err(error) => Ran::BadResult(error),
    }
}
