//! Strings that a YAML 1.1 reader takes for something else unless they are quoted: words, numbers, points in time, sexagesimals.
//!
//! The forms are those that kubectl's reader knows, no more: `1e400` (beyond a double), `2023-02-30` (no such day) and `0o8` are strings to it.

/// Whether plain `text` would be read as something other than this string.
pub(super) fn is_no_string(text: &str) -> bool {
    match text.as_bytes().first() {
        Some(b'.') => {
            is_special_float(text)
                || is_float(text)
                || (lines_stand_between_digits(text) && is_float(&text.replace('_', "")))
        }
        Some(b'+' | b'-' | b'0'..=b'9') => {
            is_special_float(text) || is_number(text) || is_sexagesimal(text) || is_timestamp(text)
        }
        _ => is_word(text),
    }
}

fn is_word(text: &str) -> bool {
    matches!(
        text,
        "" | "~"
            | "null"
            | "Null"
            | "NULL"
            | "y"
            | "Y"
            | "yes"
            | "Yes"
            | "YES"
            | "n"
            | "N"
            | "no"
            | "No"
            | "NO"
            | "true"
            | "True"
            | "TRUE"
            | "false"
            | "False"
            | "FALSE"
            | "on"
            | "On"
            | "ON"
            | "off"
            | "Off"
            | "OFF"
    )
}

fn is_special_float(text: &str) -> bool {
    matches!(
        text,
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF"
    )
}

/// Behind a leading point underscores count for nothing only there.
fn lines_stand_between_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    (0..bytes.len())
        .filter(|at| bytes[*at] == b'_')
        .all(|at| is_digit(bytes[..at].last()) && is_digit(bytes.get(at + 1)))
}

/// An integer of 64 bits in any notation, or a float; underscores count for nothing.
fn is_number(text: &str) -> bool {
    // Nothing else occurs in a number, and most names that begin with a digit end here.
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_')) {
        return false;
    }
    if text.contains('_') {
        let digits: String = text.chars().filter(|character| *character != '_').collect();
        is_integer(&digits) || is_float(&digits)
    } else {
        is_integer(text) || is_float(text)
    }
}

fn is_integer(text: &str) -> bool {
    let (negative, magnitude) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let signed = magnitude.len() < text.len();
    let (radix, digits) = match magnitude.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &magnitude[2..]),
        [b'0', b'o' | b'O', ..] => (8, &magnitude[2..]),
        [b'0', b'b' | b'B', ..] => (2, &magnitude[2..]),
        [b'0', _, ..] => (8, &magnitude[1..]),
        _ => (10, magnitude),
    };
    if digits.starts_with(['+', '-']) {
        // `0b-1`: a sign behind the lower-case prefix of binary numbers is read, but no other.
        return !negative && !signed && magnitude.starts_with("0b") && i64::from_str_radix(digits, 2).is_ok();
    }
    let Ok(value) = u64::from_str_radix(digits, radix) else {
        return false;
    };
    match (signed, negative) {
        (false, _) => true,
        (true, false) => i64::try_from(value).is_ok(),
        (true, true) => value <= i64::MIN.unsigned_abs(),
    }
}

/// `[+-] digits [. digits] [e [+-] digits]` with digits on at least one side of the point, within the range of a double.
fn is_float(text: &str) -> bool {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_is_number = exponent.is_none_or(|digits| {
        let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
        !digits.is_empty() && all_digits(digits)
    });
    (!whole.is_empty() || !fraction.is_empty())
        && all_digits(whole)
        && all_digits(fraction)
        && exponent_is_number
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// `12:30:45`, `-1:00.5`: groups of at most two digits below 60 behind a first number.
fn is_sexagesimal(text: &str) -> bool {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let Some((first, rest)) = rest.split_once(':') else {
        return false;
    };
    let (groups, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let is_group = |group: &str| match group.as_bytes() {
        [units] => units.is_ascii_digit(),
        [tens, units] => (b'0'..b'6').contains(tens) && units.is_ascii_digit(),
        _ => false,
    };
    let digits_and_lines = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    first.starts_with(|character: char| character.is_ascii_digit())
        && digits_and_lines(first)
        && groups.split(':').all(is_group)
        && digits_and_lines(fraction)
}

/// A date, or a date and a time: `2001-1-1`, `2001-12-14T21:59:43.10-05:00`, `2001-12-14 21:59:43`.
fn is_timestamp(text: &str) -> bool {
    let Some((year, rest)) = text.split_at_checked(4) else {
        return false;
    };
    let Ok(year) = year.parse::<u32>().map_err(drop).and_then(|number| no_sign(year, number)) else {
        return false;
    };
    let mut scan = Scan { rest: rest.as_bytes() };
    let (Some(month), Some(day)) = (scan.after(b'-', 1, 12), scan.after(b'-', 0, 99)) else {
        return false;
    };
    if day < 1 || day > days_in(year, month) {
        return false;
    }
    match scan.rest {
        [] => true,
        [b'T' | b't', ..] => scan.time_of_day().is_some() && scan.zone(),
        [b' ', ..] => {
            while let [b' ', b' ', ..] = scan.rest {
                scan.rest = &scan.rest[1..];
            }
            scan.time_of_day().is_some() && scan.rest.is_empty()
        }
        _ => false,
    }
}

/// Rust's integers may carry a `+`; the year of a date may not.
fn no_sign(text: &str, number: u32) -> Result<u32, ()> {
    if text.starts_with('+') { Err(()) } else { Ok(number) }
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

struct Scan<'a> {
    rest: &'a [u8],
}

impl Scan<'_> {
    /// One or two digits behind `mark`, between `min` and `max`.
    fn after(&mut self, mark: u8, min: u32, max: u32) -> Option<u32> {
        let rest = self.rest.strip_prefix(&[mark])?;
        let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
        let tens = digit(rest.first()?)?;
        let (number, length) = match rest.get(1).and_then(digit) {
            Some(units) => (tens * 10 + units, 2),
            None => (tens, 1),
        };
        self.rest = &rest[length..];
        (min..=max).contains(&number).then_some(number)
    }

    /// `T1:02:03.4`, behind whatever letter or blank.
    fn time_of_day(&mut self) -> Option<()> {
        let mark = *self.rest.first()?;
        self.after(mark, 0, 23)?;
        self.after(b':', 0, 59)?;
        self.after(b':', 0, 59)?;
        if let [b'.' | b',', b'0'..=b'9', digits @ ..] = self.rest {
            let more = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
            self.rest = &digits[more..];
        }
        Some(())
    }

    /// `Z` or `+hh:mm` up to the end. Offsets of 24 hours and of 60 minutes are read too.
    fn zone(&self) -> bool {
        match *self.rest {
            [b'Z'] => true,
            [b'+' | b'-', h1, h2, b':', m1, m2] => {
                let two = |tens: u8, units: u8| {
                    (tens.is_ascii_digit() && units.is_ascii_digit()).then(|| (tens - b'0') * 10 + (units - b'0'))
                };
                two(h1, h2).is_some_and(|hours| hours <= 24) && two(m1, m2).is_some_and(|minutes| minutes <= 60)
            }
            _ => false,
        }
    }
}
