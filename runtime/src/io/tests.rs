//! Buffers, lines, copying, halves, and descriptors of any kind.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{IoSlice, Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::sys::pipe as raw;
use crate::{block_on, spawn};

/// Fails instead of hanging.
fn run<F: Future>(test: F) -> F::Output {
    block_on(crate::time::timeout(Duration::from_secs(20), test)).expect("the test hangs")
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn what_one_end_writes_the_other_reads_until_the_end() {
    run(async {
        let (mut near, mut far) = duplex(4);
        let writer = spawn(async move {
            near.write_all(b"more than fits at once").await.unwrap();
            near.close().await.unwrap();
            let mut answer = String::new();
            near.read_to_string(&mut answer).await.unwrap();
            answer
        });
        let mut text = String::new();
        far.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "more than fits at once");
        far.write_all(b"still open").await.unwrap();
        drop(far);
        assert_eq!(writer.await.unwrap(), "still open");
    });
}

#[test]
fn writing_to_a_dropped_end_is_a_broken_pipe() {
    run(async {
        let (mut near, far) = duplex(4);
        drop(far);
        let error = near.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_full_duplex_makes_the_writer_wait() {
    let (mut near, mut far) = duplex(3);
    let mut write = pin!(near.write_all(b"12345"));
    assert!(poll_once(write.as_mut()).is_pending());
    let mut buf = [0; 2];
    assert!(matches!(
        poll_once(pin!(far.read(&mut buf))),
        Poll::Ready(Ok(2))
    ));
    assert!(poll_once(write).is_ready());
}

#[test]
fn read_exact_tells_how_far_it_came() {
    run(async {
        let (mut near, mut far) = duplex(16);
        near.write_all(b"abc").await.unwrap();
        drop(near);
        let error = far.read_exact(&mut [0; 5]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
        assert!(error.to_string().contains("3 of 5"), "{error}");
    });
}

#[test]
fn lines_come_without_their_ends_and_survive_cancellation() {
    let (mut near, far) = duplex(64);
    let mut lines = BufReader::with_capacity(3, far).lines();
    let write = |text: &'static str, near: &mut DuplexStream| {
        assert!(poll_once(pin!(near.write_all(text.as_bytes()))).is_ready());
    };
    write("first\r\nsec", &mut near);
    let first = poll_once(pin!(lines.next_line()));
    assert!(matches!(first, Poll::Ready(Ok(Some(line))) if line == "first"));
    // Reads `sec`, waits, and is dropped.
    assert!(poll_once(pin!(lines.next_line())).is_pending());
    write("ond\n\nlast", &mut near);
    drop(near);
    run(async {
        let mut rest = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            rest.push(line);
        }
        assert_eq!(rest, ["second", "", "last"]);
    });
}

#[test]
fn a_line_that_is_too_long_or_no_text_is_an_error_not_a_flood() {
    run(async {
        let (mut near, far) = duplex(64);
        near.write_all(b"0123456789\n\xff\nfine\n").await.unwrap();
        drop(near);
        let mut lines = BufReader::with_capacity(4, far).lines().max_bytes(6);
        let error = lines.next_line().await.unwrap_err();
        assert!(error.to_string().contains("longer than 6"), "{error}");
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "89");
        let error = lines.next_line().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "fine");
        assert_eq!(lines.next_line().await.unwrap(), None);
    });
}

#[test]
fn fill_buf_read_until_and_read_line_take_what_they_say() {
    run(async {
        let (mut near, far) = duplex(64);
        near.write_all("a;b;zeile ü\nrest".as_bytes())
            .await
            .unwrap();
        drop(near);
        let mut reader = BufReader::with_capacity(4, far);
        assert_eq!(reader.fill_buf().await.unwrap(), b"a;b;");
        Pin::new(&mut reader).consume(2);
        let mut bytes = Vec::new();
        assert_eq!(reader.read_until(b';', &mut bytes).await.unwrap(), 2);
        assert_eq!(bytes, b"b;");
        let mut line = String::new();
        assert_eq!(reader.read_line(&mut line).await.unwrap(), 9);
        assert_eq!(line, "zeile ü\n");
        let mut rest = [0; 4];
        reader.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"rest");
        assert_eq!(reader.fill_buf().await.unwrap(), b"");
    });
}

