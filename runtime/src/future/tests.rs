//! The combinators without a loop: children are polled by hand and counted.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::time::tests::virtual_time;
use crate::time::{now, sleep, timeout};

const MS: std::time::Duration = std::time::Duration::from_millis(1);

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn taken(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

fn poll<F: Future + Unpin>(future: &mut F, count: &Arc<Count>) -> Poll<F::Output> {
    let waker = Waker::from(count.clone());
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

/// A child that the test finishes from outside.
#[derive(Clone, Default)]
struct Door(Rc<DoorState>);

#[derive(Default)]
struct DoorState {
    open: Cell<bool>,
    polls: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl Door {
    fn open(&self) {
        self.0.open.set(true);
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }

    fn polls(&self) -> usize {
        self.0.polls.get()
    }
}

impl Future for Door {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.polls.set(self.polls() + 1);
        if self.0.open.get() {
            return Poll::Ready(());
        }
        *self.0.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn doors(count: usize) -> Vec<Door> {
    (0..count).map(|_| Door::default()).collect()
}

/// Pending once, woken at once.
fn yields(times: usize) -> impl Future<Output = ()> {
    let mut left = times;
    poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

#[test]
fn join_all_returns_outputs_in_the_order_of_the_futures() {
    for count in [0, 1, 5, 32, 33, 64, 65, 1000] {
        let (doors, wakes) = (doors(count), Arc::<Count>::default());
        let numbered = doors.iter().cloned().enumerate();
        let mut all = join_all(numbered.map(|(n, door)| {
            Box::pin(async move {
                door.await;
                n
            })
        }));
        for door in doors.iter().rev() {
            assert!(poll(&mut all, &wakes).is_pending());
            door.open();
            assert_eq!(wakes.taken(), 1);
        }
        let expected: Vec<usize> = (0..count).collect();
        assert_eq!(poll(&mut all, &wakes), Poll::Ready(expected));
    }
}

#[test]
fn many_children_are_polled_only_when_woken() {
    let (doors, wakes) = (doors(10_000), Arc::<Count>::default());
    let mut all = join_all(doors.clone());
    assert!(poll(&mut all, &wakes).is_pending());
    for door in &doors {
        door.open();
        let _ = poll(&mut all, &wakes);
    }
    assert!(doors.iter().all(|door| door.polls() == 2));
}

#[test]
fn children_woken_together_wake_the_parent_once() {
    let (doors, wakes) = (doors(100), Arc::<Count>::default());
    let mut all = join_all(doors.clone());
    assert!(poll(&mut all, &wakes).is_pending());
    doors.iter().for_each(Door::open);
    assert_eq!(wakes.taken(), 1);
    assert!(poll(&mut all, &wakes).is_ready());
}

#[test]
fn a_child_that_wakes_itself_is_polled_again() {
    for count in [3, 100] {
        let wakes = Arc::<Count>::default();
        let mut all = join_all((0..count).map(|_| Box::pin(yields(3))));
        for _ in 0..3 {
            assert!(poll(&mut all, &wakes).is_pending());
            assert!(wakes.taken() > 0);
        }
        assert!(poll(&mut all, &wakes).is_ready());
    }
}

#[test]
fn a_finished_child_is_dropped_at_once() {
    let (doors, wakes) = (doors(40), Arc::<Count>::default());
    let mut all = join_all(doors.clone());
    assert!(poll(&mut all, &wakes).is_pending());
    doors[7].open();
    assert!(poll(&mut all, &wakes).is_pending());
    assert_eq!(Rc::strong_count(&doors[7].0), 1);
    assert_eq!(Rc::strong_count(&doors[8].0), 2);
}

#[test]
fn a_childs_waker_may_outlive_the_combinator() {
    let (doors, wakes) = (doors(40), Arc::<Count>::default());
    let mut all = join_all(doors.clone());
    assert!(poll(&mut all, &wakes).is_pending());
    drop(all);
    assert_eq!(Arc::strong_count(&wakes), 1, "the parent's waker is let go");
    doors.iter().for_each(Door::open);
    assert_eq!(wakes.taken(), 0);
}

#[test]
fn try_join_all_stops_at_the_first_error_and_drops_the_others() {
    for count in [3, 100] {
        let (doors, wakes) = (doors(count), Arc::<Count>::default());
        let numbered = doors.iter().cloned().enumerate();
        let mut all = try_join_all(numbered.map(|(n, door)| {
            Box::pin(async move {
                door.await;
                if n == 1 { Err("one") } else { Ok(n) }
            })
        }));
        assert!(poll(&mut all, &wakes).is_pending());
        doors[0].open();
        assert!(poll(&mut all, &wakes).is_pending());
        doors[1].open();
        assert_eq!(poll(&mut all, &wakes), Poll::Ready(Err("one")));
        assert!(doors.iter().all(|door| Rc::strong_count(&door.0) == 1));
    }
}

#[test]
fn as_completed_yields_in_the_order_of_completion_and_keeps_the_rest() {
    for count in [5, 100] {
        let (doors, wakes) = (doors(count), Arc::<Count>::default());
        let numbered = doors.iter().cloned().enumerate();
        let mut done = as_completed(numbered.map(|(n, door)| async move {
            door.await;
            n
        }));
        let order = [3, 0, 4];
        for &n in &order {
            let mut next = Box::pin(done.next());
            assert!(poll(&mut next, &wakes).is_pending());
            doors[n].open();
            assert_eq!(poll(&mut next, &wakes), Poll::Ready(Some(n)));
        }
        assert_eq!(done.left(), count - order.len());
        // A `next` that is dropped loses nothing.
        doors.iter().for_each(Door::open);
        drop(Box::pin(done.next()));
        let mut seen = order.to_vec();
        while let Poll::Ready(Some(n)) = poll(&mut Box::pin(done.next()), &wakes) {
            seen.push(n);
        }
        seen.sort();
        assert_eq!(seen, (0..count).collect::<Vec<_>>());
    }
}

#[test]
fn as_completed_serves_every_child_though_one_is_always_ready_first() {
    let queue = Rc::new(RefCell::new(VecDeque::from_iter(0..3)));
    let wakes = Arc::<Count>::default();
    let mut done = as_completed((0..3).map(|n| {
        let queue = queue.clone();
        async move {
            queue.borrow_mut().pop_front();
            n
        }
    }));
    for n in 0..3 {
        assert_eq!(
            poll(&mut Box::pin(done.next()), &wakes),
            Poll::Ready(Some(n))
        );
        assert_eq!(queue.borrow().len(), 2 - n, "one output, one child polled");
    }
    assert_eq!(poll(&mut Box::pin(done.next()), &wakes), Poll::Ready(None));
}

#[test]
fn race_takes_the_first_and_drops_the_losers() {
    for count in [2, 100] {
        let (doors, wakes) = (doors(count), Arc::<Count>::default());
        let mut first = race(doors.clone());
        assert!(poll(&mut first, &wakes).is_pending());
        doors[1].open();
        assert!(poll(&mut first, &wakes).is_ready());
        assert!(doors.iter().all(|door| Rc::strong_count(&door.0) == 1));
    }
}

#[test]
#[should_panic(expected = "without a future")]
fn race_of_nobody_is_a_panic_and_not_a_hang() {
    let _ = poll(&mut race(doors(0)), &Arc::default());
}

#[test]
fn select_names_the_winner_and_drops_the_losers() {
    let (door, wakes) = (Door::default(), Arc::<Count>::default());
    let mut choice = select((door.clone(), pending::<u8>(), ready(2)));
    assert_eq!(poll(&mut choice, &wakes), Poll::Ready(Either3::Third(2)));
    assert_eq!(Rc::strong_count(&door.0), 1);
    let mut choice = select((pending::<()>(), pending::<()>(), pending::<()>(), ready(4)));
    assert_eq!(poll(&mut choice, &wakes), Poll::Ready(Either4::Fourth(4)));
}

#[test]
fn select_by_reference_lets_the_loser_go_on() {
    let (mut door, wakes) = (Door::default(), Arc::<Count>::default());
    assert_eq!(
        poll(&mut select((&mut door, ready(1))), &wakes),
        Poll::Ready(Either::Second(1))
    );
    door.open();
    assert_eq!(poll(&mut door, &wakes), Poll::Ready(()));
}

#[test]
fn select_in_a_loop_serves_all_that_are_ready_and_biased_only_the_first() {
    let wakes = Arc::<Count>::default();
    let mut won = [0, 0];
    for _ in 0..1_000 {
        match poll(&mut select((ready(()), ready(()))), &wakes) {
            Poll::Ready(Either::First(())) => won[0] += 1,
            Poll::Ready(Either::Second(())) => won[1] += 1,
            Poll::Pending => unreachable!(),
        }
        let biased = poll(&mut select_biased((ready(1), ready(2))), &wakes);
        assert_eq!(biased, Poll::Ready(Either::First(1)));
    }
    assert!(won.iter().all(|&times| times > 400), "{won:?}");
}

#[test]
fn futures_that_are_not_unpin_are_polled_in_place() {
    let wakes = Arc::<Count>::default();
    let waker = Waker::from(wakes);
    let mut cx = Context::from_waker(&waker);
    let mut choice = pin!(select((yields(1), async { yields(5).await })));
    assert!(choice.as_mut().poll(&mut cx).is_pending());
    assert!(matches!(
        choice.as_mut().poll(&mut cx),
        Poll::Ready(Either::First(()))
    ));
}

#[test]
fn gather_runs_all_as_tasks_and_keeps_the_order() {
    virtual_time(async {
        let start = now();
        let outputs = gather((0..100).map(|n| async move {
            sleep((100 - n) * MS).await;
            n
        }));
        assert_eq!(outputs.await, (0..100).collect::<Vec<_>>());
        assert_eq!(now() - start, 100 * MS);
        assert_eq!(gather(doors(0)).await.len(), 0);
    });
}

#[test]
fn a_panic_in_a_gather_reaches_the_caller_at_once_and_aborts_the_others() {
    let (door, start) = (Door::default(), Cell::new(None));
    let others = door.clone();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        virtual_time(async {
            start.set(Some(now()));
            let tasks = (0..50).map(|n| {
                let door = others.clone();
                async move {
                    sleep(MS).await;
                    assert_ne!(n, 7, "seven");
                    door.await;
                }
            });
            gather(tasks).await;
        })
    }));
    let payload = panicked.unwrap_err();
    assert!(payload.downcast_ref::<String>().unwrap().contains("seven"));
    drop(others);
    assert_eq!(Rc::strong_count(&door.0), 1);
}

#[test]
fn gather_returns_exceptions_when_asked() {
    virtual_time(async {
        let tasks = (0..3).map(|n| async move {
            assert_ne!(n, 1, "one");
            n
        });
        let results = gather(tasks).return_exceptions().await;
        assert_eq!(*results[0].as_ref().unwrap(), 0);
        assert!(results[1].as_ref().unwrap_err().is_panic());
        assert_eq!(*results[2].as_ref().unwrap(), 2);
    });
}

#[test]
fn a_dropped_gather_aborts_its_tasks() {
    virtual_time(async {
        let doors = doors(40);
        assert!(timeout(MS, gather(doors.clone())).await.is_err());
        crate::yield_now().await;
        assert!(doors.iter().all(|door| Rc::strong_count(&door.0) == 1));
    });
}

#[test]
fn ten_thousand_tasks_are_joined_without_polling_all_at_each_wake() {
    virtual_time(async {
        let tasks = (0..10_000).map(|n| async move { sleep(n * MS / 1000).await });
        let before = crate::stats().unwrap().polls;
        gather(tasks).await;
        let polls = crate::stats().unwrap().polls - before;
        assert!(polls < 40_000, "{polls} polls");
    });
}
