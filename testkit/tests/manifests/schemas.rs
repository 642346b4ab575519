//! JSON schemas for kubeconform, from the document that an API server publishes at /openapi/v2.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

const DEFINITIONS: &str = "_definitions.json";

/// Writes one file for each kind and version, named as kubeconform asks for it, and returns how many.
pub(super) fn write(document: &Value, folder: &Path) -> usize {
    let mut definitions = document["definitions"].as_object().unwrap().clone();
    // What the server takes for these is more than their definitions say.
    let text_or_number = json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] });
    for name in ["util.intstr.IntOrString", "api.resource.Quantity"] {
        definitions.insert(format!("io.k8s.apimachinery.pkg.{name}"), text_or_number.clone());
    }
    let files = definitions.iter().flat_map(|(name, schema)| kinds(schema).map(move |kind| (name, file_name(&kind))));
    let files: Vec<(String, String)> = files.map(|(name, file)| (name.clone(), file)).collect();
    for (name, file) in &files {
        let schema = json!({ "$ref": format!("{DEFINITIONS}#/definitions/{name}") });
        fs::write(folder.join(file), schema.to_string()).unwrap();
    }
    let mut all = json!({ "definitions": Value::Object(definitions) });
    close(&mut all["definitions"]);
    fs::write(folder.join(DEFINITIONS), all.to_string()).unwrap();
    files.len()
}

fn kinds(schema: &Value) -> impl Iterator<Item = Map<String, Value>> {
    let kinds = schema["x-kubernetes-group-version-kind"].as_array().cloned().unwrap_or_default();
    kinds.into_iter().filter_map(|kind| kind.as_object().cloned())
}

/// `deployment-apps-v1.json`: of a group only what stands before its first dot.
fn file_name(kind: &Map<String, Value>) -> String {
    let part = |name: &str| kind[name].as_str().unwrap().to_lowercase();
    let group = part("group");
    let group = group.split('.').next().filter(|group| !group.is_empty()).map(|group| format!("{group}-"));
    format!("{}-{}{}.json", part("kind"), group.unwrap_or_default(), part("version"))
}

/// Refuses what is not in a schema, which `-strict` alone does for kubeconform's own schemas only.
fn close(schemas: &mut Value) {
    for schema in schemas.as_object_mut().unwrap().values_mut() {
        close_one(schema);
    }
}

fn close_one(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    let preserves = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    if schema.contains_key("properties") && !schema.contains_key("additionalProperties") && !preserves {
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    if let Some(properties) = schema.get_mut("properties") {
        close(properties);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(inner) {
            close_one(inner);
        }
    }
}
