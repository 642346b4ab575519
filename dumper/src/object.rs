//! What the dumper must know of one object, read from the tape; and the object as the file that is stored.
//!
//! Nothing here knows a Kubernetes type: every field is looked up by its path, so that fields newer than this program are kept.

use jiff::Timestamp;

use crate::json::Value;
use crate::sanitize::{self, Rules};
use crate::yaml::{self, Edits};

/// Type of an object. The API server leaves both fields out of the items of its own lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeInfo<'a> {
    /// `v1`, `apps/v1`.
    pub api_version: &'a str,
    /// `Deployment`.
    pub kind: &'a str,
}

impl<'a> TypeInfo<'a> {
    /// The API group: what stands before the `/`, empty for the core group.
    pub fn group(self) -> &'a str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

/// Why an item of a list cannot be stored.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum ObjectError {
    /// The item is a string, a number, a list, `null`.
    #[error("item of the list is no JSON object")]
    NotAnObject,
    /// Without `metadata.name` there is no path for it.
    #[error("object has no metadata.name")]
    NoName,
}

/// Whether `status` is stored, which decides if a change of it counts as a change of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The file has it.
    Kept,
    /// It is removed.
    Dropped,
}

/// Identity and age of an object.
#[derive(Debug, Clone, Copy)]
pub struct Meta<'t> {
    /// `metadata.name`.
    pub name: &'t str,
    /// `metadata.namespace`; `None` for cluster-scoped objects.
    pub namespace: Option<&'t str>,
    /// `metadata.uid`; objects of some aggregated APIs have none.
    pub uid: Option<&'t str>,
    /// `metadata.resourceVersion`.
    pub resource_version: Option<&'t str>,
    /// When the object was last changed as far as it tells: the newest `metadata.managedFields[].time`, else its creation, else the
    /// epoch. It depends on nothing but the object, so an unchanged object makes an unchanged file.
    pub modified: Timestamp,
    metadata: Value<'t>,
}

/// One of `metadata.ownerReferences`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'t> {
    /// Uid of the owner.
    pub uid: &'t str,
    /// Its `apiVersion`; empty if the reference has none.
    pub api_version: &'t str,
    /// Its kind; empty if the reference has none.
    pub kind: &'t str,
    /// Its name; empty if the reference has none.
    pub name: &'t str,
    /// Whether it is the managing controller.
    pub controller: bool,
}

impl<'t> Meta<'t> {
    /// Reads `object`.
    ///
    /// # Errors
    /// Both [`ObjectError`]s.
    pub fn read(object: Value<'t>, status: Status) -> Result<Self, ObjectError> {
        if !object.is_object() {
            return Err(ObjectError::NotAnObject);
        }
        let metadata = object.get("metadata").ok_or(ObjectError::NoName)?;
        let mut meta = Self {
            name: "",
            namespace: None,
            uid: None,
            resource_version: None,
            modified: Timestamp::UNIX_EPOCH,
            metadata,
        };
        let (mut created, mut managed) = (None, None);
        for (field, value) in metadata.members() {
            let text = value.as_str().filter(|text| !text.is_empty());
            match field {
                "name" => meta.name = text.unwrap_or_default(),
                "namespace" => meta.namespace = text,
                "uid" => meta.uid = text,
                "resourceVersion" => meta.resource_version = text,
                "creationTimestamp" => created = Some(value),
                "managedFields" => managed = Some(value),
                _ => {}
            }
        }
        if meta.name.is_empty() {
            return Err(ObjectError::NoName);
        }
        let changed = managed.and_then(|managed| newest_change(managed, status));
        meta.modified = changed.or_else(|| time(created?)).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(meta)
    }

    /// The owners that have a uid, in the order of the object.
    pub fn owners(self) -> impl Iterator<Item = Owner<'t>> {
        let references = self.metadata.get("ownerReferences");
        references.into_iter().flat_map(Value::elements).filter_map(|reference| {
            let text = |name| reference.get(name).and_then(Value::as_str);
            Some(Owner {
                uid: text("uid")?,
                api_version: text("apiVersion").unwrap_or_default(),
                kind: text("kind").unwrap_or_default(),
                name: text("name").unwrap_or_default(),
                controller: reference.get("controller").and_then(Value::as_bool).unwrap_or_default(),
            })
        })
    }

    /// The value of a label.
    pub fn label(self, name: &str) -> Option<&'t str> {
        self.metadata.get("labels")?.get(name)?.as_str()
    }

    /// All labels, in the order of the object.
    pub fn labels(self) -> impl Iterator<Item = (&'t str, &'t str)> {
        let labels = self.metadata.get("labels");
        labels.into_iter().flat_map(Value::members).filter_map(|(name, value)| Some((name, value.as_str()?)))
    }
}

