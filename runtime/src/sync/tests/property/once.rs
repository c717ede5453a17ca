//! Once cell and oneshot against their models: what happens once, whoever goes away
//! meanwhile.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::super::{Count, Driven, for_both_families};
use super::{Dice, Line, Waits, check};
use crate::sync::errors::TryRecvError;
use crate::sync::family::Family;
use crate::sync::once_cell::{OnceCell, SetError};
use crate::sync::oneshot::{self, Receiver, Sender};

for_both_families! {
    once_cell_property
    oneshot_property
}

/// What an initializer does when it is polled.
#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Waits,
    Fails,
    Makes(usize),
}

impl Verdict {
    fn draw(dice: &mut Dice) -> Verdict {
        match dice.roll(6) {
            0..4 => Verdict::Waits,
            4 => Verdict::Fails,
            _ => Verdict::Makes(dice.roll(1000)),
        }
    }
}

/// The naive model: who may make the value is a permit, and the line in front of it is
/// let go when there is a value.
struct Cells {
    line: Line,
    /// Who runs an initializer at this moment.
    making: Option<u32>,
    value: Option<usize>,
}

impl Cells {
    /// `turn` is what the line said to `id`; the result that its future must have now.
    fn goes_on(
        &mut self,
        id: u32,
        turn: Option<bool>,
        verdict: Verdict,
    ) -> Option<Result<usize, ()>> {
        match (turn?, verdict) {
            (false, _) => self.value.map(Ok),
            (true, Verdict::Waits) => {
                self.making = Some(id);
                None
            }
            (true, Verdict::Fails) => {
                self.making = None;
                self.line.give(1);
                Some(Err(()))
            }
            (true, Verdict::Makes(value)) => {
                self.making = None;
                self.value = Some(value);
                self.line.close();
                Some(Ok(value))
            }
        }
    }
}

/// One at a time makes the value; if it fails or goes away, the next in line does.
fn once_cell_property<F: Family>() {
    check(500, |dice: &mut Dice| {
        let cell = OnceCell::<F, usize>::new();
        let mut model = Cells {
            line: Line::new(1),
            making: None,
            value: None,
        };
        let verdict = Rc::new(Cell::new(Verdict::Waits));
        let mut waits = Waits::new();
        for _ in 0..60 {
            match dice.roll(16) {
                0..6 => {
                    verdict.set(Verdict::draw(dice));
                    let id = waits.new_id();
                    let says = verdict.clone();
                    let init = move || {
                        std::future::poll_fn(move |_| match says.get() {
                            Verdict::Waits => Poll::Pending,
                            Verdict::Fails => Poll::Ready(Err(())),
                            Verdict::Makes(value) => Poll::Ready(Ok(value)),
                        })
                    };
                    let wait = async { cell.get_or_try_init(init).await.copied() };
                    let got = waits.start(id, Driven::new(wait));
                    let turn = model.line.ask(id, 1);
                    assert_eq!(got, model.goes_on(id, turn, verdict.get()));
                }
                6..12 => {
                    verdict.set(Verdict::draw(dice));
                    if let Some((id, got)) = waits.poll_one(dice) {
                        let turn = match model.making {
                            Some(maker) if maker == id => Some(true),
                            _ => model.line.poll(id),
                        };
                        assert_eq!(got, model.goes_on(id, turn, verdict.get()));
                    }
                }
                12..15 => match waits.cancel_one(dice) {
                    Some(id) if model.making == Some(id) => {
                        model.making = None;
                        model.line.give(1);
                    }
                    Some(id) => model.line.cancel(id),
                    None => {}
                },
                _ if dice.roll(4) == 0 => {
                    let expected = match model.line.try_ask(1) {
                        Some(true) => {
                            model.value = Some(7);
                            model.line.close();
                            Ok(())
                        }
                        Some(false) => Err(SetError::AlreadyInitialized(7)),
                        None => Err(SetError::Initializing(7)),
                    };
                    assert_eq!(cell.set(7), expected);
                }
                _ => {}
            }
            for (id, wait) in &waits.waits {
                if model.making != Some(*id) {
                    let woken = model.line.is_woken(*id);
                    assert_eq!(wait.wakes() > 0, woken, "wakes of wait {id}");
                }
            }
            assert_eq!(cell.get().copied(), model.value);
            assert_eq!(cell.initialized(), model.value.is_some());
        }
        drop(waits);
        assert_eq!(cell.into_inner(), model.value);
    });
}

