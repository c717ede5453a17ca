//! Two tasks that talk: in turns, and as producer and consumer.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::engines::Engine;
use super::primitives::{
    Bounded, Local, Notify, OfGlommio, OfMonoio, OfSmol, Oneshot, Shared, TokioInLocalSet,
    TokioSpawned, Unbounded,
};
use crate::workload::Run::PerOp;
use crate::workload::{Bar, Ctx, Group, Unit, Workload};

/// Two tasks in turns; each message goes through a channel of its own, which is
/// made and dropped within the time.
fn oneshot_pingpong<F: Oneshot>(ctx: &Ctx) -> Duration {
    let blocks = ctx.iters / 1_000;
    F::Engine::run(async move {
        let began = Instant::now();
        for _ in 0..blocks {
            let (to, back): (Vec<_>, Vec<_>) =
                (0..1_000).map(|_| (F::oneshot(), F::oneshot())).unzip();
            let (ping, pinged): (Vec<_>, Vec<_>) = to.into_iter().unzip();
            let (pong, ponged): (Vec<_>, Vec<_>) = back.into_iter().unzip();
            let other = F::Engine::spawn(async move {
                for (pinged, pong) in pinged.into_iter().zip(pong) {
                    let value = F::take(pinged).await;
                    F::give(pong, value + 1);
                }
            });
            for (i, (ping, ponged)) in ping.into_iter().zip(ponged).enumerate() {
                F::give(ping, i as u64);
                assert_eq!(F::take(ponged).await, i as u64 + 1);
            }
            F::Engine::join(other).await;
        }
        began.elapsed()
    })
}

/// Two tasks in turns over two channels of one.
fn channel1_pingpong<F: Bounded>(ctx: &Ctx) -> Duration {
    let iters = ctx.iters;
    F::Engine::run(async move {
        let (to, mut from_first) = F::bounded(1);
        let (back, mut from_second) = F::bounded(1);
        let began = Instant::now();
        let other = F::Engine::spawn(async move {
            for _ in 0..iters {
                let value = F::recv(&mut from_first).await;
                F::send(&back, value + 1).await;
            }
        });
        for i in 0..iters {
            F::send(&to, i).await;
            assert_eq!(F::recv(&mut from_second).await, i + 1);
        }
        F::Engine::join(other).await;
        began.elapsed()
    })
}

/// Two tasks in turns by notifications.
fn notify_pingpong<F: Notify>(ctx: &Ctx) -> Duration {
    let iters = ctx.iters;
    F::Engine::run(async move {
        let both = Rc::new((F::notify(), F::notify()));
        let others = both.clone();
        let began = Instant::now();
        let other = F::Engine::spawn(async move {
            let mut turns = 0;
            for _ in 0..iters {
                F::notified(&others.0).await;
                turns += 1;
                F::notify_one(&others.1);
            }
            turns
        });
        for _ in 0..iters {
            F::notify_one(&both.0);
            F::notified(&both.1).await;
        }
        let turns = F::Engine::join(other).await;
        let elapsed = began.elapsed();
        assert_eq!(turns, iters);
        elapsed
    })
}

/// One producer, one consumer, a queue of a hundred.
fn mpsc_bounded100<F: Bounded>(ctx: &Ctx) -> Duration {
    let iters = ctx.iters;
    F::Engine::run(async move {
        let (sender, mut receiver) = F::bounded(100);
        let began = Instant::now();
        let producer = F::Engine::spawn(async move {
            for i in 0..iters {
                F::send(&sender, i).await;
            }
        });
        let mut sum = 0;
        for _ in 0..iters {
            sum += F::recv(&mut receiver).await;
        }
        F::Engine::join(producer).await;
        let elapsed = began.elapsed();
        assert_eq!(sum, iters * (iters - 1) / 2);
        elapsed
    })
}

/// One producer, one consumer, a queue without bound; the producer lets the
/// consumer run after every thousand items, so that the queue doesn't grow to the
/// length of the run.
fn mpsc_unbounded<F: Unbounded>(ctx: &Ctx) -> Duration {
    let iters = ctx.iters;
    F::Engine::run(async move {
        let (sender, mut receiver) = F::unbounded();
        let began = Instant::now();
        let producer = F::Engine::spawn(async move {
            for i in 0..iters {
                F::push(&sender, i);
                if i % 1_000 == 999 {
                    F::Engine::yield_now().await;
                }
            }
        });
        let mut sum = 0;
        for _ in 0..iters {
            sum += F::pop(&mut receiver).await;
        }
        F::Engine::join(producer).await;
        let elapsed = began.elapsed();
        assert_eq!(sum, iters * (iters - 1) / 2);
        elapsed
    })
}

