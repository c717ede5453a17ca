//! `chat`: what its members hear, and what becomes of those who misbehave.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::{self, Message, WebSocket};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::kit::{closed_port, demo, finish, reply_once, run, signal, toy_server, wait};
use crate::web::{Serving, start};

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn chat(arguments: &[&str]) -> Serving {
    let mut server = start(
        demo("chat")
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments),
    );
    assert!(
        server.line().contains("--client NAME"),
        "it says how to join"
    );
    server
}

/// A member, played by a client that isn't ours.
pub(crate) struct Member {
    socket: WebSocket<TcpStream>,
}

impl Member {
    fn connect(server: &Serving) -> Member {
        let stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let url = format!("ws://{}/socket", server.address);
        let (socket, _) = tungstenite::client(url, stream).unwrap();
        Member { socket }
    }

    pub(crate) fn join(server: &Serving, name: &str) -> Member {
        let mut member = Member::connect(server);
        member.send(json!({ "type": "join", "name": name }));
        member.hear("welcome");
        member
    }

    fn send(&mut self, message: Value) {
        self.socket
            .send(Message::text(message.to_string()))
            .unwrap();
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.send(json!({ "type": "say", "text": text }));
    }

    /// The next message of this kind; others are passed over.
    #[track_caller]
    pub(crate) fn hear(&mut self, kind: &str) -> Value {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["type"] == kind {
                        return message;
                    }
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("waiting for {kind}: {other:?}"),
            }
        }
    }

    /// The code and reason by which the server ends it.
    #[track_caller]
    fn farewell(&mut self) -> (CloseCode, String) {
        loop {
            match self.socket.read() {
                Ok(Message::Close(Some(frame))) => return (frame.code, frame.reason.to_string()),
                Ok(_) => {}
                Err(e) => panic!("no farewell: {e}"),
            }
        }
    }
}

#[test]
fn the_rehearsal_shows_it_all() {
    let ran = run("chat", &["--demo"]);
    let out = ran.succeeded();
    for says in [
        "Dora joins later and is told 1 line",
        "Ben says 20 lines at once",
        "were left out, as it is told",
        "The others heard them all at once.",
        "4 of 4 are told so, 0 connections are cut off",
    ] {
        assert!(out.contains(says), "{says}: {out}");
    }
    assert!(
        !out.contains(" 0 were left out") && !out.contains(" 0 refused"),
        "{out}"
    );
    let ran = run("chat", &["--demo", "--slow", "disconnect"]);
    assert!(
        ran.succeeded()
            .contains("it is disconnected (\"you take too slowly"),
        "{ran:?}"
    );
}

#[test]
fn members_hear_each_other_and_newcomers_the_last_lines() {
    let mut server = chat(&["--history", "2"]);
    let mut anna = Member::join(&server, " Anna\t");
    let mut ben = Member::join(&server, "Ben");
    assert_eq!(anna.hear("joined")["name"], "Ben");
    for text in ["one", "two", "<b>three</b>"] {
        ben.say(text);
        assert_eq!(anna.hear("said")["text"], text);
        assert_eq!(ben.hear("said")["name"], "Ben");
    }
    let mut late = Member::connect(&server);
    late.send(json!({ "type": "join", "name": "Anna" }));
    let welcome = late.hear("welcome");
    assert_eq!(welcome["name"], "Anna 2");
    assert_eq!(welcome["here"], json!(["Anna", "Ben"]));
    let history = welcome["history"].as_array().unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(history[1]["text"], "<b>three</b>");
    ben.socket.close(None).unwrap();
    let left = anna.hear("left");
    assert_eq!(
        (&left["name"], &left["why"]),
        (&json!("Ben"), &json!("left"))
    );
    // One whose connection is cut.
    drop(late);
    assert_eq!(anna.hear("left")["why"], "lost the connection");
    for event in [
        "Anna joined; 1 here",
        "Ben joined; 2 here",
        "Anna 2 joined; 3 here",
        "Ben left; 2 here",
        "Anna 2 lost the connection; 1 here",
    ] {
        assert_eq!(server.line(), event);
    }
}

#[test]
fn a_terminal_is_a_member_too() {
    let server = chat(&[]);
    let mut anna = Member::join(&server, "Anna");
    let url = format!("ws://{}/", server.address);
    let mut child = demo("chat")
        .args(["--client", "Ben", "--connect", &url])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut typing = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap();
    assert_eq!(line(), "* you are Ben; here: Anna");
    typing
        .write_all("hello from a terminal\n\n".as_bytes())
        .unwrap();
    assert_eq!(line(), "Ben: hello from a terminal");
    assert_eq!(anna.hear("said")["text"], "hello from a terminal");
    anna.say("hi\nthere");
    assert_eq!((line(), line()), ("Anna: hi".into(), "  there".into()));
    typing.write_all(b"no end of line").unwrap();
    drop(typing);
    assert_eq!(anna.hear("said")["text"], "hi\nthere", "her own");
    assert_eq!(anna.hear("said")["text"], "no end of line");
    assert_eq!(anna.hear("left")["why"], "left");
    let ran = finish(child);
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
}

