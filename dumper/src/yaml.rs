//! Writes a JSON value as YAML, byte for byte as `kubectl get -o yaml` prints it.
//!
//! 1. **kubectl is the specification.** How it breaks lines, sorts keys and quotes was found out by asking it (kubectl 1.34); `tests/yaml_kubectl.rs` asks again,
//!    over a corpus of nasty values and thousands of generated ones.
//! 2. **One pass, one buffer.** The emitter walks the tape and appends to the caller's `Vec`. Keys are sorted through a scratch list that all
//!    maps of an object share; a string is classified by one table look-up a byte, and ordinary strings (names, labels, base64) never go further.
//! 3. **Where kubectl loses data or gives up, the value wins**, in the notation kubectl would choose if it could: kubectl turns U+0085 into a blank,
//!    fails on DEL, C1 controls, U+FFFE, U+FFFF and keys above 1024 characters, and cannot read the key `<<` that it writes; here all of them are
//!    written (escaped or quoted) and read back as they were.
//! 4. **Key order is kubectl's where kubectl has one.** Its order (`a2` before `a10`) is not transitive for some mixtures of digits and
//!    punctuation, and then its own output differs from run to run; here it is always the same.

mod classify;
mod key_order;
mod lookalike;
mod number;
mod quote;

use classify::Class;

use crate::json::{Document, Tag, Value};

/// A member of a map that is about to be written.
#[derive(Debug, Clone, Copy)]
struct Member<'t> {
    key: &'t str,
    value: Content<'t>,
    /// What kinds of bytes the key is made of.
    class: Class,
}

/// A value to write: on the tape, or a string that the tape does not hold.
#[derive(Debug, Clone, Copy)]
enum Content<'t> {
    Node(u32),
    Text(&'t str),
}

/// What differs between the tape and the file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Edits<'e> {
    /// Tape indices of the keys to leave out with their values, ascending.
    pub(crate) removed: &'e [u32],
    /// Members of the outermost map that are written if it has none of that name.
    pub(crate) defaults: &'e [(&'e str, &'e str)],
}

/// Appends `value` to `out` as one YAML document: block style, keys sorted, a newline at the end, no `---`.
pub fn emit(value: Value<'_>, out: &mut Vec<u8>) {
    emit_edited(value, Edits::default(), out);
}

/// Like [`emit`], with changes on the way.
pub(crate) fn emit_edited<'t>(value: Value<'t>, edits: Edits<'t>, out: &mut Vec<u8>) {
    let line_start = out.len();
    let mut emitter =
        Emitter { document: value.document, edits, members: Vec::with_capacity(64), out, line_start, fresh_line: true };
    emitter.document(value);
}

struct Emitter<'t, 'o> {
    document: Document<'t>,
    edits: Edits<'t>,
    /// Members of all maps between the root and here; each map owns the tail that it has added.
    members: Vec<Member<'t>>,
    out: &'o mut Vec<u8>,
    /// Where the current line starts in `out`.
    line_start: usize,
    /// Nothing stands on the current line. A block scalar may end with a line break of its own.
    fresh_line: bool,
}

