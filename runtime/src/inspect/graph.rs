//! Who waits for whom, and what is wrong with that.
//!
//! *Read after* [`super::round`]; *next* [`super::publish`].
//!
//! The tasks of a [`Dump`] are the nodes. A task has an edge to another if it
//! waits for its end, or for a lock that the other one holds; every other wait is an
//! *exit*, something from outside that may let it go on. So a task is **stuck** if
//! it is parked and all its waits are edges to stuck tasks; the largest such set is
//! found by striking out, as long as there are any, tasks with an exit and those
//! that wait for one that was struck out. A task that waits for two things goes on
//! when either comes (as in a `select`), so one exit is enough.
//!
//! A **cycle** is a strongly connected component (Tarjan's algorithm, without
//! recursion: a chain of waits may be as long as there are tasks). A cycle of stuck
//! tasks is a deadlock; one with an exit, a timeout around a lock say, will be left
//! sometime, and is told as what it is.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::Dump;
use super::wait::{Holder, SyncWait, WaitsFor};
use crate::limits::WHY_STEPS;
use crate::task::{TaskId, TaskInfo, TaskState};

/// Something wrong, or likely so, among the tasks of a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// These tasks wait for each other, and for nothing else: none of them will
    /// ever go on. In the order of their numbers.
    Deadlock(Vec<TaskId>),
    /// These tasks wait for each other, but at least one of them waits for
    /// something else too, a timeout perhaps.
    Cycle(Vec<TaskId>),
    /// This lock, or permit, is in the hands of a future that its own task doesn't
    /// poll: that is how a lock is held while nobody is at work under it. A
    /// `select` in a loop over a future that it keeps can lead to that, or a
    /// future that is awaited while another one, begun before, is left waiting.
    NotPolled {
        /// The task in which that future is.
        task: TaskId,
        /// The lock.
        address: usize,
    },
    /// This task waits for a message, and the only sender was made by itself. If
    /// it still has it, it waits for ever.
    OwnSender {
        /// The task.
        task: TaskId,
        /// The channel.
        address: usize,
    },
}

/// The answer of [`why`](super::why).
///
/// Its text is the chain of waits, one a line, then the findings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Why {
    /// The task that was asked about.
    pub task: TaskInfo,
    /// What it waits for, and what those wait for that it leads to, in the order of
    /// a walk in depth. At most [`WHY_STEPS`].
    pub steps: Vec<Step>,
    /// What is wrong with the tasks that are named in the steps.
    pub findings: Vec<Finding>,
}

/// One wait of one task on the way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step {
    /// How far it is from the task that was asked about, which has 0.
    pub depth: usize,
    /// Who waits.
    pub task: TaskId,
    /// For what; `None` if it is parked and says nothing, or isn't parked.
    pub waits_for: Option<WaitsFor>,
    /// Whose turn it would be.
    pub leads_to: Option<TaskId>,
    /// What is known of that task.
    pub description: String,
}

/// Whose turn it would be, for a wait of `task`.
fn leads_to(what: &WaitsFor) -> Option<TaskId> {
    match what {
        WaitsFor::Task(id) => Some(*id),
        WaitsFor::Sync(SyncWait {
            holder: Some(Holder::Task(id)),
            exclusive: true,
            ..
        }) => Some(*id),
        _ => None,
    }
}

