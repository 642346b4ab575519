//! What stands between `${` and `}`.

use super::{Inputs, SubstitutionError, nested, pattern};

/// The value of an expression.
pub(super) fn value(expression: &str, inputs: &Inputs, depth: usize) -> Result<String, SubstitutionError> {
    let bad = || SubstitutionError::Bad { token: format!("${{{expression}}}") };
    if let Some(name) = expression.strip_prefix('#') {
        let value = if is_name(name) { known(name, inputs)? } else { return Err(bad()) };
        return Ok(value.chars().count().to_string());
    }
    let name_end = expression.find(|one: char| !is_of_name(one)).unwrap_or(expression.len());
    let (name, operation) = expression.split_at(name_end);
    if name.is_empty() {
        return Err(bad());
    }
    if let Some(default) = default_of(operation) {
        return match inputs.get(name) {
            Some(value) => Ok(value.clone()),
            None => nested(default, inputs, depth + 1),
        };
    }
    if !is_operation(operation) {
        return Err(bad());
    }
    apply(operation, known(name, inputs)?).ok_or_else(bad)
}

fn known<'a>(name: &str, inputs: &'a Inputs) -> Result<&'a str, SubstitutionError> {
    let missing = || SubstitutionError::Missing { name: name.to_owned() };
    inputs.get(name).map(String::as_str).ok_or_else(missing)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_of_name)
}

fn is_of_name(one: char) -> bool {
    one.is_alphabetic() || one.is_numeric() || one == '_'
}

fn default_of(operation: &str) -> Option<&str> {
    [":=", ":-", "="].iter().find_map(|sign| operation.strip_prefix(sign))
}

/// Whether something is meant by it at all: a missing value shall not hide a mistake.
fn is_operation(operation: &str) -> bool {
    operation.is_empty() || operation.starts_with([':', ',', '^', '#', '%', '/'])
}

/// `value` after the operation; `None` where that is none.
fn apply(operation: &str, value: &str) -> Option<String> {
    let lower = |text: &str| text.to_lowercase();
    let upper = |text: &str| text.to_uppercase();
    match operation {
        "" => Some(value.to_owned()),
        "," => Some(first(value, lower)),
        ",," => Some(lower(value)),
        "^" => Some(first(value, upper)),
        "^^" => Some(upper(value)),
        _ => trimmed(operation, value).or_else(|| replaced(operation, value)).or_else(|| part(operation, value)),
    }
}

fn first(value: &str, change: impl Fn(&str) -> String) -> String {
    let end = value.chars().next().map_or(0, char::len_utf8);
    change(&value[..end]) + &value[end..]
}

fn trimmed(operation: &str, value: &str) -> Option<String> {
    let starts = || value.char_indices().map(|(at, _)| at).chain([value.len()]);
    let (pattern, cut) = if let Some(pattern) = operation.strip_prefix("##") {
        (pattern, starts().rev().find(|at| pattern::matches(pattern, &value[..*at])))
    } else if let Some(pattern) = operation.strip_prefix('#') {
        (pattern, starts().find(|at| pattern::matches(pattern, &value[..*at])))
    } else if let Some(pattern) = operation.strip_prefix("%%") {
        (pattern, starts().find(|at| pattern::matches(pattern, &value[*at..])))
    } else {
        let pattern = operation.strip_prefix('%')?;
        (pattern, starts().rev().find(|at| pattern::matches(pattern, &value[*at..])))
    };
    if pattern.is_empty() {
        return Some(value.to_owned());
    }
    let cut = cut.map(|at| if operation.starts_with('#') { &value[at..] } else { &value[..at] });
    Some(cut.unwrap_or(value).to_owned())
}

fn replaced(operation: &str, value: &str) -> Option<String> {
    let operation = operation.strip_prefix('/')?;
    let (how, rest) = match operation.chars().next() {
        Some(sign @ ('/' | '#' | '%')) => (Some(sign), &operation[1..]),
        _ => (None, operation),
    };
    let (old, new) = rest.split_once('/')?;
    if old.is_empty() {
        return Some(value.to_owned());
    }
    Some(match how {
        Some('/') => value.replace(old, new),
        Some('#') => value.strip_prefix(old).map_or_else(|| value.to_owned(), |tail| format!("{new}{tail}")),
        Some(_) => value.strip_suffix(old).map_or_else(|| value.to_owned(), |head| format!("{head}{new}")),
        None => value.replacen(old, new, 1),
    })
}

/// `:offset`, `:offset:length`; and `:?d`, `:+d`, which change nothing.
fn part(operation: &str, value: &str) -> Option<String> {
    let operation = operation.strip_prefix(':')?;
    if operation.starts_with(['?', '+']) {
        return Some(value.to_owned());
    }
    let (offset, length) = match operation.split_once(':') {
        Some((offset, length)) => (offset, Some(length.trim().parse::<usize>().ok()?)),
        None => (operation, None),
    };
    let offset: isize = offset.trim().parse().ok()?;
    let chars = value.chars().count();
    let start = match usize::try_from(offset) {
        Ok(start) => start,
        Err(_) => chars.saturating_sub(offset.unsigned_abs()),
    };
    Some(value.chars().skip(start).take(length.unwrap_or(chars)).collect())
}
