//! Which of the four notations a string gets.
//!
//! Ordinary text is settled by one table look-up a byte; only control characters and bytes outside of ASCII lead to a walk over characters.

use super::lookalike;

/// The notations kubectl uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notation {
    Plain,
    Single,
    Double,
    /// `|`
    Literal,
}

/// What kinds of bytes a string is made of: one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class(u8);

const BLANK: u8 = 1;
const NEWLINE: u8 = 1 << 1;
/// `:` and `#` mean something beside a blank.
const INDICATOR: u8 = 1 << 2;
const CONTROL: u8 = 1 << 3;
const NOT_ASCII: u8 = 1 << 4;
const DIGIT: u8 = 1 << 5;

const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte {
            0x20 => BLANK,
            0x0A => NEWLINE,
            0x30..=0x39 => DIGIT,
            0x3A | 0x23 => INDICATOR,
            0..0x20 | 0x7F => CONTROL,
            0x80.. => NOT_ASCII,
            _ => 0,
        };
        byte += 1;
    }
    class
};

impl Class {
    #[inline]
    pub(super) fn of(text: &str) -> Self {
        Self(text.bytes().fold(0, |class, byte| class | CLASS[usize::from(byte)]))
    }

    fn has(self, any_of: u8) -> bool {
        self.0 & any_of != 0
    }

    pub(super) fn has_digits(self) -> bool {
        self.has(DIGIT)
    }
}

/// First bytes that no plain string has.
const NEVER_FIRST: &[u8] = b"#,[]{}&*!|>'\"%@`";

/// What the first byte of a string means for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Plain,
    /// It may be read as something other than a string.
    Lookalike,
    /// An indicator if a blank or nothing follows.
    BeforeBlank,
    /// `-`: both of the above, or `---`.
    Dash,
    /// `.`: a number or `...`.
    Dot,
    Never,
}

const FIRST: [First; 256] = {
    let mut first = [First::Plain; 256];
    let mut index = 0;
    let lookalike = b"0123456789+yYnNtTfFoO~";
    while index < lookalike.len() {
        first[lookalike[index] as usize] = First::Lookalike;
        index += 1;
    }
    index = 0;
    while index < NEVER_FIRST.len() {
        first[NEVER_FIRST[index] as usize] = First::Never;
        index += 1;
    }
    first[b' ' as usize] = First::Never;
    first[b'?' as usize] = First::BeforeBlank;
    first[b':' as usize] = First::BeforeBlank;
    first[b'-' as usize] = First::Dash;
    first[b'.' as usize] = First::Dot;
    first
};

/// Longest key that stands before its `:` on the same line.
const SIMPLE_KEY_BYTES_MAX: usize = 128;

/// The notation of `text` where more than one line is allowed.
#[inline]
pub(super) fn notation(text: &str) -> Notation {
    let class = Class::of(text);
    if class.has(CONTROL | NOT_ASCII) {
        unusual(text)
    } else if !class.has(NEWLINE) {
        one_line(text, class)
    } else if ends_line_with_blank(text.as_bytes()) {
        Notation::Double
    } else {
        Notation::Literal
    }
}

/// The notation of a key that can stand before a `:` on one line; `None` for one that is written as `? key`.
#[inline]
pub(super) fn key_notation(key: &str, class: Class) -> Option<Notation> {
    if key.len() > SIMPLE_KEY_BYTES_MAX {
        None
    } else if !class.has(CONTROL | NOT_ASCII | NEWLINE) {
        Some(one_line(key, class))
    } else if key.chars().any(is_break) {
        None
    } else {
        Some(unusual(key))
    }
}

/// What YAML 1.1 takes as a line break.
pub(super) fn is_break(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Whether kubectl writes the character as it is. Everything beyond U+FFFF, emoji for example, it escapes.
pub(super) fn is_printable(character: char) -> bool {
    matches!(character, '\n' | ' '..='~' | '\u{A0}'..='\u{FEFE}' | '\u{FF00}'..='\u{FFFD}')
}

fn ends_line_with_blank(bytes: &[u8]) -> bool {
    bytes.last() == Some(&b' ') || bytes.windows(2).any(|pair| pair == b" \n")
}

/// One line of printable ASCII.
#[inline]
fn one_line(text: &str, class: Class) -> Notation {
    let bytes = text.as_bytes();
    let Some(&first) = bytes.first() else {
        return Notation::Double;
    };
    let meaning = FIRST[usize::from(first)];
    if meaning == First::Plain && !class.has(BLANK | INDICATOR) {
        return Notation::Plain;
    }
    let may_be_lookalike = matches!(meaning, First::Lookalike | First::Dash | First::Dot);
    if may_be_lookalike && lookalike::is_no_string(text) {
        return Notation::Double;
    }
    plain_or_single(bytes, meaning, class)
}

fn plain_or_single(bytes: &[u8], meaning: First, class: Class) -> Notation {
    let blank_second = matches!(bytes.get(1), None | Some(b' '));
    let bad_start = match meaning {
        First::Plain | First::Lookalike => false,
        First::BeforeBlank => blank_second,
        First::Dash => blank_second || bytes.starts_with(b"---"),
        First::Dot => bytes.starts_with(b"..."),
        First::Never => true,
    };
    if bad_start || bytes.last() == Some(&b' ') || (class.has(INDICATOR) && has_indicator(bytes)) {
        Notation::Single
    } else {
        Notation::Plain
    }
}

/// `: `, a `:` at the end, or ` #`.
fn has_indicator(bytes: &[u8]) -> bool {
    bytes.last() == Some(&b':') || bytes.windows(2).any(|pair| pair == b": " || pair == b" #")
}

/// Text with control characters or beyond ASCII. None of it reads as anything but a string.
fn unusual(text: &str) -> Notation {
    let found = Found::in_text(text);
    let ends_blank = text.ends_with(' ');
    if found.unprintable || found.blank_before_break {
        Notation::Double
    } else if found.newline {
        if ends_blank { Notation::Double } else { Notation::Literal }
    } else if found.breaks {
        if found.blank_after_break { Notation::Double } else { Notation::Single }
    } else {
        let bytes = text.as_bytes();
        plain_or_single(bytes, FIRST[usize::from(bytes[0])], Class(INDICATOR))
    }
}

/// What a walk over characters finds.
#[derive(Default)]
struct Found {
    unprintable: bool,
    newline: bool,
    breaks: bool,
    blank_before_break: bool,
    blank_after_break: bool,
}

impl Found {
    fn in_text(text: &str) -> Self {
        let mut found = Self::default();
        let (mut after_blank, mut after_break) = (false, false);
        for character in text.chars() {
            let (blank, breaks) = (character == ' ', is_break(character));
            found.unprintable |= !is_printable(character);
            found.newline |= character == '\n';
            found.breaks |= breaks;
            found.blank_before_break |= after_blank && breaks;
            found.blank_after_break |= after_break && blank;
            (after_blank, after_break) = (blank, breaks);
        }
        found
    }
}
