//! Every executor of group `loop`, in the words that the workloads use.
//!
//! To add one: implement [`Engine`] for a new type, in the configuration that its
//! documentation recommends, and add the type to `on_every_engine`. If it has
//! channels or locks of its own, `channels.rs` and `locks.rs` take them.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A single-threaded executor.
pub trait Engine: 'static {
    /// As it stands in the output.
    const NAME: &'static str;
    /// Which way of using it, where there are several.
    const VARIANT: &'static str = "";
    /// What `spawn` gives; dropping it must not cancel the task.
    type Handle<T: 'static>: 'static;

    /// Makes an executor, runs `future` on it, drops it.
    fn block_on<F: Future + 'static>(future: F) -> F::Output
    where
        F::Output: 'static;
    /// Starts a task on the executor that runs this code.
    fn spawn<F: Future + 'static>(future: F) -> Self::Handle<F::Output>;
    /// Waits for a task.
    fn join<T: 'static>(handle: Self::Handle<T>) -> impl Future<Output = T> + 'static;
    /// Lets the others run.
    fn yield_now() -> impl Future<Output = ()>;
    /// Waits.
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static;
    /// `None` when `future` took longer than `duration`.
    fn timeout<F: Future>(duration: Duration, future: F)
    -> impl Future<Output = Option<F::Output>>;

    /// Makes an executor and runs `future` on it as a task.
    fn run<F: Future + 'static>(future: F) -> F::Output
    where
        F::Output: 'static,
    {
        Self::block_on(async move { Self::join(Self::spawn(future)).await })
    }
}

/// Adds a generic workload to a row, once for each engine.
macro_rules! on_every_engine {
    ($row:expr, $run:ident, $function:ident) => {{
        use $crate::workload::Run::$run;
        use $crate::workloads::event_loop::engines::*;
        $row.variant(
            Threeply::NAME,
            Threeply::VARIANT,
            $run($function::<Threeply>),
        )
        .variant(
            TokioLocal::NAME,
            TokioLocal::VARIANT,
            $run($function::<TokioLocal>),
        )
        .variant(
            TokioPlain::NAME,
            TokioPlain::VARIANT,
            $run($function::<TokioPlain>),
        )
        .variant(Smol::NAME, Smol::VARIANT, $run($function::<Smol>))
        .variant(Monoio::NAME, Monoio::VARIANT, $run($function::<Monoio>))
        .variant(Glommio::NAME, Glommio::VARIANT, $run($function::<Glommio>))
        .variant(Compio::NAME, Compio::VARIANT, $run($function::<Compio>))
    }};
}
pub(crate) use on_every_engine;

/// Ours.
#[derive(Debug)]
pub struct Threeply;

impl Engine for Threeply {
    const NAME: &'static str = "threeply";
    type Handle<T: 'static> = threeply_runtime::JoinHandle<T>;

    fn block_on<F: Future + 'static>(future: F) -> F::Output
    where
        F::Output: 'static,
    {
        threeply_runtime::block_on(future)
    }
    fn spawn<F: Future + 'static>(future: F) -> Self::Handle<F::Output> {
        threeply_runtime::spawn(future)
    }
    async fn join<T: 'static>(handle: Self::Handle<T>) -> T {
        handle.await.expect("the task ends")
    }
    fn yield_now() -> impl Future<Output = ()> {
        threeply_runtime::yield_now()
    }
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        threeply_runtime::time::sleep(duration)
    }
    async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
        threeply_runtime::time::timeout(duration, future).await.ok()
    }
}

/// tokio's current-thread scheduler with a `LocalSet`, as for `!Send` futures.
#[derive(Debug)]
pub struct TokioLocal;

fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a tokio runtime")
}

impl Engine for TokioLocal {
    const NAME: &'static str = "tokio";
    const VARIANT: &'static str = "LocalSet";
    type Handle<T: 'static> = tokio::task::JoinHandle<T>;

    fn block_on<F: Future + 'static>(future: F) -> F::Output
    where
        F::Output: 'static,
    {
        tokio::task::LocalSet::new().block_on(&tokio_runtime(), future)
    }
    fn spawn<F: Future + 'static>(future: F) -> Self::Handle<F::Output> {
        tokio::task::spawn_local(future)
    }
    async fn join<T: 'static>(handle: Self::Handle<T>) -> T {
        handle.await.expect("the task ends")
    }
    fn yield_now() -> impl Future<Output = ()> {
        tokio::task::yield_now()
    }
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(duration)
    }
    async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
        tokio::time::timeout(duration, future).await.ok()
    }
}

/// tokio's current-thread scheduler with plain `spawn`. The faster of the two
/// counts as `tokio`.
#[derive(Debug)]
pub struct TokioPlain;

impl Engine for TokioPlain {
    const NAME: &'static str = "tokio";
    const VARIANT: &'static str = "spawn";
    type Handle<T: 'static> = tokio::task::JoinHandle<assert_send::AssertSend<T>>;

