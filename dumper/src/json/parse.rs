//! The tokenizer: text to nodes. It keeps the containers that are still open on a stack of its own, so nesting costs no call stack.

use super::value::{Node, Tag};
use super::{DEPTH_MAX, JsonError};

/// Where the nodes go: the reused memory of a tape, emptied.
pub(super) struct Target<'p> {
    nodes: &'p mut Vec<Node>,
    unescaped: &'p mut String,
    open: &'p mut Vec<u32>,
}

impl<'p> Target<'p> {
    pub(super) fn new(nodes: &'p mut Vec<Node>, unescaped: &'p mut String, open: &'p mut Vec<u32>) -> Self {
        nodes.clear();
        unescaped.clear();
        open.clear();
        Self { nodes, unescaped, open }
    }
}

pub(super) struct Parser<'p> {
    text: &'p str,
    bytes: &'p [u8],
    at: usize,
    target: Target<'p>,
}

/// Offsets and indices are 32 bit: `BODY_BYTES_MAX` bounds the body, every node takes at least one byte of it, and unescaping never
/// makes a string longer than its source.
#[inline]
fn index(at: usize) -> u32 {
    u32::try_from(at).expect("bounded by BODY_BYTES_MAX, which every caller has checked")
}

impl<'p> Parser<'p> {
    pub(super) fn new(text: &'p str, at: usize, target: Target<'p>) -> Self {
        Self { text, bytes: text.as_bytes(), at, target }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Nothing but blanks may follow.
    pub(super) fn end(&mut self) -> Result<(), JsonError> {
        self.blanks();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.unexpected()) }
    }

    /// One value with everything in it.
    pub(super) fn value(&mut self) -> Result<(), JsonError> {
        loop {
            self.blanks();
            let opened = match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    self.string()?;
                    false
                }
                Some(b'{') => self.open_object()?,
                Some(b'[') => self.open_array()?,
                Some(b'-' | b'0'..=b'9') => {
                    self.number()?;
                    false
                }
                Some(b't') => self.word("true", Tag::True)?,
                Some(b'f') => self.word("false", Tag::False)?,
                Some(b'n') => self.word("null", Tag::Null)?,
                _ => return Err(self.unexpected()),
            };
            if !opened && self.close()? {
                return Ok(());
            }
        }
    }

    /// Behind a complete value: closes the containers that end here. True when the outermost value is complete, false when the
    /// next value follows (its key, if it needs one, has been read).
    fn close(&mut self) -> Result<bool, JsonError> {
        while let Some(&container) = self.target.open.last() {
            let container = container as usize;
            self.target.nodes[container].start += 1;
            self.blanks();
            match (self.target.nodes[container].tag, self.peek()) {
                (Tag::Object, Some(b',')) => {
                    self.at += 1;
                    self.blanks();
                    self.key()?;
                    return Ok(false);
                }
                (Tag::Array, Some(b',')) => {
                    self.at += 1;
                    return Ok(false);
                }
                (Tag::Object, Some(b'}')) | (Tag::Array, Some(b']')) => {
                    self.at += 1;
                    self.target.nodes[container].extent = index(self.target.nodes.len());
                    self.target.open.pop();
                }
                _ => return Err(self.unexpected()),
            }
        }
        Ok(true)
    }

    /// True if a member follows, false if the object is empty and complete.
    fn open_object(&mut self) -> Result<bool, JsonError> {
        let container = self.open(Tag::Object)?;
        if self.peek() == Some(b'}') {
            self.complete_empty(container);
            return Ok(false);
        }
        self.target.open.push(container);
        self.key()?;
        Ok(true)
    }

    /// True if an element follows, false if the array is empty and complete.
    fn open_array(&mut self) -> Result<bool, JsonError> {
        let container = self.open(Tag::Array)?;
        if self.peek() == Some(b']') {
            self.complete_empty(container);
            return Ok(false);
        }
        self.target.open.push(container);
        Ok(true)
    }

    fn open(&mut self, tag: Tag) -> Result<u32, JsonError> {
        if self.target.open.len() == DEPTH_MAX {
            return Err(JsonError::TooDeep { at: self.at });
        }
        let container = index(self.target.nodes.len());
        self.target.nodes.push(Node { start: 0, extent: 0, tag });
        self.at += 1;
        self.blanks();
        Ok(container)
    }

    fn complete_empty(&mut self, container: u32) {
        self.at += 1;
        self.target.nodes[container as usize].extent = container + 1;
    }

    fn key(&mut self) -> Result<(), JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected());
        }
        self.at += 1;
        self.string()?;
        self.blanks();
        if self.peek() != Some(b':') {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(())
    }

    /// Behind the opening quote.
    fn string(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.at = string_run_end(self.bytes, start);
        if self.peek() == Some(b'"') {
            let node = Node { start: index(start), extent: index(self.at - start), tag: Tag::Text };
            self.target.nodes.push(node);
            self.at += 1;
            return Ok(());
        }
        self.escaped_string(start)
    }

    /// A string with at least one escape, or a damaged one: copied into the side buffer run by run.
    fn escaped_string(&mut self, mut run: usize) -> Result<(), JsonError> {
        let start = self.target.unescaped.len();
        loop {
            self.target.unescaped.push_str(&self.text[run..self.at]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                _ => return Err(self.unexpected()),
            }
            run = self.at;
            self.at = string_run_end(self.bytes, run);
        }
        self.at += 1;
        let extent = index(self.target.unescaped.len() - start);
        self.target.nodes.push(Node { start: index(start), extent, tag: Tag::Unescaped });
        Ok(())
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        let plain = match self.peek() {
            Some(b'n') => '\n',
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        self.target.unescaped.push(plain);
        Ok(())
    }

    /// At the `u` of `\u`. A surrogate without its other half reads as U+FFFD, as in Go, and what follows it is read for itself.
    fn unicode_escape(&mut self) -> Result<(), JsonError> {
        let unit = self.hex4(self.at + 1)?;
        self.at += 5;
        let decoded = match unit {
            0xD800..0xDC00 if self.bytes[self.at..].starts_with(b"\\u") => {
                let low = self.hex4(self.at + 2)?;
                if (0xDC00..0xE000).contains(&low) {
                    self.at += 6;
                    char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00))
                } else {
                    None
                }
            }
            _ => char::from_u32(unit),
        };
        self.target.unescaped.push(decoded.unwrap_or(char::REPLACEMENT_CHARACTER));
        Ok(())
    }

    fn hex4(&self, from: usize) -> Result<u32, JsonError> {
        (from..from + 4).try_fold(0, |unit, at| {
            let byte = *self.bytes.get(at).ok_or(JsonError::Cut { at })?;
            let digit = char::from(byte).to_digit(16).ok_or(JsonError::Syntax { at })?;
            Ok(unit << 4 | digit)
        })
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let node = Node { start: index(start), extent: index(self.at - start), tag: Tag::Number };
        self.target.nodes.push(node);
        Ok(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.unexpected()) } else { Ok(()) }
    }

    /// `null`, `true` or `false`: complete values that open nothing, hence always false.
    fn word(&mut self, word: &str, tag: Tag) -> Result<bool, JsonError> {
        for expected in word.bytes() {
            if self.peek() != Some(expected) {
                return Err(self.unexpected());
            }
            self.at += 1;
        }
        self.target.nodes.push(Node { start: 0, extent: 0, tag });
        Ok(false)
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    pub(super) fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn unexpected(&self) -> JsonError {
        let at = self.at;
        if at >= self.bytes.len() { JsonError::Cut { at } } else { JsonError::Syntax { at } }
    }
}

const EACH_BYTE: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Offset of the next quote, backslash or control character, or the end; eight bytes at a time.
#[inline]
fn string_run_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        // A subtraction that borrows sets the high bit of a byte that was zero (or below 0x20); false hits stand only above a true one.
        let quote = zero_bytes(word ^ (EACH_BYTE * u64::from(b'"')));
        let backslash = zero_bytes(word ^ (EACH_BYTE * u64::from(b'\\')));
        let control = word.wrapping_sub(EACH_BYTE * 0x20) & !word & HIGH_BITS;
        let hits = quote | backslash | control;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            break;
        }
        at += 1;
    }
    at
}

#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(EACH_BYTE) & !word & HIGH_BITS
}
