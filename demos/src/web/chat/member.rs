//! One member's connection, from the first frame to the last.
//!
//! ```text
//!          1 join                     2 any reason to end
//!  Silent ────────▶ reading ∥ writing ─────────────────────▶ close frame,
//!     │               (both at once)                          wait for theirs
//!     └── nothing within CHAT_JOIN_TIMEOUT, or nonsense ──────▲
//! ```
//! 1: `read_join`; `reading` is `read`, `writing` is `write`, and whichever
//! ends first ends the other; 2: [`End`].

use std::rc::Rc;
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::error::ProtocolError;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use async_tungstenite::tungstenite::{Bytes, Error as SocketError, Message};
use async_tungstenite::{WebSocketReceiver, WebSocketSender, WebSocketStream};
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};
use threeply_runtime::future::{Either, select_biased};
use threeply_runtime::time;

use super::outbox::Next;
use super::protocol::{Said, Told, clean_name, clean_text};
use super::room::{Room, Seat};
use crate::limits;

/// Why a member's connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The member said goodbye.
    Left,
    /// The connection was lost.
    Gone,
    /// Nothing came for too long.
    Silent,
    /// The member takes nothing of what is said.
    TooSlow,
    /// The member went on though told to slow down.
    TooFast,
    /// A message was larger than allowed.
    TooLarge,
    /// A message was none of ours.
    Nonsense,
    /// There is no place free.
    Full,
    /// The server stops.
    Stopping,
}

impl End {
    /// What the others are told, as in "Anna left".
    pub fn in_words(self) -> &'static str {
        match self {
            End::Left => "left",
            End::Gone => "lost the connection",
            End::Silent => "was silent for too long",
            End::TooSlow => "was too slow",
            End::TooFast => "was too fast",
            End::TooLarge => "sent too large a message",
            End::Nonsense => "spoke another protocol",
            End::Full => "found no place",
            End::Stopping => "was here when the server stopped",
        }
    }

    /// What the member is told by the last frame; `None`: there is nobody to tell.
    fn frame(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            End::Left => (CloseCode::Normal, ""),
            End::Gone => return None,
            End::Silent => (CloseCode::Policy, "nothing was heard from you for too long"),
            End::TooSlow => (CloseCode::Again, "you take too slowly what is said"),
            End::TooFast => (CloseCode::Policy, "you say too much at once"),
            End::TooLarge => (CloseCode::Size, "that message is too large"),
            End::Nonsense => (CloseCode::Policy, "that is no message of this chat"),
            End::Full => (CloseCode::Again, "there is no place free"),
            End::Stopping => (CloseCode::Away, "the server stops"),
        };
        Some(CloseFrame {
            code,
            reason: reason.into(),
        })
    }
}

/// How a WebSocket of the chat is set up: small buffers, small messages.
pub fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(limits::CHAT_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(limits::CHAT_FRAME_BYTES))
        .max_frame_size(Some(limits::CHAT_FRAME_BYTES))
}

/// Speaks with one member, until either side has enough.
pub async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, room: Rc<Room>) {
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(socket_config()));
    let (mut sender, mut receiver) = socket.await.split();
    let end = match admit(&mut receiver, &room).await {
        Ok(seat) => {
            let reading = read(&mut receiver, &seat, room.manners().idle);
            let writing = write(&mut sender, &seat, room.manners().idle / 3);
            let end = match select_biased((reading, writing)).await {
                Either::First(end) | Either::Second(end) => end,
            };
            seat.leave(end);
            end
        }
        Err(end) => end,
    };
    let Some(frame) = end.frame() else { return };
    let goodbye = async {
        sender.close(Some(frame)).await?;
        // The peer's own close frame comes last.
        while let Some(message) = next(&mut receiver).await {
            message?;
        }
        Ok::<(), SocketError>(())
    };
    let _ = time::timeout(limits::CHAT_CLOSE_TIMEOUT, goodbye).await;
}

/// The next message; `None` once the connection has been closed.
pub async fn next<S: AsyncRead + AsyncWrite + Unpin>(
    receiver: &mut WebSocketReceiver<S>,
) -> Option<Result<Message, SocketError>> {
    std::future::poll_fn(|cx| std::pin::Pin::new(&mut *receiver).poll_next(cx)).await
}

/// Waits for the first message, which says who it is.
async fn admit<S: AsyncRead + AsyncWrite + Unpin>(
    receiver: &mut WebSocketReceiver<S>,
    room: &Rc<Room>,
) -> Result<Seat, End> {
    let first = async {
        let mut pings = 0;
        loop {
            match next(receiver).await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) if pings < limits::CHAT_REFUSALS => {
                    pings += 1;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Err(End::TooFast),
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(_)) => return Err(End::Nonsense),
                Some(Err(e)) => return Err(end_of(&e)),
                None => return Err(End::Left),
            }
        }
    };
    let text = time::timeout(limits::CHAT_JOIN_TIMEOUT, first)
        .await
        .unwrap_or(Err(End::Silent))?;
    match serde_json::from_str(&text) {
        Ok(Said::Join { name }) => room.join(&clean_name(&name).map_err(|_| End::Nonsense)?),
        _ => Err(End::Nonsense),
    }
}

