//! zstd, with one context per thread: setting up a new one costs more than compressing a manifest with it.
//!
//! Sizes are checked before memory is given: a damaged or hostile length must not exhaust it.

use zstd::bulk::{Compressor, Decompressor};

use crate::config::Version;
use crate::error::Error;

/// zstd level of blobs. On manifests level 3 costs a third more CPU in compression and saves 0.5 % at most: they are too short for
/// its longer searches to find anything.
pub(crate) const LEVEL_BLOB: i32 = 1;

/// zstd level of index, snapshot and lock files: they are few, and hexadecimal ids hardly shrink further.
const LEVEL_FILE: i32 = 1;

/// First byte of the compressed text of a file; JSON never begins with it.
pub(crate) const COMPRESSED: u8 = 2;

/// Buffers that grew beyond this for a large file are given back afterwards.
const BUFFER_KEPT_BYTES_MAX: usize = 2 << 20;

/// A compressor with its context.
pub(crate) struct Encoder {
    context: Compressor<'static>,
}

impl Encoder {
    pub(crate) fn new(level: i32) -> Result<Self, Error> {
        let context = Compressor::new(level).map_err(|source| Error::System { action: "set up zstd", source })?;
        Ok(Self { context })
    }

    /// Compresses into `output[start..]`, which is made large enough; returns the compressed size.
    pub(crate) fn compress_at(&mut self, text: &[u8], output: &mut Vec<u8>, start: usize) -> Result<usize, Error> {
        let bound = start + zstd::zstd_safe::compress_bound(text.len());
        if output.len() < bound {
            output.resize(bound, 0);
        }
        self.context
            .compress_to_buffer(text, &mut output[start..])
            .map_err(|source| Error::System { action: "compress", source })
    }
}

/// A decompressor with its context.
pub(crate) struct Decoder {
    context: Decompressor<'static>,
}

impl Decoder {
    pub(crate) fn new() -> Result<Self, Error> {
        let context = Decompressor::new().map_err(|source| Error::System { action: "set up zstd", source })?;
        Ok(Self { context })
    }

    /// Decompresses a text whose size is known; `None` when it is none or has another size.
    pub(crate) fn decompress_exact(&mut self, compressed: &[u8], text: &mut Vec<u8>, bytes: usize) -> Option<()> {
        text.clear();
        text.reserve(bytes);
        let found = self.context.decompress_to_buffer(compressed, text).ok()?;
        (found == bytes).then_some(())
    }
}

/// Gives back what a buffer took for an unusually large text.
pub(crate) fn shrink(buffer: &mut Vec<u8>) {
    if buffer.capacity() > BUFFER_KEPT_BYTES_MAX {
        *buffer = Vec::new();
    }
}

/// Takes the JSON text of an index, a snapshot or a lock piece by piece, and compresses it in format 2: an index's text of 8 MB never
/// lies in memory.
pub(crate) enum FileText {
    Plain(Vec<u8>),
    Compressed(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl FileText {
    pub(crate) fn new(version: Version) -> Result<Self, Error> {
        match version {
            Version::V1 => Ok(Self::Plain(Vec::new())),
            Version::V2 => {
                let encoder = zstd::stream::write::Encoder::new(vec![COMPRESSED], LEVEL_FILE);
                encoder.map(Self::Compressed).map_err(failed)
            }
        }
    }

    pub(crate) fn append(&mut self, json: &[u8]) -> Result<(), Error> {
        match self {
            Self::Plain(text) => text.extend_from_slice(json),
            Self::Compressed(text) => std::io::Write::write_all(text, json).map_err(failed)?,
        }
        Ok(())
    }

    /// The text as it is to be sealed.
    pub(crate) fn finish(self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Plain(text) => Ok(text),
            Self::Compressed(text) => text.finish().map_err(failed),
        }
    }
}

fn failed(source: std::io::Error) -> Error {
    Error::System { action: "compress", source }
}

/// Decompresses a text of unknown size, at most `bytes_max`; `None` when it is none or larger.
pub(crate) fn decompress_file(compressed: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    let limit = u64::try_from(bytes_max).ok()?.checked_add(1)?;
    zstd::stream::read::Decoder::with_buffer(compressed).ok()?.take(limit).read_to_end(&mut text).ok()?;
    (text.len() <= bytes_max).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_larger_than_allowed_is_refused() {
        let mut bomb = FileText::new(Version::V2).unwrap();
        bomb.append(&vec![0; 1 << 20]).unwrap();
        let bomb = bomb.finish().unwrap();
        let bomb = bomb.strip_prefix(&[COMPRESSED]).unwrap();
        assert!(bomb.len() < 1000);
        assert!(decompress_file(bomb, (1 << 20) - 1).is_none());
        assert_eq!(decompress_file(bomb, 1 << 20).unwrap().len(), 1 << 20);
        assert!(decompress_file(b"not zstd", 100).is_none());
    }

    #[test]
    fn a_context_serves_many_texts() {
        let (mut encoder, mut decoder) = (Encoder::new(LEVEL_BLOB).unwrap(), Decoder::new().unwrap());
        let (mut output, mut text) = (Vec::new(), Vec::new());
        for length in [0, 1, 5000, 100, 70_000] {
            let input = vec![b'x'; length];
            let bytes = encoder.compress_at(&input, &mut output, 16).unwrap();
            decoder.decompress_exact(&output[16..16 + bytes], &mut text, length).unwrap();
            assert_eq!(text, input);
            assert!(decoder.decompress_exact(&output[16..16 + bytes], &mut text, length + 1).is_none());
        }
    }
}