fn newest_change(managed_fields: Value<'_>, status: Status) -> Option<Timestamp> {
    let counts = |entry: &Value<'_>| {
        status == Status::Kept || entry.get("subresource").and_then(Value::as_str) != Some("status")
    };
    let times = managed_fields.elements().filter(counts).filter_map(|entry| time(entry.get("time")?));
    times.max()
}

fn time(value: Value<'_>) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// Appends `object` to `out` as `kubectl get -o yaml --show-managed-fields` would print it, without what `rules` remove. `apiVersion` and `kind` come
/// from `type_info` where the object lacks them. The bytes depend on the arguments only.
///
/// # Errors
/// [`ObjectError::NotAnObject`]; `out` is unchanged then.
pub fn render(
    object: Value<'_>,
    type_info: TypeInfo<'_>,
    rules: Option<&Rules>,
    out: &mut Vec<u8>,
) -> Result<(), ObjectError> {
    if !object.is_object() {
        return Err(ObjectError::NotAnObject);
    }
    let removed = rules.map(|rules| sanitize::removals(object, type_info, rules)).unwrap_or_default();
    let defaults = [("apiVersion", type_info.api_version), ("kind", type_info.kind)];
    yaml::emit_edited(object, Edits { removed: &removed, defaults: &defaults }, out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Tape;

    fn meta(json: &str, status: Status) -> Result<String, ObjectError> {
        let mut tape = Tape::new();
        let document = tape.parse(json.as_bytes()).unwrap();
        Meta::read(document.root(), status).map(|meta| meta.modified.to_string())
    }

    const MANAGED: &str = r#"{"metadata":{"name":"a","creationTimestamp":"2020-01-01T00:00:00Z","managedFields":[
        {"time":"2021-01-01T00:00:00Z"},{"time":"2023-01-01T00:00:00Z","subresource":"status"},{"time":"2022-01-01T00:00:00Z","subresource":"scale"},{}]}}"#;

    #[test]
    fn age_is_that_of_the_newest_change_to_what_is_stored() {
        assert_eq!(meta(MANAGED, Status::Dropped).unwrap(), "2022-01-01T00:00:00Z");
        assert_eq!(meta(MANAGED, Status::Kept).unwrap(), "2023-01-01T00:00:00Z");
    }

    #[test]
    fn age_without_managed_fields_is_creation_or_the_epoch() {
        let created =
            r#"{"metadata":{"name":"a","creationTimestamp":"2020-01-01T00:00:00Z","managedFields":[{"time":"soon"}]}}"#;
        assert_eq!(meta(created, Status::Kept).unwrap(), "2020-01-01T00:00:00Z");
        assert_eq!(
            meta(r#"{"metadata":{"name":"a","creationTimestamp":null}}"#, Status::Kept).unwrap(),
            "1970-01-01T00:00:00Z"
        );
    }

    #[test]
    fn odd_items_are_errors() {
        assert_eq!(meta("[]", Status::Kept), Err(ObjectError::NotAnObject));
        assert_eq!(meta(r#"{"metadata":7}"#, Status::Kept), Err(ObjectError::NoName));
        assert_eq!(meta(r#"{"metadata":{"name":""}}"#, Status::Kept), Err(ObjectError::NoName));
    }

    #[test]
    fn owners_and_labels_are_read() {
        let json = r#"{"metadata":{"name":"a","labels":{"x":"1","y":2},"ownerReferences":[
            {"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"u1","controller":true},{"kind":"NoUid"},{"uid":"u2"}]}}"#;
        let mut tape = Tape::new();
        let meta = Meta::read(tape.parse(json.as_bytes()).unwrap().root(), Status::Kept).unwrap();
        let owners: Vec<_> = meta.owners().collect();
        let first = Owner { uid: "u1", api_version: "apps/v1", kind: "ReplicaSet", name: "r", controller: true };
        assert_eq!(owners, [first, Owner { uid: "u2", api_version: "", kind: "", name: "", controller: false }]);
        assert_eq!(meta.label("x"), Some("1"));
        assert_eq!(meta.labels().collect::<Vec<_>>(), [("x", "1")]);
    }

    fn rendered(json: &str) -> String {
        let mut tape = Tape::new();
        let mut out = b"before\n".to_vec();
        let type_info = TypeInfo { api_version: "apps/v1", kind: "Deployment" };
        render(tape.parse(json.as_bytes()).unwrap().root(), type_info, None, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn type_is_added_where_the_list_left_it_out() {
        assert_eq!(rendered(r#"{"data":1,"z":2}"#), "before\napiVersion: apps/v1\ndata: 1\nkind: Deployment\nz: 2\n");
        assert_eq!(rendered(r#"{"kind":"Other"}"#), "before\napiVersion: apps/v1\nkind: Other\n");
        assert_eq!(rendered("{}"), "before\napiVersion: apps/v1\nkind: Deployment\n");
    }
}
