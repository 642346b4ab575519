//! Polynomials over GF(2) of degree up to 63, as bits: bit i is the coefficient of xⁱ.
//!
//! A repository's chunker works modulo one random irreducible polynomial of degree 53, stored in its config, so that chunk borders
//! tell nothing about known content.

use crate::error::Error;

/// Degree of the chunker's polynomial, by restic's design document.
const DEGREE: u32 = 53;

/// Draws before giving up. About one polynomial in 53 is irreducible (one in 27 of those with the constant term that is forced
/// here), so a thousand misses mean broken random numbers.
const DRAWS_MAX: usize = 10_000;

/// A polynomial over GF(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Polynomial(pub(crate) u64);

impl Polynomial {
    /// A random irreducible polynomial for a new repository.
    pub(crate) fn random() -> Result<Self, Error> {
        for _ in 0..DRAWS_MAX {
            // The constant term is set: without it, x would divide the polynomial.
            let drawn = getrandom::u64()? & ((1 << DEGREE) - 1) | (1 << DEGREE) | 1;
            if Self(drawn).is_irreducible() {
                return Ok(Self(drawn));
            }
        }
        Err(Error::System {
            action: "draw a chunker polynomial",
            source: std::io::Error::other("the random numbers are not random"),
        })
    }

    /// The degree; 0 for the constants, zero included.
    pub(crate) fn degree(self) -> u32 {
        self.0.checked_ilog2().unwrap_or(0)
    }

    /// The remainder of a division. `self` may have any degree up to 63.
    pub(crate) fn modulo(self, divisor: Self) -> Self {
        let mut rest = self.0;
        while rest != 0 && Self(rest).degree() >= divisor.degree() {
            rest ^= divisor.0 << (Self(rest).degree() - divisor.degree());
        }
        Self(rest)
    }

    /// Ben-Or's test: irreducible if and only if no x^(2^i) - x with i up to half the degree shares a factor.
    pub(crate) fn is_irreducible(self) -> bool {
        if self.degree() == 0 {
            return false;
        }
        let x = Self(2);
        let mut power = x.modulo(self);
        for _ in 0..self.degree() / 2 {
            power = power.times_modulo(power, self);
            if Self(power.0 ^ x.0).common_factor(self).0 != 1 {
                return false;
            }
        }
        true
    }

    fn times_modulo(self, other: Self, modulus: Self) -> Self {
        let mut product = 0;
        for bit in (0..=other.degree()).rev() {
            product = Self(product << 1).modulo(modulus).0;
            if other.0 >> bit & 1 == 1 {
                product ^= self.0;
            }
        }
        Self(product).modulo(modulus)
    }

    fn common_factor(self, other: Self) -> Self {
        let (mut a, mut b) = (self, other);
        while b.0 != 0 {
            (a, b) = (b, a.modulo(b));
        }
        a
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_polynomials_are_classified() {
        // x^8 + x^4 + x^3 + x + 1 is AES's; 3DA3358B4DC173 is the one in restic's design document.
        for irreducible in [0b10, 0b11, 0b111, 0x11b, 0x003D_A335_8B4D_C173] {
            assert!(Polynomial(irreducible).is_irreducible(), "{irreducible:x}");
        }
        for reducible in [0, 1, 0b100, 0b101, 0b110, 0x11a, 0x003D_A335_8B4D_C172] {
            assert!(!Polynomial(reducible).is_irreducible(), "{reducible:x}");
        }
    }

    #[test]
    fn a_drawn_polynomial_is_irreducible_and_of_degree_53() {
        let drawn = Polynomial::random().unwrap();
        assert!(drawn.is_irreducible());
        assert_eq!(drawn.degree(), 53);
    }
}
