//! All tasks of a loop, as far as that can be seen from outside of them.
//!
//! The slab is a list of all tasks, and a waker is a number that can be read: so
//! whoever holds a task's number is what the task waits for. The snapshot walks the
//! timers, the watched descriptors and the joiners of tasks, and looks whose number
//! each of them holds.
//!
//! A lock or a channel is no place that the loop knows: there the task itself has
//! to be asked, which is what [`crate::inspect`] does.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::task::Waker;

use super::TaskId;
use super::cell::{Stage, TaskRef};
use crate::event_loop::Core;
use crate::inspect::WaitsFor;

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

/// A task, as a dump shows it.
///
/// It has no age in seconds, since that would cost a reading of the clock at each
/// spawn; but numbers are given out upwards, so among the tasks of a loop the lower
/// number is the older task.
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
    /// The word in its wakers.
    pub(crate) word: usize,
    /// What is going to wake it: any of these. All of it in a [dump](crate::inspect),
    /// else only timers, descriptors and other tasks.
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
            word: task.wake_id().0 as usize,
            waits_for: Vec::new(),
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

/// The tasks of a loop at one moment, and how they can be found.
pub(crate) struct Snapshot {
    tasks: Vec<TaskInfo>,
    /// From words in wakers to places in `tasks`.
    by_word: HashMap<usize, usize>,
    by_id: HashMap<TaskId, usize>,
}

impl Snapshot {
    /// The task that a waker with this word wakes.
    pub(crate) fn find(&self, word: usize) -> Option<TaskId> {
        let index = *self.by_word.get(&word)?;
        Some(self.tasks[index].id)
    }

    /// Adds words of wakers that wake a task in a roundabout way.
    pub(crate) fn add_aliases(&mut self, aliases: &[(usize, usize)]) {
        for (word, task) in aliases {
            if let Some(&index) = self.by_word.get(task) {
                self.by_word.insert(*word, index);
            }
        }
    }

    /// What a task waits for, or one thing of several.
    pub(crate) fn add(&mut self, task: TaskId, what: WaitsFor) {
        if let Some(&index) = self.by_id.get(&task) {
            let waits_for = &mut self.tasks[index].waits_for;
            if !waits_for.contains(&what) {
                waits_for.push(what);
            }
        }
    }

    fn add_by_word(&mut self, word: usize, what: WaitsFor) {
        if let Some(task) = self.find(word) {
            self.add(task, what);
        }
    }

    /// The tasks, oldest first.
    pub(crate) fn into_tasks(self) -> Vec<TaskInfo> {
        let mut tasks = self.tasks;
        tasks.sort_unstable_by_key(|task| task.id);
        tasks
    }
}

impl Core {
    /// All tasks, oldest first, without asking them.
    pub(crate) fn tasks(&self) -> Vec<TaskInfo> {
        let mut snapshot = self.snapshot();
        self.look_who_holds_numbers(&mut snapshot);
        snapshot.into_tasks()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            tasks: Vec::new(),
            by_word: HashMap::new(),
            by_id: HashMap::new(),
        };
        self.each_task(|task, is_queued| {
            let index = snapshot.tasks.len();
            snapshot.by_word.insert(task.wake_id().0 as usize, index);
            snapshot.by_id.insert(task.id(), index);
            snapshot.tasks.push(TaskInfo::of(task, is_queued));
        });
        snapshot
    }

    /// Finds the tasks whose numbers are held by other tasks, timers, descriptors.
    pub(crate) fn look_who_holds_numbers(&self, snapshot: &mut Snapshot) {
        self.each_task(|task, _| {
            if let Some(joiner) = task.joiner() {
                snapshot.add_by_word(joiner, WaitsFor::Task(task.id()));
            }
        });
        self.each_timer(|left, waker: &Waker| {
            snapshot.add_by_word(waker.data().addr(), WaitsFor::Timer(left));
        });
        self.each_descriptor(|fd, direction, waker| {
            snapshot.add_by_word(waker.data().addr(), WaitsFor::Descriptor(fd, direction));
        });
    }
}
