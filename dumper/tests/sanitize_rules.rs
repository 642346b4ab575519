//! Every rule by example: what goes, and what looks like it and stays.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use dumper::json::Tape;
use dumper::object::{TypeInfo, render};
use dumper::sanitize::Rules;
use serde_json::{Value, json};

fn yaml(object: &Value, api_version: &str, kind: &str, rules: Option<&Rules>) -> String {
    let json = serde_json::to_vec(object).unwrap();
    let (mut tape, mut out) = (Tape::new(), Vec::new());
    render(tape.parse(&json).unwrap().root(), TypeInfo { api_version, kind }, rules, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// `before`, sanitised, must be what `after` is without sanitising.
#[track_caller]
fn assert_becomes(api_version: &str, kind: &str, before: &Value, after: &Value) {
    let actual = yaml(before, api_version, kind, Some(Rules::standard()));
    assert_eq!(actual, yaml(after, api_version, kind, None), "{api_version} {kind}");
}

#[track_caller]
fn assert_stays(api_version: &str, kind: &str, object: &Value) {
    assert_becomes(api_version, kind, object, object);
}

/// All workloads with a template, and where its metadata and pod spec stand.
const WORKLOADS: &[(&str, &str, &str)] = &[
    ("v1", "ReplicationController", "/spec/template"),
    ("apps/v1", "Deployment", "/spec/template"),
    ("apps/v1", "StatefulSet", "/spec/template"),
    ("apps/v1", "ReplicaSet", "/spec/template"),
    ("apps/v1", "DaemonSet", "/spec/template"),
    ("apps/v1beta2", "DaemonSet", "/spec/template"),
    ("batch/v1", "Job", "/spec/template"),
    ("batch/v1", "CronJob", "/spec/jobTemplate/spec/template"),
];

/// An object with `value` at a path, and nothing else.
fn at(pointer: &str, value: Value) -> Value {
    pointer.rsplit('/').filter(|step| !step.is_empty()).fold(value, |inner, step| json!({ step: inner }))
}

const METADATA_FIELDS: &[&str] =
    &["creationTimestamp", "resourceVersion", "uid", "generation", "selfLink", "generateName", "managedFields"];

const ANNOTATIONS: &[&str] = &[
    "controller-uid",
    "pod-template-hash",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deployment.kubernetes.io/revision",
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
];

/// Pod spec before and after; equal where the field has a value of the user's.
fn pod_spec_rules() -> Vec<(Value, Value)> {
    let path = |list: &str, path: &str| json!({list: [{"name": "a", "terminationMessagePath": path}, {"name": "b"}]});
    let mut rules = vec![
        (json!({"dnsPolicy": "ClusterFirst"}), json!({})),
        (json!({"dnsPolicy": "None"}), json!({"dnsPolicy": "None"})),
        (json!({"terminationGracePeriodSeconds": 30}), json!({})),
        (json!({"terminationGracePeriodSeconds": 31}), json!({"terminationGracePeriodSeconds": 31})),
        (json!({"terminationGracePeriodSeconds": "30"}), json!({"terminationGracePeriodSeconds": "30"})),
        (json!({"serviceAccountName": "default"}), json!({})),
        (
            json!({"serviceAccountName": "default", "serviceAccount": "default", "hostUsers": false}),
            json!({"hostUsers": false}),
        ),
        (
            json!({"serviceAccountName": "x", "serviceAccount": "x"}),
            json!({"serviceAccountName": "x", "serviceAccount": "x"}),
        ),
    ];
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        rules.push((path(list, "/dev/termination-log"), json!({list: [{"name": "a"}, {"name": "b"}]})));
        rules.push((path(list, "/x"), path(list, "/x")));
    }
    let kept = json!({"schedulerName": "default-scheduler", "restartPolicy": "Always", "securityContext": {}, "os": {"name": "linux"},
        "containers": [{"terminationMessagePolicy": "File", "resources": {}, "resizePolicy": []}], "schedulingGates": [{"name": "g"}]});
    rules.push((kept.clone(), kept));
    rules
}

#[test]
fn metadata_fields_go_from_every_kind() {
    for (api_version, kind) in [("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("x.io/v1", "Widget")] {
        for field in METADATA_FIELDS {
            let before = json!({"metadata": {"name": "a", *field: [1]}, "spec": {*field: 1}});
            assert_becomes(api_version, kind, &before, &json!({"metadata": {"name": "a"}, "spec": {*field: 1}}));
        }
    }
}

#[test]
fn status_goes_from_every_kind_but_only_at_the_top() {
    for (api_version, kind) in
        [("v1", "Node"), ("apiextensions.k8s.io/v1", "CustomResourceDefinition"), ("x.io/v1", "Widget")]
    {
        let before = json!({"metadata": {"name": "a"}, "status": {"a": 1}, "spec": {"status": 1}});
        assert_becomes(api_version, kind, &before, &json!({"metadata": {"name": "a"}, "spec": {"status": 1}}));
    }
}

#[test]
fn bookkeeping_annotations_go() {
    for annotation in ANNOTATIONS {
        let before =
            json!({"metadata": {"annotations": {*annotation: "1", "mine": "2"}, "labels": {*annotation: "1"}}});
        assert_becomes(
            "v1",
            "PersistentVolumeClaim",
            &before,
            &json!({"metadata": {"annotations": {"mine": "2"}, "labels": {*annotation: "1"}}}),
        );
        let alone = json!({"metadata": {"annotations": {*annotation: "1"}, "name": "a"}});
        assert_becomes("v1", "Service", &alone, &json!({"metadata": {"name": "a"}}));
    }
}

#[test]
fn annotations_that_were_empty_before_stay() {
    assert_stays("v1", "Service", &json!({"metadata": {"annotations": {}}}));
    assert_stays("v1", "Service", &json!({"metadata": {"annotations": null}}));
}

#[test]
fn what_a_restore_may_need_stays() {
    assert_stays(
        "v1",
        "Service",
        &json!({"metadata": {"name": "a", "finalizers": ["f"], "ownerReferences": [{"uid": "u"}], "deletionTimestamp": "t",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}\n"}, "labels": {"pod-template-hash": "1"}},
        "spec": {"clusterIP": "10.0.0.1", "ports": [{"nodePort": 1}]}}),
    );
}

#[test]
fn metadata_of_templates_is_cleaned() {
    for (api_version, kind, template) in WORKLOADS {
        for field in METADATA_FIELDS {
            let before = at(&format!("{template}/metadata"), json!({*field: null, "labels": {"a": "b"}}));
            let after = at(&format!("{template}/metadata"), json!({"labels": {"a": "b"}}));
            assert_becomes(api_version, kind, &before, &after);
        }
        let before = at(&format!("{template}/metadata"), json!({"annotations": {"pod-template-hash": "1"}}));
        assert_becomes(api_version, kind, &before, &at(&format!("{template}/metadata"), json!({})));
    }
    let before = json!({"spec": {"jobTemplate": {"metadata": {"creationTimestamp": null, "labels": {"a": "b"}}}}});
    assert_becomes(
        "batch/v1",
        "CronJob",
        &before,
        &json!({"spec": {"jobTemplate": {"metadata": {"labels": {"a": "b"}}}}}),
    );
}

#[test]
fn defaults_go_from_pod_specs_and_other_values_stay() {
    for (before, after) in pod_spec_rules() {
        assert_becomes("v1", "Pod", &at("/spec", before.clone()), &at("/spec", after.clone()));
        for (api_version, kind, template) in WORKLOADS {
            let place = format!("{template}/spec");
            assert_becomes(api_version, kind, &at(&place, before.clone()), &at(&place, after.clone()));
        }
    }
}

#[test]
fn node_name_goes_from_pods_and_stays_in_templates() {
    assert_becomes("v1", "Pod", &at("/spec", json!({"nodeName": "n"})), &at("/spec", json!({})));
    for (api_version, kind, template) in WORKLOADS {
        assert_stays(api_version, kind, &at(&format!("{template}/spec"), json!({"nodeName": "n"})));
    }
}

#[test]
fn kinds_of_other_groups_are_left_alone() {
    let defaults = json!({"dnsPolicy": "ClusterFirst", "nodeName": "n", "serviceAccountName": "default"});
    for (_, kind, template) in WORKLOADS {
        for api_version in ["x.io/v1", "apps.x.io/v1", "v2"].into_iter().filter(|_| *kind != "ReplicationController") {
            assert_stays(api_version, kind, &at(&format!("{template}/spec"), defaults.clone()));
            assert_stays(api_version, kind, &at(&format!("{template}/metadata"), json!({"creationTimestamp": null})));
        }
    }
    assert_stays("x.io/v1", "Pod", &at("/spec", defaults.clone()));
    assert_stays("v1", "Widget", &at("/spec", defaults));
}

#[test]
fn odd_and_missing_templates_are_left_alone() {
    let odd = [
        json!(null),
        json!(1),
        json!("x"),
        json!([]),
        json!([1]),
        json!({}),
        json!({"template": 1}),
        json!({"template": {"spec": [1], "metadata": "m"}}),
        json!({"template": {"spec": {"containers": {}, "initContainers": [1, null, []]}}}),
        json!({"jobTemplate": []}),
        json!({"jobTemplate": {"spec": null}}),
    ];
    for (api_version, kind, _) in WORKLOADS.iter().chain(&[("v1", "Pod", "")]) {
        assert_stays(api_version, kind, &json!({}));
        for spec in &odd {
            assert_stays(api_version, kind, &json!({"spec": spec}));
            assert_stays(api_version, kind, &json!({"metadata": spec}));
        }
    }
}

#[test]
fn a_repeated_key_does_not_come_back() {
    let json = br#"{"metadata":{"name":"a","uid":"1","uid":"2","annotations":{"pod-template-hash":"1","pod-template-hash":"2"}},"status":1,"status":2}"#;
    let (mut tape, mut out) = (Tape::new(), Vec::new());
    let type_info = TypeInfo { api_version: "v1", kind: "A" };
    render(tape.parse(json).unwrap().root(), type_info, Some(Rules::standard()), &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "apiVersion: v1\nkind: A\nmetadata:\n  name: a\n");
}

#[test]
fn a_map_that_loses_all_members_is_written_as_empty() {
    assert_becomes("v1", "ConfigMap", &json!({"metadata": {"uid": "u"}}), &json!({"metadata": {}}));
}
