//! Writes strings in the notation that `classify` chose, and breaks lines where kubectl does.
//!
//! A line is broken only at a blank that stands beyond column 80, so lines may be far longer. Columns count characters.

use super::Emitter;
use super::classify::{Class, Notation, is_break, is_printable, key_notation, notation};

/// The last column in which a blank stays a blank.
const WIDTH: usize = 80;

/// As a plain key it means "take in the members of this map". kubectl writes it plain all the same, and fails on reading it.
const MERGE_KEY: &str = "<<";

impl Emitter<'_, '_> {
    /// Writes `key` if it can stand before a `:` on one line; otherwise false, and nothing is written.
    #[inline]
    pub(super) fn simple_key(&mut self, key: &str, class: Class) -> bool {
        match key_notation(key, class) {
            None => return false,
            Some(Notation::Plain) if key != MERGE_KEY => self.append(key.as_bytes()),
            Some(Notation::Single) => self.single(key, None),
            Some(_) => self.double(key, None),
        }
        true
    }

    /// Writes a string as a value; further lines stand at `indent`.
    #[inline]
    pub(super) fn text(&mut self, text: &str, indent: usize) {
        match notation(text) {
            Notation::Plain => self.plain(text, indent),
            Notation::Single => self.single(text, Some(indent)),
            Notation::Double => self.double(text, Some(indent)),
            Notation::Literal => self.literal(text, indent),
        }
    }

    /// Characters on the current line so far.
    fn column(&self) -> usize {
        self.out[self.line_start..].iter().filter(|byte| (**byte as i8) >= -0x40).count()
    }

    fn fold(&mut self, indent: usize) -> usize {
        self.line(indent);
        indent
    }

    #[inline]
    fn plain(&mut self, text: &str, indent: usize) {
        if self.out.len() - self.line_start + text.len() <= WIDTH {
            return self.append(text.as_bytes());
        }
        self.plain_folded(text, indent);
    }

    fn plain_folded(&mut self, text: &str, indent: usize) {
        self.fresh_line = false;
        let mut column = self.column();
        let mut after_blank = false;
        let mut rest = text;
        while let Some(at) = rest.find(' ') {
            let (word, behind) = (&rest[..at], &rest[at + 1..]);
            self.append(word.as_bytes());
            column += word.chars().count();
            after_blank &= word.is_empty();
            if !after_blank && column > WIDTH && !behind.starts_with(' ') {
                column = self.fold(indent);
            } else {
                self.append(b" ");
                column += 1;
            }
            after_blank = true;
            rest = behind;
        }
        self.append(rest.as_bytes());
    }

    fn single(&mut self, text: &str, indent: Option<usize>) {
        self.append(b"'");
        let mut column = self.column();
        let mut previous = '\'';
        let mut characters = text.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            let next = characters.peek().map(|(_, next)| *next);
            match (character, indent) {
                (' ', Some(indent))
                    if previous != ' ' && column > WIDTH && at > 0 && next.is_some_and(|next| next != ' ') =>
                {
                    column = self.fold(indent);
                }
                _ if is_break(character) => {
                    column = self.own_break(character);
                }
                _ => {
                    if let (true, Some(indent)) = (self.fresh_line, indent) {
                        column = self.fold(indent);
                    }
                    column += self.append_character(character);
                    if character == '\'' {
                        column += self.append_character('\'');
                    }
                }
            }
            previous = character;
        }
        self.append(b"'");
    }

    /// A line break that is part of the text; the column behind it.
    fn own_break(&mut self, character: char) -> usize {
        self.append_character(character);
        self.line_start = self.out.len();
        self.fresh_line = true;
        0
    }

    #[inline]
    fn append_character(&mut self, character: char) -> usize {
        self.append(character.encode_utf8(&mut [0; 4]).as_bytes());
        1
    }

    fn double(&mut self, text: &str, indent: Option<usize>) {
        self.append(b"\"");
        let mut column = self.column();
        let mut previous = '"';
        // kubectl escapes every character of a string that starts with a byte order mark.
        let escape_all = text.starts_with('\u{FEFF}');
        let mut characters = text.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            let next = characters.peek().map(|(_, next)| *next);
            match (character, indent) {
                _ if escape_all || needs_escape(character) => column += self.escape(character),
                (' ', Some(indent)) if previous != ' ' && column > WIDTH && at > 0 && next.is_some() => {
                    column = self.fold(indent);
                    if next == Some(' ') {
                        column += self.append_character('\\');
                    }
                }
                _ => column += self.append_character(character),
            }
            previous = character;
        }
        self.append(b"\"");
    }

    /// Appends the shortest escape; how many columns it took.
    fn escape(&mut self, character: char) -> usize {
        let letter = match character {
            '\0' => '0',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\u{B}' => 'v',
            '\u{C}' => 'f',
            '\r' => 'r',
            '\u{1B}' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{A0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ => return self.escape_by_number(u32::from(character)),
        };
        self.append_character('\\') + self.append_character(letter)
    }

    fn escape_by_number(&mut self, number: u32) -> usize {
        let escaped = match number {
            ..=0xFF => format!("\\x{number:02X}"),
            0x100..=0xFFFF => format!("\\u{number:04X}"),
            _ => format!("\\U{number:08X}"),
        };
        self.append(escaped.as_bytes());
        escaped.len()
    }

    /// `|`, an indentation digit if the first line would hide it, `-` or `+` for how the text ends, then line by line. Empty
    /// lines stay empty.
    fn literal(&mut self, text: &str, indent: usize) {
        self.append(b"|");
        if text.starts_with(|character| character == ' ' || is_break(character)) {
            self.append(b"2");
        }
        self.append(ending(text));
        self.append(b"\n");
        self.fresh_line = true;
        for line in text.split_inclusive('\n') {
            if line.is_ascii() {
                self.literal_line(line, indent);
            } else {
                // U+2028 and U+2029 end a line as well.
                line.split_inclusive(is_break).for_each(|line| self.literal_line(line, indent));
            }
        }
    }

    #[inline]
    fn literal_line(&mut self, line: &str, indent: usize) {
        if !line.starts_with(is_break) {
            self.pad(indent);
        }
        self.append(line.as_bytes());
        self.fresh_line = line.ends_with(is_break);
    }
}

fn needs_escape(character: char) -> bool {
    !is_printable(character) || is_break(character) || matches!(character, '"' | '\\')
}

/// The chomping indicator.
fn ending(text: &str) -> &'static [u8] {
    let mut backwards = text.chars().rev();
    let last_is_break = backwards.next().is_some_and(is_break);
    match (last_is_break, backwards.next()) {
        (false, _) => b"-",
        (true, Some(before)) if !is_break(before) => b"",
        (true, _) => b"+",
    }
}
