//! What can be told: every kind of event, what it means, and which function of
//! ours tells it.
//!
//! Read before: [`super::gate`]. Next: [`super::record`].
//!
//! A kind is told in one file, by one function (a test looks that it is so). The
//! line comes with the event itself. So the trace is a map of the code: each
//! event leads to the place that made it.

/// What an event is about, for colours and filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Tasks of an event loop.
    Task,
    /// The loop itself.
    Loop,
    /// Timers.
    Time,
    /// Descriptors.
    Io,
    /// Locks and channels.
    Sync,
    /// Thread pools.
    Pool,
    /// Processes.
    Process,
    /// What the program itself tells.
    Program,
}

impl Group {
    /// Its name in documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Group::Task => "task",
            Group::Loop => "loop",
            Group::Time => "time",
            Group::Io => "io",
            Group::Sync => "sync",
            Group::Pool => "pool",
            Group::Process => "process",
            Group::Program => "program",
        }
    }
}

/// Whether an event takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// It has no length.
    Instant,
    /// It lasts until the event of this kind on the same thread.
    Span(Kind),
    /// It ends a span.
    End,
}

/// What is known of a kind.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// What documents call it.
    pub name: &'static str,
    /// What it is about.
    pub group: Group,
    /// Whether it takes time.
    pub shape: Shape,
    /// The file that tells it, from the top of the repository.
    pub file: &'static str,
    /// The function there.
    pub function: &'static str,
    /// What it means, in a line.
    pub what: &'static str,
}

/// A kind of event.
///
/// The two numbers that come with each are noted as `(a, b)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// A task was made (its number, its spawn site's key).
    Spawn = 1,
    /// A task has a name (its number, the name's key).
    Named,
    /// The loop polls a task (its number, its wake id).
    Poll,
    /// The poll is over (the task's number, 1 if the task has ended).
    PollEnd,
    /// A task was woken on its loop's thread (its wake id, 0 if that queued it, 1
    /// if it was queued already or gone).
    Wake,
    /// A task was woken from another thread (its wake id, 0).
    WakeElsewhere,
    /// The loop takes in such a wake (the wake id without its generation, as for
    /// `Wake`).
    Collected,
    /// The loop sleeps (its id, the deadline on its clock or `u64::MAX`).
    Park,
    /// The loop goes on (0, 0).
    ParkEnd,
    /// The loop makes a call that another thread has left (0, 0).
    Mail,
    /// A timer was armed (the wake id of who waits or 0, the deadline in ns).
    TimerSet,
    /// A timer's time has come (as for `TimerSet`, the time in ns).
    TimerFired,
    /// A timer was taken back before its time (as for `TimerSet`).
    TimerCancelled,
    /// A descriptor may be worth trying again (its number, 0 to read, 1 to write).
    Ready,
    /// A line or channel tells something for the first time in the session (its
    /// address, the key of the place that made it, plus 1 if it is a channel).
    Made,
    /// Somebody stands in line for a lock, permits, room (the line's address, 0).
    TurnWait,
    /// The first in a line gets its turn (the line's address, 1 if all are let go).
    TurnGrant,
    /// A value went into a channel (the channel's address, 1).
    Send,
    /// Values came out of a channel (the channel's address, how many).
    Receive,
    /// The value went into a oneshot channel (the channel's address, 1).
    OneshotSend,
    /// It came out (the channel's address, 1).
    OneshotReceive,
    /// A watch channel got a new value (the channel's address, its version).
    WatchSend,
    /// A receiver has seen that its value is new (the channel's address, its version).
    WatchSeen,
    /// A value went into a broadcast channel (the channel's address, the value's
    /// number).
    BroadcastSend,
    /// A receiver took it (as for `BroadcastSend`).
    BroadcastReceive,
    /// An item went into a queue (the queue's address, which items it gives first: 1
    /// the oldest, 2 the newest, 0 others).
    QueuePut,
    /// An item came out of a queue (as for `QueuePut`).
    QueueGet,
    /// A job was pushed onto its thread's deque (its address, the lane).
    JobPush,
    /// A job came from outside into the injector (its address, the scope's tag).
    JobInject,
    /// A job was left for one thread, by `broadcast` (its address, the lane).
    JobPost,
    /// A job was taken from the injector (its address, the lane).
    JobTake,
    /// A job was stolen (its address, thief's lane in the upper half, victim's in
    /// the lower).
    JobSteal,
    /// A job runs (its address, the lane).
    JobRun,
    /// It has ended (its address, 0).
    JobRunEnd,
    /// A fork was offered to thieves (its address, its position).
    Promote,
    /// A fork was stolen (as `JobSteal`).
    ForkSteal,
    /// A stolen fork runs (its address, the lane).
    ForkRun,
    /// It has ended (its address, 0).
    ForkRunEnd,
    /// A stolen fork's outcome is there (its address, its owner's lane).
    LatchSet,
    /// The owner of a stolen fork waits for it (its address, the owner's lane).
    LatchWait,
    /// It needn't wait any more (the fork's address, 1 if it was handed back).
    LatchWaitEnd,
    /// A thread sleeps (the address of its parker, 0).
    ThreadPark,
    /// It goes on (the address of its parker, 0).
    ThreadParkEnd,
    /// A sleeping thread is woken (the address of its parker, 0).
    Unpark,
    /// A blocking call was handed to the loop's blocking pool (its address, 0).
    BlockingPush,
    /// A blocking call runs (its address, 0).
    BlockingRun,
    /// It has returned (its address, 0).
    BlockingRunEnd,
    /// A process is being started: fork and exec (0, 0).
    ProcessStart,
    /// Its program runs (its process id, 0), or could not be started (0, 0).
    ProcessStartEnd,
    /// A child has ended and was reaped (its process id, how: exit code, or
    /// signal + 2^32).
    ProcessExit,
    /// A worker has said hello (its process id, 0).
    WorkerReady,
    /// A worker is counted as dead (its process id, jobs that go back unrun).
    WorkerDeath,
    /// A frame of jobs was written for a worker (its process id + the count << 32,
    /// the first job's number).
    FrameOut,
    /// A worker found it (as for `FrameOut`).
    FrameIn,
    /// A worker runs a job, which it has claimed (its process id, the job's number).
    ProcessRun,
    /// The job has returned, or panicked (as for `ProcessRun`).
    ProcessRunEnd,
    /// A worker published a reply (as for `ProcessRun`).
    ReplyOut,
    /// The parent settles it (as for `ProcessRun`).
    ReplyIn,
    /// The program does something that it has a name for (the name's key, the site's).
    Span,
    /// It has done it (the name's key, 0).
    SpanEnd,
}

