//! What is in a dump.

use std::process::Command;

use dumper::{
    filter::{Filter, OPT_OUT_LABEL, Pattern},
    service::DumpOptions,
    target::Target,
};
use serde_json::{Value, json};

use crate::world::{World, api, dump, shared};

fn kubectl(world: &World, arguments: &[&str]) -> String {
    let output = Command::new(testkit::tool("kubectl"))
        .args(arguments)
        .env("KUBECONFIG", world.control_plane.kubeconfig_path())
        .output()
        .expect("kubectl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[tokio::test]
async fn unsanitised_files_are_what_kubectl_prints() {
    let world = &shared().await;
    world.namespace("content").await;
    world
        .config_map(
            "content",
            "odd",
            json!({"a": "yes", "b": " lead", "c": "multi\nline \n", "10": "1e3", "9": "'\"\u{85}"}),
        )
        .await;
    world.custom_resource("content.example", "gadgets", "Gadget").await;
    let gadget = json!({
        "apiVersion": "content.example/v1", "kind": "Gadget", "metadata": {"name": "one", "namespace": "content"},
        "spec": {"list": [1, 2.5, [true, null], {}], "text": "x".repeat(200), "words": "word ".repeat(60)},
    });
    world.apply("/apis/content.example/v1/namespaces/content/gadgets/one", gadget).await;
    let options = DumpOptions { sanitize: false, ..DumpOptions::new(Target::Cluster) };
    let dumped = dump(&world.api, &options).await.expect("dumps");
    for (path, arguments) in [
        ("namespaces/content/ConfigMap/odd.yaml", ["configmap", "odd"]),
        ("namespaces/content/Gadget/one.yaml", ["gadgets.content.example", "one"]),
        ("global/Namespace/content.yaml", ["namespace", "content"]),
        (
            "global/ClusterRole/system:controller:job-controller.yaml",
            ["clusterrole", "system:controller:job-controller"],
        ),
        ("global/FlowSchema/catch-all.yaml", ["flowschema", "catch-all"]),
        ("global/CustomResourceDefinition/gadgets.content.example.yaml", ["crd", "gadgets.content.example"]),
        ("namespaces/default/Service/kubernetes.yaml", ["service", "kubernetes"]),
    ] {
        let mut words = vec!["get", "-o", "yaml", "--show-managed-fields"];
        words.extend(arguments);
        words.extend(["-n", if path.contains("default") { "default" } else { "content" }]);
        let file =
            dumped.files.get(path).unwrap_or_else(|| panic!("{path} is missing among {:?}", dumped.files.keys()));
        assert_eq!(*file, kubectl(world, &words), "{path}");
    }
}

#[tokio::test]
async fn a_cluster_dump_has_every_object_that_kubectl_lists() {
    let world = &shared().await;
    let kinds = kubectl(world, &["api-resources", "--verbs=list,get", "-o", "name"]);
    let kinds: Vec<&str> = kinds.lines().filter(|kind| *kind != "events.events.k8s.io").collect();
    let dumped = world.dump(Target::Cluster).await;
    let listed = kubectl(world, &["get", &kinds.join(","), "-A", "-o", "name", "--ignore-not-found"]);
    // Other tests write meanwhile: only what cannot have changed is compared.
    let stable =
        |name: &&str| name.contains("/system:") || name.starts_with("flowschema") || name.starts_with("priorityclass");
    let names: Vec<&str> = listed.lines().filter(stable).collect();
    assert!(names.len() > 50, "{listed}");
    for name in names {
        let (_, name) = name.split_once('/').expect("kind/name");
        assert!(dumped.files.keys().any(|path| path.ends_with(&format!("/{name}.yaml"))), "{name}");
    }
}

#[tokio::test]
async fn a_sanitised_dump_can_be_applied_again() {
    let world = &shared().await;
    world.namespace("again").await;
    world.config_map("again", "settings", json!({"on": "yes"})).await;
    let dumped = world.dump(Target::Namespace("again".into())).await;
    let file = &dumped.files["ConfigMap/settings.yaml"];
    assert_eq!(
        file,
        "apiVersion: v1\ndata:\n  \"on\": \"yes\"\nkind: ConfigMap\nmetadata:\n  name: settings\n  namespace: again\n"
    );
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("settings.yaml"), file).expect("written");
    kubectl(world, &["delete", "configmap", "settings", "-n", "again"]);
    kubectl(world, &["apply", "-R", "-f", &folder.path().display().to_string()]);
}

#[tokio::test]
async fn a_namespace_dump_has_the_namespace_itself_and_nothing_of_others() {
    let world = &shared().await;
    world.namespace("alone").await;
    world.config_map("alone", "here", json!({})).await;
    let dumped = world.dump(Target::Namespace("alone".into())).await;
    let paths: Vec<String> = dumped.objects().into_keys().collect();
    assert!(paths.contains(&"Namespace/alone.yaml".to_owned()), "{paths:?}");
    assert!(paths.contains(&"ConfigMap/here.yaml".to_owned()), "{paths:?}");
    assert!(paths.iter().all(|path| path.matches('/').count() == 1), "{paths:?}");
    assert_eq!(dumped.ledger.target, "namespace alone");
}

#[tokio::test]
async fn a_namespace_that_does_not_exist_is_an_error() {
    let api = &shared().await.api;
    let error = dump(api, &DumpOptions::new(Target::Namespace("nowhere".into()))).await.err().expect("an error");
    assert_eq!(error.to_string(), "Namespace \"nowhere\" does not exist");
}

#[tokio::test]
async fn the_same_kind_of_two_groups_never_shares_a_file() {
    let world = &shared().await;
    world.namespace("twins").await;
    world.custom_resource("twins.example", "services", "Service").await;
    let own = json!({"apiVersion": "twins.example/v1", "kind": "Service", "metadata": {"name": "web", "namespace": "twins"}, "spec": {"own": true}});
    world.apply("/apis/twins.example/v1/namespaces/twins/services/web", own).await;
    let core = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "twins"}, "spec": {"ports": [{"port": 80}]}});
    world.apply("/api/v1/namespaces/twins/services/web", core).await;
    let files = world.dump(Target::Namespace("twins".into())).await.files;
    assert!(files["Service/web.yaml"].contains("apiVersion: v1\n"));
    assert!(files["Service.twins.example/web.yaml"].contains("own: true"));
}

