//! As much of JSON as documents of traces need: it is written, never read.
//!
//! Read before: [`super::model`], which uses it.

use std::fmt;

/// A text as a JSON string, quotes included.
pub(super) struct Quoted<'t>(pub(super) &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                // The second group would end a script that holds the document, or
                // a line of it in old readers.
                '\0'..='\x1f' | '<' | '\u{7f}' | '\u{2028}' | '\u{2029}' => {
                    write!(f, "\\u{:04x}", u32::from(c))?;
                }
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

/// An index, or -1.
pub(super) struct OrNone(pub(super) Option<usize>);

impl fmt::Display for OrNone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(index) => write!(f, "{index}"),
            None => f.write_str("-1"),
        }
    }
}

/// Writes a comma before every item but the first.
#[derive(Default)]
pub(super) struct Commas(bool);

impl Commas {
    /// The separator that is due.
    pub(super) fn next(&mut self) -> &'static str {
        match std::mem::replace(&mut self.0, true) {
            true => ",\n",
            false => "\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_so_that_they_may_stand_in_a_page() {
        let text = "a\"b\\c\n</script>\u{2028}é";
        let expected = r#""a\"b\\c\u000a\u003c/script>\u2028é""#;
        assert_eq!(Quoted(text).to_string(), expected);
        assert_eq!(
            OrNone(None).to_string() + &OrNone(Some(3)).to_string(),
            "-13"
        );
    }
}
