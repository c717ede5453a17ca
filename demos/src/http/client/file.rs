//! Bodies to files, without making the loop wait for a disk.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use threeply_runtime::unblock;

use super::response::Body;
use crate::http::error::Error;

/// Creates (or empties) a file.
///
/// # Errors
/// [`Error::File`].
pub async fn create(path: PathBuf) -> Result<File, Error> {
    on_disk(path.clone(), move || File::create(&path)).await
}

/// Writes a body to `file`, one block on its way to the disk while the next is
/// received; returns the bytes written.
///
/// # Errors
/// Those of the body; [`Error::File`].
pub async fn write_body(
    body: &mut Body,
    file: File,
    path: &Path,
    mut progress: impl FnMut(u64),
) -> Result<u64, Error> {
    let mut written = 0;
    let mut file = Some(file);
    let mut pending = None;
    loop {
        let block = body.chunk().await;
        if let Some(write) = pending.take() {
            file = Some(write_done(write.await, path)?);
        }
        let Some(block) = block? else { break };
        written += block.len() as u64;
        progress(written);
        let mut file = file.take().expect("it came back with the last write");
        pending = Some(unblock(move || file.write_all(&block).map(|()| file)));
    }
    Ok(written)
}

fn write_done(
    outcome: Result<std::io::Result<File>, threeply_runtime::unblock::UnblockError>,
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
