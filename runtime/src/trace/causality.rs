//! From records to events: spans with both ends, what each is about, and arrows
//! from causes to effects.
//!
//! One pass in order of time. What has happened and waits for its effect stands
//! in a table under what will name it again: a wake under its task's place, a job
//! under its address, a frame under its worker and number. An effect takes its
//! cause out.
//!
//! | effect | cause |
//! |---|---|
//! | a task's first poll | its spawn |
//! | a later poll | the wake that queued the task |
//! | a wake while nothing is polled | the timer, readiness or call just before it |
//! | a wake that the loop collects | the first one from another thread since |
//! | a job's run | its push, by way of the steal |
//! | a stolen fork's run | its promotion, by way of the steal |
//! | the end of a wait for a thief | the latch that it set |
//! | the end of a park | the unpark |
//! | a value out of a channel or queue | the same value in |
//! | frame in, reply in | frame out, reply out |
//!
//! And whatever happens inside a span is that span's doing
//! ([`Event::inside`]): the wake in a poll is by the task that runs.
//!
//! Read before: [`super::collect`]. Next: [`super::model`].

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use super::collect::{Collected, Placed};
use super::event::{Kind, Shape};
use super::origin;
use super::{Arrow, ArrowKind, Event, Subject, Trace, What};
use crate::sync::queue::Takes;
use crate::task::id::SLOT_BITS;

/// A task's place on its loop: a wake id without its generation.
fn place(wake_id: u64) -> u64 {
    const SLOT: u64 = (1 << SLOT_BITS) - 1;
    wake_id & (SLOT | u64::from(u16::MAX) << 48)
}

/// Under what a cause waits: the process, and a number that the effect names.
type Key = (u32, u64);

#[derive(Default)]
struct Thread {
    /// Spans that haven't ended, outermost first.
    open: Vec<usize>,
    /// What the loop just did that may wake somebody.
    trigger: Option<usize>,
    /// The last sleep, if nothing has been polled since.
    slept: Option<usize>,
    last_ns: u64,
}

#[derive(Default)]
struct Explainer {
    pids: Vec<u32>,
    threads: Vec<Thread>,
    names: HashMap<Key, String>,
    events: Vec<Event>,
    arrows: Vec<Arrow>,
    subjects: Vec<Subject>,
    by_name: HashMap<(u32, What, u64), usize>,
    /// Numbers given to what has only an address, by what it is.
    counts: HashMap<What, u64>,
    /// Which task a wake id means.
    woken_tasks: HashMap<Key, u64>,
    spawns: HashMap<Key, usize>,
    wakes: HashMap<Key, usize>,
    wakes_elsewhere: HashMap<Key, Vec<usize>>,
    /// By waiter: deadlines and who set them.
    timers: HashMap<Key, Vec<(u64, usize)>>,
    jobs: HashMap<Key, usize>,
    latches: HashMap<Key, usize>,
    unparks: HashMap<Key, usize>,
    sends: HashMap<Key, VecDeque<usize>>,
    /// By channel, and the number or version that the value has there.
    numbered_sends: HashMap<(Key, u64), usize>,
    frames: HashMap<u32, Vec<(u64, u64, usize)>>,
    frames_in: HashMap<u32, Vec<(u64, u64, usize)>>,
    replies: HashMap<(u32, u64), usize>,
    processes: HashMap<u32, usize>,
}

pub(super) fn explain(
    collected: Collected,
    length_ns: u64,
    (wall, at_ns): (SystemTime, u64),
) -> Trace {
    let Collected {
        lanes,
        records,
        names,
        homeless,
        names_lost,
    } = collected;
    let mut explainer = Explainer {
        pids: lanes.iter().map(|lane| lane.pid).collect(),
        threads: lanes.iter().map(|_| Thread::default()).collect(),
        names,
        ..Explainer::default()
    };
    for placed in &records {
        if placed.record.kind == Kind::Poll {
            let pid = lanes[placed.lane].pid;
            let record = placed.record;
            explainer.woken_tasks.insert((pid, record.b), record.a);
            explainer
                .woken_tasks
                .insert((pid, place(record.b)), record.a);
        }
    }
    for placed in &records {
        explainer.take(placed);
    }
    explainer.close(&lanes, length_ns);
    let lost = homeless + lanes.iter().map(|lane| lane.lost).sum::<u64>();
    Trace {
        wall,
        at_ns,
        length_ns,
        lanes,
        events: explainer.events,
        arrows: explainer.arrows,
        subjects: explainer.subjects,
        lost,
        names_lost,
    }
}