use Group::{Io, Loop, Pool, Process, Program, Sync, Task, Time};
use Shape::{End, Instant, Span};

const TURN: &str = "runtime/src/event_loop/turn.rs";
const LANE: &str = "pools/src/thread/lane.rs";
const FORK: &str = "pools/src/thread/fork.rs";
const PARKER: &str = "pools/src/thread/parker.rs";
const SERVE: &str = "pools/src/process/worker/serve.rs";
const ONESHOT: &str = "runtime/src/sync/oneshot.rs";
const WATCH: &str = "runtime/src/sync/watch.rs";
const BROADCAST: &str = "runtime/src/sync/broadcast.rs";
const QUEUE: &str = "runtime/src/sync/queue.rs";
const SPAN: &str = "runtime/src/trace/span.rs";
const SETTLE: &str = "pools/src/process/state/settle.rs";

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 60] = {
        use Kind::*;
        [
            Spawn,
            Named,
            Poll,
            PollEnd,
            Wake,
            WakeElsewhere,
            Collected,
            Park,
            ParkEnd,
            Mail,
            TimerSet,
            TimerFired,
            TimerCancelled,
            Ready,
            Made,
            TurnWait,
            TurnGrant,
            Send,
            Receive,
            OneshotSend,
            OneshotReceive,
            WatchSend,
            WatchSeen,
            BroadcastSend,
            BroadcastReceive,
            QueuePut,
            QueueGet,
            JobPush,
            JobInject,
            JobPost,
            JobTake,
            JobSteal,
            JobRun,
            JobRunEnd,
            Promote,
            ForkSteal,
            ForkRun,
            ForkRunEnd,
            LatchSet,
            LatchWait,
            LatchWaitEnd,
            ThreadPark,
            ThreadParkEnd,
            Unpark,
            BlockingPush,
            BlockingRun,
            BlockingRunEnd,
            ProcessStart,
            ProcessStartEnd,
            ProcessExit,
            WorkerReady,
            WorkerDeath,
            FrameOut,
            FrameIn,
            ProcessRun,
            ProcessRunEnd,
            ReplyOut,
            ReplyIn,
            Kind::Span,
            SpanEnd,
        ]
    };

    /// The kind with this number, if there is one: a record of a process that was
    /// killed while it wrote may hold anything.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Kind> {
        let index = usize::from(number).checked_sub(1)?;
        Kind::ALL.get(index).copied()
    }

    /// What is known of it.
    #[must_use]
    #[rustfmt::skip] // A table.
    pub fn about(self) -> About {
        let about = |name, group, shape, file, function, what| About {
            name, group, shape, file, function, what,
        };
        match self {
            Kind::Spawn => about("spawn", Task, Instant, "runtime/src/event_loop/core.rs", "tell_of_spawn", "a task is made and queued for its first poll"),
            Kind::Named => about("named", Task, Instant, "runtime/src/trace/names.rs", "name_task", "a task was given a name"),
            Kind::Poll => about("poll", Task, Span(Kind::PollEnd), TURN, "begin_traced", "the loop runs a task until it has to wait or ends"),
            Kind::PollEnd => about("poll end", Task, End, TURN, "end_traced", "the task waits or has ended"),
            Kind::Wake => about("wake", Task, Instant, "runtime/src/task/slab.rs", "tell_of_wake", "a task is put into the run queue, by code on its loop's thread"),
            Kind::WakeElsewhere => about("wake elsewhere", Task, Instant, "runtime/src/task/waker.rs", "wake_elsewhere", "a task is woken from a thread that isn't its loop's"),
            Kind::Collected => about("wake collected", Task, Instant, "runtime/src/task/slab.rs", "wake_place", "the loop finds a wake from another thread and queues the task"),
            Kind::Park => about("sleep", Loop, Span(Kind::ParkEnd), "runtime/src/event_loop/sleeper.rs", "sleep", "nothing is ready: the loop sleeps in epoll"),
            Kind::ParkEnd => about("sleep end", Loop, End, "runtime/src/reactor/mod.rs", "poll", "a descriptor, a deadline or another thread ends the sleep"),
            Kind::Mail => about("mail", Loop, Instant, TURN, "answer_mail", "the loop makes a call that another thread has left for it"),
            Kind::TimerSet => about("timer set", Time, Instant, "runtime/src/time/driver.rs", "insert", "a timer is armed"),
            Kind::TimerFired => about("timer fired", Time, Instant, TURN, "fire_timers", "a deadline has come; who waits for it is woken"),
            Kind::TimerCancelled => about("timer cancelled", Time, Instant, "runtime/src/time/driver.rs", "cancel", "a timer is taken back before its time has come"),
            Kind::Ready => about("ready", Io, Instant, "runtime/src/reactor/source.rs", "tell_of_event", "epoll says that a descriptor may be tried again, which wasn't known, or somebody waits for"),
            Kind::Made => about("made", Sync, Instant, "runtime/src/trace/origin.rs", "tell", "a lock or channel is heard of for the first time; its site is where it was made"),
            Kind::TurnWait => about("wait for turn", Sync, Instant, "runtime/src/sync/wait_queue.rs", "join", "a task joins a line: for a lock, for permits, for room, for a value"),
            Kind::TurnGrant => about("turn granted", Sync, Instant, "runtime/src/sync/wait_queue.rs", "take_front", "the first in a line gets what it waits for"),
            Kind::Send => about("send", Sync, Instant, "runtime/src/sync/mpsc.rs", "append", "a value goes into a channel"),
            Kind::Receive => about("receive", Sync, Instant, "runtime/src/sync/mpsc/receiver.rs", "take", "a value (or all there are) comes out of a channel"),
            Kind::OneshotSend => about("send once", Sync, Instant, ONESHOT, "send", "the value goes into a channel for one value"),
            Kind::OneshotReceive => about("receive once", Sync, Instant, ONESHOT, "try_recv", "the value comes out of a channel for one value"),
            Kind::WatchSend => about("set", Sync, Instant, WATCH, "replace", "a watch channel gets a new value, which all its receivers may look at"),
            Kind::WatchSeen => about("seen", Sync, Instant, WATCH, "see", "a receiver of a watch channel has seen that the value is new"),
            Kind::BroadcastSend => about("broadcast", Sync, Instant, BROADCAST, "push", "a value goes into a channel whose receivers get it each"),
            Kind::BroadcastReceive => about("receive broadcast", Sync, Instant, BROADCAST, "try_recv", "one receiver of a broadcast channel takes the next value"),
            Kind::QueuePut => about("put", Sync, Instant, QUEUE, "push", "an item goes into a queue"),
            Kind::QueueGet => about("get", Sync, Instant, QUEUE, "pop", "an item comes out of a queue"),
            Kind::JobPush => about("push", Pool, Instant, LANE, "push_job", "a job goes onto its thread's own deque"),
            Kind::JobInject => about("inject", Pool, Instant, "pools/src/thread/registry.rs", "inject", "a job comes in from outside the pool"),
            Kind::JobPost => about("post", Pool, Instant, "pools/src/thread/staff.rs", "post_to_all", "a job is left for one particular thread"),
            Kind::JobTake => about("take", Pool, Instant, LANE, "steal_injected", "a thread takes a job that came from outside"),
            Kind::JobSteal => about("steal job", Pool, Instant, LANE, "tell_of_steal", "an idle thread takes the oldest job of another"),
            Kind::JobRun => about("job", Pool, Span(Kind::JobRunEnd), "pools/src/thread/job.rs", "run", "a thread runs a job"),
            Kind::JobRunEnd => about("job end", Pool, End, "pools/src/thread/job.rs", "run", "the job has returned or panicked"),
            Kind::Promote => about("promote", Pool, Instant, "pools/src/thread/fork_stack.rs", "promote", "the oldest fork is offered to thieves, because somebody is hungry"),
            Kind::ForkSteal => about("steal fork", Pool, Instant, LANE, "steal_fork", "an idle thread, or one that waits for a thief, takes an offered fork"),
            Kind::ForkRun => about("fork", Pool, Span(Kind::ForkRunEnd), FORK, "run_stolen", "a thief runs the fork that it took"),
            Kind::ForkRunEnd => about("fork end", Pool, End, FORK, "run_stolen", "the fork has returned or panicked"),
            Kind::LatchSet => about("latch set", Pool, Instant, FORK, "run", "a fork's outcome is there for its owner"),
            Kind::LatchWait => about("wait for thief", Pool, Span(Kind::LatchWaitEnd), FORK, "wait_for_thief", "the owner of a stolen fork helps its thief, or sleeps, until the fork is done"),
            Kind::LatchWaitEnd => about("wait end", Pool, End, FORK, "wait_for_thief", "the fork is done, or was handed back"),
            Kind::ThreadPark => about("park", Pool, Span(Kind::ThreadParkEnd), PARKER, "falls_asleep", "a thread has nothing to do and sleeps"),
            Kind::ThreadParkEnd => about("park end", Pool, End, PARKER, "wakes_up", "the thread was woken"),
            Kind::Unpark => about("unpark", Pool, Instant, PARKER, "unpark", "a sleeping thread is woken"),
            Kind::BlockingPush => about("unblock", Pool, Instant, "runtime/src/unblock.rs", "push", "a blocking call is handed to a thread of the blocking pool"),
            Kind::BlockingRun => about("blocking call", Pool, Span(Kind::BlockingRunEnd), "runtime/src/unblock.rs", "work", "a thread of the blocking pool makes a call that may block"),
            Kind::BlockingRunEnd => about("blocking call end", Pool, End, "runtime/src/unblock.rs", "work", "the call has returned or panicked"),
            Kind::ProcessStart => about("start process", Process, Span(Kind::ProcessStartEnd), "runtime/src/sys/spawn/start.rs", "start", "fork and exec: a program is started"),
            Kind::ProcessStartEnd => about("process started", Process, End, "runtime/src/sys/spawn/start.rs", "start", "the program runs, or could not be started"),
            Kind::ProcessExit => about("process exit", Process, Instant, "runtime/src/sys/pidfd.rs", "wait", "a child has ended and is reaped"),
            Kind::WorkerReady => about("worker ready", Process, Instant, SETTLE, "greet", "a worker has said hello"),
            Kind::WorkerDeath => about("worker gone", Process, Instant, "pools/src/process/state/recall.rs", "bury", "accounts are settled with a worker that has ended"),
            Kind::FrameOut => about("frame out", Process, Instant, "pools/src/process/state/send.rs", "send", "the pool writes jobs into a worker's ring"),
            Kind::FrameIn => about("frame in", Process, Instant, SERVE, "next", "the worker finds the jobs in its ring"),
            Kind::ProcessRun => about("process job", Process, Span(Kind::ProcessRunEnd), SERVE, "run", "the worker has claimed a job and runs it"),
            Kind::ProcessRunEnd => about("process job end", Process, End, SERVE, "run", "the job has returned or panicked; its reply is written"),
            Kind::ReplyOut => about("reply out", Process, Instant, "pools/src/process/worker/reply.rs", "publish", "the worker publishes a reply"),
            Kind::ReplyIn => about("reply in", Process, Instant, SETTLE, "settle", "the pool settles a reply with who waits for it"),
            Kind::Span => about("span", Program, Span(Kind::SpanEnd), SPAN, "span_begins", "the program does what it calls so"),
            Kind::SpanEnd => about("span end", Program, End, SPAN, "drop", "it has done it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_numbered_as_they_are_listed() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index + 1, "{kind:?}");
            assert_eq!(Kind::from_number(kind as u8), Some(kind));
        }
        assert_eq!(Kind::from_number(0), None);
        assert_eq!(Kind::from_number(Kind::ALL.len() as u8 + 1), None);
    }

    #[test]
    fn every_span_has_an_end_of_its_own() {
        let ends: Vec<Kind> = Kind::ALL
            .into_iter()
            .filter_map(|kind| match kind.about().shape {
                Shape::Span(end) => Some(end),
                _ => None,
            })
            .collect();
        for kind in Kind::ALL {
            let times = ends.iter().filter(|end| **end == kind).count();
            assert_eq!(
                times,
                usize::from(kind.about().shape == Shape::End),
                "{kind:?}"
            );
        }
    }
}
