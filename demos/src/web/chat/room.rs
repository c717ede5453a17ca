//! Who is here, what was said last, and how it gets to everybody.
//!
//! A line is written as JSON once; what each member's queue holds is a reference
//! to it. Saying something costs O(members) and never waits for any of them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use threeply_runtime::sync::local::mpsc;

use super::member::End;
use super::outbox::{Outbox, Slow};
use super::protocol::{Line, Told};

/// What a room allows.
#[derive(Debug, Clone)]
pub struct Manners {
    /// Members at once.
    pub members: usize,
    /// Frames that wait for one member.
    pub queue: usize,
    /// What becomes of those who don't take them.
    pub slow: Slow,
    /// Lines that newcomers are told.
    pub history: usize,
    /// Lines that a member may say at once …
    pub burst: u32,
    /// … and how long it takes until one more may be said.
    pub pace: Duration,
    /// A member from whom nothing came for so long, not even an answer to a
    /// ping, is gone.
    pub idle: Duration,
}

/// The room; shared by the connections of one loop.
#[derive(Debug)]
pub struct Room {
    manners: Manners,
    members: RefCell<BTreeMap<u64, Member>>,
    history: RefCell<VecDeque<Line>>,
    last_id: Cell<u64>,
    lines: Cell<u64>,
    stopping: Cell<bool>,
    /// What happens here, for the server's own output.
    log: mpsc::UnboundedSender<String>,
}

#[derive(Debug)]
struct Member {
    name: String,
    outbox: Rc<Outbox>,
}

/// A member's place in the room. Dropping it tells the others.
#[derive(Debug)]
pub struct Seat {
    room: Rc<Room>,
    id: u64,
    name: String,
    outbox: Rc<Outbox>,
    why: Cell<End>,
}

impl Room {
    /// An empty room. What happens in it is also sent to `log`.
    pub fn new(manners: Manners, log: mpsc::UnboundedSender<String>) -> Room {
        Room {
            manners,
            members: RefCell::default(),
            history: RefCell::default(),
            last_id: Cell::new(0),
            lines: Cell::new(0),
            stopping: Cell::new(false),
            log,
        }
    }

    /// What is allowed here.
    pub fn manners(&self) -> &Manners {
        &self.manners
    }

    /// How many lines were said, and how many members there have been.
    pub fn counts(&self) -> (u64, u64) {
        (self.lines.get(), self.last_id.get())
    }

    /// Lets somebody in: welcomes them, and tells the others. A name that is
    /// taken gets a number.
    ///
    /// # Errors
    /// [`End::Full`], or [`End::Stopping`].
    pub fn join(self: &Rc<Room>, wished: &str) -> Result<Seat, End> {
        if self.stopping.get() {
            return Err(End::Stopping);
        }
        if self.members.borrow().len() >= self.manners.members {
            return Err(End::Full);
        }
        let here: Vec<String> = self
            .members
            .borrow()
            .values()
            .map(|member| member.name.clone())
            .collect();
        let mut name = wished.to_owned();
        let mut number = 1;
        while here.contains(&name) {
            number += 1;
            name = format!("{wished} {number}");
        }
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        self.tell_all(&Told::Joined { name: name.clone() });
        let outbox = Rc::new(Outbox::new(self.manners.queue, self.manners.slow));
        let welcome = Told::Welcome {
            name: name.clone(),
            here,
            history: self.history.borrow().iter().cloned().collect(),
        };
        outbox.push(welcome.encode());
        let member = Member {
            name: name.clone(),
            outbox: outbox.clone(),
        };
        self.members.borrow_mut().insert(id, member);
        self.note(format!("{name} joined"));
        Ok(Seat {
            room: self.clone(),
            id,
            name,
            outbox,
            why: Cell::new(End::Gone),
        })
    }

    /// Asks everybody to leave, and lets nobody in any more.
    pub fn close(&self) {
        self.stopping.set(true);
        for member in self.members.borrow().values() {
            member.outbox.close(End::Stopping);
        }
    }

    fn tell_all(&self, told: &Told) {
        let frame = told.encode();
        for member in self.members.borrow().values() {
            member.outbox.push(frame.clone());
        }
    }

    fn note(&self, event: String) {
        let here = self.members.borrow().len();
        // Nobody listens any more when the server ends.
        let _ = self.log.send(format!("{event}; {here} here"));
    }
}

