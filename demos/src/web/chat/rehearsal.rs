//! A chat with itself: a server and five members on one loop, who show what it
//! does for the polite, the hasty and the slow.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use async_tungstenite::tungstenite::Message;
use async_tungstenite::{WebSocketReceiver, WebSocketSender, client_async};
use threeply_runtime as runtime;
use threeply_runtime::net::TcpStream;
use threeply_runtime::sync::local::{Notify, mpsc};
use threeply_runtime::time;

use super::member::next;
use super::outbox::Slow;
use super::protocol::{Said, Told};
use super::room::Manners;
use super::serve::ChatServer;
use crate::local_server::listen;
use crate::output::Output;
use crate::{Error, limits};

/// Lines that may wait for a member here: few, so that little talk fills them.
const QUEUE: usize = 8;
/// How long each scene may take.
const SCENE: Duration = Duration::from_secs(20);

/// Plays it, and tells what happens.
///
/// # Errors
/// When the network fails, or the chat doesn't do what it should.
pub fn rehearse(slow: Slow, out: &mut Output) -> Result<(), Error> {
    runtime::block_on(async {
        let manners = Manners {
            members: 10,
            queue: QUEUE,
            slow,
            history: 5,
            burst: limits::CHAT_BURST,
            pace: limits::CHAT_PACE,
            idle: Duration::from_secs(60),
        };
        // Events are not of interest here.
        let (log, _events) = mpsc::unbounded_channel();
        let listener = listen("127.0.0.1:0".parse().expect("it is an address"))?;
        let server = ChatServer::start(listener, manners, log)?;
        out.line(format_args!("A chat on http://{}/:", server.address()))?;
        match time::timeout(SCENE * 4, play(&server, slow, out)).await {
            Ok(played) => play_the_end(played?, server, out).await,
            Err(_elapsed) => Err(Error::Failed("the rehearsal got stuck".into())),
        }
    })
}

/// All scenes but the last; returns who is still there.
async fn play(server: &ChatServer, slow: Slow, out: &mut Output) -> Result<Vec<Guest>, Error> {
    let [mut anna, mut ben, cleo] = [
        Guest::join(server, "Anna").await?,
        Guest::join(server, "Ben").await?,
        Guest::join(server, "Cleo").await?,
    ];
    anna.say("Hello, everybody!").await?;
    for guest in [&anna, &ben, &cleo] {
        guest.hear("Anna's line", |heard| heard.lines == 1).await?;
    }
    out.line("Anna, Ben and Cleo join. Anna says a line, and all three hear it.")?;

    let dora = Guest::join(server, "Dora").await?;
    let told = dora.heard.borrow().history;
    out.line(format_args!(
        "Dora joins later and is told {told} line that was said before."
    ))?;

    let hasty = 2 * limits::CHAT_BURST as usize;
    for number in 0..hasty {
        ben.say(&format!("quick {number}")).await?;
    }
    ben.hear("an answer to each line", |heard| {
        heard.own + heard.refused == hasty
    })
    .await?;
    let (passed, refused) = (ben.heard.borrow().own, ben.heard.borrow().refused);
    out.line(format_args!(
        "Ben says {hasty} lines at once: {passed} are passed on, {refused} refused."
    ))?;

    let mut sloth = Sloth::join(server).await?;
    let long = "🧵".repeat(limits::CHAT_TEXT_CHARS);
    let mut guests = vec![anna, ben, cleo, dora];
    for guest in &guests {
        guest.heard.borrow_mut().lines = 0;
    }
    let mut said = 0;
    // One after the other, each as much as a member may: until it is too much
    // for the kernel's buffers and the queue of one who reads nothing.
    for speaker in [0, 2, 3] {
        for _ in 0..limits::CHAT_BURST - 1 {
            guests[speaker].say(&long).await?;
            said += 1;
        }
        for guest in &guests {
            guest
                .hear("a long line", |heard| heard.lines == said)
                .await?;
        }
    }
    let (lines, missed, farewell) = sloth.wake_up(slow, said).await?;
    match slow {
        Slow::Drop => out.line(format_args!(
            "Sloth reads nothing while {said} long lines are said, then wakes up: {lines} are there, {missed} were left out, as it is told."
        ))?,
        Slow::Disconnect => out.line(format_args!(
            "Sloth reads nothing while {said} long lines are said: it is disconnected ({farewell:?})."
        ))?,
    }
    out.line("The others heard them all at once.")?;
    Ok(guests)
}

/// The server stops, and everybody is told.
async fn play_the_end(
    guests: Vec<Guest>,
    server: ChatServer,
    out: &mut Output,
) -> Result<(), Error> {
    let all = guests.len();
    let cut_off = server.stop().await?;
    let mut told = 0;
    for guest in guests {
        guest.hear("the end", |heard| heard.ended).await?;
        told += usize::from(guest.heard.borrow().farewell == "the server stops");
    }
    out.line(format_args!(
        "The server stops: {told} of {all} are told so, {cut_off} connections are cut off."
    ))
}

/// What a guest has heard.
#[derive(Debug, Default)]
struct Heard {
    history: usize,
    lines: usize,
    own: usize,
    refused: usize,
    farewell: String,
    ended: bool,
}