impl Dump {
    /// What is wrong with the tasks, or likely so. O(n) in tasks and waits.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let graph = Graph::new(&self.tasks);
        let stuck = graph.stuck();
        let mut findings: Vec<Finding> = graph
            .cycles()
            .into_iter()
            .map(|places| {
                let is_stuck = places.iter().all(|place| stuck[*place]);
                let mut ids: Vec<_> = places.iter().map(|place| self.tasks[*place].id).collect();
                ids.sort_unstable();
                match is_stuck {
                    true => Finding::Deadlock(ids),
                    false => Finding::Cycle(ids),
                }
            })
            .collect();
        for task in &self.tasks {
            for what in &task.waits_for {
                let WaitsFor::Sync(wait) = what else { continue };
                if let Some(holder) = self.holder_not_polling(task, wait) {
                    let found = Finding::NotPolled {
                        task: holder,
                        address: wait.address,
                    };
                    if !findings.contains(&found) {
                        findings.push(found);
                    }
                }
                if wait.sender_made_by == Some(Holder::Task(task.id)) {
                    findings.push(Finding::OwnSender {
                        task: task.id,
                        address: wait.address,
                    });
                }
            }
        }
        findings
    }

    /// The holder of what `task` waits for, if it has it in a future that it
    /// doesn't poll.
    fn holder_not_polling(&self, task: &TaskInfo, wait: &SyncWait) -> Option<TaskId> {
        let Some(Holder::Task(id)) = wait.holder else {
            return None;
        };
        // It waits for what it holds itself: then the future that holds it is not
        // the one that was polled last. (Or the same one locks twice: it can't go
        // on to the end of its guard's life either way.)
        if id == task.id {
            return wait.exclusive.then_some(id);
        }
        // It was woken when the lock was handed to it, and has been polled since,
        // or it would be ready; but the future that waits for the lock wasn't.
        let holder = self.task(id)?;
        (wait.handed && holder.state == TaskState::Parked).then_some(id)
    }

    /// Why a task doesn't go on; `None` if it isn't among those of the dump.
    #[must_use]
    pub fn why(&self, task: TaskId) -> Option<Why> {
        let asked = self.task(task)?;
        let mut steps = Vec::new();
        let mut seen = HashSet::from([task]);
        let mut open = vec![(0, task)];
        while let Some((depth, id)) = open.pop() {
            let Some(info) = self.task(id) else { continue };
            if steps.len() >= WHY_STEPS {
                break;
            }
            let step = |waits_for: Option<&WaitsFor>| Step {
                depth,
                task: id,
                leads_to: waits_for.and_then(leads_to),
                waits_for: waits_for.cloned(),
                description: info.to_string(),
            };
            if info.waits_for.is_empty() {
                steps.push(step(None));
            }
            for what in &info.waits_for {
                steps.push(step(Some(what)));
                if let Some(next) = leads_to(what)
                    && seen.insert(next)
                {
                    open.push((depth + 1, next));
                }
            }
        }
        let findings = self.findings();
        let concerns = |finding: &Finding| match finding {
            Finding::Deadlock(tasks) | Finding::Cycle(tasks) => {
                tasks.iter().any(|task| seen.contains(task))
            }
            Finding::NotPolled { task, .. } | Finding::OwnSender { task, .. } => {
                seen.contains(task)
            }
        };
        Some(Why {
            task: asked.clone(),
            steps,
            findings: findings.into_iter().filter(concerns).collect(),
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, tasks: &[TaskId]| {
            for (index, task) in tasks.iter().enumerate() {
                let joint = match index {
                    0 => "",
                    _ if index + 1 == tasks.len() => " and ",
                    _ => ", ",
                };
                write!(f, "{joint}{task}")?;
            }
            Ok(())
        };
        match self {
            Finding::Deadlock(tasks) if tasks.len() == 1 => {
                write!(f, "deadlock: task {} waits for itself", tasks[0])
            }
            Finding::Deadlock(tasks) => {
                f.write_str("deadlock: tasks ")?;
                list(f, tasks)?;
                f.write_str(" wait for each other")
            }
            Finding::Cycle(tasks) => {
                f.write_str("cycle: tasks ")?;
                list(f, tasks)?;
                f.write_str(" wait for each other, until something else lets one of them go")
            }
            Finding::NotPolled { task, address } => write!(
                f,
                "task {task} holds {address:#x} in a future that it doesn't poll: await that \
                 future, or drop it, before waiting for something else"
            ),
            Finding::OwnSender { task, address } => write!(
                f,
                "task {task} waits for a message on {address:#x} whose only sender it made \
                 itself: if it still has that, it has to drop it, or nothing will ever come"
            ),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = None;
        for step in &self.steps {
            let indent = 2 * step.depth;
            if told != Some(step.task) {
                let joint = if told.is_some() { "\n" } else { "" };
                write!(f, "{joint}{:indent$}{}", "", step.description)?;
                told = Some(step.task);
                if step.waits_for.is_none() {
                    f.write_str(": nothing is known of what would wake it")?;
                }
            }
        }
        for finding in &self.findings {
            write!(f, "\n{finding}")?;
        }
        Ok(())
    }
}

/// The tasks of a dump by their places in it.
struct Graph<'a> {
    tasks: &'a [TaskInfo],
    edges: Vec<Vec<usize>>,
}

impl<'a> Graph<'a> {
    fn new(tasks: &'a [TaskInfo]) -> Graph<'a> {
        let places: HashMap<TaskId, usize> = tasks
            .iter()
            .enumerate()
            .map(|(place, task)| (task.id, place))
            .collect();
        let edges = tasks
            .iter()
            .map(|task| {
                let next = task.waits_for.iter().filter_map(leads_to);
                next.filter_map(|id| places.get(&id).copied()).collect()
            })
            .collect();
        Graph { tasks, edges }
    }

    /// Which tasks can't go on, whatever comes from outside.
    fn stuck(&self) -> Vec<bool> {
        let count = self.tasks.len();
        let mut stuck = vec![true; count];
        let mut waiters = vec![Vec::new(); count];
        let mut free: Vec<usize> = Vec::new();
        for (place, task) in self.tasks.iter().enumerate() {
            for next in &self.edges[place] {
                waiters[*next].push(place);
            }
            let has_exit = self.edges[place].len() < task.waits_for.len();
            if task.state != TaskState::Parked || task.waits_for.is_empty() || has_exit {
                free.push(place);
            }
        }
        while let Some(place) = free.pop() {
            if std::mem::replace(&mut stuck[place], false) {
                free.extend(&waiters[place]);
            }
        }
        stuck
    }

    /// The strongly connected components of more than one task, or of one that
    /// waits for itself.
    fn cycles(&self) -> Vec<Vec<usize>> {
        const NEW: usize = usize::MAX;
        let count = self.tasks.len();
        let (mut index, mut low) = (vec![NEW; count], vec![0; count]);
        let mut on_stack = vec![false; count];
        let (mut stack, mut cycles) = (Vec::new(), Vec::new());
        let mut next_index = 0;
        for root in 0..count {
            if index[root] != NEW {
                continue;
            }
            // A task, and which of its edges comes next.
            let mut path = vec![(root, 0)];
            while let Some((place, edge)) = path.last_mut() {
                let place = *place;
                if *edge == 0 && index[place] == NEW {
                    index[place] = next_index;
                    low[place] = next_index;
                    next_index += 1;
                    stack.push(place);
                    on_stack[place] = true;
                }
                if let Some(&next) = self.edges[place].get(*edge) {
                    *edge += 1;
                    if index[next] == NEW {
                        path.push((next, 0));
                    } else if on_stack[next] {
                        low[place] = low[place].min(index[next]);
                    }
                    continue;
                }
                path.pop();
                if let Some((parent, _)) = path.last() {
                    low[*parent] = low[*parent].min(low[place]);
                }
                if low[place] == index[place] {
                    let begin = stack.iter().rposition(|on| *on == place).unwrap_or(0);
                    let component = stack.split_off(begin);
                    for member in &component {
                        on_stack[*member] = false;
                    }
                    if component.len() > 1 || self.edges[place].contains(&place) {
                        cycles.push(component);
                    }
                }
            }
        }
        cycles
    }
}
