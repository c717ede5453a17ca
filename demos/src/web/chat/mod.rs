//! A chat: one loop, many people, none of whom may hold up the others.
//!
//! ```text
//!  browser ─┐                        ┌─ outbox ─ writer ─▶ browser
//!           ├─ WebSocket ─▶ reader ─▶│─ outbox ─ writer ─▶ terminal
//! terminal ─┘             (limits)   room  (bounded)
//! ```
//! Read [`protocol`] (what is said), [`room`] (who hears it), [`outbox`] (what
//! happens to those who are slow), [`member`] (the life of a connection), then
//! [`serve`], [`terminal`] and [`rehearsal`]. The WebSocket protocol itself is
//! `async-tungstenite`'s.
//!
//! Rejected: the runtime's `broadcast` channel. It bounds what waits for all
//! members together and knows one policy, leaving out; here each member has a
//! queue of its own, and the policy is a choice.

pub mod member;
pub mod outbox;
pub mod protocol;
pub mod rehearsal;
pub mod room;
pub mod serve;
pub mod terminal;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use threeply_runtime as runtime;
use threeply_runtime::future::{Either, select_biased};
use threeply_runtime::signal::{Signal, Signals};
use threeply_runtime::sync::local::mpsc;

use crate::local_server::listen;
use crate::output::Output;
use crate::{Error, cli, limits};
use outbox::Slow;
use room::Manners;
use serve::ChatServer;

/// Serves a chat for browsers and terminals; or joins one; or rehearses one.
#[derive(Debug, Parser)]
#[command(name = "chat", version)]
pub struct Arguments {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// What becomes of a member who doesn't take what is said: lines are left
    /// out, or the connection is closed
    #[arg(long, value_enum, default_value = "drop")]
    slow: Slow,
    /// How many lines may wait for one member
    #[arg(long, default_value_t = limits::CHAT_QUEUE, value_parser = cli::queue, allow_negative_numbers = true)]
    queue: usize,
    /// How many lines a newcomer is told
    #[arg(long, default_value_t = limits::CHAT_HISTORY, value_parser = cli::history, allow_negative_numbers = true)]
    history: usize,
    /// Seconds without a sign of life after which a member is gone
    #[arg(long, default_value = "60", value_parser = cli::seconds, allow_negative_numbers = true)]
    idle: Duration,
    /// Join a chat under this name, in this terminal
    #[arg(long, value_name = "NAME", conflicts_with = "demo")]
    client: Option<String>,
    /// The chat to join
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:8080/")]
    connect: String,
    /// Trust the authorities in this PEM file instead of Mozilla's list (wss)
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Start a chat and five members, let them talk, and tell what happens
    #[arg(long)]
    demo: bool,
}

/// `chat`'s main. The server ends on Ctrl-C, when it has said goodbye.
///
/// # Errors
/// [`Error::Usage`]; when it can't listen, or there is no chat to join.
pub fn main(arguments: Arguments) -> Result<(), Error> {
    let mut out = Output::new();
    if let Some(name) = &arguments.client {
        return terminal::join(
            name,
            &arguments.connect,
            arguments.cacert.as_deref(),
            &mut out,
        );
    }
    if arguments.demo {
        return rehearsal::rehearse(arguments.slow, &mut out);
    }
    limits::raise_open_files();
    let manners = Manners {
        members: limits::CHAT_MEMBERS,
        queue: arguments.queue,
        slow: arguments.slow,
        history: arguments.history,
        burst: limits::CHAT_BURST,
        pace: limits::CHAT_PACE,
        idle: arguments.idle,
    };
    runtime::block_on(async {
        let mut stop = Signals::new(&[Signal::INTERRUPT, Signal::TERMINATE])
            .map_err(Error::io("listen for Ctrl-C"))?;
        let (log, mut events) = mpsc::unbounded_channel();
        let server = ChatServer::start(listen(arguments.listen)?, manners, log)?;
        let address = server.address();
        out.line(format_args!("Chat on http://{address}/ (Ctrl-C ends it)"))?;
        out.line(format_args!(
            "In another terminal: chat --client NAME --connect ws://{address}/"
        ))?;
        while let Either::Second(Some(event)) = select_biased((stop.recv(), events.recv())).await {
            out.line(event)?;
        }
        let room = server.room().clone();
        let cut_off = server.stop().await?;
        while let Ok(event) = events.try_recv() {
            out.line(event)?;
        }
        let (lines, members) = room.counts();
        out.line(match cut_off {
            0 => format!("Stopped; {members} were here, {lines} lines were said."),
            n => format!("Stopped; {n} connections were cut off."),
        })
    })
}
