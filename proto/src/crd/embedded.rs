//! Parts of a custom resource that Kubernetes defines, and numbers that may be written as strings.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// An object of a type that Kubernetes defines (a volume, a probe, a toleration, …), kept exactly as the user wrote it.
///
/// The API server stores its fields without looking at them. [`Embedded::parse`] reads it as the type it shall be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Embedded(pub Map<String, Value>);

/// An embedded object is not of the type that its place in the custom resource asks for.
#[derive(Debug, thiserror::Error)]
#[error("read {field}")]
pub struct EmbeddedError {
    /// The field, as `spec.runtimeSettings.pod.affinity`.
    pub field: String,
    /// What does not fit.
    #[source]
    pub source: serde_json::Error,
}

impl Embedded {
    /// The object as a `T`. Fields that `T` does not know are left out of the result, and stay in `self`.
    ///
    /// # Errors
    /// [`EmbeddedError`] with the name `field` when a field has another type than in `T`, or a required one is missing.
    pub fn parse<T: DeserializeOwned>(&self, field: &str) -> Result<T, EmbeddedError> {
        let parsed = serde_json::from_value(Value::Object(self.0.clone()));
        parsed.map_err(|source| EmbeddedError { field: field.to_owned(), source })
    }

    /// The object as JSON.
    pub fn value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// The string in the field `name`, if it is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }
}

impl JsonSchema for Embedded {
    fn schema_name() -> Cow<'static, str> {
        "Embedded".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
    }
}

/// A port or a quantity: Kubernetes takes both as numbers and as strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A whole number.
    Int(i64),
    /// Text: a port's name, or a quantity with a unit.
    String(String),
}

impl Default for IntOrString {
    fn default() -> Self {
        Self::Int(0)
    }
}

impl JsonSchema for IntOrString {
    fn schema_name() -> Cow<'static, str> {
        "IntOrString".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true })
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Toleration;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_embedded_object_keeps_fields_of_later_versions_of_kubernetes() {
        let written = json!({ "key": "a", "fromTheFuture": { "x": [1] } });
        let embedded: Embedded = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(embedded.parse::<Toleration>("t").unwrap().key.as_deref(), Some("a"));
        assert_eq!(serde_json::to_value(&embedded).unwrap(), written);
    }

    #[test]
    fn an_embedded_object_of_another_type_is_an_error_that_names_the_field() {
        let embedded: Embedded = serde_json::from_value(json!({ "key": 7 })).unwrap();
        let error = embedded.parse::<Toleration>("spec.tolerations[0]").unwrap_err();
        assert_eq!(error.to_string(), "read spec.tolerations[0]");
    }

    #[test]
    fn a_quantity_may_be_a_number_or_text() {
        let read = |value| serde_json::from_value::<IntOrString>(value).unwrap();
        assert_eq!(read(json!(5_000_000_000_i64)), IntOrString::Int(5_000_000_000));
        assert_eq!(read(json!("1Gi")), IntOrString::String("1Gi".to_owned()));
    }
}
