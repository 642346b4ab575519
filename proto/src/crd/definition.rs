//! The CustomResourceDefinitions: what the types say, plus what types cannot say.
//!
//! The derived schemas differ from Stash's in three points, which [`definitions`] settles:
//!
//! 1. nothing is `nullable`: the API server drops a null instead of storing it, so no reader ever meets one;
//! 2. only Stash's three defaults are set, not those of Rust;
//! 3. CEL rules ([`RULES`]) stand in for Stash's webhooks.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps};
use kube_core::crd::CustomResourceExt;
use serde_json::{Map, Value, json};

use super::{
    BackupBatch, BackupBlueprint, BackupConfiguration, BackupSession, Function, Repository, RestoreBatch,
    RestoreSession, Task,
};

/// A rule that the API server checks on every write.
struct Rule {
    kind: &'static str,
    /// Property that the rule is about; empty for the whole object.
    path: &'static [&'static str],
    rule: &'static str,
    message: &'static str,
}

/// Rules in place of Stash's webhooks. Each one either compares with the object as it was, in a part that a write of the
/// status cannot change, or stands at a property that the API server does not check again while it stays the same
/// (<https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-ratcheting>).
const RULES: &[Rule] = &[
    Rule {
        kind: "BackupConfiguration",
        path: &[],
        rule: "!(has(oldSelf.status) && has(oldSelf.status.phase) && oldSelf.status.phase == 'Ready') || \
               (has(self.spec) && has(self.spec.target) \
               ? has(oldSelf.spec) && has(oldSelf.spec.target) && self.spec.target == oldSelf.spec.target \
               : !(has(oldSelf.spec) && has(oldSelf.spec.target)))",
        message: "Updating target is forbidden when BackupConfiguration is in READY state",
    },
    Rule {
        kind: "BackupBatch",
        path: &[],
        rule: "!(has(oldSelf.status) && has(oldSelf.status.phase) && oldSelf.status.phase == 'Ready') || \
               (has(self.spec) && has(self.spec.members) \
               ? has(oldSelf.spec) && has(oldSelf.spec.members) \
               && self.spec.members.map(one, has(one.target) ? [one.target] : []) \
               == oldSelf.spec.members.map(one, has(one.target) ? [one.target] : []) \
               : !(has(oldSelf.spec) && has(oldSelf.spec.members)))",
        message: "Updating target is forbidden when BackupBatch is in READY state",
    },
    Rule { kind: "BackupConfiguration", path: &["spec", "retentionPolicy"], rule: NAMED, message: UNNAMED },
    Rule { kind: "BackupBatch", path: &["spec", "retentionPolicy"], rule: NAMED, message: UNNAMED },
    Rule { kind: "BackupBlueprint", path: &["spec", "retentionPolicy"], rule: NAMED, message: UNNAMED },
    Rule { kind: "Repository", path: &["spec", "backend", "local"], rule: MOUNTED, message: MISMOUNTED },
    Rule { kind: "BackupBlueprint", path: &["spec", "backend", "local"], rule: MOUNTED, message: MISMOUNTED },
    Rule {
        kind: "BackupSession",
        path: &["spec"],
        rule: "self == oldSelf",
        message: "BackupSession spec is immutable",
    },
];

const NAMED: &str = "self.name != ''";
const UNNAMED: &str = "a retention policy needs a name";
const MOUNTED: &str = "!has(self.mountPath) || (self.mountPath != '/stash' && !self.mountPath.startsWith('/stash/'))";
const MISMOUNTED: &str = "mountPath must not be /stash or below it";

/// Defaults that Stash's schemas have: kind, property, value.
const DEFAULTS: &[(&str, &[&str], &str)] = &[
    ("BackupConfiguration", &["spec", "driver"], "Restic"),
    ("BackupBatch", &["spec", "driver"], "Restic"),
    ("BackupBatch", &["spec", "executionOrder"], "Parallel"),
    ("RestoreSession", &["spec", "driver"], "Restic"),
    ("RestoreBatch", &["spec", "driver"], "Restic"),
    ("RestoreBatch", &["spec", "executionOrder"], "Parallel"),
    ("Repository", &["spec", "usagePolicy", "allowedNamespaces", "from"], "Same"),
    ("BackupBlueprint", &["spec", "usagePolicy", "allowedNamespaces", "from"], "Same"),
];

