//! Reading what stands on a tape.

/// What a node is. Escaped strings stand in the side buffer, plain ones in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Null,
    False,
    True,
    Number,
    Text,
    Unescaped,
    Array,
    Object,
}

/// One node: 12 bytes. For strings and numbers `start` and `extent` are offset and length; for containers `start` is the number of
/// members and `extent` the index of the node behind the container. A member of an object is a string node followed by its value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) start: u32,
    pub(crate) extent: u32,
    pub(crate) tag: Tag,
}

/// One parsed JSON value with everything needed to read it; cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Document<'t> {
    pub(super) nodes: &'t [Node],
    pub(super) text: &'t str,
    pub(super) unescaped: &'t str,
}

impl<'t> Document<'t> {
    /// The value itself.
    pub fn root(self) -> Value<'t> {
        Value { document: self, at: 0 }
    }

    #[inline]
    pub(crate) fn node(self, at: u32) -> Node {
        self.nodes[at as usize]
    }

    /// The index of the node behind the value at `at`.
    #[inline]
    pub(crate) fn after(self, at: u32) -> u32 {
        match self.node(at) {
            Node { tag: Tag::Array | Tag::Object, extent, .. } => extent,
            _ => at + 1,
        }
    }

    /// The text of a string or number node.
    #[inline]
    pub(crate) fn str(self, node: Node) -> &'t str {
        let range = node.start as usize..node.start as usize + node.extent as usize;
        if node.tag == Tag::Unescaped { &self.unescaped[range] } else { &self.text[range] }
    }
}

/// A value inside a [`Document`]. Every question about a value of another type is answered with "no" or "nothing", never with a panic.
#[derive(Debug, Clone, Copy)]
pub struct Value<'t> {
    pub(crate) document: Document<'t>,
    pub(crate) at: u32,
}

impl<'t> Value<'t> {
    pub(crate) fn tag(self) -> Tag {
        self.document.node(self.at).tag
    }

    /// The string, unescaped; `None` for any other type.
    pub fn as_str(self) -> Option<&'t str> {
        let node = self.document.node(self.at);
        matches!(node.tag, Tag::Text | Tag::Unescaped).then(|| self.document.str(node))
    }

    /// The number as it is written in the JSON; `None` for any other type.
    pub fn as_number(self) -> Option<&'t str> {
        let node = self.document.node(self.at);
        (node.tag == Tag::Number).then(|| self.document.str(node))
    }

    /// The boolean; `None` for any other type.
    pub fn as_bool(self) -> Option<bool> {
        match self.tag() {
            Tag::True => Some(true),
            Tag::False => Some(false),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.tag() == Tag::Null
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.tag() == Tag::Object
    }

    /// The member of an object. Of several with that name the last, as Go's maps have it; `None` if there is none or this is no object.
    pub fn get(self, name: &str) -> Option<Value<'t>> {
        self.members().filter(|(key, _)| *key == name).last().map(|(_, value)| value)
    }

    /// The nodes of all keys of that name.
    pub(crate) fn keys_named(self, name: &str) -> impl Iterator<Item = u32> {
        self.keys().filter(move |(_, key)| *key == name).map(|(at, _)| at)
    }

    /// Nodes and names of the keys of an object; nothing for any other type.
    pub(crate) fn keys(self) -> impl Iterator<Item = (u32, &'t str)> {
        self.members_with_keys().map(move |(at, _)| (at, self.document.str(self.document.node(at))))
    }

    /// Follows `path` through objects.
    pub fn path(self, path: &[&str]) -> Option<Value<'t>> {
        path.iter().try_fold(self, |value, name| value.get(name))
    }

    /// Names and values of an object, in the order of the JSON, equal names included; nothing for any other type.
    pub fn members(self) -> impl Iterator<Item = (&'t str, Value<'t>)> {
        self.members_with_keys().map(move |(key, value)| (self.document.str(self.document.node(key)), value))
    }

    /// The values of an array; nothing for any other type.
    pub fn elements(self) -> impl Iterator<Item = Value<'t>> {
        let mut at = self.at + 1;
        let end = if self.tag() == Tag::Array { self.document.after(self.at) } else { at };
        std::iter::from_fn(move || {
            let value = (at < end).then_some(Value { document: self.document, at })?;
            at = self.document.after(at);
            Some(value)
        })
    }

    fn members_with_keys(self) -> impl Iterator<Item = (u32, Value<'t>)> {
        let mut at = self.at + 1;
        let end = if self.is_object() { self.document.after(self.at) } else { at };
        std::iter::from_fn(move || {
            let key = (at < end).then_some(at)?;
            let value = Value { document: self.document, at: key + 1 };
            at = self.document.after(value.at);
            Some((key, value))
        })
    }
}
