//! The query of a LIST. Pure.

use form_urlencoded::byte_serialize;

/// Where a listing stands, and so what its next request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    /// The first page, at exactly this version.
    Exact(String),
    /// The first page, at the server's present version.
    Present,
    /// A further page.
    Continue(String),
}

/// The query for one page: never without a limit.
pub(super) fn list(cursor: &Cursor, limit: u32, label_selector: Option<&str>, field_selector: Option<&str>) -> String {
    let mut query = format!("?limit={limit}");
    match cursor {
        Cursor::Exact(version) => query += &(encoded("resourceVersion", version) + "&resourceVersionMatch=Exact"),
        Cursor::Present => {}
        Cursor::Continue(token) => query += &encoded("continue", token),
    }
    for (name, value) in [("labelSelector", label_selector), ("fieldSelector", field_selector)] {
        if let Some(value) = value {
            query += &encoded(name, value);
        }
    }
    query
}

/// The field selector for the object of this name. Names of RBAC objects may hold what a selector takes for itself.
pub(super) fn named(name: &str) -> String {
    let mut selector = "metadata.name=".to_owned();
    for letter in name.chars() {
        if matches!(letter, '\\' | ',' | '=') {
            selector.push('\\');
        }
        selector.push(letter);
    }
    selector
}

/// `&name=value`, the value percent-encoded.
pub(super) fn encoded(name: &str, value: &str) -> String {
    format!("&{name}={}", byte_serialize(value.as_bytes()).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_a_limit_and_only_the_first_names_a_version() {
        assert_eq!(
            list(&Cursor::Exact("7".into()), 500, None, None),
            "?limit=500&resourceVersion=7&resourceVersionMatch=Exact"
        );
        assert_eq!(list(&Cursor::Present, 1, None, None), "?limit=1");
        assert_eq!(list(&Cursor::Continue("a=b&".into()), 9, None, None), "?limit=9&continue=a%3Db%26");
    }

    #[test]
    fn names_are_escaped_in_selectors() {
        assert_eq!(named("system:node"), "metadata.name=system:node");
        assert_eq!(named("a,b=c\\d"), "metadata.name=a\\,b\\=c\\\\d");
    }

    #[test]
    fn selectors_go_with_every_page() {
        let query = list(&Cursor::Continue("t".into()), 2, Some("app in (a,b)"), Some("metadata.name=x"));
        assert_eq!(query, "?limit=2&continue=t&labelSelector=app+in+%28a%2Cb%29&fieldSelector=metadata.name%3Dx");
    }
}
