//! Reads a LIST answer without building it as a tree.
//!
//! What is needed at once is small: where the next page is. Built-in kinds send `metadata` before `items`, so reading stops
//! there; custom resources send it last, and their items are passed over unread. The items themselves are parsed later,
//! one at a time, on another thread ([`crate::json::ListPage`]), which also finds out whether the rest is a list at all.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

/// `metadata` of a LIST answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ListMeta {
    /// The version of the whole collection that the page shows.
    pub(crate) resource_version: String,
    /// Where to go on; empty on the last page.
    #[serde(rename = "continue")]
    pub(crate) continue_token: String,
}

/// Message of the error that ends reading early; never shown.
const FOUND: &str = "metadata found";

/// Reads `metadata` of a LIST answer.
///
/// # Errors
/// The answer is not JSON up to there, or has no `metadata`.
pub(crate) fn list_meta(body: &[u8]) -> Result<ListMeta, serde_json::Error> {
    let mut meta = None;
    let mut json = serde_json::Deserializer::from_slice(body);
    let outcome = json.deserialize_map(HeadVisitor { meta: &mut meta });
    match (meta, outcome) {
        (Some(meta), _) => Ok(meta),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Err(de::Error::missing_field("metadata")),
    }
}

struct HeadVisitor<'m> {
    meta: &'m mut Option<ListMeta>,
}

impl<'de> Visitor<'de> for HeadVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Metadata => {
                    *self.meta = Some(map.next_value()?);
                    return Err(de::Error::custom(FOUND));
                }
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

enum Key {
    Metadata,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E: de::Error>(self, key: &str) -> Result<Key, E> {
                Ok(if key == "metadata" { Key::Metadata } else { Key::Other })
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_before_and_after_the_items() {
        let before = br#"{"kind":"PodList","metadata":{"resourceVersion":"7","continue":"abc"},"items":[BROKEN"#;
        let after = br#"{"items":[{"metadata":{"resourceVersion":"1"}}],"kind":"FooList","metadata":{"resourceVersion":"7","continue":"abc"}}"#;
        for body in [&before[..], after] {
            let meta = list_meta(body).expect("metadata");
            assert_eq!((meta.resource_version.as_str(), meta.continue_token.as_str()), ("7", "abc"));
        }
    }

    #[test]
    fn a_page_without_metadata_or_cut_before_it_is_an_error() {
        for body in [&b"{}"[..], b"", b"[]", b"{\"items\":[{}", b"\"metadata\"", b"{\"metadata\":{\"continue\":\"a"] {
            assert!(list_meta(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }
}