/// The rows of this file.
pub fn workloads() -> Vec<Workload> {
    const NONE: &str = "brings no channels of its own";
    let row = |name, what| Workload::new(Group::Loop, name, Unit::Ns, what);
    vec![
        row(
            "oneshot_pingpong",
            "two tasks in turns by oneshots; per round trip",
        )
        .grain(1_000)
        .bar(Bar::Times("tokio", 3.0))
        .bar(Bar::AheadOfAll)
        .variant("threeply", "", PerOp(oneshot_pingpong::<Local>))
        .variant("threeply-shared", "", PerOp(oneshot_pingpong::<Shared>))
        .variant(
            "tokio",
            "LocalSet",
            PerOp(oneshot_pingpong::<TokioInLocalSet>),
        )
        .variant("tokio", "spawn", PerOp(oneshot_pingpong::<TokioSpawned>))
        .variant("smol", "", PerOp(oneshot_pingpong::<OfSmol>))
        .variant("monoio", "", PerOp(oneshot_pingpong::<OfMonoio>))
        .variant("glommio", "", PerOp(oneshot_pingpong::<OfGlommio>))
        .without("compio", NONE),
        row(
            "channel1_pingpong",
            "two tasks in turns by channels of one; per round trip",
        )
        .bar(Bar::Times("tokio", 4.0))
        .bar(Bar::AheadOfAll)
        .variant("threeply", "", PerOp(channel1_pingpong::<Local>))
        .variant("threeply-shared", "", PerOp(channel1_pingpong::<Shared>))
        .variant(
            "tokio",
            "LocalSet",
            PerOp(channel1_pingpong::<TokioInLocalSet>),
        )
        .variant("tokio", "spawn", PerOp(channel1_pingpong::<TokioSpawned>))
        .variant("smol", "", PerOp(channel1_pingpong::<OfSmol>))
        .variant("monoio", "", PerOp(channel1_pingpong::<OfMonoio>))
        .variant("glommio", "", PerOp(channel1_pingpong::<OfGlommio>))
        .without("compio", NONE),
        row(
            "notify_pingpong",
            "two tasks in turns by Notify; per round trip",
        )
        .bar(Bar::Times("tokio", 4.0))
        .bar(Bar::AheadOfAll)
        .variant("threeply", "", PerOp(notify_pingpong::<Local>))
        .variant("threeply-shared", "", PerOp(notify_pingpong::<Shared>))
        .variant(
            "tokio",
            "LocalSet",
            PerOp(notify_pingpong::<TokioInLocalSet>),
        )
        .variant("tokio", "spawn", PerOp(notify_pingpong::<TokioSpawned>))
        .without(
            "smol",
            "its Event keeps no notification for who comes later",
        )
        .without("monoio", "local-sync has no Notify")
        .without("glommio", "has no Notify")
        .without("compio", NONE),
        row(
            "mpsc_bounded100",
            "one producer, one consumer, queue of 100; per item",
        )
        .grain(1_000_000)
        .bar(Bar::Times("tokio", 5.0))
        .bar(Bar::AheadOfAll)
        .variant("threeply", "", PerOp(mpsc_bounded100::<Local>))
        .variant("threeply-shared", "", PerOp(mpsc_bounded100::<Shared>))
        .variant(
            "tokio",
            "LocalSet",
            PerOp(mpsc_bounded100::<TokioInLocalSet>),
        )
        .variant("tokio", "spawn", PerOp(mpsc_bounded100::<TokioSpawned>))
        .variant("smol", "", PerOp(mpsc_bounded100::<OfSmol>))
        .variant("monoio", "", PerOp(mpsc_bounded100::<OfMonoio>))
        .variant("glommio", "", PerOp(mpsc_bounded100::<OfGlommio>))
        .without("compio", NONE),
        row(
            "mpsc_unbounded",
            "one producer, one consumer, queue without bound; per item",
        )
        .grain(1_000_000)
        .bar(Bar::Times("tokio", 5.0))
        .bar(Bar::AheadOfAll)
        .variant("threeply", "", PerOp(mpsc_unbounded::<Local>))
        .variant("threeply-shared", "", PerOp(mpsc_unbounded::<Shared>))
        .variant(
            "tokio",
            "LocalSet",
            PerOp(mpsc_unbounded::<TokioInLocalSet>),
        )
        .variant("tokio", "spawn", PerOp(mpsc_unbounded::<TokioSpawned>))
        .variant("smol", "", PerOp(mpsc_unbounded::<OfSmol>))
        .variant("monoio", "", PerOp(mpsc_unbounded::<OfMonoio>))
        .variant("glommio", "", PerOp(mpsc_unbounded::<OfGlommio>))
        .without("compio", NONE),
    ]
}
