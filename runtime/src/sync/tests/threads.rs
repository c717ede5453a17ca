//! Who may cross threads, decided when this file is compiled.

use std::cell::Cell;

use crate::sync::{local, shared};

/// Calling `test` on a type that has the trait is ambiguous, which is an error.
trait NotSend<Which> {
    fn test() {}
}
impl<T: ?Sized> NotSend<()> for T {}
impl<T: ?Sized + Send> NotSend<u8> for T {}

trait NotSync<Which> {
    fn test() {}
}
impl<T: ?Sized> NotSync<()> for T {}
impl<T: ?Sized + Sync> NotSync<u8> for T {}

fn crosses<T: Send>() {}
fn is_shared<T: Send + Sync>() {}

#[test]
fn the_local_family_stays_on_its_thread() {
    <local::Mutex<u8> as NotSend<_>>::test();
    <local::Mutex<u8> as NotSync<_>>::test();
    <local::MutexGuard<'_, u8> as NotSend<_>>::test();
    <local::RwLock<u8> as NotSync<_>>::test();
    <local::Semaphore as NotSend<_>>::test();
    <local::Notify as NotSync<_>>::test();
    <local::Event as NotSend<_>>::test();
    <local::OnceCell<u8> as NotSync<_>>::test();
    <local::oneshot::Sender<u8> as NotSend<_>>::test();
    <local::mpsc::Sender<u8> as NotSend<_>>::test();
    <local::mpsc::Receiver<u8> as NotSend<_>>::test();
    <local::broadcast::Sender<u8> as NotSend<_>>::test();
    <local::watch::Receiver<u8> as NotSend<_>>::test();
    <local::Queue<u8> as NotSend<_>>::test();
}

#[test]
fn the_shared_family_crosses_threads_as_far_as_its_values_do() {
    is_shared::<shared::Mutex<Cell<u8>>>();
    is_shared::<shared::RwLock<u8>>();
    is_shared::<shared::Semaphore>();
    is_shared::<shared::Limiter>();
    is_shared::<shared::Condvar>();
    is_shared::<shared::Barrier>();
    is_shared::<shared::OnceCell<u8>>();
    is_shared::<shared::Queue<Cell<u8>>>();
    is_shared::<shared::oneshot::Sender<Cell<u8>>>();
    is_shared::<shared::mpsc::Sender<Cell<u8>>>();
    crosses::<shared::mpsc::Receiver<Cell<u8>>>();
    is_shared::<shared::broadcast::Receiver<u8>>();
    is_shared::<shared::watch::Receiver<u8>>();
    crosses::<shared::MutexGuard<'_, Cell<u8>>>();
    crosses::<shared::OwnedMutexGuard<Cell<u8>>>();

    // A guard gives `&T` to whoever has `&guard`, so it is as `Sync` as `T`.
    <shared::MutexGuard<'_, Cell<u8>> as NotSync<_>>::test();
    <shared::OwnedMutexGuard<Cell<u8>> as NotSync<_>>::test();
    <shared::RwLock<Cell<u8>> as NotSync<_>>::test();
    <shared::RwLockReadGuard<'_, Cell<u8>> as NotSend<_>>::test();
    <shared::Mutex<*const u8> as NotSync<_>>::test();
    <shared::mpsc::Sender<std::rc::Rc<u8>> as NotSend<_>>::test();
    <shared::watch::Sender<Cell<u8>> as NotSend<_>>::test();
}

#[test]
fn waits_of_the_shared_family_can_move_to_another_thread() {
    fn crosses_as_value<T: Send>(_: &T) {}
    let (mutex, semaphore) = (shared::Mutex::new(0), shared::Semaphore::new(1));
    let (sender, mut receiver) = shared::mpsc::channel::<u8>(1);
    crosses_as_value(&async {
        let mut guard = mutex.lock().await;
        let _permit = semaphore.acquire().await;
        sender.send(1).await.ok();
        *guard += receiver.recv().await.unwrap_or(0);
    });
}
