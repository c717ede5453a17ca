//! How a loop's tasks are asked what they wait for.
//!
//! *Read after* [`super::wait`]; *next* [`super::graph`].
//!
//! Nothing is recorded while the loop runs. When somebody wants to know,
//! ```text
//!   1 snapshot   every task, its state; who holds its number (joins, timers,
//!                descriptors)
//!   2 ask        poll each parked task once, with a budget of nothing: each
//!                operation at its end says what it waits for, and does nothing
//!   3 wake       the tasks that were asked, since an operation that was begun in
//!                step 2 has left no waker anywhere
//!   4 resolve    from words in wakers to tasks
//! ```
//! A poll that nobody asked for is what every future must bear (`Future` permits
//! spurious wakes), and it sees through every combinator, ours or foreign, as far
//! as that polls its children: which is also what finds a future that is *not*
//! polled any more while a lock is in its hands.
//!
//! Tasks that are ready or running aren't asked: they wait for nothing but their
//! turn. The round happens between two polls, so no field of the loop, and no cell
//! of a task's, is borrowed.
//!
//! Rejected: a note at each park of what for (a few stores a poll, for ever, and a
//! rule for when notes go stale); a registry of wait queues per loop (an
//! allocation for each, or addresses that dangle).

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};

use super::wait::{About, Holder, SyncWait, WaitsFor};
use super::{Dump, blocked};
use crate::context;
use crate::event_loop::Core;
use crate::sync::family::{Family, Lock};
use crate::task::TaskId;
use crate::task::cell::TaskRef;
use crate::task::dump::Snapshot;
use crate::task::hook::contain;
use crate::task::id::WakeId;
use crate::task::waker::waker;

/// Who gets a dump that was asked for.
pub(crate) type Asker = Box<dyn FnOnce(Dump)>;

/// What a task says of one of its waits. Who holds a lock is a word of a waker
/// until step 4.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Sync { about: About, address: usize },
    Plain(WaitsFor),
}

/// A loop's part in making dumps.
#[derive(Default)]
pub(crate) struct Inspector {
    /// A round is under way: operations are to tell instead of doing.
    on: Cell<bool>,
    /// Somebody has asked for a dump.
    due: Cell<bool>,
    askers: RefCell<Vec<Asker>>,
    /// What the task that is being asked has said so far.
    told: RefCell<Vec<Told>>,
    /// Words of wakers that wake a task in a roundabout way, and that task's.
    aliases: RefCell<Vec<(usize, usize)>>,
    /// Waits for the main future's answer.
    round: RefCell<Option<Round>>,
}

impl Inspector {
    /// Whether a round is under way.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.get()
    }

    /// What the task that is being polled waits for, or one thing of several.
    pub(crate) fn tell(&self, what: Told) {
        self.told.borrow_mut().push(what);
    }
}

/// What one waits for at a primitive with this lock; of a shared one that is
/// locked at this moment, only where it is.
pub(crate) fn sync_wait<F: Family, S>(lock: &F::Lock<S>, about: fn(&S) -> About) -> Told {
    let address = std::ptr::from_ref(lock).addr();
    match lock.look(about) {
        Some(about) => Told::Sync { about, address },
        None => Told::Plain(WaitsFor::other(format!(
            "a primitive ({address:#x}) that another thread was just using"
        ))),
    }
}

/// Tells, if a dump is being made, what the task that runs waits for.
#[inline]
pub(crate) fn note(what: impl FnOnce() -> Option<Told>) {
    context::try_with(|core| {
        if core.inspector().is_on() {
            what()
                .into_iter()
                .for_each(|what| core.inspector().tell(what));
        }
    });
}

/// Whether the task that runs is being asked, so that a combinator is to poll all its
/// children.
pub(crate) fn is_asking() -> bool {
    context::try_with(|core| core.inspector().is_on()) == Some(true)
}

/// This waker wakes the task that is being asked, in a roundabout way.
pub(crate) fn alias(waker: &Waker) {
    context::try_with(|core| {
        let alias = (waker.data().addr(), core.current_word());
        core.inspector().aliases.borrow_mut().push(alias);
    });
}

/// A round on its way.
struct Round {
    snapshot: Snapshot,
    asked: Vec<TaskRef>,
    answers: Vec<(TaskId, Vec<Told>)>,
    /// What the loop goes back to.
    poll_budget: u32,
    turn_budget: u32,
}

impl Core {
    /// Asks for a dump, to be made after this turn.
    pub(crate) fn ask_for_dump(&self, asker: Asker) {
        let inspector = self.inspector();
        inspector.askers.borrow_mut().push(asker);
        inspector.due.set(true);
        self.notice_self();
    }

    /// All that can be known of the loop's tasks. Between polls only.
    pub(crate) fn dump(&self) -> Dump {
        let round = self.begin_round(None);
        self.end_round(round)
    }