/// A member as the rehearsal plays it. A task of its own listens.
struct Guest {
    name: &'static str,
    sender: WebSocketSender<TcpStream>,
    heard: Rc<RefCell<Heard>>,
    news: Rc<Notify>,
}

impl Guest {
    async fn join(server: &ChatServer, name: &'static str) -> Result<Guest, Error> {
        let stream = TcpStream::connect(server.address())
            .await
            .map_err(Error::io("connect to the chat"))?;
        let (mut sender, mut receiver) = enter(server, stream).await?;
        send(&mut sender, &Said::Join { name: name.into() }).await?;
        let (heard, news) = (
            Rc::new(RefCell::new(Heard::default())),
            Rc::new(Notify::new()),
        );
        let guest = Guest {
            name,
            sender,
            heard: heard.clone(),
            news: news.clone(),
        };
        let welcomed = Rc::new(Cell::new(false));
        let seen = welcomed.clone();
        drop(runtime::spawn(async move {
            while let Some(Ok(message)) = next(&mut receiver).await {
                let mut heard = heard.borrow_mut();
                match message {
                    Message::Close(Some(frame)) => heard.farewell = frame.reason.to_string(),
                    Message::Text(text) => match serde_json::from_str(&text) {
                        Ok(Told::Welcome { history, .. }) => {
                            heard.history = history.len();
                            seen.set(true);
                        }
                        Ok(Told::Said(line)) => {
                            heard.lines += 1;
                            heard.own += usize::from(line.name == name);
                        }
                        Ok(Told::Refused { .. }) => heard.refused += 1,
                        _ => {}
                    },
                    _ => {}
                }
                drop(heard);
                news.notify_waiters();
            }
            heard.borrow_mut().ended = true;
            news.notify_waiters();
        }));
        guest.hear("a welcome", |_| welcomed.get()).await?;
        Ok(guest)
    }

    async fn say(&mut self, text: &str) -> Result<(), Error> {
        send(&mut self.sender, &Said::Say { text: text.into() }).await
    }

    /// Waits until what was heard is enough.
    async fn hear(&self, what: &str, enough: impl Fn(&Heard) -> bool) -> Result<(), Error> {
        let heard = async {
            while !enough(&self.heard.borrow()) {
                self.news.notified().await;
            }
        };
        time::timeout(SCENE, heard)
            .await
            .map_err(|_| Error::Failed(format!("{} did not hear {what}", self.name)))
    }
}

/// A member who reads nothing until it wakes up, and has little room for what
/// comes meanwhile.
struct Sloth {
    receiver: WebSocketReceiver<TcpStream>,
    _sender: WebSocketSender<TcpStream>,
}

impl Sloth {
    async fn join(server: &ChatServer) -> Result<Sloth, Error> {
        let address = server.address();
        // A buffer has to be bounded before it is used. (To the loopback
        // interface, connecting waits for nobody.)
        let narrow = || {
            let domain = socket2::Domain::for_address(address);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
            socket.set_recv_buffer_size(4 * 1024)?;
            socket.connect(&address.into())?;
            TcpStream::from_std(socket.into())
        };
        let stream = narrow().map_err(Error::io("connect to the chat"))?;
        let (mut sender, receiver) = enter(server, stream).await?;
        let name = "Sloth".into();
        send(&mut sender, &Said::Join { name }).await?;
        Ok(Sloth {
            receiver,
            _sender: sender,
        })
    }

    /// Reads what there is: lines, how many were left out, and the last words.
    async fn wake_up(&mut self, slow: Slow, said: usize) -> Result<(usize, u64, String), Error> {
        let (mut lines, mut missed, mut farewell) = (0, 0, String::new());
        let reading = async {
            while let Some(Ok(message)) = next(&mut self.receiver).await {
                match message {
                    Message::Close(Some(frame)) => farewell = frame.reason.to_string(),
                    Message::Text(text) => match serde_json::from_str(&text) {
                        Ok(Told::Said(_)) => lines += 1,
                        Ok(Told::Missed { count }) => missed += count,
                        _ => {}
                    },
                    _ => {}
                }
                if slow == Slow::Drop && lines as u64 + missed == said as u64 {
                    break;
                }
            }
        };
        time::timeout(SCENE, reading)
            .await
            .map_err(|_| Error::Failed("Sloth did not hear the rest".into()))?;
        Ok((lines, missed, farewell))
    }
}

/// Becomes a WebSocket.
async fn enter(
    server: &ChatServer,
    stream: TcpStream,
) -> Result<(WebSocketSender<TcpStream>, WebSocketReceiver<TcpStream>), Error> {
    let url = format!("ws://{}/socket", server.address());
    match client_async(url, stream).await {
        Ok((socket, _response)) => Ok(socket.split()),
        Err(e) => Err(Error::Failed(format!("the chat lets nobody in: {e}"))),
    }
}

async fn send(sender: &mut WebSocketSender<TcpStream>, said: &Said) -> Result<(), Error> {
    let text = serde_json::to_string(said).map_err(|e| Error::Failed(e.to_string()))?;
    let sent = sender.send(Message::text(text)).await;
    sent.map_err(|e| Error::Failed(format!("the chat does not listen: {e}")))
}
