//! What a task can wait for, in words and as data.
//!
//! *Read after* the [module](super); *next* [`super::round`], which collects these.

use std::borrow::Cow;
use std::fmt;
use std::os::fd::RawFd;
use std::panic::Location;
use std::time::Duration;

use crate::reactor::Direction;
use crate::signal::Signal;
use crate::task::TaskId;

/// Something that will wake a task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitsFor {
    /// The end of another task of the loop.
    Task(TaskId),
    /// A timer, which is due after this time.
    Timer(Duration),
    /// Something to read, or room to write, on this descriptor.
    Descriptor(RawFd, Direction),
    /// A lock, a channel or another primitive of [`crate::sync`].
    Sync(SyncWait),
    /// A call that blocks, on a thread of the [blocking pool](mod@crate::unblock).
    Call,
    /// The end of the child process with this pid.
    Child(u32),
    /// One of these signals.
    Signals(Vec<Signal>),
    /// The end of a task of this or another loop, through a
    /// [`RemoteHandle`](crate::RemoteHandle).
    Remote {
        /// The task's name, if it was given one.
        name: Option<Cow<'static, str>>,
        /// Where it was spawned.
        site: &'static Location<'static>,
    },
    /// The cancellation of a token.
    Cancellation,
    /// Something that another crate [named](super::note), such as a job of a pool.
    Other(Cow<'static, str>),
}

impl WaitsFor {
    /// For what the other variants don't know.
    pub fn other(what: impl Into<Cow<'static, str>>) -> WaitsFor {
        WaitsFor::Other(what.into())
    }
}

/// A wait for one of the primitives of [`crate::sync`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncWait {
    /// Which primitive, and which side of it.
    pub kind: SyncKind,
    /// Where the primitive's state is in memory: its name in this dump. Equal
    /// addresses in one dump are the same primitive.
    pub address: usize,
    /// Who has what is waited for, if that can be said.
    pub holder: Option<Holder>,
    /// The holder has it for itself alone, so that waiting for it is waiting for
    /// the holder. Else the holder is only who took (a part of) it last.
    pub exclusive: bool,
    /// The holder was *handed* it when its turn in the line came, and hasn't taken
    /// it into its hands yet.
    pub handed: bool,
    /// For the receiver of a channel: the task that made the only sender.
    pub sender_made_by: Option<Holder>,
    /// Numbers that help to understand: how many senders there are, say.
    pub detail: Cow<'static, str>,
}

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// A task of the loop that was dumped.
    Task(TaskId),
    /// A task of the loop that took it and has ended since: it has passed the
    /// guard on to somebody, or leaked it.
    EndedTask,
    /// A task of another loop.
    OtherLoop(u16),
    /// A thread, or a task of somebody else's executor.
    Outside,
}

/// The primitives of [`crate::sync`], each as somebody who waits sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the text of each is in `SyncKind::text`")]
pub enum SyncKind {
    Mutex,
    RwLock,
    Semaphore,
    Limiter,
    OnceCell,
    Notify,
    Event,
    Condvar,
    Barrier,
    OneshotReceive,
    OneshotClosed,
    MpscReceive,
    MpscSend,
    MpscClosed,
    BroadcastReceive,
    WatchChange,
    WatchClosed,
    QueueGet,
    QueuePut,
    QueueJoin,
}

impl SyncKind {
    /// In words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            SyncKind::Mutex => "a mutex",
            SyncKind::RwLock => "a read-write lock",
            SyncKind::Semaphore => "a permit of a semaphore",
            SyncKind::Limiter => "a token of a limiter",
            SyncKind::OnceCell => "a once-cell that is being filled",
            SyncKind::Notify => "a notification",
            SyncKind::Event => "an event",
            SyncKind::Condvar => "a condition variable",
            SyncKind::Barrier => "a barrier",
            SyncKind::OneshotReceive => "the value of a oneshot channel",
            SyncKind::OneshotClosed => "the receiver of a oneshot channel to go",
            SyncKind::MpscReceive => "a message of an mpsc channel",
            SyncKind::MpscSend => "room in an mpsc channel",
            SyncKind::MpscClosed => "the receiver of an mpsc channel to go",
            SyncKind::BroadcastReceive => "a message of a broadcast channel",
            SyncKind::WatchChange => "a change of a watch channel",
            SyncKind::WatchClosed => "the receivers of a watch channel to go",
            SyncKind::QueueGet => "an item of a queue",
            SyncKind::QueuePut => "room in a queue",
            SyncKind::QueueJoin => "the work of a queue to be done",
        }
    }

    /// Whether somebody who has all of it shuts everybody else out.
    pub(crate) fn is_lock(self) -> bool {
        matches!(
            self,
            SyncKind::Mutex | SyncKind::RwLock | SyncKind::OnceCell
        )
    }
}

/// What a primitive tells of itself to somebody who waits for it: words of wakers,
/// which [`super::round`] turns into tasks.
#[derive(Clone, Debug)]
pub struct About {
    pub(crate) kind: SyncKind,
    /// The data word of the holder's waker, or 0.
    pub(crate) holder: usize,
    pub(crate) exclusive: bool,
    pub(crate) handed: bool,
    pub(crate) sender_made_by: usize,
    pub(crate) detail: Cow<'static, str>,
}

impl About {
    /// A primitive of which nothing but its kind is known.
    pub(crate) fn new(kind: SyncKind) -> About {
        About {
            kind,
            holder: 0,
            exclusive: false,
            handed: false,
            sender_made_by: 0,
            detail: Cow::Borrowed(""),
        }
    }

    pub(crate) fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> About {
        self.detail = detail.into();
        self
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Task(id) => write!(f, "task {id}"),
            Holder::EndedTask => f.write_str("a task that has ended"),
            Holder::OtherLoop(id) => write!(f, "a task of loop {id}"),
            Holder::Outside => f.write_str("a thread, or a task of another executor"),
        }
    }
}

impl fmt::Display for SyncWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:#x}", self.kind.text(), self.address)?;
        if !self.detail.is_empty() {
            write!(f, ", {}", self.detail)?;
        }
        if let Some(holder) = self.holder {
            let how = match (self.handed, self.exclusive) {
                (true, _) => "handed to",
                (false, true) => "held by",
                (false, false) => "last taken by",
            };
            write!(f, ", {how} {holder}")?;
        }
        if let Some(maker) = self.sender_made_by {
            write!(f, ", made by {maker}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitsFor::Task(id) => write!(f, "task {id}"),
            WaitsFor::Timer(left) => write!(f, "a timer due in {left:?}"),
            WaitsFor::Descriptor(fd, Direction::Read) => write!(f, "reading descriptor {fd}"),
            WaitsFor::Descriptor(fd, Direction::Write) => write!(f, "writing descriptor {fd}"),
            WaitsFor::Sync(wait) => wait.fmt(f),
            WaitsFor::Call => f.write_str("a call on a blocking thread"),
            WaitsFor::Child(pid) => write!(f, "the end of process {pid}"),
            WaitsFor::Signals(signals) => {
                f.write_str("the signal ")?;
                for (index, signal) in signals.iter().enumerate() {
                    let joint = if index == 0 { "" } else { " or " };
                    write!(f, "{joint}{signal}")?;
                }
                Ok(())
            }
            WaitsFor::Remote { name, site } => {
                f.write_str("a remote task")?;
                if let Some(name) = name {
                    write!(f, " '{name}'")?;
                }
                write!(f, " spawned at {site}")
            }
            WaitsFor::Cancellation => f.write_str("a token to be cancelled"),
            WaitsFor::Other(what) => f.write_str(what),
        }
    }
}