impl Seat {
    /// What the member is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the member is.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// What waits to be sent to the member.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Says a line to everybody, the member included.
    pub fn say(&self, text: String) {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let line = Line {
            name: self.name.clone(),
            text,
            at_ms: at.map_or(0, |at| at.as_millis() as u64),
        };
        let room = &self.room;
        room.lines.set(room.lines.get() + 1);
        let mut history = room.history.borrow_mut();
        history.push_back(line.clone());
        if history.len() > room.manners.history {
            history.pop_front();
        }
        drop(history);
        room.tell_all(&Told::Said(line));
    }

    /// Leaves, for a reason that the others are told.
    pub fn leave(self, why: End) {
        self.why.set(why);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let room = &self.room;
        room.members.borrow_mut().remove(&self.id);
        let (name, why) = (self.name.clone(), self.why.get().in_words());
        room.note(format!("{name} {why}"));
        room.tell_all(&Told::Left {
            name,
            why: why.into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbox::Next;
    use super::*;
    use threeply_runtime::block_on;

    pub(super) fn room(queue: usize, slow: Slow, history: usize) -> Rc<Room> {
        let manners = Manners {
            members: 3,
            queue,
            slow,
            history,
            burst: 10,
            pace: Duration::from_millis(200),
            idle: Duration::from_secs(60),
        };
        Rc::new(Room::new(manners, mpsc::unbounded_channel().0))
    }

    fn heard(seat: &Seat) -> Vec<Told> {
        block_on(async {
            seat.outbox.close(End::Left);
            let mut heard = Vec::new();
            loop {
                match seat.outbox.next().await {
                    Next::Text(text) => heard.push(serde_json::from_str(&text).unwrap()),
                    Next::Missed(count) => heard.push(Told::Missed { count }),
                    Next::Close(_) => return heard,
                }
            }
        })
    }

    #[test]
    fn everybody_hears_everything_in_the_same_order() {
        let room = room(100, Slow::Drop, 2);
        let anna = room.join("Anna").unwrap();
        let ben = room.join("Ben").unwrap();
        for text in ["1", "2", "3"] {
            ben.say(text.into());
        }
        let late = room.join("Anna").unwrap();
        assert_eq!(late.name(), "Anna 2", "a name is taken once");
        assert_eq!(room.join("Dora").unwrap_err(), End::Full);
        ben.leave(End::TooFast);
        let texts = |told: &[Told]| -> Vec<String> {
            let text = |told: &Told| match told {
                Told::Said(line) => line.text.clone(),
                Told::Joined { name } => format!("+{name}"),
                Told::Left { name, why } => format!("-{name} {why}"),
                Told::Welcome { here, history, .. } => format!("{here:?} {}", history.len()),
                other => panic!("{other:?}"),
            };
            told.iter().map(text).collect()
        };
        assert_eq!(
            texts(&heard(&anna)),
            [
                "[] 0",
                "+Ben",
                "1",
                "2",
                "3",
                "+Anna 2",
                "-Ben was too fast"
            ]
        );
        assert_eq!(
            texts(&heard(&late)),
            ["[\"Anna\", \"Ben\"] 2", "-Ben was too fast"]
        );
        assert_eq!(room.counts(), (3, 3));
    }

    #[test]
    fn a_member_who_takes_nothing_holds_up_nobody() {
        for (slow, expected) in [(Slow::Drop, 5), (Slow::Disconnect, 0)] {
            let room = room(4, slow, 0);
            let idle = room.join("Idle").unwrap();
            let busy = room.join("Busy").unwrap();
            let taken = Rc::new(Cell::new(0));
            for number in 0..100 {
                busy.say(number.to_string());
                block_on(async {
                    while let Ok(Next::Text(_)) =
                        threeply_runtime::time::timeout(Duration::ZERO, busy.outbox.next()).await
                    {
                        taken.set(taken.get() + 1);
                    }
                });
            }
            assert_eq!(taken.get(), 101, "its welcome, and all its own lines");
            assert_eq!(heard(&idle).len(), expected, "{slow:?}");
        }
    }

    #[test]
    fn a_room_that_closes_lets_nobody_in() {
        let room = room(4, Slow::Drop, 0);
        let anna = room.join("Anna").unwrap();
        room.close();
        assert_eq!(room.join("Ben").unwrap_err(), End::Stopping);
        block_on(async {
            assert!(matches!(anna.outbox.next().await, Next::Text(_)));
            assert_eq!(anna.outbox.next().await, Next::Close(End::Stopping));
        });
    }
}
