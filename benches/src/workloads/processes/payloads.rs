//! 64 MiB there and back.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde_bytes::ByteBuf;
use threeply_pools::process::SharedMut;

use super::roundtrips::ours;
use crate::sys::SharedMapping;
use crate::workload::{Bar, Ctx, Group, Size, Unit, Workload};

fn length(size: Size) -> usize {
    size.pick(1 << 20, 64 << 20, 64 << 20)
}

/// Changes one byte, so that nothing can be skipped, and sends all back.
fn touch(mut bytes: ByteBuf) -> ByteBuf {
    let last = bytes.len() - 1;
    bytes[last] = bytes[last].wrapping_add(1);
    bytes
}

fn owned(ctx: &Ctx, mut there_and_back: impl FnMut(ByteBuf) -> ByteBuf) -> Duration {
    let length = length(ctx.size);
    let mut bytes = ByteBuf::from(vec![7u8; length]);
    bytes = there_and_back(bytes);
    let began = Instant::now();
    for _ in 0..ctx.iters {
        bytes = there_and_back(bytes);
    }
    let elapsed = began.elapsed();
    assert_eq!(bytes.len(), length);
    assert_eq!(bytes[length - 1], 8u8.wrapping_add(ctx.iters as u8));
    assert!(bytes[..length - 1].iter().all(|&byte| byte == 7));
    elapsed
}

fn payload_owned(ctx: &Ctx) -> Duration {
    let pool = ours(ctx.workers);
    owned(ctx, |bytes| {
        pool.call(touch, bytes)
            .expect("there is room")
            .expect("the job runs")
    })
}

fn payload_procspawn(ctx: &Ctx) -> Duration {
    let pool = procspawn::Pool::new(ctx.workers).expect("a procspawn pool");
    let elapsed = owned(ctx, |bytes| {
        pool.spawn(bytes, touch).join().expect("the job runs")
    });
    pool.shutdown();
    elapsed
}

/// By hand, each way: one copy into a mapping that is kept, and one out of it
/// into a buffer that is mapped anew.
fn payload_by_hand(ctx: &Ctx) -> Duration {
    let mut kept = SharedMapping::new(length(ctx.size));
    owned(ctx, |mut bytes| {
        for _way in 0..2 {
            kept.bytes().copy_from_slice(&bytes);
            drop(bytes);
            bytes = ByteBuf::from(black_box(kept.bytes()).to_vec());
        }
        touch(bytes)
    })
}

/// Changes one number in place, and gives the memory back.
fn touch_shared(mut memory: SharedMut<[u8]>) -> SharedMut<[u8]> {
    let bytes = memory.as_mut_slice();
    let last = bytes.len() - 1;
    bytes[last] = bytes[last].wrapping_add(1);
    memory
}

/// Memory that moves to the job and back; the user copies nothing.
fn payload_shared(ctx: &Ctx) -> Duration {
    let pool = ours(ctx.workers);
    let length = length(ctx.size);
    let there_and_back = |memory| {
        pool.call(touch_shared, memory)
            .expect("there is room")
            .expect("the job runs")
    };
    let mut memory = SharedMut::zeroed(length).expect("shared memory");
    memory.as_mut_slice().fill(7);
    memory = there_and_back(memory);
    let began = Instant::now();
    for _ in 0..ctx.iters {
        memory = there_and_back(memory);
    }
    let elapsed = began.elapsed();
    let bytes = memory.as_mut_slice();
    assert_eq!(bytes[length - 1], 8u8.wrapping_add(ctx.iters as u8));
    assert!(bytes[..length - 1].iter().all(|&byte| byte == 7));
    elapsed
}

/// The rows of this file.
pub fn workloads() -> Vec<Workload> {
    let row = |name, what| Workload::new(Group::Processes, name, Unit::Ms, what).takes(2.0);
    vec![
        row("payload_64m_owned", "a vector of 64 MiB there and back")
            .bar(Bar::TimesPython(3.5))
            .bar(Bar::OfLimit(1.25))
            .per_op("threeply", payload_owned)
            .per_op("procspawn", payload_procspawn)
            .per_op("limit", payload_by_hand)
            .python("python-ppe", "pool.py", &["ppe", "payload"])
            .python("python-mp", "pool.py", &["mp", "payload"]),
        row(
            "payload_64m_shared",
            "64 MiB of shared memory moved to the job, written there, and back (Python: bytes)",
        )
        .bar(Bar::TimesPython(10.0))
        .per_op("threeply", payload_shared)
        .python("python-ppe", "pool.py", &["ppe", "payload"])
        .python("python-mp", "pool.py", &["mp", "payload"])
        .without("procspawn", "has no shared memory"),
    ]
}
