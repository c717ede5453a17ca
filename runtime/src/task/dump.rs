//! All tasks of a loop, and what they wait for: the answer to "why does it hang?".
//!
//! Nothing is recorded while the loop runs. The slab is a list of all tasks, and a
//! waker is a number that can be read: so whoever holds a task's number is what
//! the task waits for. The dump walks the timers, the watched descriptors and the
//! joiners of tasks, and looks whose number each of them holds.
//!
//! A task that waits for a lock, a channel or another thread shows nothing, nor
//! does one that waits inside a combinator that gives its children wakers of their
//! own: those numbers are in places that the loop doesn't know.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::os::fd::RawFd;
use std::panic::Location;
use std::task::Waker;
use std::time::Duration;

use super::TaskId;
use super::cell::{Stage, TaskRef};
use super::waker::id_of;
use crate::event_loop::Core;
use crate::reactor::Direction;

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It is being polled.
    Running,
    /// It was woken, and waits for its poll.
    Ready,
    /// It waits for a wake.
    Parked,
}

/// Something that will wake a task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitsFor {
    /// The end of another task.
    Task(TaskId),
    /// A timer, which is due after this time.
    Timer(Duration),
    /// Something to read, or room to write, on this descriptor.
    Descriptor(RawFd, Direction),
}

/// A task, as a dump shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Its number.
    pub id: TaskId,
    /// Its name, if it was given one.
    pub name: Option<Cow<'static, str>>,
    /// Where it was spawned; for the main future, where `block_on` was called.
    pub site: &'static Location<'static>,
    /// What it is doing.
    pub state: TaskState,
    /// What is going to wake it, as far as the loop knows.
    pub waits_for: Vec<WaitsFor>,
}

impl TaskInfo {
    pub(crate) fn of(task: &TaskRef, is_queued: bool) -> TaskInfo {
        TaskInfo {
            id: task.id(),
            name: task.name(),
            site: task.site(),
            state: match task.stage() {
                Stage::Running => TaskState::Running,
                _ if is_queued => TaskState::Ready,
                _ => TaskState::Parked,
            },
            waits_for: Vec::new(),
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitsFor::Task(id) => write!(f, "task {id}"),
            WaitsFor::Timer(left) => write!(f, "a timer due in {left:?}"),
            WaitsFor::Descriptor(fd, Direction::Read) => write!(f, "reading descriptor {fd}"),
            WaitsFor::Descriptor(fd, Direction::Write) => write!(f, "writing descriptor {fd}"),
        }
    }
}

impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " '{name}'")?;
        }
        let state = match self.state {
            TaskState::Running => "running",
            TaskState::Ready => "ready",
            TaskState::Parked => "parked",
        };
        write!(f, ", {state}, spawned at {}", self.site)?;
        for (index, what) in self.waits_for.iter().enumerate() {
            let joint = if index == 0 { ", waits for" } else { " or" };
            write!(f, "{joint} {what}")?;
        }
        Ok(())
    }
}

impl Core {
    /// All tasks, oldest first.
    pub(crate) fn tasks(&self) -> Vec<TaskInfo> {
        let mut tasks: Vec<TaskInfo> = Vec::new();
        // From the numbers in wakers to places in `tasks`.
        let mut by_wake_id = HashMap::new();
        let mut joins = Vec::new();
        self.each_task(|task, is_queued| {
            by_wake_id.insert(task.wake_id().0, tasks.len());
            tasks.push(TaskInfo::of(task, is_queued));
            joins.extend(task.joiner().map(|joiner| (joiner, task.id())));
        });
        let mut tell = |wake_id: u64, what: WaitsFor| {
            if let Some(&index) = by_wake_id.get(&wake_id) {
                tasks[index].waits_for.push(what);
            }
        };
        for (joiner, task) in joins {
            tell(joiner.0, WaitsFor::Task(task));
        }
        self.each_timer(|left, waker: &Waker| {
            if let Some(id) = id_of(waker) {
                tell(id.0, WaitsFor::Timer(left));
            }
        });
        self.each_descriptor(|fd, direction, waker| {
            if let Some(id) = id_of(waker) {
                tell(id.0, WaitsFor::Descriptor(fd, direction));
            }
        });
        tasks.sort_unstable_by_key(|task| task.id);
        tasks
    }
}
