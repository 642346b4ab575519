//! JSON numbers as kubectl prints them: integers of 64 bits in full, everything else as the shortest double.

/// Integers of this many digits fit into 64 bits whatever they are.
const SURELY_64_BIT_DIGITS: usize = 18;
/// Doubles from here on do not read as integers when written without exponent: kubectl passes numbers on as JSON text in between.
const EXPONENT_FROM: i32 = 21;

/// Appends `text`, a valid JSON number. One beyond the range of a double, which no API server can store, is appended as it is.
pub(super) fn append(text: &str, out: &mut Vec<u8>) {
    let is_integer = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if is_integer
        && (text.len() <= SURELY_64_BIT_DIGITS && text != "-0" || text.parse::<i64>().is_ok_and(|value| value != 0))
    {
        return out.extend_from_slice(text.as_bytes());
    }
    if is_short_decimal(text) {
        return out.extend_from_slice(text.as_bytes());
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => append_double(value, out),
        _ => out.extend_from_slice(text.as_bytes()),
    }
}

/// `-12.25`: a decimal that is its own shortest form, as at most 15 digits always are, in the range without exponent.
fn is_short_decimal(text: &str) -> bool {
    const DIGITS_MAX: usize = 15;
    let Some((whole, fraction)) = text.split_once('.') else {
        return false;
    };
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    let large_enough = whole != "0" || fraction.bytes().take(4).any(|digit| digit != b'0');
    whole.len() <= 6
        && whole.len() + fraction.len() <= DIGITS_MAX
        && large_enough
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && !fraction.ends_with('0')
}

fn append_double(value: f64, out: &mut Vec<u8>) {
    if value == 0.0 {
        return out.push(b'0');
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let (digits, exponent) = shortest_digits(value.abs());
    out.extend_from_slice(sign.as_bytes());
    match usize::try_from(exponent) {
        Ok(zeros) if exponent < EXPONENT_FROM && digits.len() <= zeros + 1 => {
            let whole = format!("{digits:0<width$}", width = zeros + 1);
            let fits =
                if sign.is_empty() { whole.parse::<u64>().is_ok() } else { format!("-{whole}").parse::<i64>().is_ok() };
            if fits { out.extend_from_slice(whole.as_bytes()) } else { append_scientific(&digits, exponent, out) }
        }
        Ok(point) if exponent < 6 => {
            out.extend_from_slice(&digits.as_bytes()[..=point]);
            out.push(b'.');
            out.extend_from_slice(&digits.as_bytes()[point + 1..]);
        }
        Err(_) if exponent >= -4 => {
            let zeros = usize::try_from(-exponent - 1).expect("between 0 and 3");
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', zeros));
            out.extend_from_slice(digits.as_bytes());
        }
        _ => append_scientific(&digits, exponent, out),
    }
}

/// The fewest digits that read as `value`, of several such numbers the nearest, of two equally near the even one; and the decimal
/// exponent of the first digit. That is what serde_json prints; `{:e}` of the standard library rounds the last case up.
fn shortest_digits(value: f64) -> (String, i32) {
    let text = serde_json::Number::from_f64(value).expect("finite: its caller has looked").to_string();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().expect("serde_json writes a decimal exponent");
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let leading_zeros = all.len() - all.trim_start_matches('0').len();
    let position = |count: usize| i32::try_from(count).expect("a double has at most 309 digits before the point");
    (all.trim_matches('0').to_owned(), exponent + position(whole.len()) - 1 - position(leading_zeros))
}

/// The exponent has a sign and at least two digits.
fn append_scientific(digits: &str, exponent: i32, out: &mut Vec<u8>) {
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    out.extend_from_slice(format!("{first}{point}{rest}e{exponent:+03}").as_bytes());
}
