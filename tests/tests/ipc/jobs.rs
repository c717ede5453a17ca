//! The same objects as arguments of the pool's jobs: used by workers, and left behind by
//! a job that is killed while it holds one. `Shared`, `SharedMut` and `Fd` in jobs are in
//! `processes/passing.rs`.

use std::time::Duration;
use threeply_pools::ipc::{
    Array, Barrier, Channel, Condvar, Error, Event, JoinableQueue, Mutex, Queue, ReentrantMutex,
    Semaphore, TryLockError, Value, channel,
};
use threeply_pools::process::{JobError, JobHandle, ProcessPool};
use threeply_tests::watchdog::watchdog;

fn pool(workers: usize) -> ProcessPool {
    ProcessPool::new(workers).unwrap()
}

/// A job that says it is there, and never ends.
fn stay(ready: &Event) -> ! {
    ready.set();
    loop {
        std::thread::park();
    }
}

/// Kills a job that has begun, and with it its worker.
fn kill(job: JobHandle<()>) {
    assert!(job.kill());
    let outcome = job.wait();
    assert!(matches!(outcome, Err(JobError::Cancelled)), "{outcome:?}");
}

fn end(pool: ProcessPool) {
    let report = pool.shutdown(Duration::from_secs(20));
    assert_eq!(report.abandoned, 0);
}