impl Explainer {
    fn take(&mut self, placed: &Placed) {
        self.threads[placed.lane].last_ns = placed.at_ns;
        match placed.record.kind.about().shape {
            Shape::End => self.end(placed),
            Shape::Span(_) | Shape::Instant => self.begin(placed),
        }
    }

    fn end(&mut self, placed: &Placed) {
        let (lane, record) = (placed.lane, placed.record);
        let begins = |event: &Event| match event.kind.about().shape {
            Shape::Span(end) => end == record.kind,
            _ => false,
        };
        let open = &self.threads[lane].open;
        let Some(depth) = open.iter().rposition(|&at| begins(&self.events[at])) else {
            return; // It began before what is left of the ring.
        };
        let at = open[depth];
        // What lies above it was left by a panic.
        for inner in self.threads[lane].open.split_off(depth) {
            self.events[inner].end_ns = Some(placed.at_ns);
        }
        self.events[at].result = record.b;
        self.events[at].end_line = record.line;
        let key = (self.pids[lane], record.a);
        match record.kind {
            Kind::ParkEnd => self.threads[lane].slept = Some(at),
            Kind::ThreadParkEnd => {
                if let Some(cause) = self.unparks.remove(&key) {
                    self.link(cause, at, ArrowKind::Unpark);
                }
            }
            Kind::LatchWaitEnd => {
                if let Some(cause) = self.latches.remove(&key) {
                    self.link(cause, at, ArrowKind::Latch);
                }
            }
            Kind::ProcessStartEnd if record.a != 0 => {
                let subject = self.subject(key.0, What::Process, record.a);
                self.events[at].subject = Some(subject);
                self.processes.insert(record.a as u32, at);
            }
            _ => {}
        }
    }

    fn begin(&mut self, placed: &Placed) {
        let (lane, record) = (placed.lane, placed.record);
        let at = self.events.len();
        self.events.push(Event {
            lane,
            start_ns: placed.at_ns,
            end_ns: None,
            kind: record.kind,
            line: record.line,
            end_line: 0,
            subject: None,
            inside: self.threads[lane].open.last().copied(),
            a: record.a,
            b: record.b,
            result: 0,
        });
        if let Shape::Span(_) = record.kind.about().shape {
            self.threads[lane].open.push(at);
        }
        let subject = self.relate(at);
        self.events[at].subject = subject;
    }

    fn link(&mut self, from: usize, to: usize, kind: ArrowKind) {
        self.arrows.push(Arrow { from, to, kind });
    }