#[test]
fn who_misbehaves_is_told_so() {
    let server = chat(&[]);
    let mut witness = Member::join(&server, "Witness");
    let large = json!({ "type": "say", "text": "x".repeat(100_000) });
    let cases: [(&str, Message, CloseCode); 4] = [
        ("large", Message::text(large.to_string()), CloseCode::Size),
        ("binary", Message::binary(vec![1, 2, 3]), CloseCode::Policy),
        ("garbled", Message::text("no json"), CloseCode::Policy),
        (
            "again",
            Message::text(r#"{"type":"join","name":"x"}"#),
            CloseCode::Policy,
        ),
    ];
    for (name, message, code) in cases {
        let mut member = Member::join(&server, name);
        member.socket.send(message).unwrap();
        assert_eq!(member.farewell().0, code, "{name}");
        assert_eq!(witness.hear("left")["name"], name);
    }
    for first in [
        "no json",
        r#"{"type":"say","text":"x"}"#,
        r#"{"type":"join","name":" "}"#,
    ] {
        let mut member = Member::connect(&server);
        member.socket.send(Message::text(first)).unwrap();
        assert_eq!(member.farewell().0, CloseCode::Policy, "{first}");
    }
    let mut long = Member::join(&server, "long");
    long.say(&"x".repeat(3_000));
    let refused = long.hear("refused");
    assert!(
        refused["why"]
            .as_str()
            .unwrap()
            .contains("2000 may be said"),
        "{refused}"
    );
    let mut hasty = Member::join(&server, "hasty");
    for number in 0..70 {
        let message = json!({ "type": "say", "text": number.to_string() });
        // It may be shown the door before it has said all.
        if hasty
            .socket
            .send(Message::text(message.to_string()))
            .is_err()
        {
            break;
        }
    }
    assert_eq!(
        hasty.farewell(),
        (CloseCode::Policy, "you say too much at once".into())
    );
    witness.say("still here");
    while witness.hear("said")["name"] != "Witness" {}
}

#[test]
fn who_floods_with_pings_is_shown_the_door() {
    let server = chat(&[]);
    let mut witness = Member::join(&server, "Witness");
    let mut few = Member::join(&server, "few");
    for _ in 0..60 {
        few.socket.send(Message::Ping(Default::default())).unwrap();
    }
    few.say("still here");
    assert_eq!(few.hear("said")["text"], "still here");
    let before = Member::connect(&server);
    for mut many in [Member::join(&server, "many"), before] {
        let flood = std::thread::spawn({
            let stream = many.socket.get_ref().try_clone().unwrap();
            // An empty ping, masked with zeroes.
            move || while (&stream).write_all(&[0x89, 0x80, 0, 0, 0, 0]).is_ok() {}
        });
        // The farewell may be lost with the reset that our pings provoke.
        while many.socket.read().is_ok() {}
        flood.join().unwrap();
    }
    assert_eq!(witness.hear("left")["why"], "was too fast");
    few.say("and still");
    assert_eq!(few.hear("said")["text"], "and still");
}

#[test]
fn who_gives_no_sign_of_life_is_gone() {
    let server = chat(&["--idle", "2"]);
    let mut lively = Member::join(&server, "Lively");
    // Answers no ping, since it doesn't read.
    let dead = Member::join(&server, "Dead");
    let began = Instant::now();
    let left = lively.hear("left");
    assert_eq!(
        (&left["name"], &left["why"]),
        (&json!("Dead"), &json!("was silent for too long"))
    );
    drop(dead);
    // One who says nothing, but answers, stays.
    let silent = Duration::from_secs(3);
    lively
        .socket
        .get_ref()
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    while began.elapsed() < silent {
        match lively.socket.read() {
            Ok(Message::Ping(_)) => {}
            Err(tungstenite::Error::Io(e)) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            other => panic!("{other:?}"),
        }
    }
    lively
        .socket
        .get_ref()
        .set_read_timeout(Some(PATIENCE))
        .unwrap();
    lively.say("still here");
    lively.hear("said");
}

#[test]
fn ctrl_c_says_goodbye_to_everybody() {
    let server = chat(&[]);
    let mut anna = Member::join(&server, "Anna");
    anna.say("one line");
    anna.hear("said");
    let url = format!("ws://{}/", server.address);
    let mut terminal = demo("chat")
        .args(["--client", "Ben", "--connect", &url])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let _typing = terminal.stdin.take();
    anna.hear("joined");
    let goodbye = std::thread::spawn(move || anna.farewell());
    let (ran, rest) = server.interrupt();
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
    assert!(
        rest.ends_with("Stopped; 2 were here, 1 lines were said.\n"),
        "{rest}"
    );
    assert_eq!(
        goodbye.join().unwrap(),
        (CloseCode::Away, "the server stops".into())
    );
    let ran = finish(terminal);
    assert_eq!(ran.code(), Some(1), "{ran:?}");
    assert_eq!(
        ran.complaint(),
        "chat: the chat has ended: the server stops"
    );
}

#[test]
fn a_terminal_leaves_on_ctrl_c() {
    let server = chat(&[]);
    let mut anna = Member::join(&server, "Anna");
    let url = format!("http://{}/", server.address);
    let mut terminal = demo("chat")
        .args(["--client", "Ben", "--connect", &url])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let _typing = terminal.stdin.take();
    anna.hear("joined");
    signal(&terminal, Signal::SIGINT);
    assert!(wait(&mut terminal, PATIENCE).success());
    assert_eq!(anna.hear("left")["why"], "left");
}

#[test]
fn the_page_and_the_socket_share_a_port() {
    let server = chat(&[]);
    let page = server.ask("GET /", "");
    assert!(
        page.starts_with("HTTP/1.1 200")
            && page.contains("content-security-policy: default-src 'none'"),
        "{page}"
    );
    // It needs nothing from elsewhere.
    assert!(!page.contains("src=") && !page.contains("<link"), "{page}");
    assert!(server.ask("GET /other", "").starts_with("HTTP/1.1 404"));
    assert!(server.ask("GET /socket", "").starts_with("HTTP/1.1 426"));
    let upgrade = |key: &str, more: &str| {
        let request = format!(
            "GET /socket HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{more}X:"
        );
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{} y\r\nHost: a.test\r\n\r\n", request).unwrap();
        let mut status = String::new();
        BufReader::new(stream).read_line(&mut status).unwrap();
        status
    };
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    assert!(upgrade(key, "").starts_with("HTTP/1.1 101"));
    assert!(upgrade(key, "Origin: http://a.test\r\n").starts_with("HTTP/1.1 101"));
    assert!(upgrade(key, "Origin: http://evil.test\r\n").starts_with("HTTP/1.1 403"));
    assert!(upgrade(key, "Origin: null\r\n").starts_with("HTTP/1.1 403"));
    assert!(upgrade("short", "").starts_with("HTTP/1.1 400"));
}

#[test]
fn what_cannot_be_is_told() {
    for (arguments, says) in [
        (&["--frobnicate"][..], "--frobnicate"),
        (&["--slow", "maybe"], "possible values: drop, disconnect"),
        (&["--queue", "0"], "a whole number from 1 to"),
        (&["--history", "-1"], "a whole number from 0 to"),
        (&["--idle", "0"], "a number of seconds above 0"),
        (&["--listen", "nonsense"], "--listen"),
        (&["--client", ""], "a name has 1 to 32 visible characters"),
        (
            &["--client", "A", "--connect", "a.test"],
            "begin it with http://",
        ),
        (&["--client", "A", "--connect", "irc://a.test"], "irc"),
        (&["--client", "A", "--demo"], "--demo"),
    ] {
        let ran = run("chat", arguments);
        assert_eq!(ran.code(), Some(2), "{arguments:?}: {ran:?}");
        assert!(ran.complaint().contains(says), "{arguments:?}: {ran:?}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = run("chat", &["--listen", &address]);
    assert_eq!(ran.code(), Some(1), "{ran:?}");
    assert!(
        ran.complaint()
            .contains(&format!("cannot listen on {address}")),
        "{ran:?}"
    );
    let away = format!("ws://127.0.0.1:{}/", closed_port());
    let ran = run("chat", &["--client", "A", "--connect", &away]);
    assert_eq!(ran.code(), Some(1), "{ran:?}");
    assert!(
        ran.complaint().contains("connection refused by 127.0.0.1"),
        "{ran:?}"
    );
    let other = toy_server(|stream| {
        reply_once(
            stream,
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        );
    });
    let ran = run("chat", &["--client", "A", "--connect", &other.url]);
    assert_eq!(ran.code(), Some(1), "{ran:?}");
    assert!(
        ran.complaint().contains("there is no chat at") && ran.complaint().contains("404"),
        "{ran:?}"
    );
}
