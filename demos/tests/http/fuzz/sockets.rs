//! The chat's server, fed with WebSocket frames that are bent, cut and blown up.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_io::AsyncWrite;
use threeply_demos::http::server::Limits;
use threeply_demos::http::server::conversation::Conversation;
use threeply_demos::http::stream::read;
use threeply_demos::limits;
use threeply_demos::web::chat::outbox::Slow;
use threeply_demos::web::chat::room::{Manners, Room};
use threeply_demos::web::chat::serve::routes;
use threeply_runtime::cancel::CancellationToken;
use threeply_runtime::io::{duplex, split};
use threeply_runtime::spawn;
use threeply_runtime::sync::local::mpsc;

use super::{Random, fuzz, speech, virtual_time};
use crate::kit::is_alone;

const UPGRADE: &str = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
     Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A client's frame, masked as it must be; `first` is FIN, the reserved bits and the
/// kind.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        n @ 0..126 => frame.push(0x80 | n as u8),
        n @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    let mask = [7, 70, 200, 0];
    frame.extend_from_slice(&mask);
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// What members say, and what they shouldn't.
fn corpus() -> Vec<Vec<u8>> {
    let join = frame(0x81, br#"{"type":"join","name":"Anna"}"#);
    let say = frame(
        0x81,
        "{\"type\":\"say\",\"text\":\"hé\\u0000llo\"}".as_bytes(),
    );
    let begin = |rest: &[Vec<u8>]| {
        let mut all = UPGRADE.as_bytes().to_vec();
        all.extend_from_slice(&join);
        all.extend(rest.concat());
        all
    };
    let large = vec![b'x'; limits::CHAT_FRAME_BYTES + 1];
    vec![
        begin(&[say.clone(), frame(0x88, &[3, 232])]),
        begin(&[frame(0x89, b"ping"), frame(0x8a, b"pong"), say.clone()]),
        // In fragments, with a ping between them.
        begin(&[
            frame(0x01, br#"{"type":"say","#),
            frame(0x89, b""),
            frame(0x00, br#""text":"#),
            frame(0x80, br#""hello"}"#),
        ]),
        begin(&[frame(0x82, b"binary"), frame(0x81, &[0xff, 0xfe])]),
        begin(&vec![say.clone(); 100]),
        begin(&[frame(0x81, &large)]),
        begin(&[
            frame(0x81, br#"{"type":"say","text":7}"#),
            frame(0x88, b"x"),
        ]),
        [UPGRADE.as_bytes(), &say].concat(),
        // Fragments without an end. The last one here is the bomb.
        begin(&vec![frame(0x01, &[b'x'; 1_000]); 3]),
    ]
}

fn manners(random: &mut Random) -> Manners {
    Manners {
        members: 1 + random.below(5),
        queue: 1 + random.below(8),
        slow: [Slow::Drop, Slow::Disconnect][random.below(2)],
        history: random.below(5),
        burst: 10,
        pace: Duration::from_millis(500),
        idle: Duration::from_secs(60),
    }
}

#[test]
fn no_frame_breaks_the_chat() {
    let corpus = corpus();
    // Frames that promise more than anybody should wait for or make room for.
    let words: [&[u8]; 10] = [
        &[0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x81, 0xff, 0, 0, 0, 0, 0x10, 0, 0, 0, 1, 2, 3, 4],
        &[0x81, 0xfe, 0xff, 0xff, 1, 2, 3, 4],
        &[0x81, 0x05, b'h', b'e', b'l', b'l', b'o'],
        &[0xf1, 0x80, 0, 0, 0, 0],
        &[0x8f, 0x80, 0, 0, 0, 0],
        &[0x00, 0x80, 0, 0, 0, 0],
        &[0x89, 0xfe, 0, 200, 1, 2, 3, 4],
        &[0x88, 0x80, 0, 0, 0, 0],
    ];
    let joined = Cell::new(0);
    fuzz("fuzz::sockets::no_frame_breaks_the_chat", 600, |random| {
        let members = 1 + random.below(3);
        let speeches: Vec<_> = (0..members)
            .map(|_| speech(random, &corpus, &words))
            .collect();
        virtual_time(async {
            let (log, mut events) = mpsc::unbounded_channel();
            let room = Rc::new(Room::new(manners(random), log));
            let mut tasks = Vec::new();
            for speech in speeches {
                let (near, far) = duplex([50, 4_096, 64 * 1024][random.below(3)]);
                let room = room.clone();
                tasks.push(spawn(async move {
                    let shutdown = CancellationToken::new();
                    let limits = Rc::new(Limits::default());
                    Conversation::new(far, None, limits, shutdown)
                        .run(&routes(room))
                        .await;
                }));
                let mut random = random.fork();
                tasks.push(spawn(async move {
                    // Some never read, and are given up.
                    if random.one_in(8) {
                        let mut near = near;
                        speech.say(&mut near, &mut random).await;
                        // Not a word more, until the server has enough.
                        let _ = poll_fn(|cx| Pin::new(&mut near).poll_flush(cx)).await;
                        return;
                    }
                    let (mut listener, mut speaker) = split(near);
                    let hearing = spawn(async move {
                        let mut block = [0; 4_096];
                        while let Ok(1..) = read(&mut listener, &mut block).await {}
                    });
                    let whole = speech.say(&mut speaker, &mut random).await;
                    if whole && random.one_in(2) {
                        let _ = poll_fn(|cx| Pin::new(&mut speaker).poll_close(cx)).await;
                    }
                    hearing.await.expect("no panic");
                }));
            }
            for task in tasks {
                task.await.expect("no panic");
            }
            joined.set(joined.get() + room.counts().1);
            // Nobody is left in the room.
            drop(room);
            while events.recv().await.is_some() {}
        });
    });
    assert!(
        !is_alone() || joined.get() > 100,
        "too few come in: {joined:?}"
    );
}