/// Targets of a BackupBatch. The API server refuses a rule over a list without a limit; each target is a Job, and nobody
/// starts a thousand of them at once.
const MEMBERS_MAX: u32 = 1000;

/// The nine CustomResourceDefinitions, in the order of their names.
///
/// # Panics
/// Never: it reads nothing but the types above, and a test makes all of them.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let mut all = vec![
        BackupBatch::crd(),
        BackupBlueprint::crd(),
        BackupConfiguration::crd(),
        BackupSession::crd(),
        Function::crd(),
        Repository::crd(),
        RestoreBatch::crd(),
        RestoreSession::crd(),
        Task::crd(),
    ];
    all.iter_mut().for_each(settle);
    all
}

fn settle(definition: &mut CustomResourceDefinition) {
    let kind = definition.spec.names.kind.clone();
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let schema = schema.expect("every version must have a schema: it was derived");
        *schema = settled(&kind, schema);
    }
}

fn settled(kind: &str, schema: &JSONSchemaProps) -> JSONSchemaProps {
    let mut schema = serde_json::to_value(schema).expect("a schema must be JSON: it has text keys only");
    strip(&mut schema);
    let root = schema.as_object_mut().expect("the schema must be an object: it was derived from a struct");
    root.remove("title");
    for (_, path, value) in DEFAULTS.iter().filter(|(of, ..)| *of == kind) {
        property(root, path).insert("default".to_owned(), json!(value));
    }
    for Rule { path, rule, message, .. } in RULES.iter().filter(|rule| rule.kind == kind) {
        let rule = json!([{ "rule": rule, "message": message }]);
        property(root, path).insert("x-kubernetes-validations".to_owned(), rule);
    }
    if kind == "BackupBatch" {
        property(root, &["spec", "members"]).insert("maxItems".to_owned(), json!(MEMBERS_MAX));
    }
    serde_json::from_value(schema).expect("the schema must stay one: only known keywords were changed")
}

/// Removes `nullable` and `default` from a schema and all schemas in it.
fn strip(schema: &mut Value) {
    let Some(keywords) = schema.as_object_mut() else { return };
    keywords.remove("nullable");
    keywords.remove("default");
    for (keyword, value) in keywords {
        match (keyword.as_str(), value) {
            // Here the keys are names of properties: a property may well be called `default`.
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(strip),
            ("items" | "additionalProperties", inner) => strip(inner),
            _ => {}
        }
    }
}

fn property<'a>(root: &'a mut Map<String, Value>, path: &[&str]) -> &'a mut Map<String, Value> {
    path.iter().fold(root, |schema, name| {
        let properties = schema.get_mut("properties").and_then(|all| all.get_mut(*name));
        properties.and_then(Value::as_object_mut).unwrap_or_else(|| panic!("{path:?} must be in the schema"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(kind: &str) -> Value {
        let all = definitions();
        let definition = all.iter().find(|definition| definition.spec.names.kind == kind).unwrap();
        serde_json::to_value(&definition.spec.versions[0].schema).unwrap()["openAPIV3Schema"].take()
    }

    #[test]
    fn nothing_is_required_at_the_root_and_nothing_is_nullable() {
        for definition in definitions() {
            let kind = definition.spec.names.kind;
            let schema = schema(&kind);
            assert_eq!(schema.get("required"), None, "{kind}");
            assert!(!schema.to_string().contains("nullable"), "{kind}");
        }
    }

    #[test]
    fn enumerations_are_plain_strings() {
        let phase = schema("BackupSession")["properties"]["status"]["properties"]["phase"].clone();
        assert_eq!(phase["type"], "string");
        assert_eq!(phase["enum"], json!(["Pending", "Skipped", "Running", "Succeeded", "Failed", "Unknown"]));
    }

    #[test]
    fn required_fields_are_those_of_stash() {
        let spec = schema("BackupConfiguration")["properties"]["spec"].clone();
        assert_eq!(spec["required"], json!(["retentionPolicy"]));
        let properties = &spec["properties"];
        assert_eq!(properties["retentionPolicy"]["required"], json!(["name", "prune"]));
        assert_eq!(properties["repository"]["required"], json!(["name"]));
        assert_eq!(properties["driver"]["default"], "Restic");
    }
}
