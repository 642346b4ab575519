//! The addon that is there from the start: Function and Task `kubedump-backup-0.1.0`, Function `update-status`.
//!
//! They are applied at start-up without force: what somebody else has written stays as it is, and the log says so. The
//! arguments are those of Stash, so that params and settings of users have the same effect.

use serde_json::{Value, json};

/// Name of the Function and the Task that dump.
pub const KUBEDUMP: &str = "kubedump-backup-0.1.0";
/// Name of the Function of the last step.
pub const UPDATE_STATUS: &str = "update-status";
/// Flags of the dumper and the variables that they take.
const DUMP_FLAGS: [(&str, &str); 32] = [
    ("provider", "${REPOSITORY_PROVIDER:=}"),
    ("bucket", "${REPOSITORY_BUCKET:=}"),
    ("endpoint", "${REPOSITORY_ENDPOINT:=}"),
    ("region", "${REPOSITORY_REGION:=}"),
    ("path", "${REPOSITORY_PREFIX:=}"),
    ("storage-secret-name", "${REPOSITORY_SECRET_NAME:=}"),
    ("storage-secret-namespace", "${REPOSITORY_SECRET_NAMESPACE:=}"),
    ("scratch-dir", "/tmp"),
    ("enable-cache", "${ENABLE_CACHE:=true}"),
    ("max-connections", "${MAX_CONNECTIONS:=0}"),
    ("hostname", "${HOSTNAME:=}"),
    ("namespace", "${NAMESPACE:=default}"),
    ("backupsession", "${BACKUP_SESSION:=}"),
    ("invoker-kind", "${INVOKER_KIND:=}"),
    ("invoker-name", "${INVOKER_NAME:=}"),
    ("target-kind", "${TARGET_KIND:=}"),
    ("target-name", "${TARGET_NAME:=}"),
    ("target-namespace", "${TARGET_NAMESPACE:=}"),
    ("sanitize", "${sanitize:=true}"),
    ("label-selector", "${labelSelector:=}"),
    ("include-dependants", "${includeDependants:=false}"),
    ("retention-keep-last", "${RETENTION_KEEP_LAST:=0}"),
    ("retention-keep-hourly", "${RETENTION_KEEP_HOURLY:=0}"),
    ("retention-keep-daily", "${RETENTION_KEEP_DAILY:=0}"),
    ("retention-keep-weekly", "${RETENTION_KEEP_WEEKLY:=0}"),
    ("retention-keep-monthly", "${RETENTION_KEEP_MONTHLY:=0}"),
    ("retention-keep-yearly", "${RETENTION_KEEP_YEARLY:=0}"),
    ("retention-keep-tags", "${RETENTION_KEEP_TAGS:=}"),
    ("retention-prune", "${RETENTION_PRUNE:=false}"),
    ("retention-dry-run", "${RETENTION_DRY_RUN:=false}"),
    ("output-dir", "${outputDir:=}"),
    ("license-apiservice", "${LICENSE_APISERVICE:=}"),
];
/// Flags of `update-status` and the variables that they take.
const STATUS_FLAGS: [(&str, &str); 11] = [
    ("namespace", "${NAMESPACE:=default}"),
    ("backupsession", "${BACKUP_SESSION:=}"),
    ("invoker-kind", "${INVOKER_KIND:=}"),
    ("invoker-name", "${INVOKER_NAME:=}"),
    ("repository", "${REPOSITORY_NAME:=}"),
    ("target-kind", "${TARGET_KIND:=}"),
    ("target-name", "${TARGET_NAME:=}"),
    ("target-namespace", "${TARGET_NAMESPACE:=}"),
    ("hostname", "${HOSTNAME:=host-0}"),
    ("output-dir", "${outputDir:=}"),
    ("metrics-pushgateway-url", "${PROMETHEUS_PUSHGATEWAY_URL:=}"),
];

/// Images of the addon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    /// Image with the dumper.
    pub dumper: String,
    /// Image with this program.
    pub dispatcher: String,
}

/// The objects of the addon.
pub fn objects(images: &Images) -> Vec<Value> {
    let flags = |verb: &str, flags: &mut dyn Iterator<Item = &(&str, &str)>| -> Vec<String> {
        [verb.to_owned()].into_iter().chain(flags.map(|(name, value)| format!("--{name}={value}"))).collect()
    };
    let step = |name: &str| json!({ "name": name, "params": [{ "name": "outputDir", "value": "/tmp/output" }] });
    let dump = flags("backup", &mut DUMP_FLAGS.iter());
    let update = flags(UPDATE_STATUS, &mut STATUS_FLAGS.iter());
    vec![
        object("Function", KUBEDUMP, json!({ "image": images.dumper, "args": dump })),
        object("Function", UPDATE_STATUS, json!({ "image": images.dispatcher, "args": update })),
        object("Task", KUBEDUMP, json!({ "steps": [step(KUBEDUMP), step(UPDATE_STATUS)] })),
    ]
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": kind,
        "metadata": { "name": name, "labels": { "app.kubernetes.io/name": "stowage" } },
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use proto::{
        crd::FunctionSpec,
        resolve::{self, Inputs},
    };

    use super::*;

    #[test]
    fn functions_resolve_also_without_any_input() {
        for object in objects(&Images { dumper: "d:1".to_owned(), dispatcher: "s:1".to_owned() }) {
            if object["kind"] == "Function" {
                let spec: FunctionSpec = serde_json::from_value(object["spec"].clone()).unwrap();
                let resolved = resolve::function("f", &spec, &Inputs::new()).unwrap();
                assert!(resolved.args.iter().all(|arg| !arg.contains('$')), "{resolved:?}");
            }
        }
    }
}
