//! The chat in a terminal: a line typed is a line said.

use std::io;
use std::path::Path;

use async_tungstenite::tungstenite::{Error as SocketError, Message};
use async_tungstenite::{WebSocketReceiver, WebSocketSender, client_async_with_config};
use threeply_runtime as runtime;
use threeply_runtime::future::{Either3, select};
use threeply_runtime::io::{AsyncBufReadExt, BufReader, stdin};
use threeply_runtime::signal::{Signal, Signals};
use threeply_runtime::time;
use url::Url;

use super::member::{next, socket_config};
use super::protocol::{Line, Said, Told, clean_name};
use crate::http::client::Tls;
use crate::http::client::connect;
use crate::http::client::pool::Origin;
use crate::http::stream::Stream;
use crate::http::target;
use crate::output::Output;
use crate::{Error, limits};

/// Joins the chat at `url` as `name`; ends with stdin, on Ctrl-C, or with the
/// chat.
///
/// # Errors
/// [`Error::Usage`] for a name or URL that can't be; [`Error::Download`] when
/// the server can't be reached; [`Error::Failed`] when it ends the chat.
pub fn join(name: &str, url: &str, cacert: Option<&Path>, out: &mut Output) -> Result<(), Error> {
    let name = clean_name(name).map_err(|e| Error::Usage(format!("--client {name:?}: {e}")))?;
    let url = chat_url(url)?;
    let tls = Tls {
        ca_bundle: cacert.map(Path::to_owned),
        ..Tls::default()
    };
    let tls = tls.connector().map_err(|e| Error::Usage(e.to_string()))?;
    runtime::block_on(async {
        let mut stop = Signals::new(&[Signal::INTERRUPT, Signal::TERMINATE])
            .map_err(Error::io("listen for Ctrl-C"))?;
        let origin = Origin::of(&url);
        let tls = origin.secure.then_some(&tls);
        let connection = connect::connect(&origin, tls, limits::CONNECT_TIMEOUT).await?;
        let (stream, _nothing) = connection.into_parts();
        let (mut sender, mut receiver) = open(&url, stream).await?;
        say(&mut sender, &Said::Join { name }).await?;
        let mut lines = BufReader::new(stdin())
            .lines()
            .max_bytes(limits::CHAT_FRAME_BYTES);
        let mut leaving = false;
        loop {
            let typed = async {
                match leaving {
                    false => lines.next_line().await,
                    true => std::future::pending().await,
                }
            };
            match select((typed, next(&mut receiver), stop.recv())).await {
                Either3::First(Ok(Some(text))) if text.trim().is_empty() => {}
                Either3::First(Ok(Some(text))) => {
                    say(&mut sender, &Said::Say { text }).await?;
                }
                Either3::First(Err(e)) if e.kind() == io::ErrorKind::InvalidData => {
                    out.line(format_args!("! not sent: {e}"))?;
                }
                Either3::First(Err(e)) => return Err(Error::io("read what is typed")(e)),
                Either3::First(Ok(None)) | Either3::Third(_) => {
                    leaving = true;
                    let goodbye = sender.close(None);
                    let _ = time::timeout(limits::CHAT_CLOSE_TIMEOUT, goodbye).await;
                }
                Either3::Second(Some(Ok(Message::Text(text)))) => tell(&text, out)?,
                Either3::Second(Some(Ok(Message::Close(Some(frame))))) if !leaving => {
                    let why = format!("the chat has ended: {}", frame.reason);
                    return Err(Error::Failed(why));
                }
                Either3::Second(Some(Ok(_))) => {}
                Either3::Second(None | Some(Err(_))) if leaving => return Ok(()),
                Either3::Second(None) => return Err(lost("the server has closed it")),
                Either3::Second(Some(Err(e))) => return Err(lost(e)),
            }
        }
    })
}