#[tokio::test]
async fn filters_leave_out_what_they_name_and_the_ledger_says_so() {
    let world = &shared().await;
    world.namespace("filtered").await;
    for (name, labels) in [
        ("kept", json!({"app": "a"})),
        ("other", json!({"app": "b"})),
        ("opted-out", json!({"app": "a", OPT_OUT_LABEL: "true"})),
    ] {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "filtered", "labels": labels}});
        world.apply(&format!("/api/v1/namespaces/filtered/configmaps/{name}"), object).await;
    }
    let filter = Filter {
        exclude: vec![Pattern::new("leases"), Pattern::new("*.rbac.authorization.k8s.io")],
        include_namespaces: vec![Pattern::new("filt*")],
        label_selector: Some("app in (a, c)".into()),
        ..Filter::default()
    };
    let api = &world.api;
    let dumped = dump(api, &DumpOptions { filter, ..DumpOptions::new(Target::Cluster) }).await.expect("dumps");
    let paths: Vec<String> = dumped.objects().into_keys().collect();
    assert_eq!(paths, ["namespaces/filtered/ConfigMap/kept.yaml"]);
    assert_eq!(dumped.entry("ConfigMap").skipped_reasons.values().sum::<u64>(), 1);
    assert_eq!(dumped.entry("Lease").unread.as_ref().expect("left out").reason, "excluded by \"leases\"");
    assert!(dumped.ledger.is_complete());
}

