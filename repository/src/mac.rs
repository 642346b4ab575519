//! Poly1305 for keys that AES made, on 64-bit limbs.
//!
//! The `poly1305` crate's vector code costs three times as much at the sizes of manifests (its steps are not inlined into each other),
//! which was 12 % of a first backup. This is the plain arithmetic instead: a number below 2¹³⁰ in limbs of 64, 64 and a few bits,
//! multiplied by the key modulo 2¹³⁰ - 5 for each 16 bytes. No branch and no address depends on a secret. The crate is the judge in
//! the tests.

/// Bytes of a block, of a tag, and of each half of the key.
const BLOCK_BYTES: usize = 16;

/// Bits of the key's first half that RFC 8439 (section 2.5) keeps, low limb and high limb.
const KEPT_BITS: (u64, u64) = (0x0fff_fffc_0fff_ffff, 0x0fff_fffc_0fff_fffc);

/// The tag of `text` under the key `r`, `s`; each key is for one text only.
pub(crate) fn poly1305(r: [u8; BLOCK_BYTES], s: [u8; BLOCK_BYTES], text: &[u8]) -> [u8; BLOCK_BYTES] {
    let (low, high) = limbs(r);
    let mut sum = Accumulator { limbs: (0, 0, 0), key: (low & KEPT_BITS.0, high & KEPT_BITS.1) };
    let (blocks, rest) = text.as_chunks::<BLOCK_BYTES>();
    for block in blocks {
        let (low, high) = limbs(*block);
        sum.add_and_multiply(low, high, 1);
    }
    if !rest.is_empty() {
        // A short block is ended by a one where a full one has it beyond its 16 bytes.
        let mut block = [0; BLOCK_BYTES];
        block[..rest.len()].copy_from_slice(rest);
        block[rest.len()] = 1;
        let (low, high) = limbs(block);
        sum.add_and_multiply(low, high, 0);
    }
    sum.reduced().wrapping_add(u128::from_le_bytes(s)).to_le_bytes()
}

fn limbs(bytes: [u8; BLOCK_BYTES]) -> (u64, u64) {
    let number = u128::from_le_bytes(bytes);
    (lower(number), upper(number))
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn lower(number: u128) -> u64 {
    number as u64
}

fn upper(number: u128) -> u64 {
    lower(number >> 64)
}

fn product(a: u64, b: u64) -> u128 {
    u128::from(a) * u128::from(b)
}

struct Accumulator {
    /// The third limb stays below 8 between the steps.
    limbs: (u64, u64, u64),
    key: (u64, u64),
}

impl Accumulator {
    /// Adds a block with its top bit, multiplies by the key, and reduces to a little over 130 bits.
    #[inline]
    fn add_and_multiply(&mut self, low: u64, high: u64, top: u64) {
        let (r0, r1) = self.key;
        // The key's second limb is a multiple of 4, so r1 · 2¹²⁸ = (r1 / 4) · 2¹³⁰, which is (r1 / 4) · 5 modulo 2¹³⁰ - 5.
        let r1_folded = r1 + (r1 >> 2);
        let sum = u128::from(self.limbs.0) + u128::from(low);
        let h0 = lower(sum);
        let sum = u128::from(self.limbs.1) + u128::from(high) + (sum >> 64);
        let h1 = lower(sum);
        let h2 = self.limbs.2 + upper(sum) + top;
        // The key's bits keep all of these sums below 2¹²⁸.
        let first = product(h0, r0) + product(h1, r1_folded);
        let second = product(h0, r1) + product(h1, r0) + u128::from(h2 * r1_folded) + (first >> 64);
        let third = h2 * r0 + upper(second);
        // What lies above bit 130 comes back in below, times 5.
        let folded = (third & !3) + (third >> 2);
        let sum = u128::from(lower(first)) + u128::from(folded);
        self.limbs.0 = lower(sum);
        let sum = u128::from(lower(second)) + (sum >> 64);
        self.limbs.1 = lower(sum);
        self.limbs.2 = (third & 3) + upper(sum);
    }

    /// The lower 128 bits of the sum modulo 2¹³⁰ - 5.
    fn reduced(&self) -> u128 {
        let (h0, h1, h2) = self.limbs;
        let number = u128::from(h0) | u128::from(h1) << 64;
        // The sum is below twice the modulus: subtract it once if that leaves something, which is when adding 5 reaches 2¹³⁰.
        let (less, carry) = number.overflowing_add(5);
        let reaches = (h2 + u64::from(carry)) >> 2;
        let mask = u128::from(reaches != 0).wrapping_neg();
        (number & !mask) | (less & mask)
    }
}

#[cfg(test)]
mod tests {
    use poly1305::Poly1305;
    use poly1305::universal_hash::KeyInit;

    use super::*;

    fn agrees(r: [u8; 16], s: [u8; 16], text: &[u8]) {
        let key: [u8; 32] = [r, s].concat().try_into().unwrap();
        let expected = Poly1305::new(&key.into()).compute_unpadded(text);
        assert_eq!(poly1305(r, s, text)[..], expected[..], "{r:?} {s:?} {text:?}");
    }

    #[test]
    fn tags_are_those_of_the_crate_for_texts_of_all_lengths() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33).to_le_bytes()[0]
        };
        for length in (0..200).chain([1000, 4096, 100_003]) {
            let (r, s) = (std::array::from_fn(|_| next()), std::array::from_fn(|_| next()));
            let text: Vec<u8> = (0..length).map(|_| next()).collect();
            agrees(r, s, &text);
        }
    }

    #[test]
    fn tags_are_right_where_carries_run_through_all_limbs() {
        let edges = [0, 1, 2, 4, 5, 0x7f, 0x80, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff];
        for r in edges {
            for first in edges {
                for rest in edges {
                    let mut block = [rest; 16];
                    block[0] = first;
                    for blocks in 1..5 {
                        agrees([r; 16], [0xff; 16], &block.repeat(blocks));
                        let mut sparse = [0; 16];
                        sparse[0] = r;
                        agrees(sparse, [0; 16], &block.repeat(blocks)[1..]);
                    }
                }
            }
        }
    }

    /// RFC 8439, section 2.5.2.
    #[test]
    fn the_example_of_the_rfc_holds() {
        let r = *b"\x85\xd6\xbe\x78\x57\x55\x6d\x33\x7f\x44\x52\xfe\x42\xd5\x06\xa8";
        let s = *b"\x01\x03\x80\x8a\xfb\x0d\xb2\xfd\x4a\xbf\xf6\xaf\x41\x49\xf5\x1b";
        let tag = *b"\xa8\x06\x1d\xc1\x30\x51\x36\xc6\xc2\x2b\x8b\xaf\x0c\x01\x27\xa9";
        assert_eq!(poly1305(r, s, b"Cryptographic Forum Research Group"), tag);
    }
}
