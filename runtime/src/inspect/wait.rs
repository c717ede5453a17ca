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
    /// The end of a job on another thread: a call on a thread of the
    /// [blocking pool](mod@crate::unblock), or a job of another crate's pool.
    Job {
        /// Which job.
        job: JobId,
        /// What kind of job it is.
        what: Cow<'static, str>,
        /// Where it was begun, if that is known.
        site: Option<&'static Location<'static>>,
        /// How far it is; empty if that isn't known.
        state: Cow<'static, str>,
    },
    /// The end of the child process with this pid.
    Child(u32),
    /// One of these signals.
    Signals(Vec<Signal>),
    /// The end of a task of this or another loop, through a
    /// [`RemoteHandle`](crate::RemoteHandle).
    Remote {
        /// The task, if it has been begun.
        task: Option<TaskId>,
        /// Its loop's number, as it stands in [`Holder::OtherLoop`]; 0 before it has
        /// been begun.
        loop_id: u16,
        /// The task's name, if it was given one.
        name: Option<Cow<'static, str>>,
        /// Where it was spawned.
        site: &'static Location<'static>,
    },
    /// The cancellation of a token.
    Cancellation,
    /// Something that another crate [named](super::note).
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
    /// Who has what is waited for, as far as that is known: of a mutex, a write lock
    /// or a cell the one who has it; of permits and read locks at most
    /// [`HOLDERS_KNOWN`](crate::limits::HOLDERS_KNOWN).
    pub holders: Vec<Holder>,
    /// These are all who have it.
    pub all_known: bool,
    /// Who was *handed* it when its turn in the line came, and hasn't taken it into its
    /// hands yet. It stands among the holders too.
    pub handed_to: Option<Holder>,
    /// Who stands in front of the line, if there is something left but not enough for
    /// it: everybody waits behind it, whatever they ask for.
    pub ahead: Option<Holder>,
    /// For the sender of a bounded channel: who received from it last.
    pub receiver: Option<Holder>,
    /// For the receiver of a channel: the task that made the only sender.
    pub sender_made_by: Option<Holder>,
    /// Numbers that help to understand: how many senders there are, say.
    pub detail: Cow<'static, str>,
}

impl SyncWait {
    /// All who are named in it.
    pub(super) fn known_mut(&mut self) -> impl Iterator<Item = &mut Holder> {
        let apart = [&mut self.handed_to, &mut self.ahead, &mut self.receiver];
        self.holders.iter_mut().chain(apart.into_iter().flatten())
    }

    /// The numbers of the other loops whose tasks are named in it.
    pub(super) fn loops(&self) -> Vec<u16> {
        let apart = [&self.handed_to, &self.ahead, &self.receiver];
        let all = self.holders.iter().chain(apart.into_iter().flatten());
        all.filter_map(|holder| match holder {
            Holder::OtherLoop(id, _) => Some(*id),
            _ => None,
        })
        .collect()
    }
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
    /// A task of another loop: the loop's number, and the word in the task's waker.
    OtherLoop(u16, u64),
    /// A thread, or a task of somebody else's executor.
    Outside,
}

/// A job that runs on another thread: the address of its allocation, so the same number
/// may come again once the job is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub usize);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
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
    /// The data words of the holders' wakers.
    pub(crate) holders: Vec<usize>,
    pub(crate) all_known: bool,
    /// These, too, are data words, or 0.
    pub(crate) handed_to: usize,
    pub(crate) ahead: usize,
    pub(crate) receiver: usize,
    pub(crate) sender_made_by: usize,
    pub(crate) detail: Cow<'static, str>,
}

impl About {
    /// A primitive of which nothing but its kind is known.
    pub(crate) fn new(kind: SyncKind) -> About {
        About {
            kind,
            holders: Vec::new(),
            all_known: false,
            handed_to: 0,
            ahead: 0,
            receiver: 0,
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
            Holder::OtherLoop(id, _) => write!(f, "a task of loop {id}"),
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
        let mut joint = ", held by ";
        for holder in &self.holders {
            match self.handed_to {
                Some(to) if to == *holder => write!(f, ", handed to {holder}")?,
                _ => write!(f, "{joint}{holder}")?,
            }
            joint = " and ";
        }
        if !self.holders.is_empty() && !self.all_known {
            f.write_str(" and others")?;
        }
        if let Some(ahead) = self.ahead {
            write!(f, ", {ahead} stands in front")?;
        }
        if let Some(receiver) = self.receiver {
            write!(f, ", last received from by {receiver}")?;
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
            WaitsFor::Job {
                what, site, state, ..
            } => {
                f.write_str(what)?;
                if let Some(site) = site {
                    write!(f, ", spawned at {site}")?;
                }
                match &**state {
                    "" => Ok(()),
                    state => write!(f, ": {state}"),
                }
            }
            WaitsFor::Child(pid) => write!(f, "the end of process {pid}"),
            WaitsFor::Signals(signals) => {
                f.write_str("the signal ")?;
                for (index, signal) in signals.iter().enumerate() {
                    let joint = if index == 0 { "" } else { " or " };
                    write!(f, "{joint}{signal}")?;
                }
                Ok(())
            }
            WaitsFor::Remote {
                task, name, site, ..
            } => {
                f.write_str("remote task")?;
                if let Some(task) = task {
                    write!(f, " {task}")?;
                }
                if let Some(name) = name {
                    write!(f, " '{name}'")?;
                }
                write!(f, " spawned at {site}")?;
                match task {
                    Some(_) => Ok(()),
                    None => f.write_str(", not begun yet"),
                }
            }
            WaitsFor::Cancellation => f.write_str("a token to be cancelled"),
            WaitsFor::Other(what) => f.write_str(what),
        }
    }
}