#[tokio::test]
async fn forbidden_kinds_are_in_the_ledger_and_the_others_in_the_dump() {
    let world = &shared().await;
    world.namespace("shielded").await;
    world.config_map("shielded", "public", json!({})).await;
    let user = world.control_plane.user("reader", &[]);
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader", "namespace": "shielded"}, "rules": rules});
    world.apply("/apis/rbac.authorization.k8s.io/v1/namespaces/shielded/roles/reader", role).await;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reader", "namespace": "shielded"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader"}],
    });
    world.apply("/apis/rbac.authorization.k8s.io/v1/namespaces/shielded/rolebindings/reader", binding).await;
    let api = api(user.kubeconfig_path()).await;
    let dumped = dump(&api, &DumpOptions::new(Target::Namespace("shielded".into()))).await.expect("dumps");
    assert_eq!(dumped.objects().into_keys().collect::<Vec<_>>(), ["ConfigMap/public.yaml"]);
    let secret = dumped.entry("Secret").unread.as_ref().expect("not read");
    assert_eq!((secret.reason.as_str(), secret.tolerated), ("forbidden (403)", false));
    let namespace = dumped.entry("Namespace").unread.as_ref().expect("not read");
    assert!(namespace.tolerated, "who may not list namespaces still gets a complete dump of one: {namespace:?}");
    assert!(!dumped.ledger.is_complete());
}

#[tokio::test]
async fn the_ledger_stands_in_the_dump_as_json() {
    let dumped = shared().await.dump(Target::Namespace("default".into())).await;
    let read: Value = serde_json::from_str(&dumped.files["MANIFEST"]).expect("JSON");
    assert_eq!(read["formatVersion"], 1);
    assert_eq!(read["totals"]["written"], dumped.ledger.totals.written);
}

#[tokio::test]
async fn unknown_credentials_end_the_dump_with_their_reason() {
    let world = &shared().await;
    let mut config = kube::Config::new(world.control_plane.url().parse().expect("a URL"));
    config.accept_invalid_certs = true;
    config.auth_info.token = Some("wrong".to_owned().into());
    let api = dumper::api::Api::new(config).expect("usable");
    let error = dump(&api, &DumpOptions::new(Target::Cluster)).await.err().expect("an error");
    let source = std::error::Error::source(&error).expect("a source").to_string();
    assert!(source.contains("does not accept the credentials"), "{source}");
}

/// The error of a dump of a namespace with a filter.
async fn refusal(namespace: &str, filter: Filter) -> String {
    let world = shared().await;
    let options = DumpOptions { filter, ..DumpOptions::new(Target::Namespace(namespace.into())) };
    dump(&world.api, &options).await.err().expect("an error").to_string()
}

#[tokio::test]
async fn a_namespace_that_does_not_exist_is_an_error_whatever_is_wanted_of_it() {
    for filter in [
        Filter { label_selector: Some("app=a".into()), ..Filter::default() },
        Filter { include: vec![Pattern::new("configmaps")], ..Filter::default() },
        Filter { field_selector: Some("metadata.name=a".into()), ..Filter::default() },
    ] {
        assert_eq!(refusal("nowhere", filter).await, "Namespace \"nowhere\" does not exist");
    }
}

#[tokio::test]
async fn selectors_that_the_api_server_does_not_understand_are_errors() {
    let label = Filter { label_selector: Some("a b c".into()), ..Filter::default() };
    assert!(refusal("default", label).await.starts_with("label selector \"a b c\": unable to parse"));
    let field = Filter { field_selector: Some("name".into()), ..Filter::default() };
    assert_eq!(
        refusal("default", field).await,
        "field selector \"name\": invalid selector: 'name'; can't understand 'name'"
    );
}

#[tokio::test]
async fn a_backup_of_nothing_is_an_error() {
    let unknown = Filter { field_selector: Some("metdata.name=a".into()), ..Filter::default() };
    assert!(refusal("default", unknown).await.ends_with("does not support the field selector"));
    let nothing = Filter { exclude: vec![Pattern::new("*")], ..Filter::default() };
    assert!(refusal("default", nothing).await.ends_with("excluded by \"*\""));
    let slip = Filter { include: vec![Pattern::new("confgmaps")], ..Filter::default() };
    assert!(refusal("default", slip).await.contains("serves no kind \"confgmaps\""));
    let world = shared().await;
    let nobody = api(world.control_plane.user("nobody-at-all", &[]).kubeconfig_path()).await;
    let error = dump(&nobody, &DumpOptions::new(Target::Cluster)).await.err().expect("an error").to_string();
    assert!(error.starts_with("nothing could be read of cluster: ") && error.ends_with("forbidden (403)"), "{error}");
}
