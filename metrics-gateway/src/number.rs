//! Numbers as the Prometheus text formats write them.
//!
//! 1. Writing follows what Go's `%g` prints, because that is what every exporter and every golden file shows: the fewest
//!    digits that read back the same, an exponent (of two digits at least) from 1e6 on and below 1e-4, and `+Inf`, `-Inf`,
//!    `NaN`.
//! 2. Reading takes decimal floats, `Inf`, `Infinity` and `NaN` in any case. What Go refuses is refused too: a signed NaN,
//!    and a number too large for a float, which Rust would turn into infinity.

use std::io::Write as _;

/// Decimal exponents that are written without exponent notation.
const PLAIN_EXPONENTS: std::ops::Range<i32> = -4..6;
/// Room for the longest shortest float, `-1.2345678901234567e-308`.
const DIGITS_MAX: usize = 32;

/// Appends a float as the text format 0.0.4 writes it: `1`, `0.25`, `1.5e+06`, `+Inf`.
pub(crate) fn write_float(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if value == 0.0 {
        // A negative zero, too, is written as 0 by the exporters.
        out.push(b'0');
    } else if value.fract() == 0.0 && value.abs() < 1e6 {
        // The common case, and exact: a small whole number.
        let _ = write!(out, "{value}");
    } else {
        write_shortest(out, value);
    }
}

/// Appends a float as OpenMetrics wants `le` and `quantile`: as [`write_float`], with `.0` after a whole number.
pub(crate) fn write_canonical(out: &mut Vec<u8>, value: f64) {
    let start = out.len();
    write_float(out, value);
    if value.is_finite() && !out[start..].iter().any(|byte| matches!(byte, b'e' | b'.')) {
        out.extend_from_slice(b".0");
    }
}

/// The float as text, for JSON and pages.
pub(crate) fn float_text(value: f64) -> String {
    let mut out = Vec::with_capacity(DIGITS_MAX);
    write_float(&mut out, value);
    String::from_utf8(out).expect("digits are ASCII: they were written above")
}

/// Rust's `{:e}` gives the shortest digits as `d.ddde±x`; they are put back together as Go does.
fn write_shortest(out: &mut Vec<u8>, value: f64) {
    let mut buffer = [0_u8; DIGITS_MAX];
    let mut rest = &mut buffer[..];
    let _ = write!(rest, "{value:e}");
    let left = rest.len();
    let text = &buffer[..DIGITS_MAX - left];
    let at = text.iter().position(|byte| *byte == b'e').unwrap_or(text.len());
    let (mantissa, exponent) = (&text[..at], text.get(at + 1..).unwrap_or_default());
    let exponent: i32 = std::str::from_utf8(exponent).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    if PLAIN_EXPONENTS.contains(&exponent) {
        let _ = write!(out, "{value}");
    } else {
        out.extend_from_slice(mantissa);
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
    }
}

/// Reads a float of the text formats; nothing if it is none.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    let first_is_digit = |text: &str| text.bytes().next().is_some_and(|byte| byte.is_ascii_digit() || byte == b'.');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let signed_nan = value.is_nan() && unsigned.len() < text.len();
    let overflown = value.is_infinite() && first_is_digit(unsigned);
    (!signed_nan && !overflown).then_some(value)
}

/// A float that is a whole number of `0..2^64`, as counts of observations are.
pub(crate) fn whole(value: f64) -> Option<u64> {
    const TOO_LARGE: f64 = 18_446_744_073_709_551_616.0;
    let fits = value.fract() == 0.0 && (0.0..TOO_LARGE).contains(&value);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in range, as just seen")]
    fits.then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_exporters_write_them() {
        let written = [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.0, "-1"),
            (0.1, "0.1"),
            (100_000.0, "100000"),
            (999_999.5, "999999.5"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (0.0001, "0.0001"),
            (0.000_012, "1.2e-05"),
            (1e100, "1e+100"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (123_456.789, "123456.789"),
            (-2.5e-7, "-2.5e-07"),
        ];
        for (value, text) in written {
            assert_eq!(float_text(value), text);
        }
    }

    #[test]
    fn every_float_reads_back_as_it_was() {
        let mut bits = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            let value = f64::from_bits(bits);
            let back = parse_float(&float_text(value)).unwrap();
            assert!(back == value || back.is_nan() && value.is_nan(), "{value:e}");
        }
    }

    #[test]
    fn bounds_are_written_canonically() {
        let canonical = |value| {
            let mut out = Vec::new();
            write_canonical(&mut out, value);
            String::from_utf8(out).unwrap()
        };
        assert_eq!([1.0, 0.5, 1e6, f64::INFINITY, -2.0].map(canonical), ["1.0", "0.5", "1e+06", "+Inf", "-2.0"]);
    }

    #[test]
    fn what_is_no_float_is_refused() {
        for text in ["", ".", "1e", "+nan", "-NaN", "1e400", "-1e400", "0x10", "1_000", "1p3", "1 ", "١"] {
            assert_eq!(parse_float(text), None, "{text:?}");
        }
        for text in ["1", "+1", "1.", ".5", "-1.5e3", "inf", "+Inf", "-INFINITY", "NaN", "1e-400"] {
            assert!(parse_float(text).is_some(), "{text:?}");
        }
    }
}