    /// What the event is about, and its causes.
    fn relate(&mut self, at: usize) -> Option<usize> {
        let Event {
            lane, kind, a, b, ..
        } = self.events[at];
        let pid = self.pids[lane];
        let key = (pid, a);
        match kind {
            Kind::Spawn => {
                self.spawns.insert(key, at);
                let subject = self.subject(pid, What::Task, a);
                self.subjects[subject].site = self.names.get(&(pid, b)).cloned();
                Some(subject)
            }
            Kind::Named => {
                let subject = self.subject(pid, What::Task, a);
                self.subjects[subject].name = self.names.get(&(pid, b)).cloned();
                Some(subject)
            }
            Kind::Poll => {
                self.threads[lane].slept = None;
                self.threads[lane].trigger = None;
                let wake = self.wakes.remove(&(pid, place(b)));
                if let Some(spawn) = self.spawns.remove(&key) {
                    self.link(spawn, at, ArrowKind::Spawn);
                } else if let Some(wake) = wake {
                    self.link(wake, at, ArrowKind::Wake);
                }
                Some(self.subject(pid, What::Task, a))
            }
            Kind::Wake | Kind::Collected => {
                let place = (pid, place(a));
                if kind == Kind::Collected {
                    let earlier = self.wakes_elsewhere.remove(&place).unwrap_or_default();
                    if let Some(slept) = self.threads[lane].slept.take() {
                        self.events[slept].result = at as u64;
                        if let Some(&first) = earlier.first() {
                            self.link(first, slept, ArrowKind::Unpark);
                        }
                    }
                    for cause in earlier {
                        self.link(cause, at, ArrowKind::Cause);
                    }
                } else if self.events[at].inside.is_none()
                    && let Some(trigger) = self.threads[lane].trigger
                {
                    self.link(trigger, at, ArrowKind::Cause);
                }
                if b == 0 {
                    self.wakes.insert(place, at);
                }
                self.woken_task(pid, a)
            }
            Kind::WakeElsewhere => {
                let place = (pid, place(a));
                self.wakes_elsewhere.entry(place).or_default().push(at);
                self.woken_task(pid, a)
            }
            Kind::TimerSet => {
                self.timers.entry(key).or_default().push((b, at));
                self.woken_task(pid, a)
            }
            Kind::TimerFired => {
                if let Some(set) = self.earliest_timer(key, b) {
                    self.link(set, at, ArrowKind::Cause);
                }
                self.trigger(lane, at);
                self.woken_task(pid, a)
            }
            Kind::Ready => {
                self.trigger(lane, at);
                Some(self.subject(pid, What::Descriptor, a))
            }
            Kind::Mail => {
                self.threads[lane].trigger = Some(at);
                None
            }
            Kind::Made => {
                let (is_channel, site) = origin::made(b);
                let what = if is_channel {
                    What::Channel
                } else {
                    What::Line
                };
                // Something else may have had the address before.
                let subject = self.anew(pid, what, a);
                self.subjects[subject].site = self.names.get(&(pid, site)).cloned();
                if is_channel {
                    self.sends.remove(&key);
                }
                Some(subject)
            }
            Kind::TurnWait | Kind::TurnGrant => Some(self.numbered(pid, What::Line, a)),
            Kind::TimerCancelled => {
                if let Some(set) = self.timer_due_at(key, b) {
                    self.link(set, at, ArrowKind::Cause);
                }
                self.woken_task(pid, a)
            }
            Kind::OneshotSend => {
                // Its only one: what was sent at this address before was never received.
                self.sends.insert(key, VecDeque::from([at]));
                Some(self.numbered(pid, What::Channel, a))
            }
            Kind::WatchSend | Kind::BroadcastSend => {
                self.numbered_sends.insert((key, b), at);
                Some(self.numbered(pid, What::Channel, a))
            }
            Kind::WatchSeen | Kind::BroadcastReceive => {
                // It stays: other receivers come for the same.
                if let Some(&send) = self.numbered_sends.get(&(key, b)) {
                    self.link(send, at, ArrowKind::Value);
                }
                Some(self.numbered(pid, What::Channel, a))
            }
            Kind::QueueGet => {
                let puts = self.sends.entry(key).or_default();
                let put = match b {
                    _ if b == Takes::Oldest as u64 => puts.pop_front(),
                    _ if b == Takes::Newest as u64 => puts.pop_back(),
                    // Which one it was, only the discipline knows.
                    _ => None,
                };
                if let Some(put) = put {
                    self.link(put, at, ArrowKind::Value);
                }
                Some(self.numbered(pid, What::Channel, a))
            }
            Kind::Send | Kind::QueuePut => {
                self.sends.entry(key).or_default().push_back(at);
                Some(self.numbered(pid, What::Channel, a))
            }
            Kind::Receive | Kind::OneshotReceive => {
                // Values come out in the order in which they went in.
                for _ in 0..b {
                    let send = self.sends.get_mut(&key).and_then(VecDeque::pop_front);
                    let Some(send) = send else { break };
                    self.link(send, at, ArrowKind::Value);
                }
                Some(self.numbered(pid, What::Channel, a))
            }
            Kind::JobPush | Kind::JobInject | Kind::JobPost | Kind::BlockingPush => {
                self.jobs.insert(key, at);
                Some(self.anew(pid, What::Job, a))
            }
            Kind::Promote => {
                self.jobs.insert(key, at);
                Some(self.anew(pid, What::Fork, a))
            }
            Kind::JobTake | Kind::JobSteal | Kind::ForkSteal => {
                let what = match kind {
                    Kind::ForkSteal => What::Fork,
                    _ => What::Job,
                };
                if let Some(cause) = self.jobs.insert(key, at) {
                    self.link(cause, at, ArrowKind::Steal);
                }
                Some(self.numbered(pid, what, a))
            }
            Kind::JobRun | Kind::ForkRun | Kind::BlockingRun => {
                // It stays: a job that its waiter ran is run once more, in vain.
                if let Some(&cause) = self.jobs.get(&key) {
                    self.link(cause, at, ArrowKind::Push);
                }
                let what = match kind {
                    Kind::ForkRun => What::Fork,
                    _ => What::Job,
                };
                Some(self.numbered(pid, what, a))
            }
            Kind::LatchSet => {
                self.latches.insert(key, at);
                Some(self.numbered(pid, What::Fork, a))
            }
            Kind::LatchWait => Some(self.numbered(pid, What::Fork, a)),
            Kind::Unpark => {
                self.unparks.insert(key, at);
                None
            }
            Kind::ThreadPark => {
                self.unparks.remove(&key); // Of an earlier park.
                None
            }
            Kind::WorkerReady | Kind::WorkerDeath | Kind::ProcessExit => {
                if let Some(&start) = self.processes.get(&(a as u32)) {
                    self.link(start, at, ArrowKind::Process);
                }
                Some(self.subject(pid, What::Process, a))
            }
            Kind::FrameOut | Kind::FrameIn => {
                let (worker, count) = (a as u32, a >> 32);
                let frame = (b, b + count.max(1), at);
                if kind == Kind::FrameOut {
                    self.frames.entry(worker).or_default().push(frame);
                } else {
                    if let Some(out) = find_frame(&mut self.frames, worker, b) {
                        self.link(out, at, ArrowKind::Frame);
                    }
                    self.frames_in.entry(worker).or_default().push(frame);
                }
                Some(self.subject(worker, What::ProcessJob, b))
            }
            Kind::ProcessRun => {
                if let Some(frame) = find_frame(&mut self.frames_in, a as u32, b) {
                    self.link(frame, at, ArrowKind::Push);
                }
                Some(self.subject(a as u32, What::ProcessJob, b))
            }
            Kind::ReplyOut => {
                self.replies.insert((a as u32, b), at);
                Some(self.subject(a as u32, What::ProcessJob, b))
            }
            Kind::ReplyIn => {
                if let Some(out) = self.replies.remove(&(a as u32, b)) {
                    self.link(out, at, ArrowKind::Reply);
                }
                Some(self.subject(a as u32, What::ProcessJob, b))
            }
            Kind::Span => {
                let subject = self.numbered(pid, What::Span, a);
                self.subjects[subject].name = self.names.get(&key).cloned();
                self.subjects[subject].site = self.names.get(&(pid, b)).cloned();
                Some(subject)
            }
            // Ends aren't events of their own; the loop's sleep is about nothing.
            _ => None,
        }
    }

