//! The trace as one HTML page that needs nothing else: lanes over time, to zoom,
//! search, and ask who caused what.
//!
//! The page is put together from `viewer/` (its frame, its style, its script) and the
//! document of [`super::model`]; it works from a file, without a network.
//!
//! Read before: [`super::model`].

use std::io::{self, Write};

use super::Trace;

const PAGE: &str = include_str!("viewer/page.html");
const STYLE: &str = include_str!("viewer/page.css");
const SCRIPT: &str = include_str!("viewer/page.js");

impl Trace {
    /// Writes a page that shows the trace in any browser.
    ///
    /// # Errors
    /// Those of `out`.
    ///
    /// ```
    /// # use threeply_runtime::trace;
    /// # let Ok(session) = trace::start() else { return Ok(()) };
    /// let mut page = Vec::new();
    /// session.stop().write_html(&mut page)?;
    /// assert!(page.starts_with(b"<!doctype html>"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_html(&self, out: impl Write) -> io::Result<()> {
        let mut out = io::BufWriter::new(out);
        let mut rest = PAGE;
        while let Some((before, mark, after)) = next_mark(rest) {
            out.write_all(before.as_bytes())?;
            match mark {
                Mark::Style => out.write_all(STYLE.as_bytes())?,
                Mark::Script => out.write_all(SCRIPT.as_bytes())?,
                // No text in it can end the script element: `<` is escaped there.
                Mark::Trace => self.write_model(&mut out)?,
            }
            rest = after;
        }
        out.write_all(rest.as_bytes())?;
        out.flush()
    }
}

/// A place in the frame where something goes.
#[derive(Clone, Copy)]
enum Mark {
    Style,
    Script,
    Trace,
}

/// The first mark in `page`, and what stands before and after it.
fn next_mark(page: &str) -> Option<(&str, Mark, &str)> {
    [
        ("/*STYLE*/", Mark::Style),
        ("/*SCRIPT*/", Mark::Script),
        ("/*TRACE*/", Mark::Trace),
    ]
    .into_iter()
    .filter_map(|(text, mark)| {
        page.split_once(text)
            .map(|(before, after)| (before, mark, after))
    })
    .min_by_key(|(before, ..)| before.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_each_mark_once() {
        let mut rest = PAGE;
        let mut marks = 0;
        while let Some((_, _, after)) = next_mark(rest) {
            marks += 1;
            rest = after;
        }
        assert_eq!(marks, 3);
    }

    #[test]
    fn the_page_asks_nobody_for_anything() {
        for part in [PAGE, STYLE, SCRIPT] {
            for needle in ["http:", "https:", "src=", "@import", "url(", "fetch("] {
                assert!(!part.contains(needle), "{needle} in the viewer");
            }
        }
    }
}
