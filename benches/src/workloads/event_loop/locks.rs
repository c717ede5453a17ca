//! Mutex and semaphore, free and contended.

use std::cell::Cell;
use std::future::{Future, ready};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::engines::Engine;
use super::primitives::{
    Local, Mutex, OfGlommio, OfMonoio, OfSmol, Semaphore, Shared, TokioInLocalSet, TokioSpawned,
};
use crate::workload::Run::PerOp;
use crate::workload::{Bar, Ctx, Group, Unit, Workload};

/// One task locks and unlocks. It yields after every 64, for all engines alike,
/// because tokio's budget would make it wait otherwise.
fn mutex_free<F: Mutex>(ctx: &Ctx) -> Duration {
    let iters = ctx.iters;
    F::Engine::run(async move {
        let mutex = F::mutex();
        let mut last = 0;
        let began = Instant::now();
        for _ in 0..iters / 64 {
            for _ in 0..64 {
                last = F::add(&mutex, ready(())).await;
            }
            F::Engine::yield_now().await;
        }
        let elapsed = began.elapsed();
        assert_eq!(last, iters);
        elapsed
    })
}

/// Starts ten tasks that each do a tenth of `iters`, and waits for them.
async fn ten<E: Engine, T: Future<Output = ()> + 'static>(
    iters: u64,
    task: impl Fn(u64) -> T,
) -> Duration {
    let began = Instant::now();
    let handles: Vec<_> = (0..10).map(|_| E::spawn(task(iters / 10))).collect();
    for handle in handles {
        E::join(handle).await;
    }
    began.elapsed()
}

/// Ten tasks; the guard is held across one yield.
fn mutex_contended<F: Mutex>(ctx: &Ctx) -> Duration {
    let iters = ctx.iters;
    F::Engine::run(async move {
        let mutex = Rc::new(F::mutex());
        let elapsed = ten::<F::Engine, _>(iters, |turns| {
            let mutex = mutex.clone();
            async move {
                for _ in 0..turns {
                    F::add(&mutex, F::Engine::yield_now()).await;
                }
            }
        })
        .await;
        assert_eq!(F::add(&mutex, ready(())).await, iters + 1);
        elapsed
    })
}

/// Ten tasks for three permits, each held across one yield.
fn semaphore_contended<F: Semaphore>(ctx: &Ctx) -> Duration {
    let iters = ctx.iters;
    F::Engine::run(async move {
        let semaphore = Rc::new(F::semaphore(3));
        let held = Rc::new(Cell::new((0u32, 0u64)));
        let elapsed = ten::<F::Engine, _>(iters, |turns| {
            let (semaphore, held) = (semaphore.clone(), held.clone());
            async move {
                for _ in 0..turns {
                    let inside = async {
                        let (now, all) = held.get();
                        assert!(now < 3, "more than three inside");
                        held.set((now + 1, all + 1));
                        F::Engine::yield_now().await;
                        let (now, all) = held.get();
                        held.set((now - 1, all));
                    };
                    F::with_permit(&semaphore, inside).await;
                }
            }
        })
        .await;
        assert_eq!(held.get(), (0, iters));
        elapsed
    })
}

/// The rows of this file.
pub fn workloads() -> Vec<Workload> {
    const NONE: &str = "brings no locks of its own";
    let row = |name, what| {
        Workload::new(Group::Loop, name, Unit::Ns, what)
            .bar(Bar::Times("tokio", 4.0))
            .bar(Bar::AheadOfAll)
            .without("compio", NONE)
    };
    vec![
        row("mutex_free", "lock and unlock by one task")
            .grain(64)
            .variant("threeply", "", PerOp(mutex_free::<Local>))
            .variant("threeply-shared", "", PerOp(mutex_free::<Shared>))
            .variant("tokio", "LocalSet", PerOp(mutex_free::<TokioInLocalSet>))
            .variant("tokio", "spawn", PerOp(mutex_free::<TokioSpawned>))
            .variant("smol", "", PerOp(mutex_free::<OfSmol>))
            .variant("glommio", "", PerOp(mutex_free::<OfGlommio>))
            .without("monoio", "local-sync has no mutex"),
        row(
            "mutex_contended",
            "10 tasks, the guard held across one yield; per lock",
        )
        .grain(10)
        .variant("threeply", "", PerOp(mutex_contended::<Local>))
        .variant("threeply-shared", "", PerOp(mutex_contended::<Shared>))
        .variant(
            "tokio",
            "LocalSet",
            PerOp(mutex_contended::<TokioInLocalSet>),
        )
        .variant("tokio", "spawn", PerOp(mutex_contended::<TokioSpawned>))
        .variant("smol", "", PerOp(mutex_contended::<OfSmol>))
        .variant("glommio", "", PerOp(mutex_contended::<OfGlommio>))
        .without("monoio", "local-sync has no mutex"),
        row(
            "semaphore_contended",
            "10 tasks for 3 permits, held across one yield; per permit",
        )
        .grain(10)
        .variant("threeply", "", PerOp(semaphore_contended::<Local>))
        .variant("threeply-shared", "", PerOp(semaphore_contended::<Shared>))
        .variant(
            "tokio",
            "LocalSet",
            PerOp(semaphore_contended::<TokioInLocalSet>),
        )
        .variant("tokio", "spawn", PerOp(semaphore_contended::<TokioSpawned>))
        .variant("smol", "", PerOp(semaphore_contended::<OfSmol>))
        .variant("monoio", "", PerOp(semaphore_contended::<OfMonoio>))
        .variant("glommio", "", PerOp(semaphore_contended::<OfGlommio>)),
    ]
}