/// Every waker that one side of the channel ever left there, the last of them in use
/// or not, with the wakes that it must have had.
#[derive(Default)]
struct Wakers {
    all: Vec<(Arc<Count>, usize)>,
    /// The one that is woken next.
    registered: Option<usize>,
}

impl Wakers {
    /// For a poll: that of the poll before or, as if the task had changed, a new one.
    fn pick(&mut self, dice: &mut Dice) -> Waker {
        if self.all.is_empty() || dice.roll(2) == 0 {
            self.all.push((Arc::default(), 0));
        }
        let (last, _) = self.all.last().expect("there is one by now");
        Waker::from(last.clone())
    }

    /// The poll with the waker last picked has to wait.
    fn register(&mut self) {
        self.registered = Some(self.all.len() - 1);
    }

    /// Something has happened that whoever waits must hear of.
    fn tell(&mut self) {
        if let Some(index) = self.registered.take() {
            self.all[index].1 += 1;
        }
    }

    #[track_caller]
    fn check(&self) {
        for (count, expected) in &self.all {
            let wakes = count.0.load(std::sync::atomic::Ordering::SeqCst);
            assert_eq!(wakes, *expected);
        }
    }
}

/// One value, delivered, given back, or dropped with the channel; whoever waits for
/// the other side is woken once, by the waker of its last poll.
fn oneshot_property<F: Family>() {
    check(2000, |dice: &mut Dice| {
        let (sender, receiver) = oneshot::channel::<F, Rc<()>>();
        let (mut sender, mut receiver) = (Some(sender), Some(receiver));
        let token = Rc::new(());
        let (mut receives, mut closes) = (Wakers::default(), Wakers::default());
        // The model: what is in the channel, and which end has said its last word.
        let (mut full, mut sender_done) = (false, false);
        let (mut closed, mut delivered) = (false, false);
        for _ in 0..12 {
            match dice.roll(10) {
                0 => {
                    if let Some(sender) = sender.take() {
                        let sent = sender.send(token.clone());
                        assert_eq!(sent.is_err(), closed);
                        full = !closed;
                        sender_done = true;
                        if full {
                            receives.tell();
                        } else {
                            receives.registered = None;
                        }
                    }
                }
                1 => {
                    if sender.take().map(drop::<Sender<F, _>>).is_some() {
                        sender_done = true;
                        receives.tell();
                        closes.registered = None;
                    }
                }
                2 => {
                    if receiver.take().map(drop::<Receiver<F, _>>).is_some() && !delivered {
                        (closed, full) = (true, false);
                        closes.tell();
                        receives.registered = None;
                    }
                }
                3 => {
                    if let Some(receiver) = &mut receiver {
                        receiver.close();
                        if !delivered {
                            closed = true;
                            closes.tell();
                        }
                    }
                }
                4..6 => {
                    if let Some(sender) = &mut sender {
                        let waker = closes.pick(dice);
                        let polled = sender.poll_closed(&mut Context::from_waker(&waker));
                        assert_eq!(polled.is_ready(), closed);
                        assert_eq!(sender.is_closed(), closed);
                        if !closed {
                            closes.register();
                        }
                    }
                }
                6..9 => {
                    if let Some(receiver) = &mut receiver {
                        let waker = receives.pick(dice);
                        let polled = Pin::new(receiver).poll(&mut Context::from_waker(&waker));
                        let over = delivered || full || sender_done || closed;
                        match polled {
                            Poll::Ready(got) => {
                                assert!(over);
                                assert_eq!(got.is_ok(), full);
                                (delivered, full) = (true, false);
                            }
                            Poll::Pending => {
                                assert!(!over);
                                receives.register();
                            }
                        }
                    }
                }
                _ => {
                    if let Some(receiver) = &mut receiver {
                        let got = receiver.try_recv();
                        let over = delivered || full || sender_done || closed;
                        assert_eq!(got.is_ok(), full);
                        assert_eq!(got == Err(TryRecvError::Empty), !over);
                        (delivered, full) = (over, false);
                    }
                }
            }
            receives.check();
            closes.check();
            assert_eq!(Rc::strong_count(&token), 1 + usize::from(full));
        }
        drop((sender, receiver));
        assert_eq!(
            Rc::strong_count(&token),
            1,
            "a value was lost in the channel"
        );
    });
}
