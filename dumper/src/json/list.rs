//! One page of a LIST, item by item. What the page says about itself (`metadata`) is read by `crate::page`, before and without the items.

use std::borrow::Cow;

use super::{Document, JsonError, Tape, check_length, utf8};

/// Reads the body of a LIST response. Only one item is on the tape at a time.
#[derive(Debug)]
pub struct ListPage<'a> {
    text: Cow<'a, str>,
    at: usize,
    state: State,
    /// Whether the member `items` was met: a body without it (a `Status`, a single object) is no empty list.
    has_items: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the opening brace. Goes to `FirstMember`.
    Start,
    /// Behind the opening brace. Goes to `Item`, `NextMember`, `End`.
    FirstMember,
    /// Behind a member's value. Goes to `Item`, itself, `End`.
    NextMember,
    /// Behind `[` of the items, or behind an item and its comma. Goes to itself, `NextMember`.
    Item,
    /// Behind the closing brace.
    End,
}

impl<'a> ListPage<'a> {
    /// Starts to read `raw`.
    ///
    /// # Errors
    /// [`JsonError::TooLong`].
    pub fn new(raw: &'a [u8]) -> Result<Self, JsonError> {
        let text = utf8(raw);
        check_length(text.as_bytes())?;
        Ok(Self { text, at: 0, state: State::Start, has_items: false })
    }

    /// The next item, or `None` when the whole page has been read and was valid to its last byte.
    ///
    /// # Errors
    /// Any [`JsonError`]; `NotAList` when the body is no object, has no `items`, or its `items` are neither array nor `null`. Do not go on after an error.
    pub fn next_item<'t>(&'t mut self, tape: &'t mut Tape) -> Result<Option<Document<'t>>, JsonError> {
        while self.state != State::Item {
            if self.state == State::End {
                return Ok(None);
            }
            self.member(tape)?;
        }
        let (item, after) = tape.parse_at(&self.text, self.at)?;
        self.at = after;
        match next_byte(&self.text, &mut self.at) {
            Some(b',') => self.at += 1,
            Some(b']') => {
                self.at += 1;
                self.state = State::NextMember;
            }
            _ => return Err(unexpected(&self.text, self.at)),
        }
        Ok(Some(item))
    }

    /// One step outside of the items.
    fn member(&mut self, tape: &mut Tape) -> Result<(), JsonError> {
        match (self.state, next_byte(&self.text, &mut self.at)) {
            (State::Start, Some(b'{')) => {
                self.at += 1;
                self.state = State::FirstMember;
                Ok(())
            }
            (State::Start, Some(_)) => Err(JsonError::NotAList { at: self.at }),
            (State::FirstMember | State::NextMember, Some(b'}')) => self.end(),
            (State::FirstMember, _) => self.read_member(tape),
            (State::NextMember, Some(b',')) => {
                self.at += 1;
                self.read_member(tape)
            }
            _ => Err(unexpected(&self.text, self.at)),
        }
    }

    fn read_member(&mut self, tape: &mut Tape) -> Result<(), JsonError> {
        if next_byte(&self.text, &mut self.at) != Some(b'"') {
            return Err(unexpected(&self.text, self.at));
        }
        let (key, after) = tape.parse_at(&self.text, self.at)?;
        self.at = after;
        let is_items = key.root().as_str() == Some("items");
        if next_byte(&self.text, &mut self.at) != Some(b':') {
            return Err(unexpected(&self.text, self.at));
        }
        self.at += 1;
        let first = next_byte(&self.text, &mut self.at);
        self.has_items |= is_items;
        if is_items && first == Some(b'[') {
            return self.open_items();
        }
        let (value, after) = tape.parse_at(&self.text, self.at)?;
        if is_items && !value.root().is_null() {
            return Err(JsonError::NotAList { at: self.at });
        }
        self.at = after;
        self.state = State::NextMember;
        Ok(())
    }

    fn open_items(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        self.state = State::Item;
        if next_byte(&self.text, &mut self.at) == Some(b']') {
            self.at += 1;
            self.state = State::NextMember;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match next_byte(&self.text, &mut self.at) {
            None if !self.has_items => Err(JsonError::NotAList { at: self.at }),
            None => {
                self.state = State::End;
                Ok(())
            }
            Some(_) => Err(unexpected(&self.text, self.at)),
        }
    }
}

fn next_byte(text: &str, at: &mut usize) -> Option<u8> {
    let blanks = text.as_bytes()[*at..].iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\t' | b'\r')).count();
    *at += blanks;
    text.as_bytes().get(*at).copied()
}

fn unexpected(text: &str, at: usize) -> JsonError {
    if at >= text.len() { JsonError::Cut { at } } else { JsonError::Syntax { at } }
}
