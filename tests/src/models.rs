//! The one table of loom models and their broken twins.
//!
//! `cargo loom` fails when fewer of them ran than stand here, so a model can
//! not drop out unnoticed.

/// One loom model, or the broken twin of one.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// The test's path inside `tests/loom`, as `cargo test` prints it.
    pub name: &'static str,
    /// What the model proves; for a twin, which weakening it must catch.
    pub proves: &'static str,
    /// The source file, from the top of the repository, that holds the protocol.
    pub file: &'static str,
}

/// Every model, grouped by the file that it drives.
pub const MODELS: &[Model] = &[
    Model {
        name: "remote::wake_against_park",
        proves: "a wake from another thread is collected, or rings a loop that falls asleep",
        file: "runtime/src/remote/mod.rs",
    },
    Model {
        name: "remote::wake_against_park_broken",
        proves: "twin: the loop falls asleep by a store, over a notice",
        file: "runtime/src/remote/mod.rs",
    },
    Model {
        name: "remote::two_wakes_against_park",
        proves: "of two threads' wakes that share a word of the bitmap, neither is lost",
        file: "runtime/src/remote/bitmap.rs",
    },
    Model {
        name: "remote::two_wakes_against_park_broken",
        proves: "twin: the loop takes the bits first and clears the notice after that",
        file: "runtime/src/remote/mod.rs",
    },
    Model {
        name: "remote::wake_against_reuse_of_the_place",
        proves: "a late wake of a task that is gone costs its place's next owner no wake",
        file: "runtime/src/remote/bitmap.rs",
    },
    Model {
        name: "remote::wake_against_reuse_of_the_place_broken",
        proves: "twin: a wake doesn't publish what its thread wrote before",
        file: "runtime/src/remote/bitmap.rs",
    },
    Model {
        name: "remote::wake_against_shutdown",
        proves: "a wake for a loop that ends costs the next loop with its id no wake",
        file: "runtime/src/remote/mod.rs",
    },
    Model {
        name: "remote::wake_against_shutdown_broken",
        proves: "twin: a new loop begins with the state AWAKE",
        file: "runtime/src/remote/mod.rs",
    },
    Model {
        name: "remote::bell_against_end_of_loop",
        proves: "the last wakers of a loop never ring a bell that is gone",
        file: "runtime/src/remote/mod.rs",
    },
    Model {
        name: "remote::bell_against_end_of_loop_broken",
        proves: "twin: who rings has looked for the bell under an earlier lock",
        file: "runtime/src/remote/mod.rs",
    },
    Model {
        name: "remote::spawn_against_shutdown",
        proves: "a call from outside is made, dropped with the loop, or refused; never lost",
        file: "runtime/src/remote/mod.rs",
    },
    Model {
        name: "remote::spawn_against_shutdown_broken",
        proves: "twin: a call is left with a loop that has ended",
        file: "runtime/src/remote/mod.rs",
    },
    Model {
        name: "delivery::join_against_completion",
        proves: "who joins from another thread sees the result or is woken",
        file: "runtime/src/event_loop/remote_handle.rs",
    },
    Model {
        name: "delivery::join_against_completion_broken",
        proves: "twin: a poll looks under one lock and leaves its waker under the next",
        file: "runtime/src/event_loop/remote_handle.rs",
    },
    Model {
        name: "delivery::block_on_against_completion",
        proves: "who blocks for a task of another thread sees the result or is woken",
        file: "runtime/src/event_loop/remote_handle.rs",
    },
    Model {
        name: "delivery::block_on_against_completion_broken",
        proves: "twin: a thread looks under one lock and falls asleep under the next",
        file: "runtime/src/event_loop/remote_handle.rs",
    },
    Model {
        name: "delivery::drop_of_handle_against_completion",
        proves: "a result whose handle goes meanwhile is dropped, once",
        file: "runtime/src/event_loop/remote_handle.rs",
    },
    Model {
        name: "delivery::drop_of_handle_against_completion_broken",
        proves: "twin: the handle says that it is gone in a later lock than its last look",
        file: "runtime/src/event_loop/remote_handle.rs",
    },
    Model {
        name: "ready::child_wakes_against_parent_poll",
        proves: "two children woken while their parent polls: the parent sees both or is woken again",
        file: "runtime/src/future/ready.rs",
    },
    Model {
        name: "ready::child_wakes_against_parent_poll_broken",
        proves: "twin: the parent clears its flag by a store, which synchronizes with no wake",
        file: "runtime/src/future/ready.rs",
    },
    Model {
        name: "publish::read_against_publish",
        proves: "the number and the name of the task that a loop runs are read together",
        file: "runtime/src/inspect/publish.rs",
    },
    Model {
        name: "publish::read_against_publish_broken",
        proves: "twin: the loop doesn't mark that it is about to change them",
        file: "runtime/src/inspect/publish.rs",
    },
    Model {
        name: "signal::deliver_against_take",
        proves: "a signal that comes while the loop looks is seen, or the bell still rings",
        file: "runtime/src/signal/post.rs",
    },
    Model {
        name: "signal::deliver_against_take_broken",
        proves: "twin: the handler rings the bell before it sets the signal's bit",
        file: "runtime/src/signal/post.rs",
    },
    Model {
        name: "token::cancel_against_wait",
        proves: "a waiter that comes while a token is cancelled is ready or is woken",
        file: "runtime/src/cancel/token.rs",
    },
    Model {
        name: "token::cancel_against_wait_broken",
        proves: "twin: waiters are taken in one locked section, the reason is set in the next",
        file: "runtime/src/cancel/token.rs",
    },
    Model {
        name: "token::cancel_against_child",
        proves: "a child made while its parent is cancelled is cancelled too",
        file: "runtime/src/cancel/token.rs",
    },
    Model {
        name: "token::cancel_against_child_broken",
        proves: "twin: a new child doesn't look again at its parent",
        file: "runtime/src/cancel/token.rs",
    },
    Model {
        name: "sync::hand_over_against_cancel",
        proves: "a lock handed to a waiter that is just cancelled goes to the next",
        file: "runtime/src/sync/permits.rs",
    },
    Model {
        name: "sync::hand_over_against_cancel_broken",
        proves: "twin: a waiter that leaves doesn't say that its turn was granted",
        file: "runtime/src/sync/wait_queue.rs",
    },
    Model {
        name: "sync::lock_excludes",
        proves: "three threads that wait for a lock have it one at a time",
        file: "runtime/src/sync/mutex.rs",
    },
    Model {
        name: "sync::lock_excludes_broken",
        proves: "twin: permits granted to a waiter still count as available",
        file: "runtime/src/sync/permits.rs",
    },
    Model {
        name: "sync::permit_against_new_waker",
        proves: "a waiter polled with another waker while its turn comes is woken by that one",
        file: "runtime/src/sync/wait_queue.rs",
    },
    Model {
        name: "sync::permit_against_new_waker_broken",
        proves: "twin: the first waker is kept",
        file: "runtime/src/sync/wait_queue.rs",
    },
    Model {
        name: "sync::notify_against_cancel",
        proves: "a notification given to a waiter that is just cancelled is kept",
        file: "runtime/src/sync/notify.rs",
    },
    Model {
        name: "sync::notify_against_cancel_broken",
        proves: "twin: a waiter that leaves doesn't say that it was notified",
        file: "runtime/src/sync/wait_queue.rs",
    },
    Model {
        name: "sync::send_against_recv",
        proves: "two senders, the last of which ends the channel: the receiver gets both items",
        file: "runtime/src/sync/mpsc.rs",
    },
    Model {
        name: "sync::send_against_recv_broken",
        proves: "twin: the last sender asks in one section whether to wake, and ends in the next",
        file: "runtime/src/sync/mpsc.rs",
    },
    Model {
        name: "sync::send_against_recv_while_open",
        proves: "an item sent while the receiver goes to wait is seen or wakes it",
        file: "runtime/src/sync/mpsc.rs",
    },
    Model {
        name: "sync::send_against_recv_while_open_broken",
        proves: "twin: the sender asks in one section whether to wake, and sends in the next",
        file: "runtime/src/sync/mpsc.rs",
    },
    Model {
        name: "sync::slot_against_cancel",
        proves: "a slot freed for a sender that is just cancelled goes to the next",
        file: "runtime/src/sync/mpsc.rs",
    },
    Model {
        name: "sync::slot_against_cancel_broken",
        proves: "twin: a waiter that leaves doesn't say that its turn was granted",
        file: "runtime/src/sync/wait_queue.rs",
    },
    Model {
        name: "sync::oneshot_against_poll",
        proves: "a value sent while the receiver looks is seen or wakes it",
        file: "runtime/src/sync/oneshot.rs",
    },
    Model {
        name: "sync::oneshot_against_poll_broken",
        proves: "twin: the sender asks in one section whether to wake, and sends in the next",
        file: "runtime/src/sync/oneshot.rs",
    },
    Model {
        name: "sync::end_against_end",
        proves: "of two ends that leave at once, the last sees what the first did, and one takes it down",
        file: "runtime/src/sync/pair.rs",
    },
    Model {
        name: "sync::end_against_end_broken",
        proves: "twin: an end leaves without publishing what it did",
        file: "runtime/src/sync/pair.rs",
    },
    Model {
        name: "sync::sleep_against_wake",
        proves: "a thread that goes to sleep for a value is woken by it",
        file: "runtime/src/sync/blocking.rs",
    },
    Model {
        name: "sync::sleep_against_wake_broken",
        proves: "twin: the thread looks in one locked section and falls asleep in the next",
        file: "runtime/src/sync/blocking.rs",
    },
    Model {
        name: "given_up::writer_against_cancel",
        proves: "a lock handed to a writer that is just cancelled goes to the readers behind it",
        file: "runtime/src/sync/rwlock.rs",
    },
    Model {
        name: "given_up::writer_against_cancel_broken",
        proves: "twin: a waiter that leaves doesn't say that its turn was granted",
        file: "runtime/src/sync/wait_queue.rs",
    },
    Model {
        name: "given_up::initializer_against_cancel",
        proves: "of an initializer that is dropped and the next, who gives up, the third gets its try",
        file: "runtime/src/sync/once_cell.rs",
    },
    Model {
        name: "given_up::initializer_against_cancel_broken",
        proves: "twin: a waiter that leaves doesn't say that its turn was granted",
        file: "runtime/src/sync/wait_queue.rs",
    },
    Model {
        name: "given_up::condition_against_cancel",
        proves: "a condition's notification to a waiter that is just cancelled goes to the next",
        file: "runtime/src/sync/condvar.rs",
    },
    Model {
        name: "given_up::condition_against_cancel_broken",
        proves: "twin: a waiter that leaves doesn't say that its turn was granted",
        file: "runtime/src/sync/wait_queue.rs",
    },
    Model {
        name: "given_up::item_against_cancel",
        proves: "an item put into a queue for a waiter that is just cancelled goes to the next",
        file: "runtime/src/sync/queue.rs",
    },
    Model {
        name: "given_up::item_against_cancel_broken",
        proves: "twin: a waiter that leaves doesn't say that its turn was granted",
        file: "runtime/src/sync/wait_queue.rs",
    },
    Model {
        name: "given_up::receiver_leaves_against_closed",
        proves: "a sender that waits for the receiver's end sees it or is woken",
        file: "runtime/src/sync/oneshot.rs",
    },
    Model {
        name: "given_up::receiver_leaves_against_closed_broken",
        proves: "twin: the receiver asks in one section whether to wake, and ends in the next",
        file: "runtime/src/sync/oneshot.rs",
    },
    Model {
        name: "process::ring::bytes_are_published_whole",
        proves: "bytes of a ring are seen only once published, and not overwritten before they are read",
        file: "pools/src/process/ring.rs",
    },
    Model {
        name: "process::ring::bytes_are_published_whole_broken",
        proves: "the writer publishes without Release",
        file: "pools/src/process/ring.rs",
    },
    Model {
        name: "process::bell::a_sleeping_worker_is_rung",
        proves: "a worker never sleeps over a request",
        file: "pools/src/process/bell.rs",
    },
    Model {
        name: "process::bell::a_sleeping_worker_is_rung_broken",
        proves: "neither side has a fence between telling and looking",
        file: "pools/src/process/bell.rs",
    },
    Model {
        name: "process::bell::a_reply_that_is_waited_for_rings",
        proves: "a caller never sleeps over its reply",
        file: "pools/src/process/bell.rs",
    },
    Model {
        name: "process::bell::a_reply_that_is_waited_for_rings_broken",
        proves: "neither side has a fence between telling and looking",
        file: "pools/src/process/bell.rs",
    },
    Model {
        name: "process::claim::every_job_runs_once",
        proves: "a job that is taken back from a worker runs once, here or there",
        file: "pools/src/process/claim.rs",
    },
    Model {
        name: "process::claim::every_job_runs_once_broken",
        proves: "the worker claims by load and store",
        file: "pools/src/process/claim.rs",
    },
    Model {
        name: "process::role::no_reply_is_overlooked",
        proves: "a reply is read although the right to read changes hands",
        file: "pools/src/process/role.rs",
    },
    Model {
        name: "process::role::no_reply_is_overlooked_broken",
        proves: "whoever leaves doesn't look once more",
        file: "pools/src/process/role.rs",
    },
    Model {
        name: "process::room::room_is_passed_on",
        proves: "room in the queue reaches a task that waits, although the one before it gives up",
        file: "pools/src/process/state/room.rs",
    },
    Model {
        name: "process::room::room_is_passed_on_broken",
        proves: "twin: whoever gives up after it was called tells nobody",
        file: "pools/src/process/state/room.rs",
    },
    Model {
        name: "process::silence::a_reply_nobody_waits_for_is_read",
        proves: "a quiet reply whose handle is dropped or awaited is read",
        file: "pools/src/process/role.rs",
    },
    Model {
        name: "process::silence::a_reply_nobody_waits_for_is_read_broken",
        proves: "twin: who asks to be told doesn't look after that",
        file: "pools/src/process/role.rs",
    },
    Model {
        name: "process::silence::a_queued_job_breaks_the_silence",
        proves: "a job queued behind a quiet reply is sent although nobody waits for that reply",
        file: "pools/src/process/silence.rs",
    },
    Model {
        name: "process::silence::a_queued_job_breaks_the_silence_broken",
        proves: "twin: a job that must be queued leaves quiet workers quiet",
        file: "pools/src/process/silence.rs",
    },
    Model {
        name: "process::silence::a_death_reaches_a_caller_that_sleeps",
        proves: "a caller that sleeps on its bell alone gets to know of its worker's death, and one buries it",
        file: "pools/src/process/role.rs",
    },
    Model {
        name: "process::silence::a_death_reaches_a_caller_that_sleeps_broken",
        proves: "twin: whoever notices a death tells nobody who reads",
        file: "pools/src/process/role.rs",
    },
    Model {
        name: "process::shutdown::a_job_gets_in_or_is_refused",
        proves: "a job that comes while the pool closes is refused or gets an outcome",
        file: "pools/src/process/admission.rs",
    },
    Model {
        name: "process::shutdown::a_job_gets_in_or_is_refused_broken",
        proves: "twin: whether the pool is open is found out under an earlier lock",
        file: "pools/src/process/admission.rs",
    },
    Model {
        name: "process::shutdown::a_task_that_waits_is_sent_away",
        proves: "a task that goes to wait for room while the pool closes is told",
        file: "pools/src/process/admission.rs",
    },
    Model {
        name: "process::shutdown::a_task_that_waits_is_sent_away_broken",
        proves: "twin: a pool that closes its door tells nobody",
        file: "pools/src/process/admission.rs",
    },
    Model {
        name: "process::due::a_job_is_planned_for",
        proves: "a job that comes while the supervisor looks around gets its worker started",
        file: "pools/src/process/state/mod.rs",
    },
    Model {
        name: "process::due::a_job_is_planned_for_broken",
        proves: "twin: the next look is planned without what came meanwhile",
        file: "pools/src/process/state/mod.rs",
    },
    Model {
        name: "process::due::a_change_is_looked_at",
        proves: "a change that comes while the supervisor only reads replies makes it look around",
        file: "pools/src/process/state/mod.rs",
    },
    Model {
        name: "process::due::a_change_is_looked_at_broken",
        proves: "twin: the supervisor doesn't ask whether there is more to do",
        file: "pools/src/process/state/mod.rs",
    },
    Model {
        name: "process::end::a_job_ends_in_one_way",
        proves: "submit against death against cancel: a job is cancelled, fails or waits, never two of them",
        file: "pools/src/process/claim.rs",
    },
    Model {
        name: "process::end::a_job_ends_in_one_way_broken",
        proves: "twin: the worker claims by load and store",
        file: "pools/src/process/claim.rs",
    },
    Model {
        name: "process::end::a_job_ends_in_one_way_undecided_broken",
        proves: "twin: that an outcome is on its way isn't noted under the pool's lock",
        file: "pools/src/process/cell.rs",
    },
    Model {
        name: "process::cell::an_outcome_is_one_and_is_told",
        proves: "death against cancel: one outcome, and the waiting task is woken",
        file: "pools/src/process/cell.rs",
    },
    Model {
        name: "process::cell::an_outcome_is_one_and_is_told_broken",
        proves: "a completion overwrites a cancellation",
        file: "pools/src/process/cell.rs",
    },
    Model {
        name: "ipc::members::a_seat_has_one_owner",
        proves: "of two processes that want a dead one's seat one gets it",
        file: "pools/src/ipc/members.rs",
    },
    Model {
        name: "ipc::members::a_seat_has_one_owner_broken",
        proves: "twin: a seat changes hands by a store",
        file: "pools/src/ipc/members.rs",
    },
    Model {
        name: "ipc::members::no_death_is_missed",
        proves: "who finds a seat free sees that its last owner's death was counted",
        file: "pools/src/ipc/members.rs",
    },
    Model {
        name: "ipc::members::no_death_is_missed_broken",
        proves: "twin: the seat is freed before the death is counted",
        file: "pools/src/ipc/members.rs",
    },
    Model {
        name: "ipc::lock::what_one_did_the_next_sees",
        proves: "a lock has one owner at a time, who sees what the last one did",
        file: "pools/src/ipc/lock.rs",
    },
    Model {
        name: "ipc::lock::what_one_did_the_next_sees_broken",
        proves: "twin: unlocking publishes nothing",
        file: "pools/src/ipc/lock.rs",
    },
    Model {
        name: "ipc::lock::no_sleeper_is_forgotten",
        proves: "of two that sleep for a lock both get it",
        file: "pools/src/ipc/lock.rs",
    },
    Model {
        name: "ipc::lock::no_sleeper_is_forgotten_broken",
        proves: "twin: who locks after it has slept forgets that others may sleep",
        file: "pools/src/ipc/lock.rs",
    },
    Model {
        name: "ipc::lock::a_dead_owner_has_one_heir",
        proves: "of two that find the owner dead one takes the lock over, and is told",
        file: "pools/src/ipc/lock.rs",
    },
    Model {
        name: "ipc::lock::a_dead_owner_has_one_heir_broken",
        proves: "twin: the lock is taken over by a store",
        file: "pools/src/ipc/lock.rs",
    },
    Model {
        name: "ipc::reentrant::one_thread_holds_it",
        proves: "of two threads of one process, as of two processes, one holds a lock, which may take it again",
        file: "pools/src/ipc/reentrant.rs",
    },
    Model {
        name: "ipc::reentrant::one_thread_holds_it_broken",
        proves: "twin: any thread of the holder's process is let in",
        file: "pools/src/ipc/reentrant.rs",
    },
    Model {
        name: "ipc::reentrant::who_left_isnt_inside",
        proves: "a thread that has unlocked isn't let in without the lock",
        file: "pools/src/ipc/reentrant.rs",
    },
    Model {
        name: "ipc::reentrant::who_left_isnt_inside_broken",
        proves: "twin: who unlocks leaves its name standing",
        file: "pools/src/ipc/reentrant.rs",
    },
    Model {
        name: "ipc::reentrant::a_dead_owners_depth_dies_with_it",
        proves: "a lock taken over from one that died deep inside is unlocked by its heir",
        file: "pools/src/ipc/reentrant.rs",
    },
    Model {
        name: "ipc::reentrant::a_dead_owners_depth_dies_with_it_broken",
        proves: "twin: the heir counts on from where the dead one was",
        file: "pools/src/ipc/reentrant.rs",
    },
    Model {
        name: "ipc::monitor::no_change_is_overlooked",
        proves: "who waits for a change behind a door sees it or is woken",
        file: "pools/src/ipc/monitor.rs",
    },
    Model {
        name: "ipc::monitor::no_change_is_overlooked_broken",
        proves: "twin: a sleeper isn't counted",
        file: "pools/src/ipc/monitor.rs",
    },
    Model {
        name: "ipc::event::whoever_waits_goes_on",
        proves: "everybody who waits for an event goes on when it is set",
        file: "pools/src/ipc/event.rs",
    },
    Model {
        name: "ipc::event::whoever_waits_goes_on_broken",
        proves: "twin: sleepers are woken before it is set",
        file: "pools/src/ipc/event.rs",
    },
    Model {
        name: "ipc::condvar::no_notification_is_missed",
        proves: "a notification after the mutex was unlocked ends the wait",
        file: "pools/src/ipc/condvar.rs",
    },
    Model {
        name: "ipc::condvar::no_notification_is_missed_broken",
        proves: "twin: the number to sleep on is read after the unlock",
        file: "pools/src/ipc/condvar.rs",
    },
    Model {
        name: "ipc::semaphore::a_permit_returns",
        proves: "a permit that is given back reaches who waits for it",
        file: "pools/src/ipc/semaphore.rs",
    },
    Model {
        name: "ipc::semaphore::a_permit_returns_broken",
        proves: "twin: giving it back wakes nobody",
        file: "pools/src/ipc/semaphore.rs",
    },
    Model {
        name: "ipc::semaphore::a_dead_partys_permit_returns",
        proves: "a permit whose holder dies reaches who waits for it, once",
        file: "pools/src/ipc/semaphore.rs",
    },
    Model {
        name: "ipc::semaphore::a_dead_partys_permit_returns_broken",
        proves: "twin: what the dead hold isn't taken back",
        file: "pools/src/ipc/semaphore.rs",
    },
    Model {
        name: "ipc::semaphore::a_dead_partys_permit_returns_once",
        proves: "of two that want a dead party's permit one gets it",
        file: "pools/src/ipc/semaphore.rs",
    },
    Model {
        name: "ipc::semaphore::a_dead_partys_permit_returns_once_broken",
        proves: "twin: what was taken back still counts as held",
        file: "pools/src/ipc/semaphore.rs",
    },
    Model {
        name: "ipc::barrier::all_go_on_and_one_leads",
        proves: "all parties go on, and one was the last",
        file: "pools/src/ipc/barrier.rs",
    },
    Model {
        name: "ipc::barrier::all_go_on_and_one_leads_broken",
        proves: "twin: the last to come wakes nobody",
        file: "pools/src/ipc/barrier.rs",
    },
    Model {
        name: "ipc::barrier::a_death_breaks_it",
        proves: "who waits for one that dies is told",
        file: "pools/src/ipc/barrier.rs",
    },
    Model {
        name: "ipc::barrier::a_death_breaks_it_broken",
        proves: "twin: nobody looks whether a party has died",
        file: "pools/src/ipc/barrier.rs",
    },
    Model {
        name: "ipc::barrier::a_dead_party_isnt_counted",
        proves: "who comes after the death of one that waited is told, not let through",
        file: "pools/src/ipc/barrier.rs",
    },
    Model {
        name: "ipc::barrier::a_dead_party_isnt_counted_broken",
        proves: "twin: the last to come doesn't look whether the others live",
        file: "pools/src/ipc/barrier.rs",
    },
    Model {
        name: "ipc::barrier::a_death_at_the_door",
        proves: "a party that dies behind a barrier's door breaks it, and past the door it counts",
        file: "pools/src/ipc/barrier.rs",
    },
    Model {
        name: "ipc::barrier::a_death_at_the_door_broken",
        proves: "twin: a waiter looks at the death before it looks at its round",
        file: "pools/src/ipc/barrier.rs",
    },
    Model {
        name: "ipc::queue::messages_arrive_once_and_in_order",
        proves: "messages arrive once and in order, each side waiting for the other",
        file: "pools/src/ipc/queue.rs",
    },
    Model {
        name: "ipc::queue::messages_arrive_once_and_in_order_broken",
        proves: "twin: a sleeper isn't counted",
        file: "pools/src/ipc/queue.rs",
    },
    Model {
        name: "ipc::queue::a_dead_producer_leaves_no_half_message",
        proves: "a producer that dies amid a message has put none",
        file: "pools/src/ipc/queue.rs",
    },
    Model {
        name: "ipc::queue::a_dead_producer_leaves_no_half_message_broken",
        proves: "twin: a message counts before it has been copied",
        file: "pools/src/ipc/queue.rs",
    },
    Model {
        name: "ipc::ledger::join_waits_for_what_is_taken",
        proves: "who joins goes on after the work on what was taken, and is told of a receipt dropped",
        file: "pools/src/ipc/ledger.rs",
    },
    Model {
        name: "ipc::ledger::join_waits_for_what_is_taken_broken",
        proves: "twin: the last message to be done wakes nobody",
        file: "pools/src/ipc/ledger.rs",
    },
    Model {
        name: "ipc::ledger::what_the_dead_held_is_lost",
        proves: "who joins is told of the message that its consumer died with",
        file: "pools/src/ipc/ledger.rs",
    },
    Model {
        name: "ipc::ledger::what_the_dead_held_is_lost_broken",
        proves: "twin: what the dead hold isn't given up",
        file: "pools/src/ipc/ledger.rs",
    },
    Model {
        name: "ipc::ledger::what_vanished_is_lost",
        proves: "also of one whose consumer died before it had written down that it took it",
        file: "pools/src/ipc/ledger.rs",
    },
    Model {
        name: "ipc::ledger::what_vanished_is_lost_broken",
        proves: "twin: nobody counts what there is after a death behind the door",
        file: "pools/src/ipc/ledger.rs",
    },
    Model {
        name: "thread::sleep::push_against_park",
        proves: "a job pushed while a worker falls asleep is seen by it, or wakes it",
        file: "pools/src/thread/sleep.rs",
    },
    Model {
        name: "thread::sleep::push_against_park_broken",
        proves: "twin: no fence between the push and the look for sleepers",
        file: "pools/src/thread/sleep.rs",
    },
    Model {
        name: "thread::sleep::mark_against_unmark",
        proves: "a lane into which another puts a fork while its owner finds it empty stays marked",
        file: "pools/src/thread/lanes.rs",
    },
    Model {
        name: "thread::sleep::mark_against_unmark_broken",
        proves: "twin: the owner takes the mark off and doesn't look again",
        file: "pools/src/thread/lanes.rs",
    },
    Model {
        name: "thread::sleep::two_sleepers_one_wake_up",
        proves: "two jobs and one wake-up: the woken one takes both or wakes the next",
        file: "pools/src/thread/sleep.rs",
    },
    Model {
        name: "thread::sleep::two_sleepers_one_wake_up_broken",
        proves: "twin: the last searcher doesn't look on after it found work",
        file: "pools/src/thread/sleep.rs",
    },
    Model {
        name: "thread::sleep::blocking_against_push",
        proves: "a job pushed while a worker begins to block gets the permit",
        file: "pools/src/thread/sleep.rs",
    },
    Model {
        name: "thread::sleep::blocking_against_push_broken",
        proves: "twin: no look at the queues after giving the permit up",
        file: "pools/src/thread/sleep.rs",
    },
    Model {
        name: "thread::sleep::push_against_retirement",
        proves: "a job pushed while the last idle worker ends has a thread",
        file: "pools/src/thread/sleep.rs",
    },
    Model {
        name: "thread::sleep::push_against_retirement_broken",
        proves: "twin: no look at the queues after leaving the searchers",
        file: "pools/src/thread/sleep.rs",
    },
    Model {
        name: "thread::sleep::shutdown_against_push",
        proves: "a job pushed while the pool ends is run by the last thread or taken back",
        file: "pools/src/thread/gate.rs",
    },
    Model {
        name: "thread::sleep::shutdown_against_push_broken",
        proves: "twin: no second look at the gate after the push",
        file: "pools/src/thread/gate.rs",
    },
    Model {
        name: "thread::forks::promotion_against_steal",
        proves: "a fork promoted and stolen is run by its owner or the thief, not by both",
        file: "pools/src/thread/fork_stack.rs",
    },
    Model {
        name: "thread::forks::promotion_against_steal_broken",
        proves: "twin: the owner takes a promoted fork for an unpromoted one",
        file: "pools/src/thread/fork_stack.rs",
    },
    Model {
        name: "thread::forks::steal_against_last_pop",
        proves: "the last element of a deque goes to one of owner and thief",
        file: "pools/src/thread/deque_model.rs",
    },
    Model {
        name: "thread::forks::steal_against_last_pop_broken",
        proves: "twin: the owner doesn't race for the last element",
        file: "pools/src/thread/deque_model.rs",
    },
    Model {
        name: "thread::forks::latch_against_wait",
        proves: "who waits for a latch leaves when it is set, not before, and is woken",
        file: "pools/src/thread/latch.rs",
    },
    Model {
        name: "thread::forks::latch_against_wait_broken",
        proves: "twin: the waiter trusts any wake-up",
        file: "pools/src/thread/latch.rs",
    },
    Model {
        name: "thread::forks::hand_back_against_latch",
        proves: "a waiter runs no fork but what descends from its own, and what it took in vain comes back",
        file: "pools/src/thread/leapfrog.rs",
    },
    Model {
        name: "thread::forks::hand_back_against_latch_looking_early_broken",
        proves: "twin: the waiter looks at its latch before it steals",
        file: "pools/src/thread/leapfrog.rs",
    },
    Model {
        name: "thread::forks::hand_back_against_latch_untold_broken",
        proves: "twin: a fork is handed back and its owner isn't woken",
        file: "pools/src/thread/leapfrog.rs",
    },
    Model {
        name: "thread::pile::pop_against_theft",
        proves: "a job in the attic goes to its owner or to a thief, from rooms used again, too",
        file: "pools/src/thread/attic.rs",
    },
    Model {
        name: "thread::pile::pop_against_theft_broken",
        proves: "twin: a thief keeps its claim to a job that it has left to the owner",
        file: "pools/src/thread/attic.rs",
    },
    Model {
        name: "thread::pile::climb_against_theft",
        proves: "jobs are seen and taken once while their owner goes upstairs and comes down",
        file: "pools/src/thread/pile.rs",
    },
    Model {
        name: "thread::pile::climb_against_theft_broken",
        proves: "twin: as that of pop_against_theft",
        file: "pools/src/thread/pile.rs",
    },
    Model {
        name: "thread::pile::push_onto_pile_against_park",
        proves: "a job pushed upstairs while a worker falls asleep is seen by it, or wakes it",
        file: "pools/src/thread/pile.rs",
    },
    Model {
        name: "thread::pile::push_onto_pile_against_park_broken",
        proves: "twin: no fence between the push and the look for sleepers",
        file: "pools/src/thread/pile.rs",
    },
    Model {
        name: "thread::jobs::run_against_cancel_against_drop",
        proves: "a job is run or cancelled, once, and freed once",
        file: "pools/src/thread/completion.rs",
    },
    Model {
        name: "thread::jobs::run_against_cancel_against_drop_broken",
        proves: "twin: a claim is a load and a store",
        file: "pools/src/thread/completion.rs",
    },
    Model {
        name: "thread::jobs::complete_against_poll",
        proves: "a handle polled while its job completes is ready or woken",
        file: "pools/src/thread/completion.rs",
    },
    Model {
        name: "thread::jobs::complete_against_poll_broken",
        proves: "twin: the completer doesn't look for a waker",
        file: "pools/src/thread/completion.rs",
    },
    Model {
        name: "thread::scope::end_of_scope",
        proves: "who waits for a scope leaves when all jobs ended, not before, and is woken",
        file: "pools/src/thread/outstanding.rs",
    },
    Model {
        name: "thread::scope::end_of_scope_broken",
        proves: "twin: the owner sleeps with a part of the count to itself",
        file: "pools/src/thread/outstanding.rs",
    },
    Model {
        name: "thread::scope::end_of_scope_unpublished_results_broken",
        proves: "twin: a job ends without publishing what it did",
        file: "pools/src/thread/outstanding.rs",
    },
    Model {
        name: "thread::scope::job_against_sleep_at_the_end",
        proves: "a job spawned while its scope's owner falls asleep is seen by it, or wakes it",
        file: "pools/src/thread/sleep.rs",
    },
    Model {
        name: "thread::scope::job_against_sleep_at_the_end_broken",
        proves: "twin: no fence between the push and the look for sleepers",
        file: "pools/src/thread/sleep.rs",
    },
    Model {
        name: "thread::watchdog::doze_against_begin",
        proves: "a pool's watchdog that dozes is woken by whatever begins",
        file: "pools/src/thread/activity.rs",
    },
    Model {
        name: "thread::watchdog::doze_against_begin_broken",
        proves: "twin: the watchdog looks under one lock and leaves its name under the next",
        file: "pools/src/thread/activity.rs",
    },
    Model {
        name: "thread::watchdog::doze_against_new_lane",
        proves: "a watchdog that dozes is woken by what begins in a lane it doesn't know",
        file: "pools/src/thread/lanes.rs",
    },
    Model {
        name: "thread::watchdog::doze_against_new_lane_broken",
        proves: "twin: it is told of the lane before that is there",
        file: "pools/src/thread/lanes.rs",
    },
    Model {
        name: "trace::read_against_write",
        proves: "who reads a trace ring while its thread writes gets whole records, under their numbers",
        file: "runtime/src/trace/ring.rs",
    },
    Model {
        name: "trace::read_against_write_unannounced_broken",
        proves: "twin: the writer goes on to the next place without a fence",
        file: "runtime/src/trace/ring.rs",
    },
    Model {
        name: "trace::read_against_write_announced_early_broken",
        proves: "twin: a record is announced without Release",
        file: "runtime/src/trace/ring.rs",
    },
    Model {
        name: "trace::read_against_write_trusting_broken",
        proves: "twin: the reader doesn't look whether it was overtaken",
        file: "runtime/src/trace/ring.rs",
    },
];

#[cfg(test)]
mod tests {
    use super::MODELS;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = MODELS.iter().map(|model| model.name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(before, names.len(), "a name stands twice in MODELS");
    }

    /// A model that cannot fail proves nothing, so each needs a twin whose name
    /// begins with the model's and ends in `_broken`.
    #[test]
    fn every_model_has_a_broken_twin_and_every_twin_a_model() {
        let is_twin = |name: &str| name.ends_with("_broken");
        for model in MODELS.iter().filter(|model| !is_twin(model.name)) {
            let twin = MODELS
                .iter()
                .any(|twin| is_twin(twin.name) && twin.name.starts_with(model.name));
            assert!(
                twin,
                "{} has no twin: add `{}_…broken`",
                model.name, model.name
            );
        }
        for twin in MODELS.iter().filter(|twin| is_twin(twin.name)) {
            let model = MODELS
                .iter()
                .any(|model| !is_twin(model.name) && twin.name.starts_with(model.name));
            assert!(model, "{} is the twin of no model in MODELS", twin.name);
        }
    }
}
