//! A file that is read and written on the blocking pool: what [`fs::File`] and
//! standard streams that are files are made of.
//!
//! One call at a time is on its way. It takes the file and a buffer along and
//! brings them back, so nothing is shared with the thread:
//!
//! ```text
//!          ┌──── read: fill the buffer ────┐ result: bytes to take
//!   idle ──┤                               ├──▶ idle
//!          └─ write: the buffer's content ─┘ result: kept for the next call
//! ```
//! Reads bring up to a buffer more than was asked for, if that much was wanted.
//! Writes are *behind*: bytes are accepted at once and written meanwhile, and the
//! next write, seek or flush waits for them and brings their error.
//!
//! [`fs::File`]: crate::fs::File

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use crate::limits::FILE_BUFFER_BYTES;
use crate::unblock::{Unblock, unblock};

/// See the picture at the head of this file.
#[derive(Debug)]
pub struct BlockingFile {
    /// `None` while a call has it, or after a call has lost it.
    file: Option<File>,
    /// What a read has brought, from `taken` on.
    buffer: Vec<u8>,
    taken: usize,
    call: Option<Unblock<Returned>>,
}

/// What a call brings back.
type Returned = (File, Vec<u8>, io::Result<Done>);

/// What a call has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// So many bytes are in the buffer; none is the end.
    Read(usize),
    /// The buffer's bytes are in the file.
    Wrote,
    /// The file is at this position, having been sent there.
    Sought(SeekFrom, u64),
    /// Whatever else was asked for.
    Called,
}

impl BlockingFile {
    /// Makes no call yet.
    #[must_use]
    pub fn new(file: File) -> BlockingFile {
        BlockingFile {
            file: Some(file),
            buffer: Vec::new(),
            taken: 0,
            call: None,
        }
    }

    /// The file, if no call is on its way.
    #[must_use]
    pub fn get_ref(&self) -> Option<&File> {
        self.file.as_ref()
    }

    fn unread(&self) -> usize {
        self.buffer.len() - self.taken
    }

    /// Waits for the call on its way, if there is one.
    fn poll_call(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Done>>> {
        let Some(call) = &mut self.call else {
            return Poll::Ready(Ok(None));
        };
        let done = ready!(Pin::new(call).poll(cx));
        self.call = None;
        let (file, buffer, result) = done?;
        self.file = Some(file);
        self.buffer = buffer;
        self.taken = 0;
        Poll::Ready(result.map(Some))
    }

    /// Sends the file and the buffer off.
    fn start(
        &mut self,
        op: impl FnOnce(&mut File, &mut Vec<u8>) -> io::Result<Done> + Send + 'static,
    ) -> io::Result<()> {
        let Some(mut file) = self.file.take() else {
            return Err(io::Error::other(
                "the file was lost with a call that panicked or found no thread",
            ));
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        self.taken = 0;
        self.call = Some(unblock(move || {
            let result = op(&mut file, &mut buffer);
            (file, buffer, result)
        }));
        Ok(())
    }

    /// As [`futures_io::AsyncRead::poll_read`].
    ///
    /// # Errors
    /// The file's; those of the write before, too.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            if ready!(self.poll_call(cx))? == Some(Done::Read(0)) {
                return Poll::Ready(Ok(0));
            }
            if self.unread() > 0 {
                let count = (&self.buffer[self.taken..]).read(buf)?;
                self.taken += count;
                return Poll::Ready(Ok(count));
            }
            let wanted = buf.len().min(FILE_BUFFER_BYTES);
            self.start(move |file, buffer| {
                buffer.resize(wanted, 0);
                let result = file.read(buffer);
                buffer.truncate(*result.as_ref().unwrap_or(&0));
                result.map(Done::Read)
            })?;
        }
    }

    /// As [`futures_io::AsyncWrite::poll_write`].
    ///
    /// # Errors
    /// The file's; those of the write before, too.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_call(cx))?;
        let unread = self.forget_unread();
        let count = buf.len().min(FILE_BUFFER_BYTES);
        self.buffer.extend_from_slice(&buf[..count]);
        self.start(move |file, buffer| {
            step_back(file, unread)?;
            let result = file.write_all(buffer);
            buffer.clear();
            result.map(|()| Done::Wrote)
        })?;
        Poll::Ready(Ok(count))
    }

    /// As [`futures_io::AsyncSeek::poll_seek`]: to be polled with the same
    /// `position` until it is ready.
    ///
    /// # Errors
    /// The file's; those of the write before, too.
    pub fn poll_seek(&mut self, cx: &mut Context<'_>, position: SeekFrom) -> Poll<io::Result<u64>> {
        loop {
            // Another position: a seek that nobody waited for any more.
            if let Some(Done::Sought(to, at)) = ready!(self.poll_call(cx))?
                && to == position
            {
                return Poll::Ready(Ok(at));
            }
            let unread = self.forget_unread();
            self.start(move |file, _| {
                step_back(file, unread)?;
                let at = file.seek(position)?;
                Ok(Done::Sought(position, at))
            })?;
        }
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// The last write's.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_call(cx).map_ok(drop)
    }

    /// Calls `op` with the file on a thread of the pool, after what is on its way,
    /// at the position that reads and writes have reached.
    ///
    /// # Cancel safety
    /// Safe: once begun, the call is made to its end, and the file comes back.
    ///
    /// # Errors
    /// `op`'s; that of the write before.
    pub async fn call<R: Send + 'static>(
        &mut self,
        op: impl FnOnce(&mut File) -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        poll_fn(|cx| self.poll_flush(cx)).await?;
        let unread = self.forget_unread();
        let answer = Arc::new(Mutex::new(None));
        let place = answer.clone();
        self.start(move |file, _| {
            step_back(file, unread)?;
            let result = op(file)?;
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            Ok(Done::Called)
        })?;
        poll_fn(|cx| self.poll_flush(cx)).await?;
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.ok_or_else(|| io::Error::other("the call has no answer"))
    }

    /// Empties the buffer; returns how far the file is ahead of its reader.
    fn forget_unread(&mut self) -> usize {
        let unread = self.unread();
        self.buffer.clear();
        self.taken = 0;
        unread
    }
}

