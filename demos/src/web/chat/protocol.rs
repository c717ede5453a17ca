//! What is said over a chat's WebSocket: one JSON object in each text frame.

use async_tungstenite::tungstenite::Utf8Bytes;
use serde::{Deserialize, Serialize};

use crate::limits;

/// From a member to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Said {
    /// The first message: who it is.
    Join {
        /// What the member would like to be called.
        name: String,
    },
    /// A line for everybody.
    Say {
        /// The line.
        text: String,
    },
}

/// A line that somebody said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Who.
    pub name: String,
    /// What.
    pub text: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// From the server to a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Told {
    /// The answer to [`Said::Join`].
    Welcome {
        /// What the member is called: another name, if the wished one was taken.
        name: String,
        /// Who else is here.
        here: Vec<String>,
        /// What was said last, oldest first.
        history: Vec<Line>,
    },
    /// Somebody said something.
    Said(Line),
    /// Somebody has come.
    Joined {
        /// Who.
        name: String,
    },
    /// Somebody has gone.
    Left {
        /// Who.
        name: String,
        /// Why, in a few words.
        why: String,
    },
    /// What was said was not passed on.
    Refused {
        /// Why, and what to do.
        why: String,
    },
    /// Lines were left out because the member was too slow to take them.
    Missed {
        /// How many.
        count: u64,
    },
}

impl Told {
    /// The frame's text; made once, however many receive it.
    pub fn encode(&self) -> Utf8Bytes {
        // Strings and numbers can always be written.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

/// A name as it may be used: trimmed, on one line, not empty, not too long.
///
/// # Errors
/// What is wrong with it.
pub fn clean_name(name: &str) -> Result<String, String> {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let length = name.chars().count();
    if length == 0 || length > limits::CHAT_NAME_CHARS || name.chars().any(is_unseen) {
        return Err(format!(
            "a name has 1 to {} visible characters",
            limits::CHAT_NAME_CHARS
        ));
    }
    Ok(name)
}

/// A line as it may be passed on; `None` if there is nothing in it.
///
/// # Errors
/// What is wrong with it.
pub fn clean_text(text: &str) -> Result<Option<String>, String> {
    let length = text.chars().count();
    if length > limits::CHAT_TEXT_CHARS {
        return Err(format!(
            "{length} characters are too many; {} may be said at once",
            limits::CHAT_TEXT_CHARS
        ));
    }
    let text: String = text
        .chars()
        .filter(|c| *c == '\n' || !is_unseen(*c))
        .collect();
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// Whether a character does something else than to be seen: it would move a
/// terminal's cursor, or turn the direction of what follows.
fn is_unseen(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_json_objects_with_a_type() {
        let said: Said = serde_json::from_str(r#"{"type":"say","text":"hi"}"#).unwrap();
        assert_eq!(said, Said::Say { text: "hi".into() });
        let line = Line {
            name: "A".into(),
            text: "hi".into(),
            at_ms: 5,
        };
        assert_eq!(
            Told::Said(line).encode().as_str(),
            r#"{"type":"said","name":"A","text":"hi","at_ms":5}"#
        );
        for bad in ["", "[]", "{}", r#"{"type":"shout"}"#, r#"{"type":"say"}"#] {
            assert!(serde_json::from_str::<Said>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_and_lines_are_cleaned() {
        assert_eq!(clean_name("  Ada \t Lovelace "), Ok("Ada Lovelace".into()));
        for bad in ["", " \n ", "a\u{1b}[2Jb", "a\u{202e}b", &"x".repeat(33)] {
            assert!(clean_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            clean_text(" a\u{1b}[31m\nb\r "),
            Ok(Some("a[31m\nb".into()))
        );
        assert_eq!(clean_text(" \u{7} "), Ok(None));
        assert!(clean_text(&"ä".repeat(limits::CHAT_TEXT_CHARS)).is_ok());
        assert!(clean_text(&"ä".repeat(limits::CHAT_TEXT_CHARS + 1)).is_err());
    }
}
