//! Which state changes with an event, and from what to what.
//!
//! An event is told a few instructions before or after the change itself; where
//! others are told in between, the words say so.
//!
//! The names are those of the state machines in the code: a task's cell and place
//! (`runtime/src/task/`), the loop as others see it (`runtime/src/remote/mod.rs`), a
//! job's completion, forks, latches and parkers (`pools/src/thread/`), and a process
//! job's way through queue, ring and claim word (`pools/src/process/`).
//!
//! Read before: [`super::story`]. Next: [`super::page`].

use nix::sys::signal::Signal;
use threeply_runtime::trace::{Event, Kind, Trace};

use super::story::Step;

/// What changes with a step, in words; `None` for what the program tells of itself.
#[must_use]
#[rustfmt::skip] // A table.
pub fn change(trace: &Trace, step: &Step) -> Option<String> {
    let event = &trace.events()[step.event];
    let text = match (event.kind, step.is_end) {
        (Kind::Spawn, _) if is_main(trace, event) => "its place: Free → Taken, queued; its future stays on the stack of `block_on`",
        (Kind::Spawn, _) => "its place: Free → Taken, queued; its cell: new → Waiting",
        (Kind::Named, _) => "its name: none → given",
        (Kind::Poll, false) if is_main(trace, event) => "its place: queued → not queued; its future: waits → runs",
        (Kind::Poll, true) if is_main(trace, event) && event.result == 1 => "its future: runs → has ended; `block_on` returns; its place: Taken → Free",
        (Kind::Poll, true) if is_main(trace, event) => "its future: runs → waits",
        (Kind::Poll, false) => "its place: queued → not queued; its cell: Waiting → Running",
        (Kind::Poll, true) if event.result == 1 => "its cell: Running → Finished (before its joiner was woken): the future is dropped, and the output lies where it was; its place: Taken → Free",
        (Kind::Poll, true) => "its cell: Running → Waiting",
        (Kind::Wake, _) if event.b == 1 => "none",
        (Kind::Wake, _) => "its place: not queued → queued",
        (Kind::WakeElsewhere, _) => "its bit in the loop's bitmap: 0 → 1; the loop: SLEEPING or AWAKE → NOTIFIED; if it slept, its bell is rung",
        (Kind::Collected, _) => "its bit: 1 → 0; its place: not queued → queued; the loop: NOTIFIED → AWAKE",
        (Kind::Park, false) => "the loop: AWAKE → SLEEPING",
        (Kind::Park, true) => "the loop: SLEEPING → AWAKE, or NOTIFIED if another thread was faster",
        (Kind::Mail, _) => "the mailbox: emptied",
        (Kind::TimerSet, _) => "the timer: Free → Slot of the wheel, or Window if it is near",
        (Kind::TimerFired, _) => "the timer: Slot or Window → Fired",
        (Kind::Ready, _) => "the descriptor: blocked → ready",
        (Kind::TurnWait, _) => "the line: one more",
        (Kind::TurnGrant, _) => "the line: one less",
        (Kind::TimerCancelled, _) => "the timer: Slot or Window → Free",
        (Kind::Send, _) => "the channel: one value more",
        (Kind::Receive, _) => "the channel: emptied by what was taken",
        (Kind::OneshotSend, _) => "the channel: empty → has its value",
        (Kind::OneshotReceive, _) => "the channel: has its value → given",
        (Kind::WatchSend, _) => "the channel: a version more",
        (Kind::WatchSeen, _) => "the receiver: has seen this version",
        (Kind::BroadcastSend, _) => "the channel: one value more, which every receiver has to see",
        (Kind::BroadcastReceive, _) => "the value: one receiver less has to see it",
        (Kind::QueuePut, _) => "the queue: one item more",
        (Kind::QueueGet, _) => "the queue: one item less",
        (Kind::BlockingPush, _) => "the call: new → Queued",
        (Kind::BlockingRun, false) => "the call: Queued → Running",
        (Kind::BlockingRun, true) => "the call: Running → Done (before who waits for it was woken)",

        (Kind::JobInject, _) => "the job: new → WAITING, in the injector",
        (Kind::JobPush, _) => "the job: new → WAITING, on its thread's deque",
        (Kind::JobPost, _) => "the job: new → WAITING, in one thread's inbox",
        (Kind::JobTake, _) => "the job: from the injector to the thread that took it",
        (Kind::JobSteal, _) => "the job: from the victim's deque to the thief",
        (Kind::JobRun, false) => "the job: WAITING → CLAIMED",
        (Kind::JobRun, true) => "the job: CLAIMED → COMPLETE (before who waits for it was woken)",
        (Kind::Promote, _) => "the fork: UNPROMOTED (in its owner's ring) → PROMOTED (on the shared deque)",
        (Kind::ForkSteal, _) => "the fork: PROMOTED → STOLEN",
        (Kind::ForkRun, false) => "the fork's closure: taken out of its owner's stack frame",
        (Kind::ForkRun, true) => "none: since the latch is set, the fork may be gone",
        (Kind::LatchSet, _) => "the fork's outcome: none → there; its latch: not set → set",
        (Kind::LatchWait, false) => "the owner: at work → waits, or runs forks of its thief meanwhile",
        (Kind::LatchWait, true) => "the owner: waits → at work; the fork's frame may go",
        (Kind::ThreadPark, false) => "its parker: EMPTY → PARKED",
        (Kind::ThreadPark, true) => "its parker: TOKEN → EMPTY",
        (Kind::Unpark, _) => "the other's parker: PARKED → TOKEN",

        (Kind::ProcessStart, false) => "no process yet",
        (Kind::ProcessStart, true) => "the worker: none → Starting",
        (Kind::WorkerReady, _) => "the worker: Starting → Ready",
        (Kind::FrameOut, _) => "the job: queued → sent; the request ring's tail moves on",
        (Kind::FrameIn, _) => "the request ring's head moves on",
        (Kind::ProcessRun, false) => "the claim word: n → n + 1; the job: sent → claimed",
        (Kind::ProcessRun, true) => "the worker: at work → looks for the next job",
        (Kind::ReplyOut, _) => "the reply ring's tail moves on",
        (Kind::ReplyIn, _) => "the reply ring's head moves on; the job: claimed → done; its cell: Waiting → Done",
        (Kind::ProcessExit, _) => return Some(exit(event.b)),
        (Kind::WorkerDeath, _) => "the worker: → none; a job that it had claimed and not answered: claimed → failed; those that it hadn't claimed: sent → queued",
        _ => return None,
    };
    Some(text.to_owned())
}

/// Whether it is about the future of `block_on`, which has a place like a task, and
/// no cell that would hold it.
fn is_main(trace: &Trace, event: &Event) -> bool {
    let name = event
        .subject
        .and_then(|subject| trace.subjects()[subject].name.as_deref());
    name == Some("main")
}

/// How a process ended, by the numbers of [`Kind::ProcessExit`].
fn exit(how: u64) -> String {
    if how >> 32 == 0 {
        return format!("the process: zombie → reaped, with exit code {how}");
    }
    let number = how as u32 as i32;
    match Signal::try_from(number) {
        Ok(signal) => format!("the process: zombie → reaped, killed by {signal}"),
        Err(_) => format!("the process: zombie → reaped, killed by signal {number}"),
    }
}