#[test]
fn a_buffered_writer_holds_back_until_it_is_full_or_flushed() {
    run(async {
        let (near, mut far) = duplex(64);
        let mut writer = BufWriter::with_capacity(8, near);
        writer.write_all(b"12345").await.unwrap();
        assert_eq!(writer.buffer(), b"12345");
        writer.write_all(b"6789").await.unwrap(); // Wouldn't fit: what was held leaves.
        assert_eq!(writer.buffer(), b"6789");
        writer.write_all(b"larger than the buffer").await.unwrap();
        assert_eq!(writer.buffer(), b"");
        let slices = &mut [IoSlice::new(b"x"), IoSlice::new(b""), IoSlice::new(b"yz")];
        writer.write_all_vectored(slices).await.unwrap();
        writer.close().await.unwrap();
        let mut text = String::new();
        far.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "123456789larger than the bufferxyz");
    });
}

#[test]
fn copy_moves_everything_and_flushes() {
    run(async {
        let (mut near, mut far) = duplex(1000);
        let data: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
        let sent = data.clone();
        let source = spawn(async move {
            near.write_all(&sent).await.unwrap();
        });
        let (sink, mut end) = duplex(700);
        let copying = spawn(async move {
            let mut sink = BufWriter::new(sink);
            copy(&mut far, &mut sink).await.unwrap()
        });
        let mut received = Vec::new();
        end.read_to_end(&mut received).await.unwrap();
        source.await.unwrap();
        assert_eq!(copying.await.unwrap(), 100_000);
        assert_eq!(received, data);
    });
}

#[test]
fn a_proxy_passes_both_directions_and_their_ends() {
    run(async {
        let (mut client, mut proxy_in) = duplex(16);
        let (mut proxy_out, mut server) = duplex(16);
        let proxy = spawn(async move { copy_bidirectional(&mut proxy_in, &mut proxy_out).await });
        let serving = spawn(async move {
            let mut request = String::new();
            server.read_to_string(&mut request).await.unwrap();
            server
                .write_all(request.to_uppercase().as_bytes())
                .await
                .unwrap();
        });
        client
            .write_all(b"a request longer than the pipes")
            .await
            .unwrap();
        client.close().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "A REQUEST LONGER THAN THE PIPES");
        serving.await.unwrap();
        assert_eq!(proxy.await.unwrap().unwrap(), (31, 31));
    });
}

#[test]
fn halves_of_any_stream_serve_two_tasks_and_join_again() {
    run(async {
        let (near, far) = duplex(8);
        let (mut reader, mut writer) = split(near);
        let echo = spawn(async move {
            let (mut reader, mut writer) = split(far);
            copy(&mut reader, &mut writer).await.unwrap()
        });
        writer.write_all(b"hello").await.unwrap();
        let mut buf = [0; 5];
        reader.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"hello");
        drop(reader.unsplit(writer).unwrap());
        assert_eq!(echo.await.unwrap(), 5);
    });
}

#[test]
fn a_pipe_is_awaited_and_a_regular_file_refused() {
    run(async {
        let (reader, writer) = raw::pipe().unwrap();
        let reader = Async::new(File::from(reader)).unwrap();
        let mut writer = File::from(writer);
        let reading = spawn(async move {
            reader.readable().await.unwrap();
            let mut buf = [0; 16];
            let count = reader
                .read_with(|mut file| file.read(&mut buf))
                .await
                .unwrap();
            let end = reader
                .read_with(|mut file| file.read(&mut [0]))
                .await
                .unwrap();
            assert_eq!(end, 0);
            buf[..count].to_vec()
        });
        crate::time::sleep(Duration::from_millis(2)).await;
        writer.write_all(b"late").unwrap();
        drop(writer);
        assert_eq!(reading.await.unwrap(), b"late");
    });
    let error = Async::new(File::open("/proc/self/exe").unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("unblock"), "{error}");
}

#[test]
fn a_full_pipe_is_not_writable_until_it_is_read() {
    run(async {
        let (reader, writer) = raw::pipe().unwrap();
        let writer = Async::new(File::from(writer)).unwrap();
        writer.writable().await.unwrap();
        while writer.get_ref().write(&[0; 4096]).is_ok() {}
        assert!(poll_once(pin!(writer.writable())).is_pending());
        let mut reader = File::from(reader);
        let waiting = spawn(async move { writer.writable().await });
        crate::time::sleep(Duration::from_millis(2)).await;
        reader.read_exact(&mut [0; 8192]).unwrap();
        waiting.await.unwrap().unwrap();
    });
}