    /// Begins a round if one was asked for, or ends the one that is on its way.
    /// The main future is polled by the loop alone, in one place of its code, so
    /// that it can be compiled into that place: it has a turn of its own, between
    /// the two.
    #[cold]
    #[inline(never)]
    pub(crate) fn work_on_dumps(&self, main: &TaskRef) {
        let inspector = self.inspector();
        let on_its_way = inspector.round.take();
        if let Some(mut round) = on_its_way {
            round.answers.push((main.id(), inspector.told.take()));
            return self.hand_out(round);
        }
        if !inspector.due.get() {
            return;
        }
        let round = self.begin_round(Some(main));
        let is_parked = round.asked.iter().any(|task| task.is_same(main));
        if !is_parked {
            return self.hand_out(round);
        }
        // One poll of the main future, and the loop comes back here.
        self.turn_budget.set(1);
        self.wake_in_front(main.wake_id());
        self.notice_self();
        *inspector.round.borrow_mut() = Some(round);
    }

    /// At the end of a `block_on`: nobody who asked goes without.
    pub(crate) fn finish_dumps(&self) {
        let on_its_way = self.inspector().round.take();
        if let Some(round) = on_its_way {
            self.hand_out(round);
        } else if self.inspector().due.get() {
            self.hand_out(self.begin_round(None));
        }
    }

    fn hand_out(&self, round: Round) {
        let dump = self.end_round(round);
        self.inspector().due.set(false);
        for asker in self.inspector().askers.take() {
            contain(|| asker(dump.clone()));
        }
    }

    /// Steps 1 and 2, but for the main future.
    fn begin_round(&self, main: Option<&TaskRef>) -> Round {
        let snapshot = self.snapshot();
        let mut asked: Vec<TaskRef> = Vec::new();
        self.each_task(|task, is_queued| {
            if !is_queued {
                asked.push(task.clone());
            }
        });
        asked.sort_unstable_by_key(TaskRef::id);
        let mut answers = Vec::new();
        let turn_budget = self.turn_budget.get();
        let poll_budget = self.poll_budget.replace(0);
        self.inspector().on.set(true);
        for task in &asked {
            let is_main = main.is_some_and(|main| main.is_same(task));
            // An answer may have ended another task.
            let is_there = self.place_holds(task.wake_id().slot(), task);
            if !is_main && is_there && !task.is_finished() {
                self.ask(task);
                answers.push((task.id(), self.inspector().told.take()));
            }
        }
        Round {
            snapshot,
            asked,
            answers,
            poll_budget,
            turn_budget,
        }
    }

    /// Polls a task, so that it tells.
    fn ask(&self, task: &TaskRef) {
        self.begin_asking(task.wake_id());
        let waker = waker(task.wake_id());
        if task.poll(&mut Context::from_waker(&waker)) {
            self.end(task.wake_id().slot());
        }
        self.leave_poll();
    }

    /// Steps 3 and 4.
    fn end_round(&self, round: Round) -> Dump {
        self.inspector().on.set(false);
        self.poll_budget.set(round.poll_budget);
        self.turn_budget.set(round.turn_budget);
        for task in &round.asked {
            self.wake_local(task.wake_id());
        }
        let mut snapshot = round.snapshot;
        snapshot.add_aliases(&self.inspector().aliases.take());
        self.look_who_holds_numbers(&mut snapshot);
        for (task, told) in round.answers {
            for told in told {
                let what = resolve(self, &snapshot, Some(task), told);
                snapshot.add(task, what);
            }
        }
        let blocked = blocked::look(|told| resolve(self, &snapshot, None, told));
        Dump {
            loop_name: self.loop_name(),
            tasks: snapshot.into_tasks(),
            blocked,
        }
    }
}

/// `asked` is the task that told, if it was one.
fn resolve(core: &Core, snapshot: &Snapshot, asked: Option<TaskId>, told: Told) -> WaitsFor {
    let (about, address) = match told {
        Told::Plain(what) => return what,
        Told::Sync { about, address } => (about, address),
    };
    let holder = |word: usize| match snapshot.find(word) {
        Some(task) => Holder::Task(task),
        // Addresses, which other wakers hold, have no such upper bits.
        None => match WakeId(word as u64).loop_id() {
            0 => Holder::Outside,
            id if id == core.loop_id() => Holder::EndedTask,
            id => Holder::OtherLoop(id, word as u64),
        },
    };
    let if_any = |word: usize| (word != 0).then(|| holder(word));
    WaitsFor::Sync(SyncWait {
        kind: about.kind,
        address,
        holders: about.holders.into_iter().map(holder).collect(),
        all_known: about.all_known,
        handed_to: if_any(about.handed_to),
        // Whoever stands in front waits for those who hold it, and not for itself.
        ahead: if_any(about.ahead)
            .filter(|ahead| asked.is_none_or(|asked| *ahead != Holder::Task(asked))),
        receiver: if_any(about.receiver),
        sender_made_by: if_any(about.sender_made_by),
        detail: about.detail,
    })
}
