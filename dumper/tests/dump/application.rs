//! Applications: a root object and what it owns.

use dumper::{
    service::DumpOptions,
    target::{Application, Target},
};
use serde_json::{Value, json};

use crate::world::{Dumped, World, dump, shared};

fn application(kind: &str, namespace: &str, name: &str) -> Target {
    Target::Application(Application {
        kind: kind.into(),
        name: name.into(),
        namespace: namespace.into(),
        include_dependants: true,
    })
}

async fn dumped(world: &World, target: Target) -> Dumped {
    dump(&world.api, &DumpOptions::new(target)).await.expect("dumps")
}

async fn error(world: &World, target: Target) -> String {
    dump(&world.api, &DumpOptions::new(target)).await.err().expect("an error").to_string()
}

/// Creates a ConfigMap with owners and returns it as an owner for others.
async fn owned(world: &World, namespace: &str, name: &str, owners: &[&Value]) -> Value {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": owners}});
    as_owner(&world.apply(&path, object).await, false)
}

fn as_owner(object: &Value, controller: bool) -> Value {
    json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"], "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"], "controller": controller,
    })
}

fn paths(dumped: &Dumped) -> Vec<String> {
    dumped.objects().into_keys().collect()
}

#[tokio::test]
async fn dependants_stand_below_their_owners() {
    let world = &shared().await;
    world.namespace("tree").await;
    let root = owned(world, "tree", "root", &[]).await;
    let middle = owned(world, "tree", "middle", &[&root]).await;
    owned(world, "tree", "leaf", &[&middle]).await;
    owned(world, "tree", "stranger", &[]).await;
    let dumped = dumped(world, application("cm", "tree", "root")).await;
    let expected = ["ConfigMap/middle/ConfigMap/leaf/leaf.yaml", "ConfigMap/middle/middle.yaml", "root.yaml"];
    assert_eq!(paths(&dumped), expected);
    assert_eq!(dumped.entry("ConfigMap").totals.listed, 3);
    assert_eq!(dumped.entry("ConfigMap").grade.as_deref(), Some("consistent"));
}

#[tokio::test]
async fn without_dependants_only_the_root_is_dumped() {
    let world = &shared().await;
    world.namespace("root-only").await;
    let root = owned(world, "root-only", "root", &[]).await;
    owned(world, "root-only", "leaf", &[&root]).await;
    let root = Application {
        kind: "configmap".into(),
        name: "root".into(),
        namespace: "root-only".into(),
        include_dependants: false,
    };
    assert_eq!(paths(&dumped(world, Target::Application(root)).await), ["root.yaml"]);
}

#[tokio::test]
async fn circles_and_several_owners_give_every_object_once() {
    let world = &shared().await;
    world.namespace("circle").await;
    let root = owned(world, "circle", "root", &[]).await;
    let a = owned(world, "circle", "a", &[&root]).await;
    let b = owned(world, "circle", "b", &[&a, &root]).await;
    owned(world, "circle", "a", &[&root, &b]).await;
    owned(world, "circle", "root", &[&b]).await;
    let dumped = dumped(world, application("ConfigMap", "circle", "root")).await;
    assert_eq!(paths(&dumped), ["ConfigMap/a/a.yaml", "ConfigMap/b/b.yaml", "root.yaml"]);
}

#[tokio::test]
async fn a_cluster_scoped_root_has_dependants_in_namespaces() {
    let world = &shared().await;
    let (one, two) = ("scope-one", "scope-two");
    world.namespace(one).await;
    world.namespace(two).await;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "scope-root"}, "rules": []});
    let role = world.apply("/apis/rbac.authorization.k8s.io/v1/clusterroles/scope-root", role).await;
    for namespace in [one, two] {
        owned(world, namespace, "same-name", &[&as_owner(&role, true)]).await;
    }
    let dumped = dumped(world, application("clusterrole", "ignored", "scope-root")).await;
    let paths = paths(&dumped);
    assert_eq!(paths.len(), 3, "{paths:?}");
    assert!(paths.contains(&"scope-root.yaml".to_owned()), "{paths:?}");
}