#[test]
fn a_descriptor_taken_back_can_be_wrapped_again() {
    run(async {
        let (reader, writer) = raw::pipe().unwrap();
        let mut writer = File::from(writer);
        let mut reader = File::from(reader);
        for round in 0..3_u8 {
            let wrapped = Async::new(reader).unwrap();
            assert!(poll_once(pin!(wrapped.readable())).is_pending());
            writer.write_all(&[round]).unwrap();
            wrapped.readable().await.unwrap();
            reader = wrapped.into_inner();
            let mut byte = [0xff];
            reader.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [round]);
        }
    });
}

#[test]
fn a_watched_descriptor_moves_to_the_next_loop() {
    let (reader, writer) = raw::pipe().unwrap();
    let mut writer = File::from(writer);
    let reader = Async::new(File::from(reader)).unwrap();
    block_on(async {
        assert!(poll_once(pin!(reader.readable())).is_pending());
    });
    run(async {
        let waiting = pin!(reader.readable());
        let mut waiting = waiting;
        let pending = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending()));
        assert!(pending.await);
        writer.write_all(b"x").unwrap();
        waiting.await.unwrap();
    });
}

#[test]
fn both_ends_of_a_pipe_are_awaited() {
    run(async {
        let (mut reader, mut writer) = pipe().unwrap();
        let sending = spawn(async move {
            writer.write_all(&[5; 300_000]).await.unwrap();
            writer.close().await.unwrap();
            assert!(writer.write_all(b"x").await.is_err());
        });
        let mut received = Vec::new();
        reader.read_to_end(&mut received).await.unwrap();
        assert_eq!(received.len(), 300_000);
        sending.await.unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        assert!(PipeReader::from_fd(file.into()).is_err());
    });
}

#[test]
fn a_fifo_waits_for_its_other_end_and_sees_it_leave() {
    run(async {
        let name = format!("threeply-fifo-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let early = crate::time::timeout(Duration::from_millis(1), PipeWriter::open_fifo(&path));
        assert!(early.await.is_err(), "there is no reader yet");
        let mut reader = PipeReader::open_fifo(&path).unwrap();
        let reading = spawn(async move {
            let mut text = String::new();
            reader.read_to_string(&mut text).await.unwrap();
            text
        });
        crate::time::sleep(Duration::from_millis(1)).await;
        assert!(!reading.is_finished(), "there was no writer yet");
        let mut writer = PipeWriter::open_fifo(&path).await.unwrap();
        writer.write_all(b"by name").await.unwrap();
        drop(writer);
        assert_eq!(reading.await.unwrap(), "by name");
        std::fs::remove_file(&path).unwrap();
    });
}

/// Gives its bytes in pieces of random size, and waits at random in between.
struct Fitful {
    bytes: Vec<u8>,
    position: usize,
    random: u64,
}

impl Fitful {
    /// xorshift: the same pieces for the same seed.
    fn next(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % below as u64) as usize
    }
}

impl AsyncRead for Fitful {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.next(3) == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = buf.len().min(self.bytes.len() - self.position);
        let count = if most == 0 { 0 } else { 1 + self.next(most) };
        buf[..count].copy_from_slice(&self.bytes[self.position..][..count]);
        self.position += count;
        Poll::Ready(Ok(count))
    }
}

#[test]
fn lines_are_those_of_std_however_the_bytes_come() {
    for seed in 1..=200 {
        let mut fitful = Fitful {
            bytes: Vec::new(),
            position: 0,
            random: seed,
        };
        let alphabet = ["a", "bc", "\n", "\r\n", "ü", "\r"];
        let text: String = (0..fitful.next(60))
            .map(|_| alphabet[fitful.next(alphabet.len())])
            .collect();
        fitful.bytes = text.clone().into_bytes();
        let capacity = 1 + fitful.next(9);
        let expected: Vec<String> = std::io::BufRead::lines(text.as_bytes())
            .map(Result::unwrap)
            .collect();
        run(async {
            let mut lines = BufReader::with_capacity(capacity, fitful).lines();
            let mut got = Vec::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                got.push(line);
                if seed % 2 == 0 {
                    // Cancelled at a random place, then asked again.
                    let begun = poll_once(pin!(lines.next_line()));
                    match begun {
                        Poll::Ready(line) => got.extend(line.unwrap()),
                        Poll::Pending => {}
                    }
                }
            }
            assert_eq!(got, expected, "seed {seed}, buffer of {capacity}");
        });
    }
}
