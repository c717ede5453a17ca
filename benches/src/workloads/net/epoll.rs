//! The limit of group `net`: one loop on raw, edge-triggered epoll.
//!
//! No tasks, no wakers, no timers: a table of connections and what is still to be
//! sent to each. A short read means that there is no more for now.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};

use super::http;
use super::servers::Kind;
use crate::sys;

/// The listener's token; connections have their place in the table.
const LISTENER: u64 = u64::MAX;

struct Connection {
    fd: OwnedFd,
    /// What has come and isn't a whole request yet.
    come: Vec<u8>,
    /// What the peer hasn't taken yet.
    unsent: VecDeque<u8>,
}

/// Serves until the process is killed.
pub(super) fn serve(listener: TcpListener, kind: Kind) {
    let epoll = sys::epoll();
    sys::epoll_add(epoll.as_fd(), listener.as_fd(), LISTENER);
    let mut table: Vec<Option<Connection>> = Vec::new();
    let mut free = Vec::new();
    let mut tokens = Vec::with_capacity(256);
    let mut buffer = vec![0; kind.buffer()];
    loop {
        sys::epoll_wait(epoll.as_fd(), &mut tokens);
        for &token in &tokens {
            if token == LISTENER {
                while let Ok(fd) = sys::accept(listener.as_fd()) {
                    let index = free.pop().unwrap_or_else(|| {
                        table.push(None);
                        table.len() - 1
                    });
                    sys::epoll_add(epoll.as_fd(), fd.as_fd(), index as u64);
                    let connection = Connection {
                        fd,
                        come: Vec::new(),
                        unsent: VecDeque::new(),
                    };
                    table[index] = Some(connection);
                }
                continue;
            }
            let index = token as usize;
            let Some(connection) = &mut table[index] else {
                continue;
            };
            if kind == Kind::Idle || !turn(connection, &mut buffer, kind) {
                // The first event of an idle connection is that it may write.
                if kind == Kind::Idle
                    && sys::read(connection.fd.as_fd(), &mut [0])
                        .is_err_and(|e| e.kind() == ErrorKind::WouldBlock)
                {
                    continue;
                }
                table[index] = None;
                free.push(index);
            }
        }
    }
}

/// Sends what is left, reads what has come; `false` when the connection is over.
fn turn(connection: &mut Connection, buffer: &mut [u8], kind: Kind) -> bool {
    if !flush(connection) {
        return false;
    }
    loop {
        if !connection.unsent.is_empty() {
            // The peer must read first; the event that says so is still to come.
            return true;
        }
        let got = match sys::read(connection.fd.as_fd(), buffer) {
            Ok(0) => return false,
            Ok(got) => got,
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        };
        let ok = if kind == Kind::Http {
            connection.come.extend_from_slice(&buffer[..got]);
            let replies = http::replies(&mut connection.come);
            send(connection, &replies)
        } else {
            send(connection, &buffer[..got])
        };
        if !ok {
            return false;
        }
        if got < buffer.len() {
            return true;
        }
    }
}

fn send(connection: &mut Connection, bytes: &[u8]) -> bool {
    match sys::write(connection.fd.as_fd(), bytes) {
        Ok(put) => {
            connection.unsent.extend(&bytes[put..]);
            true
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            connection.unsent.extend(bytes);
            true
        }
        Err(_) => false,
    }
}

fn flush(connection: &mut Connection) -> bool {
    while !connection.unsent.is_empty() {
        let (first, _) = connection.unsent.as_slices();
        match sys::write(connection.fd.as_fd(), first) {
            Ok(put) => {
                connection.unsent.drain(..put);
            }
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
    true
}