/// Passes on what the member says.
async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    receiver: &mut WebSocketReceiver<S>,
    seat: &Seat,
    idle: Duration,
) -> End {
    let manners = seat.room().manners();
    let mut allowance = Allowance::new(manners.burst, manners.pace);
    // Each ping costs us an answer, and can't be refused; so there is patience with
    // as many as with refused lines, and then none. Our own pings bring three
    // pongs in each `idle`; the pace has room for twice that.
    let pace = manners.pace.min(idle / 6);
    let mut pings = Allowance::new(manners.burst.saturating_add(limits::CHAT_REFUSALS), pace);
    let mut refused = 0;
    loop {
        let text = match time::timeout(idle, next(receiver)).await {
            Err(_elapsed) => return End::Silent,
            Ok(None) => return End::Left,
            Ok(Some(Err(e))) => return end_of(&e),
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) if pings.take(time::now()) => {
                continue;
            }
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => return End::TooFast,
            // The answer to a close frame is sent by the next read.
            Ok(Some(Ok(Message::Close(_)))) => continue,
            Ok(Some(Ok(Message::Text(text)))) => text,
            Ok(Some(Ok(Message::Binary(_) | Message::Frame(_)))) => return End::Nonsense,
        };
        let Ok(Said::Say { text }) = serde_json::from_str(&text) else {
            return End::Nonsense;
        };
        let outcome = if allowance.take(time::now()) {
            clean_text(&text)
        } else {
            Err(format!(
                "too fast: after {} lines at once, one each {:?}",
                manners.burst, manners.pace
            ))
        };
        match outcome {
            Ok(None) => {}
            Ok(Some(text)) => {
                refused = 0;
                seat.say(text);
            }
            Err(_) if refused >= limits::CHAT_REFUSALS => return End::TooFast,
            Err(why) => {
                refused += 1;
                seat.outbox().push(Told::Refused { why }.encode());
            }
        }
        // The writers' turn: what came in one piece is not to fill the queues in
        // one piece.
        threeply_runtime::yield_now().await;
    }
}

/// Sends what waits for the member, and pings in between.
async fn write<S: AsyncRead + AsyncWrite + Unpin>(
    sender: &mut WebSocketSender<S>,
    seat: &Seat,
    ping: Duration,
) -> End {
    let mut next_ping = time::now() + ping;
    loop {
        let message = match time::timeout_at(next_ping, seat.outbox().next()).await {
            Ok(Next::Text(text)) => Message::Text(text),
            Ok(Next::Missed(count)) => Message::Text(Told::Missed { count }.encode()),
            Ok(Next::Close(why)) => return why,
            Err(_elapsed) => {
                next_ping = time::now() + ping;
                Message::Ping(Bytes::new())
            }
        };
        let sending = time::timeout(limits::CHAT_WRITE_TIMEOUT, sender.send(message));
        match select_biased((seat.outbox().is_hopeless(), sending)).await {
            Either::First(()) | Either::Second(Err(_)) => return End::TooSlow,
            Either::Second(Ok(Err(e))) => return end_of(&e),
            Either::Second(Ok(Ok(()))) => {}
        }
    }
}

fn end_of(e: &SocketError) -> End {
    match e {
        SocketError::Capacity(_) => End::TooLarge,
        SocketError::ConnectionClosed | SocketError::AlreadyClosed => End::Left,
        SocketError::Io(_) => End::Gone,
        SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Gone,
        _ => End::Nonsense,
    }
}

/// How much may be said now: a bucket that fills slowly.
#[derive(Debug)]
struct Allowance {
    burst: u32,
    pace: Duration,
    left: u32,
    /// When `left` last grew.
    since: Option<Instant>,
}

impl Allowance {
    fn new(burst: u32, pace: Duration) -> Allowance {
        Allowance {
            burst,
            pace,
            left: burst,
            since: None,
        }
    }

    /// Whether one more may be said.
    fn take(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        let grown = passed.as_nanos() / self.pace.as_nanos().max(1);
        let grown = u32::try_from(grown).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(grown).min(self.burst);
        self.since = if self.left == self.burst {
            Some(now)
        } else {
            Some(since + self.pace * grown)
        };
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_a_pace() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut allowance = Allowance::new(3, Duration::from_millis(100));
        let taken: Vec<bool> = [0, 0, 0, 0, 50, 99, 100, 110, 199, 200, 201]
            .into_iter()
            .map(|ms| allowance.take(at(ms)))
            .collect();
        assert_eq!(
            taken,
            [
                true, true, true, false, false, false, true, false, false, true, false
            ]
        );
        // A long silence buys no more than one burst.
        let after: Vec<bool> = (0..4).map(|_| allowance.take(at(60_000))).collect();
        assert_eq!(after, [true, true, true, false]);
    }
}
