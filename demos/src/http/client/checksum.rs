//! SHA-256 of files, by `sha2`.
//!
//! Hashing is computing, so it runs on the thread pool, and the loop goes on
//! receiving other files meanwhile.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use sha2::Digest;

use crate::http::error::Error;
use crate::limits;

/// A SHA-256 checksum; written and read as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Sha256 {
        Sha256(sha2::Sha256::digest(bytes).into())
    }

    /// The checksum of a file, computed on the thread pool.
    ///
    /// Cancel-safe: dropped, the computation runs on and its result is lost.
    ///
    /// # Errors
    /// [`Error::File`].
    pub async fn of_file(path: &Path) -> Result<Sha256, Error> {
        let of = path.to_owned();
        let summed = threeply_pools::thread::spawn(move || {
            let mut file = File::open(&of)?;
            let mut state = sha2::Sha256::new();
            let mut block = vec![0; limits::FILE_BLOCK_BYTES];
            loop {
                match file.read(&mut block)? {
                    0 => return Ok(Sha256(state.finalize().into())),
                    n => state.update(&block[..n]),
                }
            }
        });
        let failed = |source| Error::File {
            path: path.to_owned(),
            source,
        };
        summed
            .await
            .map_err(|e| failed(std::io::Error::other(e.to_string())))?
            .map_err(failed)
    }
}

/// Reads what `sha256sum` writes: a checksum and a name on each line.
///
/// # Errors
/// The number of the first line that is none, and what is wrong with it.
pub fn parse_list(text: &str) -> Result<HashMap<String, Sha256>, String> {
    let mut sums = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = line.split_once([' ', '\t']).and_then(|(sum, name)| {
            // A star says that the file was read as binary.
            let name = name.trim_start().trim_start_matches('*');
            Some((name.to_owned(), sum.parse().ok()?)).filter(|(name, _)| !name.is_empty())
        });
        let Some((name, sum)) = parsed else {
            return Err(format!(
                "line {} is no checksum and name, as `sha256sum` writes them",
                number + 1
            ));
        };
        sums.insert(name, sum);
    }
    Ok(sums)
}

impl FromStr for Sha256 {
    type Err = String;

    fn from_str(text: &str) -> Result<Sha256, String> {
        let bad = || "give 64 hexadecimal digits".to_owned();
        if text.len() != 64 || !text.is_ascii() {
            return Err(bad());
        }
        let mut sum = [0; 32];
        for (byte, digits) in sum.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digit = |digit: u8| (digit as char).to_digit(16).ok_or_else(bad);
            *byte = (digit(digits[0])? << 4 | digit(digits[1])?) as u8;
        }
        Ok(Sha256(sum))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn checksums_are_read_and_written_as_digits() {
        assert_eq!(Sha256::of(b"abc").to_string(), OF_ABC);
        assert_eq!(OF_ABC.to_uppercase().parse(), Ok(Sha256::of(b"abc")));
        for bad in ["", "ba78", &OF_ABC.replace('b', "x"), &"ä".repeat(32)] {
            assert!(bad.parse::<Sha256>().is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_are_read_as_sha256sum_writes_them() {
        let list = format!("# of today\n{OF_ABC}  plain.txt\n\n{OF_ABC} *with a space\n");
        let sums = parse_list(&list).unwrap();
        assert_eq!(sums.len(), 2);
        assert_eq!(sums["with a space"], Sha256::of(b"abc"));
        for bad in [
            "plain.txt",
            "xyz  plain.txt",
            OF_ABC,
            &format!("{OF_ABC}  "),
        ] {
            let error = parse_list(&format!("{OF_ABC}  ok\n{bad}\n")).unwrap_err();
            assert!(error.contains("line 2"), "{bad}: {error}");
        }
    }
}
