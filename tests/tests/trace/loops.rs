//! Traces of event loops.

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use threeply_runtime::io::{AsyncReadExt, AsyncWriteExt};
use threeply_runtime::net::UnixStream;
use threeply_runtime::sync::family::Local;
use threeply_runtime::sync::local;
use threeply_runtime::sync::queue::{Discipline, Fifo, Lifo, Priority, Queue};
use threeply_runtime::task::Builder;
use threeply_runtime::time::sleep;
use threeply_runtime::trace::{self, ArrowKind, Kind, LaneKind, What};
use threeply_runtime::{EventLoop, Handle, block_on, spawn, unblock, yield_now};

use crate::kit::{arrows, count, in_turn, lanes, only, record, tell, told};

#[test]
fn a_spawned_task_is_told_from_spawn_to_join() {
    let (trace, ()) = record(|| {
        block_on(async {
            let task = Builder::new().name("child").spawn(async { 1 });
            assert_eq!(task.await.unwrap(), 1);
        });
    });
    let story = told(&trace, &[Kind::Spawn, Kind::Poll, Kind::Wake]);
    let expected = [
        "spawn main",
        "poll main",
        "spawn child", // In that poll.
        "poll child",
        "wake main", // By the child's end.
        "poll main",
    ];
    assert_eq!(story, expected);
    let [spawn, poll] = [Kind::Spawn, Kind::Poll].map(|kind| {
        let find = |event: &_| tell(&trace, event).ends_with("child") && event.kind == kind;
        trace.events().iter().position(find).unwrap()
    });
    let subject = &trace.subjects()[trace.events()[spawn].subject.unwrap()];
    assert!(
        subject
            .site
            .as_ref()
            .unwrap()
            .contains("tests/trace/loops.rs:"),
        "{subject:?}"
    );
    let outer = trace.events()[trace.events()[spawn].inside.unwrap()];
    assert_eq!(tell(&trace, &outer), "poll main");
    // The wake of main happens in the child's poll: it is by the child.
    let wake = trace
        .events()
        .iter()
        .rfind(|event| event.kind == Kind::Wake)
        .unwrap();
    assert_eq!(wake.inside, Some(poll));
    assert!(
        trace.text(wake).starts_with("by task"),
        "{}",
        trace.text(wake)
    );
    assert_eq!(trace.text(&trace.events()[poll]), "it ends");
    assert_eq!(lanes(&trace, LaneKind::Loop), 1);
}

#[test]
fn a_task_that_yields_wakes_itself() {
    let (trace, ()) = record(|| {
        block_on(async {
            for _ in 0..3 {
                yield_now().await;
            }
        });
    });
    assert_eq!(count(&trace, Kind::Poll), 4);
    assert_eq!(arrows(&trace, Kind::Wake, Kind::Poll), [ArrowKind::Wake; 3]);
    assert_eq!(arrows(&trace, Kind::Spawn, Kind::Poll), [ArrowKind::Spawn]);
    // Its next poll can't be before this one is over, so the wake has its end's time.
    let events = trace.events();
    for wake in events.iter().filter(|event| event.kind == Kind::Wake) {
        let poll = events[wake.inside.expect("its own poll")];
        assert_eq!(Some(wake.start_ns), poll.end_ns);
    }
}

