//! Bodies to files, without making the loop wait for a disk.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use threeply_runtime::future::{Either, select_biased};
use threeply_runtime::unblock;
use threeply_runtime::unblock::{Unblock, UnblockError};

use super::response::Body;
use crate::http::error::Error;
use crate::limits;

/// Creates (or empties) a file.
///
/// **Cancel safety.** Dropped, it may create the file all the same: the call is on
/// its way to the disk.
///
/// # Errors
/// [`Error::File`].
pub async fn create(path: PathBuf) -> Result<File, Error> {
    on_disk(path.clone(), move || File::create(&path)).await
}

/// Writes a body to `file`; returns the bytes written.
///
/// ```text
///   receive ──▶ waiting (bounded) ──disk is idle──▶ written by the blocking pool
/// ```
/// Nothing waits for a full block: while the disk is idle, what has come is
/// written at once; while it is busy, more comes together. What has come before
/// an error is in the file.
///
/// **Cancel safety.** Not safe: dropped, it loses what waits for the disk. A write
/// that has begun ends; the file holds a beginning of the body, of unknown length.
///
/// # Errors
/// Those of the body; [`Error::File`].
pub async fn write_body(
    body: &mut Body,
    file: File,
    path: &Path,
    mut progress: impl FnMut(u64),
) -> Result<u64, Error> {
    let mut received = 0;
    let mut disk = Disk::Idle(file);
    let mut waiting = Vec::new();
    let outcome = loop {
        disk = match disk {
            Disk::Idle(mut file) if !waiting.is_empty() => {
                let block = std::mem::take(&mut waiting);
                Disk::Busy(unblock(move || file.write_all(&block).map(|()| file)))
            }
            Disk::Busy(write) if waiting.len() >= limits::FILE_BLOCK_BYTES => {
                Disk::Idle(write_done(write.await, path)?)
            }
            other => other,
        };
        let block = match &mut disk {
            Disk::Idle(_) => body.chunk().await,
            Disk::Busy(write) => match select_biased((write, body.chunk())).await {
                Either::First(written) => {
                    disk = Disk::Idle(write_done(written, path)?);
                    continue;
                }
                Either::Second(block) => block,
            },
        };
        match block {
            Ok(Some(block)) => {
                received += block.len() as u64;
                progress(received);
                waiting.extend_from_slice(&block);
            }
            Ok(None) => break Ok(received),
            Err(e) => break Err(e),
        }
    };
    let mut file = match disk {
        Disk::Idle(file) => file,
        Disk::Busy(write) => write_done(write.await, path)?,
    };
    if !waiting.is_empty() {
        let rest = unblock(move || file.write_all(&waiting).map(|()| file));
        write_done(rest.await, path)?;
    }
    outcome
}

/// The file, or the write that has it.
enum Disk {
    Idle(File),
    Busy(Unblock<std::io::Result<File>>),
}

fn write_done(
    outcome: Result<std::io::Result<File>, UnblockError>,
    path: &Path,
) -> Result<File, Error> {
    let failed = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    outcome
        .map_err(|e| failed(std::io::Error::other(e.to_string())))?
        .map_err(failed)
}

/// Runs `call` on the blocking pool; its failure is that of the file `path`.
pub(super) async fn on_disk<T: Send + 'static>(
    path: PathBuf,
    call: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let failed = |source| Error::File {
        path: path.clone(),
        source,
    };
    unblock(call)
        .await
        .map_err(|e| failed(std::io::Error::other(e.to_string())))?
        .map_err(failed)
}