#[tokio::test]
async fn what_does_not_exist_is_a_clear_error() {
    let world = &shared().await;
    let unknown = error(world, application("Deploymnt", "default", "web")).await;
    assert!(unknown.contains("serves no kind \"Deploymnt\" (did you mean Deployment.apps?)"), "{unknown}");
    let missing = error(world, application("deployment", "default", "web")).await;
    assert_eq!(missing, "Deployment.apps \"web\" does not exist in namespace \"default\"");
}

#[tokio::test]
async fn a_kind_of_two_foreign_groups_must_be_named_with_its_group() {
    let world = &shared().await;
    for group in ["ambiguous-a.example", "ambiguous-b.example"] {
        world.custom_resource(group, "vessels", "Vessel").await;
    }
    let ambiguous = error(world, application("Vessel", "default", "x")).await;
    assert!(ambiguous.contains("vessels.ambiguous-a.example, vessels.ambiguous-b.example"), "{ambiguous}");
    let missing = error(world, application("vessels.ambiguous-b.example", "default", "x")).await;
    assert!(missing.contains("does not exist"), "{missing}");
}

#[tokio::test]
async fn a_root_may_have_a_name_that_selectors_take_for_their_own() {
    let world = &shared().await;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "odd,name=x"}, "rules": []});
    world.apply("/apis/rbac.authorization.k8s.io/v1/clusterroles/odd,name=x", role).await;
    let dumped = dumped(world, application("clusterroles.v1.rbac.authorization.k8s.io", "default", "odd,name=x")).await;
    assert_eq!(paths(&dumped), ["odd,name=x.yaml"]);
    assert_eq!(dumped.ledger.target, "ClusterRole.rbac.authorization.k8s.io odd,name=x");
}

#[tokio::test]
async fn an_opted_out_root_is_left_out_and_its_dependants_are_not() {
    let world = &shared().await;
    world.namespace("opted").await;
    let labels = json!({dumper::filter::OPT_OUT_LABEL: "true"});
    let root = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "root", "labels": labels}});
    let root = as_owner(&world.apply("/api/v1/namespaces/opted/configmaps/root", root).await, true);
    owned(world, "opted", "leaf", &[&root]).await;
    let dumped = dumped(world, application("cm", "opted", "root")).await;
    assert_eq!(paths(&dumped), ["ConfigMap/leaf/leaf.yaml"]);
    assert_eq!(dumped.entry("ConfigMap").skipped_reasons["opted out by its label"], 1);
    assert!(dumped.ledger.is_complete());
}

#[tokio::test]
async fn selectors_choose_among_the_dependants_and_never_leave_out_the_root() {
    let world = &shared().await;
    world.namespace("chosen").await;
    let root = owned(world, "chosen", "root", &[]).await;
    for name in ["leaf-a", "leaf-b"] {
        owned(world, "chosen", name, &[&root]).await;
    }
    let filter = dumper::filter::Filter { field_selector: Some("metadata.name=leaf-b".into()), ..Default::default() };
    let options = DumpOptions { filter, ..DumpOptions::new(application("cm", "chosen", "root")) };
    let dumped = dump(&world.api, &options).await.expect("dumps");
    assert_eq!(paths(&dumped), ["ConfigMap/leaf-b/leaf-b.yaml", "root.yaml"]);
}

#[tokio::test]
async fn a_root_that_may_not_be_read_is_named() {
    let world = &shared().await;
    let nobody = crate::world::api(world.control_plane.user("nobody-of-an-application", &[]).kubeconfig_path()).await;
    let error =
        dump(&nobody, &DumpOptions::new(application("deployment", "default", "web"))).await.err().expect("an error");
    assert_eq!(error.to_string(), "read Deployment.apps of the application");
}
