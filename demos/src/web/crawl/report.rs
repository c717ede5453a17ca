//! What a crawl has seen.

use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use indicatif::BinaryBytes;
use url::Url;

use crate::output::Output;
use crate::{Error, limits};

/// A link that leads nowhere.
#[derive(Debug)]
pub struct Broken {
    /// Where it leads.
    pub url: Url,
    /// What is there instead.
    pub why: String,
    /// The first page that was found to have it.
    pub from: Option<Rc<Url>>,
}

/// The counts of a crawl.
#[derive(Debug, Default)]
pub struct Report {
    /// Pages and files that were there.
    pub pages: u64,
    /// The bytes that were received of them, unpacked.
    pub bytes: u64,
    /// Redirects.
    pub redirects: u64,
    /// The links that lead nowhere, up to [`limits::BROKEN_LISTED`].
    pub broken: Vec<Broken>,
    /// All of them.
    pub broken_count: u64,
    /// Pages that `robots.txt` excludes.
    pub excluded: u64,
    /// Links to other hosts.
    pub elsewhere: u64,
    /// Links beyond the depth.
    pub too_deep: u64,
    /// Links for which there was no room.
    pub left_out: u64,
}

impl Report {
    /// Takes note of a link that leads nowhere.
    pub fn broken(&mut self, url: &Url, why: impl Display, from: Option<Rc<Url>>) {
        self.broken_count += 1;
        if self.broken.len() < limits::BROKEN_LISTED {
            self.broken.push(Broken {
                url: url.clone(),
                why: why.to_string(),
                from,
            });
        }
    }

    /// Prints it all; `waiting` pages were left when it ended.
    ///
    /// # Errors
    /// [`Error::Stdout`].
    pub fn print(&self, took: Duration, waiting: usize, out: &mut Output) -> Result<(), Error> {
        let seconds = took.as_secs_f64();
        out.line(format_args!(
            "Visited {} pages, {}, in {seconds:.2} seconds: {:.0} pages/s, {} redirects.",
            self.pages,
            BinaryBytes(self.bytes),
            self.pages as f64 / seconds.max(0.001),
            self.redirects,
        ))?;
        let n = self.broken_count;
        out.line(format_args!(
            "{n} broken links{}",
            if n == 0 { "." } else { ":" }
        ))?;
        for broken in &self.broken {
            match &broken.from {
                Some(from) => out.line(format_args!(
                    "  {}: {}; linked from {from}",
                    broken.url, broken.why
                ))?,
                None => out.line(format_args!("  {}: {}", broken.url, broken.why))?,
            }
        }
        let unlisted = n - self.broken.len() as u64;
        if unlisted > 0 {
            out.line(format_args!("  and {unlisted} more"))?;
        }
        out.line(format_args!(
            "Not visited: {} pages excluded by robots.txt, {} links to other hosts, {} beyond the depth, {} for which there was no room, {waiting} pages left over.",
            self.excluded, self.elsewhere, self.too_deep, self.left_out,
        ))
    }
}
