//! Reads tokens off one line of a text format: names, quoted strings, label sets.
//!
//! Both text formats share this grammar; they differ in what may stand between the tokens.

use std::borrow::Cow;

use crate::{family::Label, limits::Limits};

/// What is wrong in a line.
pub(super) type Problem = String;

/// The reading position in a line without its line feed.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self { rest: line }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.bytes().next()
    }

    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes one ASCII character if it is next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    /// Skips blanks and tabs.
    pub(super) fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// Everything up to the next blank, tab or the end.
    pub(super) fn token(&mut self) -> &'a str {
        self.split_at(self.rest.find([' ', '\t']).unwrap_or(self.rest.len()))
    }

    fn split_at(&mut self, at: usize) -> &'a str {
        let (token, rest) = self.rest.split_at(at);
        self.rest = rest;
        token
    }

    /// A name, plain (colons included) or in quotes. Empty if there is none.
    pub(super) fn name(&mut self, limits: &Limits) -> Result<Cow<'a, str>, Problem> {
        let name = if self.peek() == Some(b'"') { self.quoted()? } else { Cow::Borrowed(self.plain_name()) };
        check_length(&name, limits)?;
        Ok(name)
    }

    fn plain_name(&mut self) -> &'a str {
        let starts_well = self.peek().is_some_and(|byte| !byte.is_ascii_digit());
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
        let end = self.rest.bytes().position(|byte| !is_part(byte)).unwrap_or(self.rest.len());
        self.split_at(if starts_well { end } else { 0 })
    }

    /// A string in double quotes, with the escapes `\\`, `\"` and `\n`.
    pub(super) fn quoted(&mut self) -> Result<Cow<'a, str>, Problem> {
        if !self.take(b'"') {
            return Err(format!("expected '\"', found {}", self.found()));
        }
        let end = self.rest.find(['"', '\\']).ok_or("a quoted string without its end")?;
        if self.rest.as_bytes()[end] == b'"' {
            let text = self.split_at(end);
            self.take(b'"');
            return Ok(Cow::Borrowed(text));
        }
        self.quoted_with_escapes().map(Cow::Owned)
    }

    fn quoted_with_escapes(&mut self) -> Result<String, Problem> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => text.push(unescaped(chars.next().map(|(_, char)| char))?),
                char => text.push(char),
            }
        }
        Err("a quoted string without its end".to_owned())
    }

    /// A label set, the opening brace being next: the name given inside the braces, if any, and the labels in their order.
    pub(super) fn braces(&mut self, limits: &Limits) -> Result<(Option<String>, Vec<Label>), Problem> {
        let (mut inner, mut labels) = (None, Vec::new());
        self.take(b'{');
        loop {
            self.skip_blanks();
            if self.take(b'}') {
                return Ok((inner, labels));
            }
            let was_quoted = self.peek() == Some(b'"');
            let name = self.name(limits)?;
            if name.is_empty() {
                return Err(format!("invalid label name, found {}", self.found()));
            }
            self.skip_blanks();
            if self.take(b'=') {
                self.label(&name, &mut labels, limits)?;
            } else if !was_quoted {
                return Err(format!("expected '=' after label name {name:?}, found {}", self.found()));
            } else if inner.replace(name.into_owned()).is_some() {
                return Err("two metric names in one sample".to_owned());
            }
            self.skip_blanks();
            if !self.take(b',') && self.peek() != Some(b'}') {
                return Err(format!("expected ',' or '}}' in the labels, found {}", self.found()));
            }
        }
    }

    fn label(&mut self, name: &str, labels: &mut Vec<Label>, limits: &Limits) -> Result<(), Problem> {
        if name == "__name__" {
            return Err("label name \"__name__\" is reserved".to_owned());
        }
        if labels.iter().any(|label| &*label.name == name) {
            return Err(format!("two labels of the name {name:?}"));
        }
        if labels.len() >= limits.labels_per_series {
            return Err(format!("more than {} labels", limits.labels_per_series));
        }
        self.skip_blanks();
        let value = self.quoted()?;
        check_length(&value, limits)?;
        labels.push(Label::new(name, value));
        Ok(())
    }

    /// What stands here, for an error.
    pub(super) fn found(&self) -> String {
        self.rest.chars().next().map_or("the end of the line".to_owned(), |char| format!("{char:?}"))
    }
}

fn check_length(text: &str, limits: &Limits) -> Result<(), Problem> {
    let max = limits.label_bytes;
    if text.len() > max { Err(format!("a name or value of {} bytes; {max} are allowed", text.len())) } else { Ok(()) }
}

/// The character behind a backslash.
fn unescaped(char: Option<char>) -> Result<char, Problem> {
    match char {
        Some('n') => Ok('\n'),
        Some(char @ ('\\' | '"')) => Ok(char),
        Some(char) => Err(format!("invalid escape sequence '\\{}'", char.escape_default())),
        None => Err("a backslash at the end of the line".to_owned()),
    }
}

/// The text of a HELP line, its escapes undone.
pub(super) fn help_text(text: &str) -> Result<String, Problem> {
    let mut help = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        help.push(if char == '\\' { unescaped(chars.next())? } else { char });
    }
    Ok(help)
}
