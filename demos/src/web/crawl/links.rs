//! Which URLs a page leads to, and when two of them are the same.
//!
//! Taking HTML apart is `html5gum`'s work, URLs are `url`'s. Ours is the
//! choice: what a reader could follow (`a`, `area`, `frame`, `iframe`), not what
//! a page consists of (images, styles, scripts).

use std::collections::HashSet;

use html5gum::{DefaultEmitter, Token, Tokenizer};
use url::Url;

use crate::limits;

/// The pages that the page `html`, which came from `url`, links to: absolute,
/// [normal](normalize), each once, in the page's order. Computing: O(page).
pub fn links(html: &str, url: &Url) -> Vec<Url> {
    // Without this, text in scripts would be taken for tags.
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut base = url.clone();
    let mut has_base = false;
    let mut found = Vec::new();
    let mut known = HashSet::new();
    for token in Tokenizer::new_with_emitter(html, emitter) {
        let Ok(Token::StartTag(tag)) = token else {
            continue;
        };
        let attribute = |name: &[u8]| {
            let value: &[u8] = tag.attributes.get(name)?;
            std::str::from_utf8(value).ok().map(str::trim)
        };
        let reference = match &tag.name[..] {
            b"a" | b"area" => attribute(b"href"),
            b"frame" | b"iframe" => attribute(b"src"),
            // Only the first one counts.
            b"base" if !has_base => {
                if let Some(href) = attribute(b"href") {
                    has_base = true;
                    base = url.join(href).unwrap_or(base);
                }
                None
            }
            _ => None,
        };
        let Some(Ok(mut link)) = reference.map(|reference| base.join(reference)) else {
            continue;
        };
        if !matches!(link.scheme(), "http" | "https") || link.as_str().len() > limits::MAX_URL_BYTES
        {
            continue;
        }
        normalize(&mut link);
        if known.insert(link.clone()) {
            found.push(link);
        }
    }
    found
}

/// Makes one spelling of all that mean the same: no fragment, no credentials,
/// escapes only where they are needed, and those in capitals. (`url` has seen
/// to the case of the host, usual ports and dots.)
///
/// The query is left as it is: its order may matter to the server.
pub fn normalize(url: &mut Url) {
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    if url.query() == Some("") {
        url.set_query(None);
    }
    let path = plain_escapes(url.path());
    if path != url.path() {
        url.set_path(&path);
    }
}

/// `%7e` becomes `~`, and `%c3` becomes `%C3`.
fn plain_escapes(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let byte = rest
            .get(1..3)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    plain.push(byte as char);
                } else {
                    plain.push_str(&rest[..3].to_ascii_uppercase());
                }
                rest = &rest[3..];
            }
            None => {
                plain.push('%');
                rest = &rest[1..];
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(html: &str) -> Vec<String> {
        let url = Url::parse("http://a.test/dir/page.html?q").unwrap();
        links(html, &url).into_iter().map(String::from).collect()
    }

    #[test]
    fn what_a_reader_could_follow_is_found() {
        assert_eq!(
            of(
                r##"<A HREF="x.html">x</a> <a href=y.html>y</a><a href=' /z '>z</a>
                  <area href="//b.test/m"><iframe src="f"></iframe><a name="no">n</a>
                  <a href="?a=1&amp;b=2">q</a><a href="">self</a>"##
            ),
            [
                "http://a.test/dir/x.html",
                "http://a.test/dir/y.html",
                "http://a.test/z",
                "http://b.test/m",
                "http://a.test/dir/f",
                "http://a.test/dir/page.html?a=1&b=2",
                "http://a.test/dir/page.html?q",
            ]
        );
    }

    #[test]
    fn what_nobody_can_follow_is_not() {
        assert!(
            of(r#"<a href="mailto:x@y">m</a><a href="javascript:void(0)">j</a><a href="http://">h</a>
                  <!-- <a href="comment">c</a> --><script>"<a href='script'>"</script>
                  <style><a href="style"></style><textarea><a href="text"></textarea>
                  <img src="i.png"><link href="s.css"><a href="data:text/html,x">d</a>"#)
            .is_empty()
        );
        assert!(of("<a href='").is_empty() && of("").is_empty());
        let long = format!("<a href=\"/{}\">l</a>", "x".repeat(limits::MAX_URL_BYTES));
        assert!(of(&long).is_empty());
    }

    #[test]
    fn the_first_base_counts() {
        assert_eq!(
            of(r#"<base href="/else/"><base href="/no/"><a href="x">x</a>"#),
            ["http://a.test/else/x"]
        );
    }

    #[test]
    fn all_spellings_of_a_page_are_one() {
        assert_eq!(
            of(
                r##"<a href="HTTP://A.test:80/dir/./x/../%70age%2ehtml?q#top">1</a>
                  <a href="#else">2</a><a href="http://user:pw@a.test/dir/page.html?q">3</a>"##
            ),
            ["http://a.test/dir/page.html?q"]
        );
        for (path, plain) in [
            ("/%7euser/%c3%a4", "/~user/%C3%A4"),
            ("/100%", "/100%"),
            ("/%zz%2", "/%zz%2"),
            ("/a%2fb", "/a%2Fb"),
            ("/%ä", "/%ä"),
        ] {
            assert_eq!(plain_escapes(path), plain);
        }
    }
}