#[test]
fn who_wakes_itself_and_goes_on_is_told_of_at_what_it_tells_next() {
    let told = |goes_on: bool| {
        let (trace, ()) = record(|| {
            let mut polled = false;
            block_on(std::future::poll_fn(|cx| {
                if std::mem::replace(&mut polled, true) {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                if goes_on {
                    local::mpsc::unbounded_channel().0.send(1).unwrap();
                    std::thread::sleep(Duration::from_millis(1));
                }
                Poll::Pending
            }));
        });
        let [wake, poll] = [Kind::Wake, Kind::Poll].map(|kind| {
            let of_kind = |event: &&trace::Event| event.kind == kind;
            *trace.events().iter().find(of_kind).unwrap()
        });
        poll.end_ns.unwrap() - wake.start_ns
    };
    assert_eq!(told(false), 0);
    assert!(told(true) >= 1_000_000);
}

#[test]
fn a_wake_after_which_nothing_came_has_the_time_of_what_was_before() {
    in_turn(|| {
        let trace = block_on(async {
            let session = trace::start().unwrap();
            yield_now().await;
            spawn(std::future::poll_fn(move |cx| {
                cx.waker().wake_by_ref();
                Poll::Ready(session.snapshot())
            }))
            .await
            .unwrap()
        });
        let last = trace.events().last().unwrap();
        let poll = trace.events()[last.inside.expect("its own poll")];
        assert_eq!((last.kind, last.start_ns), (Kind::Wake, poll.start_ns));
    });
}

#[test]
fn a_timer_is_set_fires_ends_the_sleep_and_wakes() {
    let (trace, ()) = record(|| block_on(sleep(Duration::from_millis(2))));
    let (set, fired) = (only(&trace, Kind::TimerSet), only(&trace, Kind::TimerFired));
    let sleep = only(&trace, Kind::Park);
    assert_eq!(
        arrows(&trace, Kind::TimerSet, Kind::TimerFired),
        [ArrowKind::Cause]
    );
    assert_eq!(
        arrows(&trace, Kind::TimerFired, Kind::Wake),
        [ArrowKind::Cause]
    );
    let text = trace.text(&trace.events()[sleep]);
    assert!(text.contains("ended by: timer fired, task"), "{text}");
    let [set, fired, sleep] = [set, fired, sleep].map(|at| trace.events()[at]);
    assert!(fired.start_ns - set.start_ns >= 2_000_000);
    assert!(sleep.end_ns.unwrap() - sleep.start_ns > 1_000_000);
    assert!(sleep.end_ns.unwrap() <= fired.start_ns);
}

#[test]
fn a_socket_that_becomes_readable_wakes_its_reader() {
    let (trace, ()) = record(|| {
        block_on(async {
            let (mut write, mut read) = UnixStream::pair().unwrap();
            let reader = spawn(async move {
                let mut byte = [0];
                read.read_exact(&mut byte).await.unwrap();
                byte[0]
            });
            yield_now().await; // The reader waits.
            write.write_all(&[7]).await.unwrap();
            assert_eq!(reader.await.unwrap(), 7);
        });
    });
    assert!(arrows(&trace, Kind::Ready, Kind::Wake).contains(&ArrowKind::Cause));
    // What one look at the descriptors finds, it finds at one time.
    let events = trace.events();
    for arrow in trace.arrows().iter().map(|arrow| (arrow.from, arrow.to)) {
        let (cause, effect) = (events[arrow.0], events[arrow.1]);
        if (cause.kind, effect.kind) == (Kind::Ready, Kind::Wake) {
            assert_eq!(cause.start_ns, effect.start_ns);
        }
    }
}

#[test]
fn room_to_write_that_was_there_is_not_told_again() {
    const ROUNDS: usize = 5;
    let (trace, ()) = record(|| {
        block_on(async {
            let (mut here, mut there) = UnixStream::pair().unwrap();
            let echo = spawn(async move {
                let mut byte = [0];
                for _ in 0..ROUNDS {
                    there.read_exact(&mut byte).await.unwrap();
                    there.write_all(&byte).await.unwrap();
                }
            });
            let mut byte = [0];
            for _ in 0..ROUNDS {
                here.write_all(&[7]).await.unwrap();
                here.read_exact(&mut byte).await.unwrap();
            }
            echo.await.unwrap();
        });
    });
    let ready = |direction| {
        let of_direction = |event: &&trace::Event| event.b == direction;
        let events = trace.events().iter();
        let ready = events.filter(|event| event.kind == Kind::Ready);
        ready.filter(of_direction).count()
    };
    let (to_read, to_write) = (ready(0), ready(1));
    assert!(to_read >= ROUNDS, "{to_read}");
    // Once for each end, when it became known.
    assert!(to_write <= 2, "{to_write}");
}

#[test]
fn a_wake_from_another_thread_is_told_on_both() {
    let (trace, ()) = record(|| {
        block_on(async {
            let handle = Handle::current();
            let thread = std::thread::Builder::new()
                .name("other".into())
                .spawn(move || handle.block_on(|| async { 5 }).unwrap());
            let thread = thread.unwrap();
            while !thread.is_finished() {
                sleep(Duration::from_micros(200)).await;
            }
            assert_eq!(thread.join().unwrap(), 5);
        });
    });
    // The call goes through the mailbox.
    assert!(count(&trace, Kind::Mail) >= 1);
    assert_eq!(lanes(&trace, LaneKind::Loop), 1);
}

#[test]
fn a_blocking_call_is_pushed_run_and_its_end_wakes_the_loop() {
    let (trace, ()) = record(|| {
        block_on(async {
            unblock(|| std::thread::sleep(Duration::from_millis(1)))
                .await
                .unwrap();
        });
    });
    assert_eq!(
        arrows(&trace, Kind::BlockingPush, Kind::BlockingRun),
        [ArrowKind::Push]
    );
    let run = trace.events()[only(&trace, Kind::BlockingRun)];
    assert!(run.end_ns.unwrap() - run.start_ns >= 1_000_000);
    assert_eq!(
        arrows(&trace, Kind::WakeElsewhere, Kind::Collected),
        [ArrowKind::Cause]
    );
    let wake = trace.events()[only(&trace, Kind::WakeElsewhere)];
    assert_eq!(wake.inside, Some(only(&trace, Kind::BlockingRun)));
    assert!(
        trace.text(&wake).starts_with("by job"),
        "{}",
        trace.text(&wake)
    );
}

#[test]
fn locks_and_channels_tell_who_waits_and_what_passes() {
    let (trace, ()) = record(|| {
        block_on(async {
            let lock = std::rc::Rc::new(local::Mutex::new(0));
            let guard = lock.lock().await;
            let waiter = spawn({
                let lock = lock.clone();
                async move { *lock.lock().await += 1 }
            });
            yield_now().await;
            drop(guard);
            waiter.await.unwrap();
            let (sender, mut receiver) = local::mpsc::channel(4);
            for value in 0..3 {
                sender.send(value).await.unwrap();
            }
            for value in 0..3 {
                assert_eq!(receiver.recv().await, Some(value));
            }
            let (sender, mut receiver) = local::mpsc::unbounded_channel();
            for value in 0..3 {
                sender.send(value).unwrap();
            }
            while receiver.try_recv().is_ok() {}
        });
    });
    assert_eq!(
        (
            count(&trace, Kind::TurnWait),
            count(&trace, Kind::TurnGrant)
        ),
        (1, 1)
    );
    assert_eq!(count(&trace, Kind::Send), 6);
    assert_eq!(
        count(&trace, Kind::Receive),
        4,
        "an unbounded channel's come all at once"
    );
    assert_eq!(
        arrows(&trace, Kind::Send, Kind::Receive),
        [ArrowKind::Value; 6]
    );
}

/// Where a subject was made, of the events of these kinds, in order, each once.
fn sites(trace: &trace::Trace, kinds: &[Kind]) -> Vec<(What, String)> {
    let mut sites = Vec::new();
    for event in trace.events() {
        if kinds.contains(&event.kind) {
            let subject = &trace.subjects()[event.subject.expect("it is about something")];
            let site = subject.site.clone().expect("it tells where it was made");
            if !sites.contains(&(subject.what, site.clone())) {
                sites.push((subject.what, site));
            }
        }
    }
    sites
}

#[test]
fn a_lock_and_a_channel_tell_where_they_were_made() {
    // Both older than the recording; and the lock moves after it.
    let here = |line: u32| format!("{}:{line}:", file!());
    let (mutex, at_mutex) = (local::Mutex::new(()), here(line!()));
    let ((sender, mut receiver), at_channel) = (local::mpsc::channel(1), here(line!()));
    let mutex = Rc::new(mutex);
    let (trace, ()) = record(|| {
        block_on(async {
            let guard = mutex.clone().lock_owned().await;
            let waits = spawn(async move {
                drop(mutex.lock().await);
                sender.send(1).await.unwrap();
                sender.send(2).await.unwrap(); // It waits for room.
            });
            yield_now().await;
            drop(guard);
            yield_now().await;
            for value in [1, 2] {
                assert_eq!(receiver.recv().await, Some(value));
            }
            waits.await.unwrap();
        });
    });
    let lines = sites(&trace, &[Kind::TurnWait, Kind::TurnGrant]);
    assert!(
        matches!(&lines[..], [(What::Line, first), (What::Line, second)]
            if first.starts_with(&at_mutex) && second.starts_with(&at_channel)),
        "{lines:?}"
    );
    let channels = sites(&trace, &[Kind::Send, Kind::Receive]);
    assert!(
        matches!(&channels[..], [(What::Channel, site)] if site.starts_with(&at_channel)),
        "{channels:?}"
    );
    // Once each, before anything else that they tell.
    let made = told(&trace, &[Kind::Made]);
    assert_eq!(made, ["made line 1", "made channel 1", "made line 2"]);
    let mut chrome = Vec::new();
    trace.write_chrome(&mut chrome).unwrap();
    let chrome = String::from_utf8(chrome).unwrap();
    assert!(chrome.contains(&format!("\"made\":\"{at_mutex}")));
    assert!(
        trace
            .to_model()
            .contains(&format!("\"site\":\"{at_channel}"))
    );
}

#[test]
fn what_uses_an_address_again_is_something_new() {
    let (trace, ()) = record(|| {
        block_on(async {
            for value in 0..3 {
                let (sender, mut receiver) = local::mpsc::channel(1);
                sender.send(value).await.unwrap();
                assert_eq!(receiver.recv().await, Some(value));
            }
        });
    });
    let passed = told(&trace, &[Kind::Send, Kind::Receive]);
    assert_eq!(passed[..2], ["send channel 1", "receive channel 1"]);
    assert_eq!(passed[4..], ["send channel 3", "receive channel 3"]);
}

#[test]
fn within_a_turn_a_poll_begins_when_the_one_before_it_ends() {
    let (trace, ()) = record(|| {
        block_on(async {
            let others: Vec<_> = (0..3).map(|_| spawn(yield_now())).collect();
            for other in others {
                other.await.unwrap();
            }
        });
    });
    let polls = trace
        .events()
        .iter()
        .filter(|event| event.kind == Kind::Poll);
    let polls: Vec<_> = polls.collect();
    let adjacent = |pair: &[&trace::Event]| pair[0].end_ns == Some(pair[1].start_ns);
    // All of it fits into one turn.
    assert!(
        polls.len() >= 7 && polls.windows(2).all(adjacent),
        "{polls:?}"
    );
}

/// For each effect: its own number, and that of its cause.
fn values(trace: &trace::Trace, sent: Kind, received: Kind) -> Vec<(u64, u64)> {
    let events = trace.events();
    let kinds = |from: usize, to: usize| (events[from].kind, events[to].kind);
    let both = trace.arrows().iter().map(|arrow| (arrow.from, arrow.to));
    both.filter(|&(from, to)| kinds(from, to) == (sent, received))
        .map(|(from, to)| (events[to].b, events[from].b))
        .collect()
}

#[test]
fn a_oneshot_s_value_is_told_from_send_to_receipt() {
    let (trace, ()) = record(|| {
        block_on(async {
            for answered in [true, false, true] {
                let (sender, receiver) = local::oneshot::channel();
                if answered {
                    let task = spawn(receiver);
                    yield_now().await;
                    sender.send(7).unwrap();
                    assert_eq!(task.await.unwrap(), Ok(7));
                } else {
                    // Its place is likely to be the next one's: no arrow from here.
                    sender.send(7).unwrap();
                    drop(receiver);
                }
            }
        });
    });
    assert_eq!(count(&trace, Kind::OneshotSend), 3);
    assert_eq!(count(&trace, Kind::OneshotReceive), 2);
    let both = arrows(&trace, Kind::OneshotSend, Kind::OneshotReceive);
    assert_eq!(both, [ArrowKind::Value; 2]);
    let channels = |kind: Kind| {
        let of_kind = trace
            .events()
            .iter()
            .filter(move |event| event.kind == kind);
        of_kind.map(|event| event.subject).collect::<Vec<_>>()
    };
    let sent = channels(Kind::OneshotSend);
    assert_eq!(channels(Kind::OneshotReceive), [sent[0], sent[2]]);
}

#[test]
fn each_receiver_of_a_watch_or_broadcast_is_led_back_to_what_it_saw() {
    let (trace, ()) = record(|| {
        block_on(async {
            let (sender, mut one) = local::watch::channel(0);
            let mut other = one.clone();
            sender.send(1).unwrap();
            one.changed().await.unwrap();
            sender.send(2).unwrap();
            assert_eq!(*one.borrow_and_update(), 2);
            one.borrow_and_update(); // Nothing new.
            other.changed().await.unwrap();

            let (sender, mut one) = local::broadcast::channel(4);
            let mut other = sender.subscribe();
            for value in [10, 11] {
                sender.send(value).unwrap();
            }
            assert_eq!(one.recv().await, Ok(10));
            assert_eq!(other.recv().await, Ok(10));
            assert_eq!(other.try_recv(), Ok(11));
        });
    });
    assert_eq!(
        values(&trace, Kind::WatchSend, Kind::WatchSeen),
        [(1, 1), (2, 2), (2, 2)]
    );
    assert_eq!(
        values(&trace, Kind::BroadcastSend, Kind::BroadcastReceive),
        [(0, 0), (0, 0), (1, 1)]
    );
}

#[test]
fn an_item_is_led_back_through_a_queue_where_the_order_tells_how() {
    fn pass<D: Discipline<u8>>() -> Vec<usize> {
        let (trace, ()) = record(|| {
            block_on(async {
                let queue: Queue<Local, u8, D> = Queue::unbounded();
                for item in [1, 2, 3] {
                    queue.put(item).await.unwrap();
                }
                for _ in 0..3 {
                    queue.get().await.unwrap();
                }
            });
        });
        let puts: Vec<usize> = (0..trace.events().len())
            .filter(|&at| trace.events()[at].kind == Kind::QueuePut)
            .collect();
        let gets =
            (0..trace.events().len()).filter(|&at| trace.events()[at].kind == Kind::QueueGet);
        gets.flat_map(|get| {
            trace
                .causes_of(get)
                .map(|arrow| arrow.from)
                .collect::<Vec<_>>()
        })
        .map(|put| puts.iter().position(|&at| at == put).unwrap())
        .collect()
    }
    assert_eq!(pass::<Fifo<u8>>(), [0, 1, 2]);
    assert_eq!(pass::<Lifo<u8>>(), [2, 1, 0]);
    assert_eq!(
        pass::<Priority<u8>>(),
        [] as [usize; 0],
        "by rank, not by order"
    );
}

#[test]
fn a_cancelled_timer_is_told_and_is_not_taken_for_one_that_fires() {
    let (trace, ()) = record(|| {
        block_on(async {
            let in_time = threeply_runtime::time::timeout(Duration::from_millis(1), yield_now());
            in_time.await.unwrap();
            sleep(Duration::from_millis(2)).await;
        });
    });
    let events = trace.events();
    let cause = |kind: Kind| {
        let at = events.iter().position(|event| event.kind == kind).unwrap();
        let causes: Vec<_> = trace.causes_of(at).map(|arrow| arrow.from).collect();
        assert_eq!(causes.len(), 1, "{kind:?}");
        assert_eq!(events[causes[0]].kind, Kind::TimerSet);
        events[causes[0]].b
    };
    let (cancelled, fired) = (cause(Kind::TimerCancelled), cause(Kind::TimerFired));
    assert!(cancelled < fired);
    assert_eq!(count(&trace, Kind::TimerSet), 2);
}

#[test]
fn recording_begins_and_ends_while_a_loop_runs() {
    in_turn(|| {
        block_on(async {
            spawn(async {}).await.unwrap();
            let session = trace::start().unwrap();
            Builder::new().name("told").spawn(async {}).await.unwrap();
            let snapshot = session.snapshot();
            let told_polls = |trace: &trace::Trace| {
                let polls = told(trace, &[Kind::Poll]);
                polls.iter().filter(|poll| *poll == "poll told").count()
            };
            assert_eq!(told_polls(&snapshot), 1);
            let trace = session.stop();
            assert_eq!(told_polls(&trace), 1);
            let polls = count(&trace, Kind::Poll);
            // A second session has nothing of the first.
            let session = trace::start().unwrap();
            spawn(async {}).await.unwrap();
            let trace = session.stop();
            assert_eq!(told_polls(&trace), 0);
            assert!(polls >= 2 && count(&trace, Kind::Poll) >= 1);
        });
    });
}

#[test]
fn a_panic_leaves_no_span_open() {
    let (trace, ()) = record(|| {
        let event_loop = EventLoop::new().unwrap();
        let main = || event_loop.block_on(async { panic!("on purpose") });
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(main)).unwrap_err();
        event_loop.block_on(async {
            spawn(async { panic!("on purpose") }).await.unwrap_err();
        });
    });
    assert!(trace.events().iter().all(|event| !event.is_unfinished()));
    assert_eq!(count(&trace, Kind::Poll), 4);
}

#[test]
fn a_second_session_is_refused_until_the_first_is_over() {
    in_turn(|| {
        let first = trace::start().unwrap();
        assert!(trace::is_on());
        let error = trace::start().unwrap_err();
        assert!(matches!(error, trace::Error::AlreadyOn));
        assert!(
            error.to_string().contains("stop that session first"),
            "{error}"
        );
        drop(first);
        assert!(!trace::is_on());
        drop(trace::start().unwrap());
    });
}

#[test]
fn a_program_tells_what_it_calls_its_work() {
    let (trace, ()) = record(|| {
        let _outer = trace::span("outer");
        for _ in 0..2 {
            let _inner = trace::span("inner");
        }
    });
    assert_eq!(
        told(&trace, &[Kind::Span]),
        ["span outer", "span inner", "span inner"]
    );
    let [outer, first, second] = [0, 1, 2].map(|at| trace.events()[at]);
    assert_eq!((first.inside, second.inside), (Some(0), Some(0)));
    assert!(!outer.is_unfinished() && first.end_ns <= second.end_ns);
    let subject = &trace.subjects()[outer.subject.unwrap()];
    let site = subject.site.as_ref().unwrap();
    assert!(site.contains("tests/trace/loops.rs:"), "{site}");
}
