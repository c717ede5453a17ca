//! Every engine's server, side by side: echo, and connections that only wait.
//!
//! The buffer of an echo belongs to the connection, as in each engine's own
//! examples; `idle` holds none.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use smol::io::{AsyncReadExt, AsyncWriteExt};

use super::{epoll, http};
use crate::sys;

/// The first word of the hidden command.
pub const NAME: &str = "net";

/// What a server does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sends back what it gets, with a buffer of 1 KiB.
    Echo,
    /// The same with 64 KiB.
    Stream,
    /// Waits for the first byte without holding a buffer, then closes.
    Idle,
    /// Answers HTTP requests.
    Http,
}

impl Kind {
    /// As it stands in the hidden command.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Echo => "echo",
            Kind::Stream => "stream",
            Kind::Idle => "idle",
            Kind::Http => "http",
        }
    }

    fn from_name(name: &str) -> Option<Kind> {
        [Kind::Echo, Kind::Stream, Kind::Idle, Kind::Http]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    pub(super) fn buffer(self) -> usize {
        match self {
            Kind::Stream => 64 << 10,
            _ => 1 << 10,
        }
    }
}

/// The hidden command: becomes the server of an engine, until it is killed.
pub fn serve(engine: &str, kind: &str) -> ExitCode {
    sys::raise_open_files();
    let Some(kind) = Kind::from_name(kind) else {
        return ExitCode::from(2);
    };
    let listener = listen().expect("a listener on loopback");
    println!("{}", listener.local_addr().expect("it is bound"));
    std::thread::Builder::new()
        .stack_size(64 << 10)
        .spawn(|| {
            // Ends with whoever started it.
            let _ = std::io::stdin().read_line(&mut String::new());
            std::process::exit(0);
        })
        .expect("a thread starts");
    match engine {
        "threeply" => threeply(listener, kind),
        "tokio" => tokio(listener, kind),
        "smol" => smol(listener, kind),
        "monoio" => monoio(listener, kind),
        "limit" => epoll::serve(listener, kind),
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

/// An ephemeral port of loopback, with room for a flood of connections.
fn listen() -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4_096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn threeply(listener: TcpListener, kind: Kind) {
    threeply_runtime::block_on(async move {
        let listener = threeply_runtime::net::TcpListener::from_std(listener).expect("a listener");
        if kind == Kind::Http {
            return http::on_ours(listener).await;
        }
        loop {
            let Ok((mut stream, _)) = listener.accept().await else {
                continue;
            };
            let _ = stream.set_nodelay(true);
            drop(threeply_runtime::spawn(async move {
                match kind {
                    Kind::Echo | Kind::Stream => {
                        let mut buffer = vec![0; kind.buffer()];
                        while let Ok(got @ 1..) = stream.read(&mut buffer).await {
                            if stream.write_all(&buffer[..got]).await.is_err() {
                                break;
                            }
                        }
                    }
                    Kind::Idle => {
                        let _ = stream.readable().await;
                    }
                    Kind::Http => {}
                }
            }));
        }
    });
}

fn tokio(listener: TcpListener, kind: Kind) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        loop {
            let Ok((mut stream, _)) = listener.accept().await else {
                continue;
            };
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                match kind {
                    Kind::Echo | Kind::Stream => {
                        let mut buffer = vec![0; kind.buffer()];
                        while let Ok(got @ 1..) = stream.read(&mut buffer).await {
                            if stream.write_all(&buffer[..got]).await.is_err() {
                                break;
                            }
                        }
                    }
                    Kind::Idle => {
                        // A new stream counts as readable until somebody has tried.
                        while stream.readable().await.is_ok()
                            && stream
                                .try_read(&mut [0])
                                .is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
                        {
                        }
                    }
                    Kind::Http => http::on_hyper(stream).await,
                }
            });
        }
    });
}

fn smol(listener: TcpListener, kind: Kind) {
    let executor = smol::LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = smol::Async::new_nonblocking(listener).expect("a listener");
        loop {
            let Ok((mut stream, _)) = listener.accept().await else {
                continue;
            };
            let _ = stream.get_ref().set_nodelay(true);
            executor
                .spawn(async move {
                    match kind {
                        Kind::Echo | Kind::Stream => {
                            let mut buffer = vec![0; kind.buffer()];
                            while let Ok(got @ 1..) = stream.read(&mut buffer).await {
                                if stream.write_all(&buffer[..got]).await.is_err() {
                                    break;
                                }
                            }
                        }
                        Kind::Idle => {
                            let _ = stream.readable().await;
                        }
                        Kind::Http => {}
                    }
                })
                .detach();
        }
    }));
}

fn monoio(listener: TcpListener, kind: Kind) {
    use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
    let mut runtime = monoio::RuntimeBuilder::<monoio::FusionDriver>::new()
        .with_entries(4_096)
        .build()
        .expect("a runtime");
    runtime.block_on(async move {
        let listener = monoio::net::TcpListener::from_std(listener).expect("a listener");
        loop {
            let Ok((mut stream, _)) = listener.accept().await else {
                continue;
            };
            let _ = stream.set_nodelay(true);
            monoio::spawn(async move {
                match kind {
                    Kind::Echo | Kind::Stream => {
                        let mut buffer = Vec::with_capacity(kind.buffer());
                        loop {
                            let (got, filled) = stream.read(buffer).await;
                            if !matches!(got, Ok(1..)) {
                                break;
                            }
                            let (put, mut written) = stream.write_all(filled).await;
                            if put.is_err() {
                                break;
                            }
                            written.clear();
                            buffer = written;
                        }
                    }
                    Kind::Idle => {
                        let _ = stream.readable(false).await;
                    }
                    Kind::Http => {}
                }
            });
        }
    });
}
