//! What is handed out: rights on a Repository in another namespace, and copies of pull Secrets.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use testkit::wait_for;

use crate::bed::{Bed, PATIENCE};

const NAME: &str = "demo-backupconfiguration-backup-0";
const ACCOUNT: &str = "--as=system:serviceaccount:demo:cluster-resource-reader";

/// A Repository in the namespace `store`, which the namespaces of `from` may use.
async fn repository(bed: &Bed, from: &str) {
    let spec = json!({
        "backend": { "gcs": { "bucket": "b" }, "storageSecretName": "gcs-secret" },
        "usagePolicy": { "allowedNamespaces": { "from": from } },
    });
    let version = "stash.appscode.com/v1alpha1";
    bed.apply(version, "Repository", "repositories", "store", "shared", json!({ "spec": spec })).await;
}

/// Whether the account of the Jobs may do this in `store`.
fn may(bed: &Bed, verb: &str, what: &str) -> bool {
    let asked = bed.kubectl(&[
        "create",
        "--raw",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        "-f",
        &review(bed, verb, what),
    ]);
    serde_json::from_str::<serde_json::Value>(&asked).unwrap()["status"]["allowed"] == true
}

fn review(bed: &Bed, verb: &str, what: &str) -> String {
    let (group, resource, name) = match what.split_once('/').unwrap() {
        ("secret", name) => ("", "secrets", name),
        (_, name) => ("stash.appscode.com", "repositories", name),
    };
    let attributes = json!({ "namespace": "store", "verb": verb, "group": group, "resource": resource, "name": name });
    let user = ACCOUNT.trim_start_matches("--as=");
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": { "user": user, "resourceAttributes": attributes },
    });
    bed.file("review.json", &body.to_string())
}

#[tokio::test]
async fn jobs_may_read_a_repository_elsewhere_while_it_is_used_and_nothing_else() {
    let bed = Bed::new().await;
    bed.kubectl(&["create", "namespace", "store"]);
    bed.secret_in("store").await;
    repository(&bed, "All").await;
    bed.configuration("backup", "shared", json!(null)).await;
    bed.patch("bc", "backup", &json!({ "spec": { "repository": { "namespace": "store" } } }));
    let _scheduler = bed.scheduler("one");
    bed.becomes("backup", "Ready").await;
    let there = || {
        let [roles, bindings] = ["role", "rolebinding"].map(|kind| bed.names(kind, "store"));
        async move { (roles, bindings) }
    };
    assert_eq!(there().await, (vec![NAME.to_owned()], vec![NAME.to_owned()]));
    assert!(may(&bed, "get", "secret/gcs-secret") && may(&bed, "get", "repository/shared"));
    for (verb, what) in [("get", "secret/other"), ("patch", "repository/shared"), ("get", "repository/other")] {
        assert!(!may(&bed, verb, what), "{verb} {what}");
    }

    // Who may use it no more loses the rights; who may again gets them back.
    repository(&bed, "Same").await;
    bed.becomes("backup", "Invalid").await;
    wait_for(PATIENCE, || async { there().await == (vec![], vec![]) }).await;
    repository(&bed, "All").await;
    bed.becomes("backup", "Ready").await;
    assert_eq!(there().await.0, [NAME]);
    bed.kubectl(&["delete", "bc", "backup", "-n", "demo"]);
    wait_for(PATIENCE, || async { there().await == (vec![], vec![]) }).await;
}

#[tokio::test]
async fn pull_secrets_of_the_operator_are_copied_and_kept_right() {
    let bed = Bed::new().await;
    bed.repository("storage").await;
    bed.secret().await;
    bed.configuration("backup", "storage", json!(null)).await;
    let own = json!({ "spec": { "runtimeSettings": { "pod": { "imagePullSecrets": [{ "name": "mine" }] } } } });
    bed.patch("bc", "backup", &own);
    let registry = |password: &str| {
        json!({
            "type": "kubernetes.io/dockerconfigjson",
            "data": { ".dockerconfigjson": STANDARD.encode(json!({ "auths": { "r": { "auth": password } } }).to_string()) },
        })
    };
    bed.apply("v1", "Secret", "secrets", "default", "registry", registry("one")).await;
    let arguments = ["--trigger-image", "x", "--image-pull-secrets", "registry"];
    let first = bed.scheduler_with("one", bed.user_kubeconfig(), &arguments);
    bed.becomes("backup", "Ready").await;
    let copy = "registry-backupconfiguration-backup";
    let read = bed.read("secrets", copy).await;
    assert_eq!((&read["data"], &read["type"]), (&registry("one")["data"], &registry("one")["type"]));
    assert_eq!(read["metadata"]["ownerReferences"][0]["name"], "backup");
    let cron_job = bed.read("cronjobs", "stash-trigger-backup").await;
    let pod = &cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    assert_eq!(pod["imagePullSecrets"], json!([{ "name": "mine" }, { "name": copy }]));

    drop(first);
    bed.apply("v1", "Secret", "secrets", "default", "registry", registry("two")).await;
    let _second = bed.scheduler_with("two", bed.user_kubeconfig(), &arguments);
    let data = || async { bed.read("secrets", copy).await["data"].clone() };
    wait_for(PATIENCE, || async { data().await == registry("two")["data"] }).await;
}