/// Puts the file where its reader was.
fn step_back(file: &mut File, unread: usize) -> io::Result<()> {
    if unread > 0 {
        file.seek_relative(-i64::try_from(unread).expect("a buffer is small"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_on;

    /// A file of ten digits that was read up to 8, of which 3 were taken.
    fn read_ahead(name: &str) -> BlockingFile {
        let name = format!("threeply-ahead-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, "0123456789").unwrap();
        let mut file = File::options().read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.seek(SeekFrom::Start(8)).unwrap();
        BlockingFile {
            file: Some(file),
            buffer: b"01234567".to_vec(),
            taken: 3,
            call: None,
        }
    }

    fn content(file: &mut File) -> String {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_write_goes_where_the_reader_was() {
        block_on(async {
            let mut file = read_ahead("write");
            let mut buf = [0; 1];
            let read = poll_fn(|cx| file.poll_read(cx, &mut buf)).await;
            assert_eq!((read.unwrap(), &buf), (1, b"3"));
            let wrote = poll_fn(|cx| file.poll_write(cx, b"xy")).await;
            assert_eq!(wrote.unwrap(), 2);
            let text = file.call(|file| Ok(content(file))).await;
            assert_eq!(text.unwrap(), "0123xy6789");
        });
    }

    #[test]
    fn a_call_finds_the_file_where_the_reader_was() {
        block_on(async {
            let mut file = read_ahead("call");
            let position = file.call(Seek::stream_position).await;
            assert_eq!(position.unwrap(), 3);
        });
    }

    #[test]
    fn a_seek_starts_where_the_reader_was_and_an_abandoned_one_answers_nobody_else() {
        block_on(async {
            let mut file = read_ahead("seek");
            let mut to = async |position| poll_fn(|cx| file.poll_seek(cx, position)).await.unwrap();
            assert_eq!(to(SeekFrom::Current(2)).await, 5);
            assert_eq!(to(SeekFrom::End(-1)).await, 9);
            let mut cx = Context::from_waker(std::task::Waker::noop());
            // Done already or not: nobody asks for it again.
            let _ = file.poll_seek(&mut cx, SeekFrom::Start(1));
            let at = poll_fn(|cx| file.poll_seek(cx, SeekFrom::Start(4))).await;
            assert_eq!(at.unwrap(), 4);
            let mut buf = [0; 2];
            let read = poll_fn(|cx| file.poll_read(cx, &mut buf)).await;
            assert_eq!((read.unwrap(), &buf), (2, b"45"));
        });
    }

    #[test]
    fn a_file_lost_in_a_panic_is_an_error_from_then_on() {
        block_on(async {
            let mut file = read_ahead("panic");
            let lost = file.call(|_| -> io::Result<()> { panic!("on purpose") });
            assert!(lost.await.unwrap_err().to_string().contains("on purpose"));
            let error = file.call(|_| Ok(())).await.unwrap_err();
            assert!(error.to_string().contains("lost"), "{error}");
        });
    }
}