    /// The timer of this waiter that was cancelled.
    fn timer_due_at(&mut self, waiter: Key, deadline: u64) -> Option<usize> {
        let timers = self.timers.get_mut(&waiter).filter(|_| waiter.1 != 0)?;
        let index = timers.iter().rposition(|timer| timer.0 == deadline)?;
        Some(timers.swap_remove(index).1)
    }

    /// Which timer of this waiter fires at `now`.
    fn earliest_timer(&mut self, waiter: Key, now: u64) -> Option<usize> {
        let timers = self.timers.get_mut(&waiter).filter(|_| waiter.1 != 0)?;
        let earliest = (0..timers.len()).min_by_key(|&index| timers[index].0)?;
        (timers[earliest].0 <= now).then(|| timers.swap_remove(earliest).1)
    }

    fn trigger(&mut self, lane: usize, at: usize) {
        self.threads[lane].trigger = Some(at);
        if let Some(slept) = self.threads[lane].slept.take() {
            self.events[slept].result = at as u64;
        }
    }

    fn subject(&mut self, pid: u32, what: What, number: u64) -> usize {
        *self.by_name.entry((pid, what, number)).or_insert_with(|| {
            self.subjects.push(Subject {
                pid,
                what,
                number,
                name: None,
                site: None,
            });
            self.subjects.len() - 1
        })
    }

    /// What has only an address: the same as the last with that address, …
    fn numbered(&mut self, pid: u32, what: What, address: u64) -> usize {
        match self.by_name.get(&(pid, what, address)) {
            Some(subject) => *subject,
            None => self.anew(pid, what, address),
        }
    }

    /// … or a new one, since addresses are used again.
    fn anew(&mut self, pid: u32, what: What, address: u64) -> usize {
        let count = self.counts.entry(what).or_default();
        *count += 1;
        let number = *count;
        self.by_name.remove(&(pid, what, address));
        let subject = self.subject(pid, what, address);
        self.subjects[subject].number = number;
        subject
    }

    fn woken_task(&mut self, pid: u32, wake_id: u64) -> Option<usize> {
        let task = *self.woken_tasks.get(&(pid, wake_id))?;
        Some(self.subject(pid, What::Task, task))
    }

    /// Ends what hadn't ended.
    fn close(&mut self, lanes: &[super::Lane], length_ns: u64) {
        for (thread, lane) in self.threads.iter().zip(lanes) {
            let end = match lane.kind {
                // It may have been killed.
                super::LaneKind::Process => thread.last_ns,
                _ => length_ns,
            };
            for &at in &thread.open {
                self.events[at].end_ns = Some(end);
                self.events[at].result = Event::UNFINISHED;
            }
        }
    }
}

/// The frame that carried job `number` of `worker`: the last, since one that found
/// no room in the ring is written again. Forgets those before it.
fn find_frame(
    frames: &mut HashMap<u32, Vec<(u64, u64, usize)>>,
    worker: u32,
    number: u64,
) -> Option<usize> {
    let frames = frames.get_mut(&worker)?;
    let index = frames
        .iter()
        .rposition(|(first, end, _)| (*first..*end).contains(&number))?;
    frames.drain(..index);
    Some(frames[0].2)
}
