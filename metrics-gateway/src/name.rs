//! Names of metrics and labels: which are valid, and how those that not every reader understands are escaped.
//!
//! Rules: <https://prometheus.io/docs/concepts/data_model/> for validity, and
//! <https://github.com/prometheus/docs/blob/main/docs/instrumenting/escaping_schemes.md> for the schemes that a scraper asks
//! for with `escaping=` in its Accept header.

use std::borrow::Cow;

/// Label names that begin so belong to Prometheus itself.
pub(crate) const RESERVED_PREFIX: &str = "__";
/// What a name escaped by [`Escaping::Values`] begins with.
const VALUES_PREFIX: &str = "U__";
/// Most hexadecimal digits of one escaped character.
const HEX_DIGITS_MAX: usize = 6;

/// Which label names a push may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameScheme {
    /// ASCII letters, digits and underscores.
    #[default]
    Legacy,
    /// Any non-empty UTF-8.
    Utf8,
}

impl NameScheme {
    /// Whether a pushed series may have a label of this name.
    pub(crate) fn allows_label(self, name: &str) -> bool {
        let well_formed = match self {
            Self::Legacy => is_legacy_label(name),
            Self::Utf8 => !name.is_empty(),
        };
        well_formed && !name.starts_with(RESERVED_PREFIX)
    }
}

/// Whether the name can stand outside quotes: letters, digits, `_` and `:`, no digit first.
pub(crate) fn is_legacy_metric(name: &str) -> bool {
    !name.is_empty() && name.bytes().enumerate().all(|(at, byte)| is_legacy_byte(byte, at))
}

/// As [`is_legacy_metric`], without colons.
pub(crate) fn is_legacy_label(name: &str) -> bool {
    is_legacy_metric(name) && !name.contains(':')
}

fn is_legacy_byte(byte: u8, at: usize) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b':' || byte.is_ascii_digit() && at > 0
}

fn is_legacy_char(char: char, at: usize) -> bool {
    u8::try_from(char).is_ok_and(|byte| byte.is_ascii() && is_legacy_byte(byte, at))
}

/// What becomes of names that need quotes, for a reader that does not know quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Escaping {
    /// They stay, in quotes.
    Allow,
    /// Every other character becomes an underscore. What scrapers get that do not ask.
    #[default]
    Underscores,
    /// Reversible for dots: `.` becomes `_dot_`, `_` becomes `__`.
    Dots,
    /// Reversible: `U__` and each other character as `_hex_`.
    Values,
}

impl Escaping {
    /// The scheme of a word of an Accept header.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        let schemes = [Self::Allow, Self::Underscores, Self::Dots, Self::Values];
        schemes.into_iter().find(|scheme| scheme.word() == word)
    }

    /// The scheme's word in Accept and Content-Type headers.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }

    /// Whether names of this kind change under the scheme at all.
    pub(crate) fn changes(self, name: &str) -> bool {
        match self {
            Self::Allow => false,
            Self::Dots => name.contains('_') || !is_legacy_metric(name),
            Self::Underscores | Self::Values => !is_legacy_metric(name),
        }
    }

    /// The name as the scheme writes it.
    pub(crate) fn escape(self, name: &str) -> Cow<'_, str> {
        if !self.changes(name) || name.is_empty() {
            return Cow::Borrowed(name);
        }
        let chars = name.chars().enumerate();
        match self {
            Self::Allow => Cow::Borrowed(name),
            Self::Underscores => chars.map(|(at, char)| if is_legacy_char(char, at) { char } else { '_' }).collect(),
            Self::Dots => chars.map(|(at, char)| dots(char, at)).collect(),
            Self::Values => {
                Cow::Owned(chars.fold(VALUES_PREFIX.to_owned(), |name, (at, char)| name + &values(char, at)))
            }
        }
    }
}

fn dots(char: char, at: usize) -> String {
    match char {
        '_' => "__".to_owned(),
        '.' => "_dot_".to_owned(),
        char if is_legacy_char(char, at) => char.to_string(),
        _ => "__".to_owned(),
    }
}

fn values(char: char, at: usize) -> String {
    match char {
        '_' => "__".to_owned(),
        char if is_legacy_char(char, at) => char.to_string(),
        char => format!("_{:x}_", u32::from(char)),
    }
}

/// Undoes [`Escaping::Values`]; a name that was not escaped so comes back as it is.
pub(crate) fn unescape_values(name: &str) -> Cow<'_, str> {
    let Some(escaped) = name.strip_prefix(VALUES_PREFIX) else { return Cow::Borrowed(name) };
    unescape(escaped).map_or(Cow::Borrowed(name), Cow::Owned)
}

fn unescape(mut escaped: &str) -> Option<String> {
    let mut name = String::with_capacity(escaped.len());
    while let Some(at) = escaped.find('_') {
        name.push_str(&escaped[..at]);
        let rest = &escaped[at + 1..];
        let end = rest.find('_')?;
        if end == 0 {
            name.push('_');
        } else if end <= HEX_DIGITS_MAX && rest[..end].bytes().all(|byte| byte.is_ascii_hexdigit()) {
            name.push(char::from_u32(u32::from_str_radix(&rest[..end], 16).ok()?)?);
        } else {
            return None;
        }
        escaped = &rest[end + 1..];
    }
    Some(name + escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_the_schemes_say() {
        let escaped = |scheme: Escaping| {
            ["no:escaping_required", "my.metric-ü", "9x", "_a.b"].map(|n| scheme.escape(n).into_owned())
        };
        assert_eq!(escaped(Escaping::Underscores), ["no:escaping_required", "my_metric__", "_x", "_a_b"]);
        assert_eq!(escaped(Escaping::Dots), ["no:escaping__required", "my_dot_metric____", "__x", "__a_dot_b"]);
        assert_eq!(
            escaped(Escaping::Values),
            ["no:escaping_required", "U__my_2e_metric_2d__fc_", "U___39_x", "U____a_2e_b"]
        );
        assert_eq!(escaped(Escaping::Allow), ["no:escaping_required", "my.metric-ü", "9x", "_a.b"]);
    }

    #[test]
    fn values_escaping_is_undone() {
        for name in ["my.metric-ü", "9x", "_a.b", "smile 😀", "plain"] {
            assert_eq!(unescape_values(&Escaping::Values.escape(name)), name);
        }
        for name in ["U__bad_zz_", "U__open_2e", "U__long_0000000e_", "U__surrogate_d800_", "x_2e_y"] {
            assert_eq!(unescape_values(name), name);
        }
    }

    #[test]
    fn label_names_follow_the_scheme() {
        assert!(NameScheme::Legacy.allows_label("a_1") && !NameScheme::Legacy.allows_label("a:b"));
        assert!(!NameScheme::Legacy.allows_label("a.b") && NameScheme::Utf8.allows_label("a.b"));
        assert!(!NameScheme::Utf8.allows_label("") && !NameScheme::Utf8.allows_label("__name__"));
    }
}
