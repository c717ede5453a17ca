//! Files, on the blocking pool.
//!
//! The kernel has no readiness for files: a read waits for the disk, or doesn't,
//! and nobody can say before. So every call here is made by a thread of the
//! [blocking pool](mod@crate::unblock), and costs a hand-over there and back (tens of
//! microseconds): work in large pieces, or put a whole sequence of calls of
//! `std::fs` into one [`unblock`](crate::unblock()).
//!
//! Whatever has no function here (directories, links, permissions) is best done
//! that way.

use std::future::Future;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncSeek, AsyncWrite};

use crate::io::blocking::BlockingFile;
use crate::unblock::unblock;

/// The whole content of a file.
///
/// # Cancel safety
/// Safe; the call is made to its end for nobody.
///
/// # Errors
/// The system's.
pub fn read(path: impl AsRef<Path>) -> impl Future<Output = io::Result<Vec<u8>>> {
    on_path(path, std::fs::read)
}

/// The whole content of a file, as text.
///
/// # Cancel safety
/// Safe; the call is made to its end for nobody.
///
/// # Errors
/// The system's; `InvalidData` if it isn't UTF-8.
pub fn read_to_string(path: impl AsRef<Path>) -> impl Future<Output = io::Result<String>> {
    on_path(path, std::fs::read_to_string)
}

/// Makes `content` the whole content of a file, new or not.
///
/// # Cancel safety
/// Dropped before it is ready, it is still done.
///
/// # Errors
/// The system's.
pub fn write(
    path: impl AsRef<Path>,
    content: impl Into<Vec<u8>>,
) -> impl Future<Output = io::Result<()>> {
    let content = content.into();
    on_path(path, move |path| std::fs::write(path, content))
}

/// Calls `op` with the path on the pool, at once.
fn on_path<T: Send + 'static>(
    path: impl AsRef<Path>,
    op: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
) -> impl Future<Output = io::Result<T>> {
    let path = path.as_ref().to_owned();
    let call = unblock(move || op(path));
    async move { call.await? }
}

/// An open file.
///
/// Writes are accepted before they are done: **flush** (or close) to learn whether
/// they succeeded. Dropping it lets a write that is on its way finish, and loses
/// its error.
#[derive(Debug)]
pub struct File {
    inner: BlockingFile,
}

impl File {
    /// Opens a file to read.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// The system's.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        let mut options = std::fs::OpenOptions::new();
        options.read(true);
        File::open_with(path, options).await
    }

    /// Opens a file to write, empty: made if there is none, emptied if there is.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it is still done.
    ///
    /// # Errors
    /// The system's.
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        File::open_with(path, options).await
    }

    /// Opens a file in any other way, to append, say.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it is still done.
    ///
    /// # Errors
    /// The system's.
    pub async fn open_with(
        path: impl AsRef<Path>,
        options: std::fs::OpenOptions,
    ) -> io::Result<File> {
        let file = on_path(path, move |path| options.open(path)).await?;
        Ok(File::from_std(file))
    }

    /// Takes a file of the standard library.
    #[must_use]
    pub fn from_std(file: std::fs::File) -> File {
        File {
            inner: BlockingFile::new(file),
        }
    }

    /// Moves to `position`; returns it from the start of the file.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it may have moved.
    ///
    /// # Errors
    /// The system's; that of the write before.
    pub async fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.call(move |mut file| io::Seek::seek(&mut file, position))
            .await
    }

    /// Waits until everything written is on the disk (`fsync`).
    ///
    /// # Cancel safety
    /// Safe: call it again.
    ///
    /// # Errors
    /// The system's; that of the write before.
    pub async fn sync_all(&mut self) -> io::Result<()> {
        self.call(|file| file.sync_all()).await
    }

    /// Cuts the file, or fills it up with zeros.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it may be done.
    ///
    /// # Errors
    /// The system's; that of the write before.
    pub async fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.call(move |file| file.set_len(bytes)).await
    }

    /// Length, times, permissions.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// The system's; that of the write before.
    pub async fn metadata(&mut self) -> io::Result<std::fs::Metadata> {
        self.call(|file| file.metadata()).await
    }

    /// Calls `op` with the file on a thread of the pool, after all that was
    /// written, at the position that reads and writes have reached.
    ///
    /// # Cancel safety
    /// Once begun, `op` runs to its end.
    ///
    /// # Errors
    /// `op`'s; that of the write before.
    pub async fn call<R: Send + 'static>(
        &mut self,
        op: impl FnOnce(&std::fs::File) -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        self.inner.call(move |file| op(file)).await
    }
}

impl AsyncRead for File {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_read(cx, buf)
    }
}

/// As [`File::seek`], for code that takes anything that can.
impl AsyncSeek for File {
    fn poll_seek(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        position: SeekFrom,
    ) -> Poll<io::Result<u64>> {
        self.inner.poll_seek(cx, position)
    }
}

impl AsyncWrite for File {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_on;
    use crate::io::{AsyncReadExt, AsyncWriteExt};

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("threeply-fs-{name}-{}", std::process::id()))
    }

    #[test]
    fn files_are_written_read_and_moved_in() {
        block_on(async {
            let path = path("moved");
            let mut options = std::fs::OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true);
            let mut file = File::open_with(&path, options).await.unwrap();
            file.write_all(b"0123456789").await.unwrap();
            assert_eq!(file.seek(SeekFrom::Start(2)).await.unwrap(), 2);
            let mut two = [0; 2];
            file.read_exact(&mut two).await.unwrap();
            assert_eq!(&two, b"23");
            file.write_all(b"xx").await.unwrap();
            file.sync_all().await.unwrap();
            assert_eq!(file.metadata().await.unwrap().len(), 10);
            file.set_len(8).await.unwrap();
            drop(file);
            assert_eq!(read_to_string(&path).await.unwrap(), "0123xx67");
            std::fs::remove_file(&path).unwrap();
        });
    }

    #[test]
    fn errors_of_writes_come_with_the_flush() {
        block_on(async {
            let error = File::open("/no/such/file").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            let mut read_only = File::open("/proc/self/exe").await.unwrap();
            read_only.write_all(b"x").await.unwrap();
            assert!(read_only.flush().await.is_err());
            let mut magic = [0; 4];
            read_only.read_exact(&mut magic).await.unwrap();
            assert_eq!(&magic, b"\x7fELF");
        });
    }
}