#[test]
fn a_mutex_in_jobs_counts_right_and_tells_of_the_job_that_died_with_it() {
    let _dog = watchdog();
    fn add((counter, times): (Mutex<u64>, u32)) {
        for _ in 0..times {
            *counter.lock().unwrap() += 1;
        }
    }
    fn hold((counter, ready): (Mutex<u64>, Event)) {
        let _guard = counter.lock().unwrap();
        stay(&ready)
    }
    let pool = pool(2);
    let (counter, ready) = (Mutex::new(0).unwrap(), Event::new().unwrap());
    let inputs = (0..10).map(|_| (counter.clone(), 500));
    pool.map(add, inputs).for_each(|done| done.unwrap());
    assert_eq!(*counter.lock().unwrap(), 5_000);
    let job = pool.submit(hold, (counter.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    assert!(matches!(counter.try_lock(), Err(TryLockError::WouldBlock)));
    kill(job);
    assert_eq!(**counter.lock().unwrap_err().get_ref(), 5_000);
    counter.clear_poison();
    pool.call(add, (counter.clone(), 1)).unwrap().unwrap();
    assert_eq!(*counter.lock().unwrap(), 5_001);
    end(pool);
}

#[test]
fn a_job_takes_a_lock_again_and_one_that_dies_deep_inside_is_told() {
    let _dog = watchdog();
    fn add((counter, bare): (ReentrantMutex<u64>, Mutex<()>)) {
        let _bare = bare.lock().unwrap();
        let outer = counter.lock().unwrap();
        let inner = counter.lock().unwrap();
        outer.set(inner.get() + 1);
    }
    fn hold((counter, ready): (ReentrantMutex<u64>, Event)) {
        let _guards = [(); 2].map(|()| counter.lock().unwrap());
        stay(&ready)
    }
    let pool = pool(2);
    let (counter, ready) = (ReentrantMutex::new(0).unwrap(), Event::new().unwrap());
    let bare = Mutex::new(()).unwrap();
    let inputs = (0..100).map(|_| (counter.clone(), bare.clone()));
    pool.map(add, inputs).for_each(|done| done.unwrap());
    let job = pool.submit(hold, (counter.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    assert!(matches!(counter.try_lock(), Err(TryLockError::WouldBlock)));
    kill(job);
    assert_eq!(counter.lock().unwrap_err().get_ref().get(), 100);
    end(pool);
}

#[test]
fn what_jobs_take_can_be_joined_and_what_a_killed_one_took_is_lost() {
    let _dog = watchdog();
    fn take_two_and_stay((queue, ready): (JoinableQueue<u32>, Event)) {
        queue.get().unwrap().1.task_done();
        let _taken = queue.get().unwrap();
        stay(&ready)
    }
    fn take_all(queue: JoinableQueue<u32>) -> u32 {
        let taken = std::iter::from_fn(|| queue.get().ok());
        taken
            .map(|(n, receipt)| {
                receipt.task_done();
                n
            })
            .sum()
    }
    let pool = pool(2);
    let (queue, ready) = (JoinableQueue::new(16).unwrap(), Event::new().unwrap());
    for n in 0..4 {
        queue.put(&n).unwrap();
    }
    let job = pool.submit(take_two_and_stay, (queue.clone(), ready.clone()));
    ready.wait().unwrap();
    let rest = pool.submit(take_all, queue.clone()).unwrap();
    kill(job.unwrap());
    assert!(matches!(queue.join(), Err(Error::Lost { messages: 1 })));
    queue.close();
    assert_eq!(rest.wait().unwrap(), 2 + 3);
    assert_eq!(queue.clear_lost(), 1);
    queue.join().unwrap();
    end(pool);
}

#[test]
fn permits_that_a_dead_job_held_return() {
    let _dog = watchdog();
    fn hold((places, ready): (Semaphore, Event)) {
        let _held = places.acquire_many(2).unwrap();
        stay(&ready)
    }
    let pool = pool(1);
    let (places, ready) = (Semaphore::new(2).unwrap(), Event::new().unwrap());
    let job = pool.submit(hold, (places.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    assert!(matches!(places.try_acquire(), Err(Error::WouldBlock)));
    kill(job);
    let inside = |places: Semaphore| places.acquire_many(2).unwrap().num_permits();
    assert_eq!(pool.call(inside, places.clone()).unwrap().unwrap(), 2);
    assert_eq!(places.acquire_many(2).unwrap().num_permits(), 2);
    end(pool);
}

#[test]
fn a_barrier_opens_for_jobs_and_breaks_with_one_that_dies_at_it() {
    let _dog = watchdog();
    fn meet(barrier: Barrier) -> bool {
        barrier.wait().unwrap().is_leader()
    }
    let pool = pool(2);
    let barrier = Barrier::new(2).unwrap();
    let jobs = [(); 2].map(|()| pool.submit(meet, barrier.clone()).unwrap());
    let leaders = jobs.map(|job| job.wait().unwrap());
    assert_eq!(leaders.iter().filter(|leads| **leads).count(), 1);

    let alone = pool.submit(|barrier: Barrier| drop(barrier.wait()), barrier.clone());
    let alone = alone.unwrap();
    while barrier.waiters() < 1 {
        std::thread::yield_now();
    }
    kill(alone);
    assert!(matches!(barrier.wait(), Err(Error::Broken)));
    end(pool);
}

#[test]
fn a_job_takes_from_a_queue_and_one_that_is_killed_takes_nothing_else_along() {
    let _dog = watchdog();
    fn take_one_and_stay((queue, ready): (Queue<u32>, Event)) {
        assert_eq!(queue.get().unwrap(), 0);
        stay(&ready)
    }
    fn take_all(queue: Queue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.get().ok()).collect()
    }
    let pool = pool(2);
    let (queue, ready) = (Queue::new(16).unwrap(), Event::new().unwrap());
    let put = |(queue, n): (Queue<u32>, u32)| queue.put(&n).unwrap();
    for n in 0..3 {
        pool.call(put, (queue.clone(), n)).unwrap().unwrap();
    }
    let job = pool.submit(take_one_and_stay, (queue.clone(), ready.clone()));
    ready.wait().unwrap();
    kill(job.unwrap());
    queue.put(&3).unwrap();
    queue.close();
    assert_eq!(pool.call(take_all, queue).unwrap().unwrap(), [1, 2, 3]);
    end(pool);
}

#[test]
fn a_channel_end_goes_into_a_job_and_is_closed_with_it() {
    let _dog = watchdog();
    fn echo_once((end, ready): (Channel<u32>, Event)) {
        end.send(&(end.recv().unwrap() + 1)).unwrap();
        stay(&ready)
    }
    let pool = pool(1);
    let ((here, there), ready) = (channel().unwrap(), Event::new().unwrap());
    let job = pool.submit(echo_once, (there, ready.clone())).unwrap();
    here.send(&1).unwrap();
    assert_eq!(here.recv().unwrap(), 2);
    ready.wait().unwrap();
    kill(job);
    assert!(matches!(here.recv(), Err(Error::Closed)));
    end(pool);
}

#[test]
fn an_event_wakes_a_job_and_one_that_nobody_can_set_is_told() {
    let _dog = watchdog();
    let pool = pool(2);
    let go = Event::new().unwrap();
    let waits = pool.submit(|go: Event| go.wait().is_ok(), go.clone());
    let waits = waits.unwrap();
    assert!(!pool.call(|go: Event| go.set(), go).unwrap().unwrap());
    assert!(waits.wait().unwrap());

    let (go, ready) = (Event::new().unwrap(), Event::new().unwrap());
    let hold = |(_go, ready): (Event, Event)| -> () { stay(&ready) };
    let job = pool.submit(hold, (go.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| go.wait());
        kill(job);
        assert!(matches!(waiting.join().unwrap(), Err(Error::PeersGone)));
    });
    end(pool);
}

#[test]
fn a_condvar_wakes_a_job_and_the_death_of_one_that_waits_leaves_the_lock_free() {
    let _dog = watchdog();
    type Slot = (Mutex<u32>, Condvar);
    fn wait_for_seven((value, changed): Slot) -> u32 {
        let guard = value.lock().unwrap();
        *changed.wait_while(guard, |value| *value != 7).unwrap()
    }
    fn wait_for_ever((value, changed, ready): (Mutex<u32>, Condvar, Event)) {
        let guard = value.lock().unwrap();
        ready.set();
        drop(changed.wait_while(guard, |_| true));
    }
    let pool = pool(2);
    let (value, changed) = (Mutex::new(0).unwrap(), Condvar::new().unwrap());
    let ready = Event::new().unwrap();
    let waits = pool.submit(wait_for_seven, (value.clone(), changed.clone()));
    let (also, told) = (
        (value.clone(), changed.clone(), ready.clone()),
        waits.unwrap(),
    );
    let dies = pool.submit(wait_for_ever, also).unwrap();
    ready.wait().unwrap();
    drop(value.lock().unwrap()); // Free again: so it waits.
    kill(dies);
    *value.lock().unwrap() = 7;
    changed.notify_all();
    assert_eq!(told.wait().unwrap(), 7);
    end(pool);
}

#[test]
fn values_and_arrays_are_written_by_jobs_and_outlive_them() {
    let _dog = watchdog();
    fn square((array, sum, at): (Array<u64>, Value<u64>, usize)) {
        let n = at as u64;
        array.set(at, n * n).unwrap();
        sum.update(|sum| *sum += n * n);
    }
    fn write_for_ever((value, ready): (Value<[u64; 16]>, Event)) {
        for n in 0u64.. {
            value.set([n; 16]);
            ready.set();
        }
    }
    fn hold((array, ready): (Array<u64>, Event)) {
        let _guard = array.lock().unwrap();
        stay(&ready)
    }
    let pool = pool(2);
    let (array, sum) = (Array::zeroed(10).unwrap(), Value::new(0).unwrap());
    let inputs = (0..10).map(|at| (array.clone(), sum.clone(), at));
    pool.map(square, inputs).for_each(|done| done.unwrap());
    assert_eq!(sum.get(), 285);
    assert_eq!(array.to_vec().unwrap().iter().sum::<u64>(), 285);

    let (value, ready) = (Value::new([0; 16]).unwrap(), Event::new().unwrap());
    let job = pool.submit(write_for_ever, (value.clone(), ready.clone()));
    ready.wait().unwrap();
    kill(job.unwrap());
    let seen = value.get();
    assert!(seen.iter().all(|n| *n == seen[0]), "{seen:?}");

    let ready = Event::new().unwrap();
    let job = pool.submit(hold, (array.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    kill(job);
    assert!(array.lock().is_err(), "told");
    end(pool);
}
