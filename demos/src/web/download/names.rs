//! What a file from the web is called here.

use std::collections::HashSet;

use url::Url;

/// The longest name that is made; file systems allow 255 bytes, and a suffix
/// has to fit.
const MAX_NAME_BYTES: usize = 200;

/// The names of one run, no two alike.
#[derive(Debug, Default)]
pub struct Names {
    taken: HashSet<String>,
}

impl Names {
    /// The last part of the URL's path, made harmless; one that is taken gets a
    /// number. The same URLs in the same order get the same names, so that a
    /// later run finds what an earlier one left.
    pub fn name_for(&mut self, url: &Url) -> String {
        let plain = plain_name(url);
        let mut name = plain.clone();
        let mut number = 1;
        while !self.taken.insert(name.clone()) {
            number += 1;
            name = match plain.rsplit_once('.') {
                Some((stem, extension)) if !stem.is_empty() => {
                    format!("{stem}-{number}.{extension}")
                }
                _ => format!("{plain}-{number}"),
            };
        }
        name
    }
}

/// No slash, nothing invisible, not hidden, not too long.
fn plain_name(url: &Url) -> String {
    let last = url
        .path_segments()
        .and_then(|mut parts| parts.rfind(|part| !part.is_empty()))
        .unwrap_or_default();
    let decoded = percent_encoding::percent_decode_str(last).decode_utf8_lossy();
    let mut name: String = decoded
        .chars()
        .map(|c| if c == '/' || c.is_control() { '_' } else { c })
        .collect();
    if name.starts_with('.') {
        name.replace_range(..1, "_");
    }
    while name.len() > MAX_NAME_BYTES {
        name.pop();
    }
    if name.is_empty() {
        "index.html".into()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_harmless_and_differ() {
        let mut names = Names::default();
        let long = format!("http://a.test/{}", "x".repeat(300));
        for (url, expected) in [
            ("http://a.test/dir/file.tar.gz?x=/y#z", "file.tar.gz"),
            ("http://b.test/file.tar.gz", "file.tar-2.gz"),
            ("http://c.test/file.tar.gz", "file.tar-3.gz"),
            ("http://a.test/", "index.html"),
            ("http://a.test/dir/", "dir"),
            ("http://a.test/a%20b", "a b"),
            ("http://a.test/..%2f..%2fetc%2fpasswd", "_._.._etc_passwd"),
            ("http://a.test/.bashrc", "_bashrc"),
            ("http://a.test/x%0Ay%00", "x_y_"),
            (long.as_str(), &"x".repeat(200)),
        ] {
            assert_eq!(names.name_for(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