/// A chat's URL, however it was written; without a path, the usual one.
fn chat_url(text: &str) -> Result<Url, Error> {
    let http = match text.split_once("://") {
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(("wss", rest)) => format!("https://{rest}"),
        _ => text.to_owned(),
    };
    let mut url = target::parse(&http).map_err(|e| Error::Usage(format!("--connect: {e}")))?;
    if url.path() == "/" {
        url.set_path("/socket");
    }
    Ok(url)
}

/// Asks the server for a WebSocket.
async fn open(
    url: &Url,
    stream: Stream,
) -> Result<(WebSocketSender<Stream>, WebSocketReceiver<Stream>), Error> {
    // Its scheme is http or https here.
    let address = url.as_str().replacen("http", "ws", 1);
    // Lines come one by one; only the welcome is long.
    let config = socket_config()
        .max_message_size(Some(limits::CHAT_WELCOME_BYTES))
        .max_frame_size(Some(limits::CHAT_WELCOME_BYTES));
    let opened = client_async_with_config(address, stream, Some(config));
    match time::timeout(limits::CONNECT_TIMEOUT, opened).await {
        Ok(Ok((socket, _response))) => Ok(socket.split()),
        Ok(Err(SocketError::Http(response))) => Err(Error::Failed(format!(
            "there is no chat at {url}: the server answered {}",
            response.status()
        ))),
        Ok(Err(e)) => Err(Error::Failed(format!("there is no chat at {url}: {e}"))),
        Err(elapsed) => Err(Error::Failed(format!(
            "there is no chat at {url}: {elapsed}"
        ))),
    }
}

/// Sends one message.
async fn say(sender: &mut WebSocketSender<Stream>, said: &Said) -> Result<(), Error> {
    let text = serde_json::to_string(said).map_err(|e| Error::Failed(e.to_string()))?;
    sender.send(Message::text(text)).await.map_err(lost)
}

fn lost(e: impl std::fmt::Display) -> Error {
    Error::Failed(format!("the connection to the chat was lost: {e}"))
}

/// Shows what the server tells.
fn tell(text: &str, out: &mut Output) -> Result<(), Error> {
    match serde_json::from_str(text) {
        Ok(Told::Welcome {
            name,
            here,
            history,
        }) => {
            for line in history {
                said(&line, out)?;
            }
            match here.len() {
                0 => out.line(format_args!("* you are {name}; nobody else is here")),
                _ => out.line(format_args!("* you are {name}; here: {}", here.join(", "))),
            }
        }
        Ok(Told::Said(line)) => said(&line, out),
        Ok(Told::Joined { name }) => out.line(format_args!("* {name} joined")),
        Ok(Told::Left { name, why }) => out.line(format_args!("* {name} {why}")),
        Ok(Told::Refused { why }) => out.line(format_args!("! not sent: {why}")),
        Ok(Told::Missed { count }) => {
            out.line(format_args!("! {count} messages were left out: too slow"))
        }
        Err(e) => Err(Error::Failed(format!("that is no chat of ours: {e}"))),
    }
}

fn said(line: &Line, out: &mut Output) -> Result<(), Error> {
    // A server may be anybody's: nothing of it moves the cursor.
    let plain = |text: &str| text.replace(|c: char| c.is_control() && c != '\n', "");
    let text = plain(&line.text).replace('\n', "\n  ");
    out.line(format_args!("{}: {text}", plain(&line.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_may_be_named_in_several_ways() {
        for (text, expected) in [
            ("ws://a.test:81", "http://a.test:81/socket"),
            ("wss://a.test/", "https://a.test/socket"),
            ("http://a.test/other", "http://a.test/other"),
        ] {
            assert_eq!(chat_url(text).unwrap().as_str(), expected);
        }
        for bad in ["a.test", "ftp://a.test", "ws://", "irc://a.test"] {
            assert!(matches!(chat_url(bad), Err(Error::Usage(_))), "{bad}");
        }
    }
}
