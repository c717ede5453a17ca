//! Undoes a body's compression, block by block.

use std::io::Write;

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use crate::http::error::Error;
use crate::limits;

/// What is undone by [`Decoder`]; sent as `Accept-Encoding`.
pub const ACCEPTED: &str = "gzip, deflate";

/// A streaming decoder: compressed bytes go in, what they mean comes out.
#[derive(Debug)]
pub enum Decoder {
    /// The body as it is.
    Identity,
    /// gzip, of one or several members.
    Gzip(MultiGzDecoder<Vec<u8>>),
    /// "deflate", which by the standard is zlib and by some servers bare
    /// deflate; the first two bytes tell. They are collected here.
    DeflateOrZlib(Vec<u8>),
    /// zlib.
    Zlib(ZlibDecoder<Vec<u8>>),
    /// Bare deflate.
    Deflate(DeflateDecoder<Vec<u8>>),
}

impl Decoder {
    /// The decoder for a `Content-Encoding`.
    ///
    /// # Errors
    /// [`Error::Decode`] for an encoding that we did not offer to accept.
    pub fn for_encoding(encoding: &str) -> Result<Decoder, Error> {
        match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Decoder::Identity),
            "gzip" | "x-gzip" => Ok(Decoder::Gzip(MultiGzDecoder::new(Vec::new()))),
            "deflate" => Ok(Decoder::DeflateOrZlib(Vec::new())),
            other => Err(Error::Decode(format!(
                "the server used the encoding {other:?}, which was not offered"
            ))),
        }
    }

    /// Decodes some of a block and appends the result to `out`; returns how much of
    /// the block that was. It stops when `out` holds enough: 16 KiB may stand for
    /// 16 MiB of zeroes (a "zip bomb"), and whoever limits a body must see them come.
    ///
    /// # Errors
    /// [`Error::Decode`] when the bytes aren't what was announced.
    pub fn feed(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<usize, Error> {
        match self {
            Decoder::Identity => {
                out.extend_from_slice(block);
                Ok(block.len())
            }
            Decoder::Gzip(gzip) => some(gzip, block, MultiGzDecoder::get_mut, out),
            Decoder::Zlib(zlib) => some(zlib, block, ZlibDecoder::get_mut, out),
            Decoder::Deflate(deflate) => some(deflate, block, DeflateDecoder::get_mut, out),
            Decoder::DeflateOrZlib(first) => {
                let taken = block.len().min(2 - first.len());
                first.extend_from_slice(&block[..taken]);
                if let [cmf, flags] = first[..] {
                    let is_zlib =
                        cmf & 0x0f == 8 && (u16::from(cmf) << 8 | u16::from(flags)) % 31 == 0;
                    let first = std::mem::take(first);
                    *self = if is_zlib {
                        Decoder::Zlib(ZlibDecoder::new(Vec::new()))
                    } else {
                        Decoder::Deflate(DeflateDecoder::new(Vec::new()))
                    };
                    // Two bytes mean nothing yet: they are taken whole.
                    self.feed(&first, out)?;
                }
                Ok(taken)
            }
        }
    }

    /// The body has ended: appends what is left to `out`.
    ///
    /// # Errors
    /// [`Error::Decode`] when the compressed data has not ended.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Decoder::Identity => {}
            Decoder::Gzip(gzip) => {
                gzip.try_finish().map_err(broken)?;
                out.append(gzip.get_mut());
            }
            Decoder::Zlib(zlib) => {
                zlib.try_finish().map_err(broken)?;
                out.append(zlib.get_mut());
            }
            Decoder::Deflate(deflate) => {
                deflate.try_finish().map_err(broken)?;
                out.append(deflate.get_mut());
            }
            // An empty body, or one byte that can be neither.
            Decoder::DeflateOrZlib(first) if first.is_empty() => {}
            Decoder::DeflateOrZlib(_) => {
                return Err(Error::Decode("deflate data of one byte".into()));
            }
        }
        Ok(())
    }
}

/// Writes of `block` to `decoder` until that has given enough; flate2 gives 32 KiB
/// at most for each write.
fn some<D: Write>(
    decoder: &mut D,
    block: &[u8],
    given: impl Fn(&mut D) -> &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<usize, Error> {
    let mut used = 0;
    while used < block.len() && given(decoder).len() < limits::HTTP_BUFFER_BYTES {
        match decoder.write(&block[used..]).map_err(broken)? {
            0 => return Err(Error::Decode("there is more after its end".into())),
            n => used += n,
        }
    }
    out.append(given(decoder));
    Ok(used)
}

fn broken(e: std::io::Error) -> Error {
    Error::Decode(e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    fn decode(encoding: &str, body: &[u8], step: usize) -> Result<Vec<u8>, Error> {
        let mut decoder = Decoder::for_encoding(encoding)?;
        let mut out = Vec::new();
        for mut block in body.chunks(step) {
            while !block.is_empty() {
                let before = out.len();
                let used = decoder.feed(block, &mut out)?;
                assert!(
                    out.len() - before <= 3 * limits::HTTP_BUFFER_BYTES || encoding == "identity"
                );
                block = &block[used..];
            }
        }
        decoder.finish(&mut out)?;
        Ok(out)
    }

    #[test]
    fn a_bomb_goes_off_in_small_pieces() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&vec![0; 8 << 20]).unwrap();
        let gzip = gzip.finish().unwrap();
        assert!(gzip.len() < limits::HTTP_BUFFER_BYTES, "no bomb");
        // `decode` looks at each piece.
        assert_eq!(decode("gzip", &gzip, gzip.len()).unwrap().len(), 8 << 20);
    }

    #[test]
    fn every_encoding_comes_back_in_blocks_of_any_size() {
        let text = b"the quick brown fox ".repeat(100);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&text).unwrap();
        let zlib = zlib.finish().unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
        bare.write_all(&text).unwrap();
        let bare = bare.finish().unwrap();
        for step in [1, 2, 7, 10_000] {
            assert_eq!(decode("gzip", &gzip, step).unwrap(), text);
            assert_eq!(
                decode("X-Gzip", &[gzip.clone(), gzip.clone()].concat(), step).unwrap(),
                text.repeat(2)
            );
            assert_eq!(decode("deflate", &zlib, step).unwrap(), text);
            assert_eq!(decode("deflate", &bare, step).unwrap(), text);
            assert_eq!(decode("identity", &text, step).unwrap(), text);
        }
        assert!(
            decode("gzip", &gzip[..gzip.len() - 9], 5).is_err(),
            "a cut body was taken for whole"
        );
        assert!(decode("gzip", b"not gzip at all", 5).is_err());
        assert!(decode("br", b"", 1).is_err());
        assert_eq!(decode("deflate", b"", 1).unwrap(), b"");
    }
}
