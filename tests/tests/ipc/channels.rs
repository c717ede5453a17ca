//! `Channel`: messages of every size, ends that go away at every moment.

use crate::{kill, stop, succeeds, wait_to_be_killed};
use std::time::Duration;
use threeply_pools::ipc::{Channel, Error, Event, Mutex, Process, SpawnError, channel, duplex};
use threeply_tests::watchdog::watchdog;

/// Sends everything back until the other end is gone.
fn echo(peer: Channel<Vec<u32>>) {
    while let Ok(message) = peer.recv() {
        peer.send(&message).unwrap();
    }
}

#[test]
fn messages_of_every_size_come_back_whole_and_in_order() {
    let _dog = watchdog();
    let (here, there) = channel().unwrap();
    let process = Process::spawn(echo, there).unwrap();
    for len in [0u32, 1, 100, 13_000, 13_200, 70_000, 1_000_000] {
        let message: Vec<u32> = (0..len).map(|n| n.wrapping_mul(2_654_435_761)).collect();
        here.send(&message).unwrap();
        assert_eq!(here.recv().unwrap(), message, "{len}");
    }
    for n in 0..100 {
        here.send(&vec![n]).unwrap();
    }
    for n in 0..100 {
        assert_eq!(here.recv().unwrap(), [n]);
    }
    drop(here);
    succeeds(process);
}

#[test]
fn what_cannot_be_done_now_is_told_and_nothing_is_lost() {
    let _dog = watchdog();
    let (a, b) = channel::<Vec<u8>>().unwrap();
    assert!(matches!(b.try_recv(), Err(Error::WouldBlock)));
    let soon = Duration::from_millis(5);
    assert!(matches!(b.recv_timeout(soon), Err(Error::TimedOut)));
    assert!(!b.poll(Duration::ZERO).unwrap());
    a.send(&vec![1]).unwrap();
    assert!(b.poll(Duration::ZERO).unwrap());
    assert_eq!(b.try_recv().unwrap(), [1]);
    let mut sent = 0u32;
    while a.try_send(&vec![0; 50_000]).is_ok() {
        sent += 1;
    }
    assert!(matches!(
        a.try_send(&vec![0; 50_000]),
        Err(Error::WouldBlock)
    ));
    for _ in 0..sent {
        assert_eq!(b.recv_timeout(soon).unwrap().len(), 50_000);
    }
    assert!(matches!(b.try_recv(), Err(Error::WouldBlock)));
}

#[test]
fn an_end_that_is_dropped_or_killed_is_told_to_both_directions() {
    let _dog = watchdog();
    let (a, b) = channel::<u32>().unwrap();
    a.send(&1).unwrap();
    drop(a);
    assert_eq!(b.recv().unwrap(), 1, "what was sent before is still there");
    assert!(matches!(b.recv(), Err(Error::Closed)));
    assert!(matches!(b.send(&1), Err(Error::Closed)));

    fn hold((_end, ready): (Channel<u32>, Event)) {
        wait_to_be_killed(&ready)
    }
    let (here, there) = channel::<u32>().unwrap();
    let ready = Event::new().unwrap();
    let process = Process::spawn(hold, (there, ready.clone())).unwrap();
    ready.wait().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| here.recv());
        kill(&process);
        assert!(matches!(waiting.join().unwrap(), Err(Error::Closed)));
    });
    assert!(matches!(here.send(&1), Err(Error::Closed)));
}

#[test]
fn a_peer_killed_in_the_middle_of_a_message_is_told_as_such() {
    let _dog = watchdog();
    fn flood(peer: Channel<Vec<u8>>) {
        let _ = peer.send(&vec![7; 4 << 20]);
    }
    let (here, there) = channel::<Vec<u8>>().unwrap();
    let process = Process::spawn(flood, there).unwrap();
    // The first packets are there; all of it doesn't fit.
    assert!(here.poll(Duration::from_secs(30)).unwrap());
    // Stopped, so that it can't put the rest into the room that reading makes.
    stop(&process);
    assert!(matches!(here.try_recv(), Err(Error::WouldBlock)));
    kill(&process);
    assert!(matches!(here.recv(), Err(Error::Truncated)));
}

#[test]
fn a_sender_whose_reader_is_killed_does_not_hang() {
    let _dog = watchdog();
    fn hold((_end, ready): (Channel<Vec<u8>>, Event)) {
        wait_to_be_killed(&ready)
    }
    let (here, there) = channel::<Vec<u8>>().unwrap();
    let ready = Event::new().unwrap();
    let process = Process::spawn(hold, (there, ready.clone())).unwrap();
    ready.wait().unwrap();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| here.send(&vec![0; 4 << 20]));
        kill(&process);
        assert!(matches!(sending.join().unwrap(), Err(Error::Closed)));
    });
}

#[test]
fn ends_and_objects_travel_within_messages() {
    let _dog = watchdog();
    type Gift = (Channel<u32>, Mutex<u32>);
    fn receive(peer: Channel<(), Gift>) {
        let (end, mutex) = peer.recv().unwrap();
        *mutex.lock().unwrap() += 1;
        end.send(&42).unwrap();
    }
    let (here, there) = duplex::<Gift, ()>().unwrap();
    let process = Process::spawn(receive, there).unwrap();
    let (mine, yours) = channel().unwrap();
    let mutex = Mutex::new(1).unwrap();
    here.send(&(yours, mutex.clone())).unwrap();
    assert_eq!(mine.recv().unwrap(), 42);
    assert_eq!(*mutex.lock().unwrap(), 2);
    succeeds(process);
    assert!(
        matches!(mine.recv(), Err(Error::Closed)),
        "no end is left over"
    );
}

#[test]
fn both_ends_can_be_awaited_on_one_loop() {
    let _dog = watchdog();
    let (a, b) = channel::<Vec<u8>>().unwrap();
    threeply_runtime::block_on(async {
        let echo = threeply_runtime::spawn(async move {
            while let Ok(message) = b.recv_async().await {
                b.send_async(&message).await.unwrap();
            }
        });
        for len in [0, 10, 60_000, 1_000_000] {
            let message = vec![len as u8; len];
            let ((), back) =
                futures::future::join(async { a.send_async(&message).await.unwrap() }, async {
                    a.recv_async().await.unwrap()
                })
                .await;
            assert_eq!(back, message);
        }
        drop(a);
        echo.await.unwrap();
    });
}

#[test]
fn an_end_in_the_middle_of_a_message_can_not_be_given_away() {
    let _dog = watchdog();
    fn flood(peer: Channel<Vec<u8>>) {
        let _ = peer.send(&vec![7; 4 << 20]);
    }
    let (here, there) = channel::<Vec<u8>>().unwrap();
    let process = Process::spawn(flood, there).unwrap();
    assert!(here.poll(Duration::from_secs(30)).unwrap());
    stop(&process); // The first packets are there; all of it doesn't fit.
    assert!(matches!(here.try_recv(), Err(Error::WouldBlock)));
    let error = Process::spawn(|_: Channel<Vec<u8>>| (), here).unwrap_err();
    let SpawnError::Arguments(reason) = &error else {
        panic!("{error:?}");
    };
    assert!(reason.to_string().contains("in part"), "{reason}");
    kill(&process);
}