impl<'t> Emitter<'t, '_> {
    fn document(&mut self, value: Value<'t>) {
        match value.tag() {
            Tag::Object => self.root_map(value.at),
            Tag::Array if !self.is_empty(value.at) => self.sequence(value.at, 0),
            _ => self.scalar(Content::Node(value.at), 0),
        }
        if !self.fresh_line {
            self.out.push(b'\n');
        }
    }

    fn root_map(&mut self, at: u32) {
        self.collect(at);
        for &(key, text) in self.edits.defaults {
            if !self.members.iter().any(|member| member.key == key) {
                self.members.push(Member { key, value: Content::Text(text), class: Class::of(key) });
            }
        }
        if self.members.is_empty() {
            self.append(b"{}");
        } else {
            self.map(0, 0);
        }
    }

    fn is_empty(&self, at: u32) -> bool {
        self.document.node(at).start == 0
    }

    /// Starts a line unless nothing stands on this one.
    #[inline]
    fn line(&mut self, indent: usize) {
        if !self.fresh_line {
            self.out.push(b'\n');
        }
        self.line_start = self.out.len();
        self.pad(indent);
    }

    #[inline]
    fn pad(&mut self, indent: usize) {
        static BLANKS: [u8; 64] = [b' '; 64];
        let mut left = indent;
        while left > BLANKS.len() {
            self.out.extend_from_slice(&BLANKS);
            left -= BLANKS.len();
        }
        self.out.extend_from_slice(&BLANKS[..left]);
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        self.fresh_line = false;
        self.out.extend_from_slice(bytes);
    }

    /// Puts the members of the map at `at` that are to be written on the scratch list.
    fn collect(&mut self, at: u32) {
        let end = self.document.after(at);
        let removed = self.removed_within(at, end);
        let mut key = at + 1;
        while key < end {
            let value = key + 1;
            if removed.is_empty() || removed.binary_search(&key).is_err() {
                let name = self.document.str(self.document.node(key));
                self.members.push(Member { key: name, value: Content::Node(value), class: Class::of(name) });
            }
            key = self.document.after(value);
        }
    }

    fn removed_within(&self, from: u32, to: u32) -> &'t [u32] {
        let removed = self.edits.removed;
        match (removed.first(), removed.last()) {
            (Some(first), Some(last)) if *first < to && *last >= from => {
                &removed[removed.partition_point(|key| *key < from)..removed.partition_point(|key| *key < to)]
            }
            _ => &[],
        }
    }

    /// Writes the members from `first` on, at `indent`; the first stands where the output is.
    fn map(&mut self, first: usize, indent: usize) {
        key_order::sort(&mut self.members, first);
        let end = self.members.len();
        for index in first..end {
            let member = self.members[index];
            if index > first {
                self.line(indent);
            }
            self.member(member, indent);
        }
        self.members.truncate(first);
    }

    #[inline]
    fn member(&mut self, member: Member<'t>, indent: usize) {
        if self.simple_key(member.key, member.class) {
            self.append(b":");
            self.after_key(member.value, indent);
        } else {
            self.append(b"? ");
            self.text(member.key, indent + 2);
            self.line(indent);
            self.append(b": ");
            self.after_indicator(member.value, indent);
        }
    }

    /// Behind `key:`. A sequence stands at the indentation of its key.
    fn after_key(&mut self, value: Content<'t>, indent: usize) {
        if let Content::Node(at) = value
            && let tag @ (Tag::Object | Tag::Array) = self.document.node(at).tag
        {
            if tag == Tag::Object {
                let first = self.members.len();
                self.collect(at);
                if self.members.len() > first {
                    self.line(indent + 2);
                    return self.map(first, indent + 2);
                }
            } else if !self.is_empty(at) {
                self.line(indent);
                return self.sequence(at, indent);
            }
        }
        self.append(b" ");
        self.scalar(value, indent + 2);
    }

    /// Behind `- ` or `: `, where the first line of a collection stands on the same line.
    fn after_indicator(&mut self, value: Content<'t>, indent: usize) {
        if let Content::Node(at) = value
            && let tag @ (Tag::Object | Tag::Array) = self.document.node(at).tag
        {
            if tag == Tag::Object {
                let first = self.members.len();
                self.collect(at);
                if self.members.len() > first {
                    return self.map(first, indent + 2);
                }
            } else if !self.is_empty(at) {
                return self.sequence(at, indent + 2);
            }
        }
        self.scalar(value, indent + 2);
    }

    fn sequence(&mut self, at: u32, indent: usize) {
        let end = self.document.after(at);
        let mut element = at + 1;
        loop {
            self.append(b"- ");
            self.after_indicator(Content::Node(element), indent);
            element = self.document.after(element);
            if element >= end {
                return;
            }
            self.line(indent);
        }
    }

    /// A scalar, or a collection without members. `indent` is where its further lines stand.
    fn scalar(&mut self, value: Content<'t>, indent: usize) {
        let node = match value {
            Content::Text(text) => return self.text(text, indent),
            Content::Node(at) => self.document.node(at),
        };
        match node.tag {
            Tag::Text | Tag::Unescaped => self.text(self.document.str(node), indent),
            Tag::Number => {
                self.fresh_line = false;
                number::append(self.document.str(node), self.out);
            }
            Tag::Null => self.append(b"null"),
            Tag::True => self.append(b"true"),
            Tag::False => self.append(b"false"),
            Tag::Array => self.append(b"[]"),
            Tag::Object => self.append(b"{}"),
        }
    }
}

#[cfg(test)]
mod tests;
