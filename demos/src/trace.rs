//! `--trace FILE`, which every demo takes: what its engines did, as a document.
//!
//! The file's ending says which:
//!
//! | ending | document |
//! |---|---|
//! | `.html` | a page of its own, for any browser |
//! | `.json` | Chrome's trace events, for <https://ui.perfetto.dev> and its like |
//!
//! What is recorded, and how, stands in [`threeply_runtime::trace`].

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::Args;
use threeply_runtime::trace::{self, Session, Trace};

use crate::{Error, output};

/// The option.
#[derive(Debug, Args)]
pub struct Options {
    /// Record what loop, threads and worker processes do, into a page (.html) or a
    /// file for ui.perfetto.dev (.json)
    #[arg(long, value_name = "FILE", value_parser = target)]
    trace: Option<Target>,
}

/// Where to, and what.
#[derive(Debug, Clone)]
struct Target {
    path: PathBuf,
    format: Format,
}

/// The documents that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Page,
    Chrome,
}

fn target(text: &str) -> Result<Target, String> {
    let path = PathBuf::from(text);
    let format = match path.extension().and_then(|ending| ending.to_str()) {
        Some("html") => Format::Page,
        Some("json") => Format::Chrome,
        _ => return Err("give a file whose name ends in .html or .json".to_owned()),
    };
    Ok(Target { path, format })
}

/// What other programs of ours recorded in the same time, by the names of their runs.
static OTHERS: Mutex<Vec<(String, Trace)>> = Mutex::new(Vec::new());

/// Puts what another program recorded into the document of this one, as a group of lanes
/// with this name. One in which nothing happened isn't.
pub fn include(run: String, trace: Trace) {
    let mut others = OTHERS.lock().unwrap_or_else(PoisonError::into_inner);
    if !trace.events().is_empty() {
        others.push((run, trace));
    }
}

/// A demo that is being recorded.
#[derive(Debug)]
pub struct Recording {
    session: Session,
    file: File,
    target: Target,
}

impl Options {
    /// Begins to record, if asked to. The file is made now, so that a run isn't in
    /// vain for want of a folder.
    ///
    /// # Errors
    /// If there is no tracing in this build, or the file can't be made.
    pub fn begin(self) -> Result<Option<Recording>, Error> {
        let Some(target) = self.trace else {
            return Ok(None);
        };
        let file = File::create(&target.path).map_err(cannot_write(&target.path))?;
        let session = trace::start().map_err(|error| Error::Failed(error.to_string()))?;
        Ok(Some(Recording {
            session,
            file,
            target,
        }))
    }
}

impl Recording {
    /// Stops recording and writes the document.
    ///
    /// # Errors
    /// Those of the file.
    pub fn end(self) -> Result<(), Error> {
        let Recording {
            session,
            file,
            target,
        } = self;
        let own = session.stop();
        let mut others = OTHERS.lock().unwrap_or_else(PoisonError::into_inner);
        let trace = match others.is_empty() {
            true => own,
            false => {
                others.insert(0, ("this program".to_owned(), own));
                Trace::merge(others.drain(..)).expect("no empty trace is among them")
            }
        };
        let written = match target.format {
            Format::Page => trace.write_html(file),
            Format::Chrome => trace.write_chrome(file),
        };
        written.map_err(cannot_write(&target.path))?;
        if trace.lost() > 0 {
            output::complain(format_args!(
                "trace: {} events are in {}; {} older ones were overwritten, since each thread \
                 keeps its last {}",
                trace.events().len(),
                target.path.display(),
                trace.lost(),
                threeply_runtime::limits::TRACE_EVENTS,
            ));
        }
        Ok(())
    }
}

fn cannot_write(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    Error::io(format!("write the trace to {}", path.display()))
}
