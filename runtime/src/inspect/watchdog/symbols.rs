//! From addresses to names, by the debugging information of the program.
//!
//! Built without (`debug = false`, a stripped binary), there are names of exported
//! functions at best, and addresses else.

use std::fmt;
use std::path::PathBuf;

/// A function on the stack of a blocked thread.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Where the code is. Functions that were inlined have that in common.
    pub address: u64,
    /// Its name, if that is known.
    pub name: Option<String>,
    /// The source file and line, if they are known.
    pub place: Option<(PathBuf, u32)>,
}

/// The functions at these addresses, with those that were inlined there.
#[must_use]
pub fn frames(addresses: &[u64]) -> Vec<Frame> {
    let mut frames = Vec::new();
    for &address in addresses {
        let before = frames.len();
        backtrace::resolve(
            std::ptr::without_provenance_mut(address as usize),
            |symbol| {
                let name = symbol.name().map(|name| format!("{name:#}"));
                let place = symbol.filename().map(PathBuf::from).zip(symbol.lineno());
                frames.push(Frame {
                    address,
                    name,
                    place,
                });
            },
        );
        if frames.len() == before {
            frames.push(Frame {
                address,
                name: None,
                place: None,
            });
        }
    }
    frames
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name)?,
            None => write!(f, "{:#x}", self.address)?,
        }
        match &self.place {
            Some((file, line)) => write!(f, " at {}:{line}", file.display()),
            None => Ok(()),
        }
    }
}
