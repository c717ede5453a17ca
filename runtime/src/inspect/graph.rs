//! Who waits for whom, and what is wrong with that.
//!
//! *Read after* [`super::round`]; *next* [`super::publish`].
//!
//! The tasks of a [`Dump`], and the jobs whose threads [block](super::blocked), are the
//! nodes. What one waits for leads to others:
//!
//! | it waits for | it goes on when |
//! |---|---|
//! | the end of a task or a job | that one does |
//! | a mutex, a write lock, a cell | the holder does |
//! | a lock that readers hold | all of them do, or whoever stands in front of the line goes |
//! | a permit | any of the holders does, or whoever stands in front goes |
//! | room in a channel | whoever received last does |
//! | anything else, or from somebody unknown | something outside happens: an *exit* |
//!
//! Who waits for several things goes on when either comes (as in a `select`). So each
//! node has *ways* to go on, each of which needs some others to go on first. A node is
//! **stuck** if every way of it needs a stuck one; the largest such set is what is left
//! when one strikes out those with an exit, then those with a way all of whose others
//! have been struck out, as long as there are any.
//!
//! A **cycle** is a strongly connected component (Tarjan's algorithm, without
//! recursion: a chain of waits may be as long as there are tasks). A cycle of stuck
//! nodes is a deadlock; one with an exit, a timeout around a lock say, will be left
//! sometime, and is told as what it is.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::Dump;
use super::blocked::Blocked;
use super::wait::{Holder, JobId, SyncKind, SyncWait, WaitsFor};
use crate::limits::WHY_STEPS;
use crate::task::{TaskId, TaskInfo, TaskState};

/// Who can wait, and be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Party {
    /// A task.
    Task(TaskId),
    /// A job whose thread blocks.
    Job(JobId),
}

impl From<TaskId> for Party {
    fn from(task: TaskId) -> Party {
        Party::Task(task)
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Task(id) => write!(f, "task {id}"),
            Party::Job(id) => write!(f, "job {id}"),
        }
    }
}

/// Something wrong, or likely so, among the tasks of a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// These wait for each other, and for nothing else: none of them will ever go on,
    /// unless by somebody's special favour (`add_permits`, an abort, a guard or a
    /// receiver that was passed on to somebody else). Tasks first, in the order of
    /// their numbers.
    Deadlock(Vec<Party>),
    /// These wait for each other, but at least one of them waits for something else
    /// too, a timeout perhaps.
    Cycle(Vec<Party>),
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
    pub who: Party,
    /// For what; `None` if it is parked and says nothing, or isn't parked.
    pub waits_for: Option<WaitsFor>,
    /// Whose turn it would be.
    pub leads_to: Vec<Party>,
    /// What is known of who waits.
    pub description: String,
}

/// The ways in which this wait can come to an end: each the others that must go on
/// first. `None` for an exit.
fn ways(what: &WaitsFor) -> Option<Vec<Vec<Party>>> {
    match what {
        WaitsFor::Task(id) => Some(vec![vec![Party::Task(*id)]]),
        WaitsFor::Remote { task, .. } => Some(vec![vec![Party::Task((*task)?)]]),
        WaitsFor::Job { job, .. } => Some(vec![vec![Party::Job(*job)]]),
        WaitsFor::Sync(wait) => ways_of(wait),
        _ => None,
    }
}

fn ways_of(wait: &SyncWait) -> Option<Vec<Vec<Party>>> {
    let task = |holder: &Holder| match holder {
        Holder::Task(id) => Some(Party::Task(*id)),
        _ => None,
    };
    let mut ways: Vec<Vec<Party>> = match wait.kind {
        SyncKind::MpscSend => vec![vec![task(wait.receiver.as_ref()?)?]],
        // One of the known readers that is stuck is enough.
        SyncKind::RwLock => vec![wait.holders.iter().filter_map(task).collect()],
        SyncKind::Mutex | SyncKind::OnceCell | SyncKind::Semaphore if wait.all_known => {
            let each = wait.holders.iter().map(|holder| Some(vec![task(holder)?]));
            each.collect::<Option<_>>()?
        }
        _ => return None,
    };
    if let Some(ahead) = &wait.ahead {
        ways.push(vec![task(ahead)?]);
    }
    let is_exit = ways.iter().any(Vec::is_empty);
    (!is_exit && !ways.is_empty()).then_some(ways)
}

