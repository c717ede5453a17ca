//! The second and the third program: downloads that each take 100 ms.
//!
//! The client is the same few lines for everybody, a request and a reply over the
//! engine's own TCP stream: the rows compare engines, not HTTP libraries.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use futures_io::{AsyncRead, AsyncWrite};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use threeply_pools::process::ProcessPool;
use threeply_pools::thread::ThreadPool;

use super::server::{NAME, Server};
use crate::sys;
use crate::workload::{Ctx, Group, Unit, Workload};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// The status in a reply that is complete.
fn status(reply: &[u8]) -> u16 {
    assert!(
        reply.ends_with(b"\r\n\r\nhello"),
        "the reply is cut off: {reply:?}"
    );
    std::str::from_utf8(&reply[9..12])
        .ok()
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}

fn blocking(address: SocketAddr) -> u16 {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.write_all(REQUEST).expect("the server reads");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("the server answers");
    status(&reply)
}

async fn on_futures_io(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> u16 {
    stream.write_all(REQUEST).await.expect("the server reads");
    let mut reply = Vec::new();
    stream
        .read_to_end(&mut reply)
        .await
        .expect("the server answers");
    status(&reply)
}

async fn on_tokio(address: SocketAddr) -> u16 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("the server listens");
    stream.write_all(REQUEST).await.expect("the server reads");
    let mut reply = Vec::new();
    stream
        .read_to_end(&mut reply)
        .await
        .expect("the server answers");
    status(&reply)
}

/// Starts the server, lets `all` download `count` times, and returns the seconds.
fn timed(count: usize, all: impl FnOnce(SocketAddr, usize) -> Vec<u16>) -> f64 {
    sys::raise_open_files();
    let server = Server::start(&[NAME]);
    let began = Instant::now();
    let codes = all(server.address, count);
    let elapsed = began.elapsed();
    assert_eq!(codes, vec![200; count]);
    elapsed.as_secs_f64()
}

fn count(ctx: &Ctx) -> usize {
    // `grain` tells the two rows apart.
    match ctx.iters {
        1 => 5,
        _ => ctx.size.pick(50, 1_000, 1_000),
    }
}

fn sequential(ctx: &Ctx) -> f64 {
    timed(count(ctx), |address, count| {
        (0..count).map(|_| blocking(address)).collect()
    })
}

/// A std thread for each.
fn limit(ctx: &Ctx) -> f64 {
    timed(count(ctx), |address, count| {
        let threads: Vec<_> = (0..count)
            .map(|_| {
                let thread = std::thread::Builder::new().stack_size(64 << 10);
                thread
                    .spawn(move || blocking(address))
                    .expect("a thread starts")
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("it ends"))
            .collect()
    })
}

fn processes(ctx: &Ctx) -> f64 {
    let pool = ProcessPool::new(count(ctx)).expect("a process pool");
    timed(count(ctx), |address, count| {
        let jobs: Vec<_> = (0..count)
            .map(|_| pool.submit(blocking, address).expect("there is room"))
            .collect();
        jobs.into_iter()
            .map(|job| job.wait().expect("the job runs"))
            .collect()
    })
}

fn threads(ctx: &Ctx) -> f64 {
    let pool = ThreadPool::builder()
        .threads(count(ctx))
        .stack_size(64 << 10)
        .build();
    let pool = pool.expect("a pool of threads");
    timed(count(ctx), |address, count| {
        let jobs: Vec<_> = (0..count)
            .map(|_| pool.spawn(move || blocking(address)))
            .collect();
        jobs.into_iter()
            .map(|job| job.wait().expect("the job runs"))
            .collect()
    })
}

fn event_loop(ctx: &Ctx) -> f64 {
    timed(count(ctx), |address, count| {
        threeply_runtime::block_on(async move {
            let download = move || async move {
                let stream = threeply_runtime::net::TcpStream::connect(address).await;
                on_futures_io(stream.expect("the server listens")).await
            };
            let tasks: Vec<_> = (0..count)
                .map(|_| threeply_runtime::spawn(download()))
                .collect();
            let mut codes = Vec::new();
            for task in tasks {
                codes.push(task.await.expect("the task ends"));
            }
            codes
        })
    })
}

fn tokio(ctx: &Ctx) -> f64 {
    timed(count(ctx), |address, count| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async move {
            let tasks: Vec<_> = (0..count)
                .map(|_| tokio::spawn(on_tokio(address)))
                .collect();
            let mut codes = Vec::new();
            for task in tasks {
                codes.push(task.await.expect("the task ends"));
            }
            codes
        })
    })
}

fn smol(ctx: &Ctx) -> f64 {
    timed(count(ctx), |address, count| {
        let executor = smol::LocalExecutor::new();
        smol::block_on(executor.run(async {
            let tasks: Vec<_> = (0..count)
                .map(|_| {
                    executor.spawn(async move {
                        let stream = smol::net::TcpStream::connect(address).await;
                        on_futures_io(stream.expect("the server listens")).await
                    })
                })
                .collect();
            let mut codes = Vec::new();
            for task in tasks {
                codes.push(task.await);
            }
            codes
        }))
    })
}

fn rayon(ctx: &Ctx) -> f64 {
    use rayon::prelude::*;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(count(ctx))
        .build()
        .expect("a pool");
    timed(count(ctx), |address, count| {
        pool.install(|| {
            (0..count)
                .into_par_iter()
                .with_max_len(1)
                .map(|_| blocking(address))
                .collect()
        })
    })
}

fn procspawn(ctx: &Ctx) -> f64 {
    let pool = procspawn::Pool::new(count(ctx)).expect("a procspawn pool");
    let seconds = timed(count(ctx), |address, count| {
        let jobs: Vec<_> = (0..count).map(|_| pool.spawn(address, blocking)).collect();
        jobs.into_iter()
            .map(|job| job.join().expect("the job runs"))
            .collect()
    });
    pool.shutdown();
    seconds
}

/// The rows of this file.
pub fn workloads() -> Vec<Workload> {
    const MANY: &str = "a thousand of its units are not what it is for";
    vec![
        Workload::new(
            Group::Article,
            "io_bound",
            Unit::S,
            "five downloads of 100 ms at once (limit: a std thread for each)",
        )
        .once("sequential", sequential)
        .once("limit", limit)
        .once("threeply-processes", processes)
        .once("threeply-threads", threads)
        .once("threeply-loop", event_loop)
        .once("tokio", tokio)
        .once("smol", smol)
        .once("rayon", rayon)
        .once("procspawn", procspawn)
        .python(
            "python-multiprocessing",
            "article.py",
            &["multiprocessing", "io"],
        )
        .python("python-threading", "article.py", &["threading", "io"])
        .python("python-asyncio", "article.py", &["asyncio", "io"])
        .python("python-sequential", "article.py", &["sequential", "io"]),
        Workload::new(
            Group::Article,
            "many_connections",
            Unit::S,
            "a thousand downloads of 100 ms at once (limit: a std thread for each)",
        )
        .grain(200)
        .once("limit", limit)
        .once("threeply-threads", threads)
        .once("threeply-loop", event_loop)
        .once("tokio", tokio)
        .once("smol", smol)
        .once("rayon", rayon)
        .python("python-threading", "article.py", &["threading", "many"])
        .python("python-asyncio", "article.py", &["asyncio", "many"])
        .without("sequential", "would take 100 s")
        .without("threeply-processes", MANY)
        .without("procspawn", MANY)
        .without("python-multiprocessing", MANY),
    ]
}