    fn block_on<F: Future + 'static>(future: F) -> F::Output
    where
        F::Output: 'static,
    {
        tokio_runtime().block_on(future)
    }
    fn spawn<F: Future + 'static>(future: F) -> Self::Handle<F::Output> {
        tokio::spawn(assert_send::AssertSend::new(future))
    }
    async fn join<T: 'static>(handle: Self::Handle<T>) -> T {
        handle.await.expect("the task ends").into_inner()
    }
    fn yield_now() -> impl Future<Output = ()> {
        tokio::task::yield_now()
    }
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(duration)
    }
    async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
        tokio::time::timeout(duration, future).await.ok()
    }
}

pub mod assert_send;

/// smol's `LocalExecutor` below `smol::block_on`.
#[derive(Debug)]
pub struct Smol;

thread_local! {
    static SMOL: RefCell<Option<Rc<smol::LocalExecutor<'static>>>> = const { RefCell::new(None) };
}

impl Engine for Smol {
    const NAME: &'static str = "smol";
    type Handle<T: 'static> = smol::Task<T>;

    fn block_on<F: Future + 'static>(future: F) -> F::Output
    where
        F::Output: 'static,
    {
        let executor = Rc::new(smol::LocalExecutor::new());
        SMOL.with(|current| *current.borrow_mut() = Some(executor.clone()));
        let output = smol::block_on(executor.run(future));
        SMOL.with(|current| *current.borrow_mut() = None);
        output
    }
    fn spawn<F: Future + 'static>(future: F) -> Self::Handle<F::Output> {
        SMOL.with(|current| {
            current
                .borrow()
                .as_ref()
                .expect("inside block_on")
                .spawn(future)
        })
    }
    fn join<T: 'static>(handle: Self::Handle<T>) -> impl Future<Output = T> + 'static {
        handle
    }
    fn yield_now() -> impl Future<Output = ()> {
        smol::future::yield_now()
    }
    async fn sleep(duration: Duration) {
        smol::Timer::after(duration).await;
    }
    async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
        let late = async {
            smol::Timer::after(duration).await;
            None
        };
        smol::future::or(async { Some(future.await) }, late).await
    }
}

/// monoio with the driver that it chooses itself: io_uring where permitted.
#[derive(Debug)]
pub struct Monoio;

impl Engine for Monoio {
    const NAME: &'static str = "monoio";
    type Handle<T: 'static> = monoio::task::JoinHandle<T>;

    fn block_on<F: Future + 'static>(future: F) -> F::Output
    where
        F::Output: 'static,
    {
        monoio::RuntimeBuilder::<monoio::FusionDriver>::new()
            .enable_timer()
            .build()
            .expect("a monoio runtime")
            .block_on(future)
    }
    fn spawn<F: Future + 'static>(future: F) -> Self::Handle<F::Output> {
        monoio::spawn(future)
    }
    fn join<T: 'static>(handle: Self::Handle<T>) -> impl Future<Output = T> + 'static {
        handle
    }
    fn yield_now() -> impl Future<Output = ()> {
        YieldOnce(false)
    }
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        monoio::time::sleep(duration)
    }
    async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
        monoio::time::timeout(duration, future).await.ok()
    }
}

/// glommio's `LocalExecutor`, not spinning.
#[derive(Debug)]
pub struct Glommio;

impl Engine for Glommio {
    const NAME: &'static str = "glommio";
    type Handle<T: 'static> = glommio::task::JoinHandle<T>;

    fn block_on<F: Future + 'static>(future: F) -> F::Output
    where
        F::Output: 'static,
    {
        glommio::LocalExecutorBuilder::default()
            .make()
            .expect("a glommio executor")
            .run(future)
    }
    fn spawn<F: Future + 'static>(future: F) -> Self::Handle<F::Output> {
        glommio::spawn_local(future).detach()
    }
    async fn join<T: 'static>(handle: Self::Handle<T>) -> T {
        handle.await.expect("the task ends")
    }
    async fn yield_now() {
        glommio::executor().yield_now().await;
    }
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        glommio::timer::sleep(duration)
    }
    async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
        glommio::timer::timeout(duration, async { Ok(future.await) })
            .await
            .ok()
    }
}

/// compio's default runtime.
#[derive(Debug)]
pub struct Compio;

impl Engine for Compio {
    const NAME: &'static str = "compio";
    type Handle<T: 'static> = compio::runtime::JoinHandle<T>;

    fn block_on<F: Future + 'static>(future: F) -> F::Output
    where
        F::Output: 'static,
    {
        compio::runtime::Runtime::new()
            .expect("a compio runtime")
            .block_on(future)
    }
    fn spawn<F: Future + 'static>(future: F) -> Self::Handle<F::Output> {
        compio::runtime::spawn(future)
    }
    async fn join<T: 'static>(handle: Self::Handle<T>) -> T {
        match handle.await {
            Ok(value) => value,
            Err(_) => panic!("the task ends"),
        }
    }
    fn yield_now() -> impl Future<Output = ()> {
        YieldOnce(false)
    }
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        compio::time::sleep(duration)
    }
    async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
        compio::time::timeout(duration, future).await.ok()
    }
}

/// What `yield_now` is for engines that have none.
#[derive(Debug)]
pub struct YieldOnce(bool);

impl Future for YieldOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