/// Whose turn it would be, for such a wait.
fn leads_to(what: &WaitsFor) -> Vec<Party> {
    let mut parties: Vec<Party> = ways(what).into_iter().flatten().flatten().collect();
    parties.sort_unstable();
    parties.dedup();
    parties
}

impl Dump {
    /// What is wrong with the tasks, or likely so. O(n) in tasks and waits.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let graph = Graph::new(self);
        let stuck = graph.stuck();
        let mut findings: Vec<Finding> = graph
            .cycles()
            .into_iter()
            .map(|places| {
                let is_stuck = places.iter().all(|place| stuck[*place]);
                let mut parties: Vec<_> = places.iter().map(|at| graph.parties[*at]).collect();
                parties.sort_unstable();
                match is_stuck {
                    true => Finding::Deadlock(parties),
                    false => Finding::Cycle(parties),
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
        // It waits for what it alone holds itself: then the future that holds it is
        // not the one that was polled last. (Or the same one locks twice: it can't go
        // on to the end of its guard's life either way.)
        if wait.all_known && wait.ahead.is_none() && wait.holders == [Holder::Task(task.id)] {
            return Some(task.id);
        }
        // It was woken when the lock was handed to it, and has been polled since,
        // or it would be ready; but the future that waits for the lock wasn't.
        let Some(Holder::Task(id)) = wait.handed_to else {
            return None;
        };
        (self.task(id)?.state == TaskState::Parked).then_some(id)
    }

    /// Why a task doesn't go on; `None` if it isn't among those of the dump.
    #[must_use]
    pub fn why(&self, task: TaskId) -> Option<Why> {
        let asked = self.task(task)?;
        let mut steps = Vec::new();
        let asked_about = Party::Task(task);
        let mut seen = HashSet::from([asked_about]);
        let mut open = vec![(0, asked_about)];
        while let Some((depth, who)) = open.pop() {
            let Some((waits_for, description)) = self.look_at(who) else {
                continue;
            };
            if steps.len() >= WHY_STEPS {
                break;
            }
            let step = |waits_for: Option<&WaitsFor>| Step {
                depth,
                who,
                leads_to: waits_for.map(leads_to).unwrap_or_default(),
                waits_for: waits_for.cloned(),
                description: description.clone(),
            };
            if waits_for.is_empty() {
                steps.push(step(None));
            }
            for what in waits_for {
                let step = step(Some(what));
                for next in &step.leads_to {
                    if seen.insert(*next) {
                        open.push((depth + 1, *next));
                    }
                }
                steps.push(step);
            }
        }
        let findings = self.findings();
        let concerns = |finding: &Finding| match finding {
            Finding::Deadlock(parties) | Finding::Cycle(parties) => {
                parties.iter().any(|party| seen.contains(party))
            }
            Finding::NotPolled { task, .. } | Finding::OwnSender { task, .. } => {
                seen.contains(&Party::Task(*task))
            }
        };
        Some(Why {
            task: asked.clone(),
            steps,
            findings: findings.into_iter().filter(concerns).collect(),
        })
    }

    /// What somebody waits for, and what else is known of it.
    fn look_at(&self, who: Party) -> Option<(&[WaitsFor], String)> {
        match who {
            Party::Task(id) => {
                let task = self.task(id)?;
                Some((&task.waits_for, task.to_string()))
            }
            Party::Job(id) => {
                let blocked = self.blocked.iter().find(|it| it.job == Some(id))?;
                Some((&blocked.waits_for, blocked.to_string()))
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, parties: &[Party]| {
            for (index, party) in parties.iter().enumerate() {
                let joint = match index {
                    0 => "",
                    _ if index + 1 == parties.len() => " and ",
                    _ => ", ",
                };
                write!(f, "{joint}{party}")?;
            }
            Ok(())
        };
        match self {
            Finding::Deadlock(parties) if parties.len() == 1 => {
                write!(f, "deadlock: {} waits for itself", parties[0])
            }
            Finding::Deadlock(parties) => {
                f.write_str("deadlock: ")?;
                list(f, parties)?;
                f.write_str(" wait for each other")
            }
            Finding::Cycle(parties) if parties.len() == 1 => write!(
                f,
                "cycle: {} waits for itself, until something else lets it go",
                parties[0]
            ),
            Finding::Cycle(parties) => {
                f.write_str("cycle: ")?;
                list(f, parties)?;
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
            if told != Some(step.who) {
                let joint = if told.is_some() { "\n" } else { "" };
                write!(f, "{joint}{:indent$}{}", "", step.description)?;
                told = Some(step.who);
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

/// Who waits for whom, by places in `parties`.
struct Graph {
    parties: Vec<Party>,
    /// The ways of each to go on; `None` if it has an exit.
    ways: Vec<Option<Vec<Vec<usize>>>>,
    /// Whom all its waits lead to.
    edges: Vec<Vec<usize>>,
}

impl Graph {
    fn new(dump: &Dump) -> Graph {
        let of_task = |task: &TaskInfo| Party::Task(task.id);
        let mut parties: Vec<Party> = dump.tasks.iter().map(of_task).collect();
        let mut waits: Vec<(bool, &[WaitsFor])> = Vec::new();
        for task in &dump.tasks {
            waits.push((task.state == TaskState::Parked, &task.waits_for));
        }
        for Blocked { job, waits_for, .. } in &dump.blocked {
            if let Some(job) = job {
                parties.push(Party::Job(*job));
                waits.push((true, waits_for));
            }
        }
        let places: HashMap<Party, usize> = (0..)
            .zip(&parties)
            .map(|(place, party)| (*party, place))
            .collect();
        let (mut all_ways, mut edges) = (Vec::new(), Vec::new());
        for (is_parked, waits_for) in waits {
            let mut of_all = Some(Vec::new());
            let mut next: Vec<usize> = Vec::new();
            for what in waits_for {
                // Who isn't among the parties is as good as unknown.
                let places_of = |way: Vec<Party>| {
                    let found = way.iter().map(|party| places.get(party).copied());
                    found.collect::<Option<Vec<usize>>>()
                };
                let ways: Option<Vec<_>> =
                    ways(what).and_then(|ways| ways.into_iter().map(places_of).collect());
                next.extend(ways.iter().flatten().flatten());
                match (&mut of_all, ways) {
                    (Some(of_all), Some(ways)) => of_all.extend(ways),
                    (of_all, _) => *of_all = None,
                }
            }
            all_ways.push(of_all.filter(|_| is_parked && !waits_for.is_empty()));
            next.sort_unstable();
            next.dedup();
            edges.push(next);
        }
        Graph {
            parties,
            ways: all_ways,
            edges,
        }
    }

    /// Which ones can't go on, whatever comes from outside.
    fn stuck(&self) -> Vec<bool> {
        let count = self.parties.len();
        let mut stuck = vec![true; count];
        // For each party, the ways that need it; for each way, whose it is and how many
        // it still needs.
        let mut needed_by = vec![Vec::new(); count];
        let mut needs: Vec<(usize, usize)> = Vec::new();
        let mut free: Vec<usize> = Vec::new();
        for (place, ways) in self.ways.iter().enumerate() {
            let Some(ways) = ways else {
                free.push(place);
                continue;
            };
            for way in ways {
                for other in way {
                    needed_by[*other].push(needs.len());
                }
                needs.push((place, way.len()));
            }
        }
        while let Some(place) = free.pop() {
            if !std::mem::replace(&mut stuck[place], false) {
                continue;
            }
            for way in &needed_by[place] {
                let (whose, left) = &mut needs[*way];
                *left -= 1;
                if *left == 0 {
                    free.push(*whose);
                }
            }
        }
        stuck
    }

    /// The strongly connected components of more than one party, or of one that
    /// waits for itself.
    fn cycles(&self) -> Vec<Vec<usize>> {
        const NEW: usize = usize::MAX;
        let count = self.parties.len();
        let (mut index, mut low) = (vec![NEW; count], vec![0; count]);
        let mut on_stack = vec![false; count];
        let (mut stack, mut cycles) = (Vec::new(), Vec::new());
        let mut next_index = 0;
        for root in 0..count {
            if index[root] != NEW {
                continue;
            }
            // A party, and which of its edges comes next.
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
