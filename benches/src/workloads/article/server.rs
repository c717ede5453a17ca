//! The server of the downloads: answers after 100 ms, in a process of its own.
//!
//! It is the same for every engine, and is not one of ours, so that a fault of
//! ours could not help us: tokio's, on one thread.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::sys;
use crate::workloads::SERVE;

/// Its name as a hidden command.
pub const NAME: &str = "slow-http";

/// What it answers.
const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

/// Serves until its input ends.
pub fn serve() -> ExitCode {
    sys::raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket
            .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .expect("an ephemeral port");
        let listener = socket.listen(4_096).expect("a listener");
        println!("{}", listener.local_addr().expect("it is bound"));
        std::thread::spawn(|| {
            // Ends with whoever started it.
            let _ = std::io::stdin().read_line(&mut String::new());
            std::process::exit(0);
        });
        loop {
            let Ok((mut stream, _)) = listener.accept().await else {
                continue;
            };
            tokio::spawn(async move {
                let mut request = [0; 1_024];
                if stream.read(&mut request).await.is_ok_and(|got| got > 0) {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    let _ = stream.write_all(REPLY).await;
                }
            });
        }
    })
}

/// A running server; ends when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts this binary again as a server of this name.
    pub fn start(arguments: &[&str]) -> Server {
        let binary = std::env::current_exe().expect("this binary has a path");
        let mut child = Command::new(binary)
            .arg(SERVE)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary starts again");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the server says where it listens");
        let address = line.trim().parse().unwrap_or_else(|_| {
            panic!("the server {arguments:?} said {line:?} instead of its address")
        });
        Server { child, address }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.child.stdin.take() {
            let _ = stdin.write_all(b"\n");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
