//! restic's content-defined chunking: cut where a Rabin fingerprint of the last 64 bytes has 20 zero bits.
//!
//! 1. Same polynomial, window, minimum, maximum and mask as restic, so that both cut the same file at the same places and share blobs.
//! 2. A text up to the minimum is one chunk, an empty one is none.
//! 3. The fingerprint is linear in the window, so at each chunk it can start 64 bytes before the first place where a cut is allowed.

use crate::polynomial::Polynomial;

/// Bytes that the fingerprint covers.
const WINDOW_BYTES: usize = 64;
/// No chunk but a file's last one is smaller.
pub(crate) const CHUNK_BYTES_MIN: usize = 512 << 10;
/// No chunk is larger.
pub(crate) const CHUNK_BYTES_MAX: usize = 8 << 20;
/// A cut is where these bits are all zero: one place in a mebibyte.
const CUT_MASK: u64 = (1 << 20) - 1;

/// The tables for one polynomial; shared by all threads.
pub(crate) struct Chunker {
    /// What a byte contributes when 63 more have followed it.
    leave: [u64; 256],
    /// Reduction of the byte that a shift moves beyond the degree.
    reduce: [u64; 256],
    /// Moves that byte to the lowest position.
    top_shift: u32,
}

impl Chunker {
    /// Builds the tables. The polynomial must have a degree of 8 to 55, which `config` checked.
    pub(crate) fn new(polynomial: Polynomial) -> Self {
        let degree = polynomial.degree();
        let (mut leave, mut reduce) = ([0; 256], [0; 256]);
        for (at, byte) in (0..256).zip(0u64..) {
            let mut hash = Polynomial(byte).modulo(polynomial);
            for _ in 0..WINDOW_BYTES - 1 {
                hash = Polynomial(hash.0 << 8).modulo(polynomial);
            }
            leave[at] = hash.0;
            let beyond = byte << degree;
            reduce[at] = Polynomial(beyond).modulo(polynomial).0 | beyond;
        }
        Self { leave, reduce, top_shift: degree - 8 }
    }

    /// The chunks of a text, in order; together they are the text.
    pub(crate) fn chunks<'a>(&self, text: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = text;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (chunk, after) = rest.split_at(self.cut(rest));
            rest = after;
            Some(chunk)
        })
    }

    /// Where the first chunk of a non-empty text ends.
    fn cut(&self, text: &[u8]) -> usize {
        if text.len() <= CHUNK_BYTES_MIN {
            return text.len();
        }
        let end = text.len().min(CHUNK_BYTES_MAX);
        let start = CHUNK_BYTES_MIN - WINDOW_BYTES;
        let mut hash = text[start..CHUNK_BYTES_MIN].iter().fold(0, |hash, byte| self.append(hash, *byte));
        if hash & CUT_MASK == 0 {
            return CHUNK_BYTES_MIN;
        }
        let leaving = &text[start..end - WINDOW_BYTES];
        let entering = &text[CHUNK_BYTES_MIN..end];
        for (at, (left, entered)) in leaving.iter().zip(entering).enumerate() {
            hash = self.append(hash ^ self.leave[usize::from(*left)], *entered);
            if hash & CUT_MASK == 0 {
                return CHUNK_BYTES_MIN + at + 1;
            }
        }
        end
    }

    #[inline]
    fn append(&self, hash: u64, byte: u8) -> u64 {
        // The hash is below 2^degree, so only its first byte is left.
        let top = usize::from((hash >> self.top_shift).to_le_bytes()[0]);
        (hash << 8 | u64::from(byte)) ^ self.reduce[top]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 1u64;
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..bytes).map(step).collect()
    }

    fn cuts(text: &[u8]) -> Vec<usize> {
        Chunker::new(Polynomial(0x003D_A335_8B4D_C173)).chunks(text).map(<[u8]>::len).collect()
    }

    #[test]
    fn small_texts_are_one_chunk_and_empty_ones_none() {
        assert!(cuts(b"").is_empty());
        assert_eq!(cuts(b"x"), [1]);
        assert_eq!(cuts(&noise(CHUNK_BYTES_MIN)), [CHUNK_BYTES_MIN]);
    }

    #[test]
    fn chunks_stay_within_their_limits_and_make_up_the_text() {
        let text = noise(20 << 20);
        let cuts = cuts(&text);
        assert_eq!(cuts.iter().sum::<usize>(), text.len());
        assert!(cuts[..cuts.len() - 1].iter().all(|c| (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(c)), "{cuts:?}");
        assert!(cuts.len() > 8, "{cuts:?}");
        // Zero bytes have the fingerprint zero: a cut at every possible place.
        assert_eq!(self::cuts(&vec![0; 2 << 20]), [CHUNK_BYTES_MIN; 4]);
    }

    #[test]
    fn an_insertion_at_the_front_moves_only_the_first_cuts() {
        let text = noise(20 << 20);
        let moved = [&b"inserted"[..], &text].concat();
        let ends = |cuts: Vec<usize>| -> Vec<usize> {
            let total: usize = cuts.iter().sum();
            let mut end = 0;
            cuts.iter()
                .map(|c| {
                    end += c;
                    total - end
                })
                .collect()
        };
        let (before, after) = (ends(cuts(&text)), ends(cuts(&moved)));
        assert!(before.iter().filter(|end| after.contains(end)).count() > before.len() / 2);
    }
}
