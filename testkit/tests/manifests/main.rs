//! The manifests under k8s/: each can be built, is valid for the API server's own schemas, is taken by a real API server, and
//! keeps the rules on rights and Pods.

#![expect(clippy::unwrap_used, reason = "what helps a test fails like a test")]

mod schemas;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use testkit::{ControlPlane, Node, image::Image, tool, wait_for};

/// What is installed as it is.
const WHOLE: [&str; 4] = ["base", "overlays/dev", "overlays/ha", "overlays/strict"];
/// What is added to one of them.
const COMPONENTS: [&str; 4] = ["external-nats", "monitoring", "networkpolicies", "tls-cert-manager"];
/// Kinds of operators that this control plane does not have.
const FOREIGN: [&str; 5] = ["Certificate", "Issuer", "PodMonitor", "PrometheusRule", "ServiceMonitor"];

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s").canonicalize().unwrap()
}

fn success(what: &str, output: Output) -> Output {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn build(folder: &Path) -> String {
    let output = Command::new(tool("kustomize")).arg("build").arg(folder).output().unwrap();
    String::from_utf8(success(&folder.to_string_lossy(), output).stdout).unwrap()
}

/// Every kustomization with its name: whole ones, and the base with each component.
fn every() -> Vec<(String, String)> {
    let root = manifests();
    let whole = WHOLE.iter().map(|name| ((*name).to_owned(), build(&root.join(name))));
    let with = COMPONENTS.iter().map(|name| (format!("base with {name}"), build_with(&root, name)));
    whole.chain(with).collect()
}

fn build_with(root: &Path, component: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    // Kustomize takes relative paths only.
    let up = "../".repeat(folder.path().canonicalize().unwrap().components().count() - 1);
    let root = format!("{up}{}", root.to_string_lossy().trim_start_matches('/'));
    let text = format!("resources: [\"{root}/base\"]\ncomponents: [\"{root}/components/{component}\"]\n");
    fs::write(folder.path().join("kustomization.yaml"), text).unwrap();
    build(folder.path())
}

/// The documents of kinds that the control plane knows.
fn known(text: &str) -> String {
    let is_foreign = |document: &&str| {
        let kind = document.lines().find_map(|line| line.strip_prefix("kind: "));
        FOREIGN.contains(&kind.unwrap_or_default())
    };
    text.split("\n---\n").filter(|document| !is_foreign(document)).collect::<Vec<_>>().join("\n---\n")
}

/// A control plane with the custom resources and the services' namespace.
async fn installed() -> ControlPlane {
    let control_plane = ControlPlane::start().await;
    kubectl(&control_plane, &["apply", "--server-side", "-f", "-"], &build(&manifests().join("crds")));
    kubectl(&control_plane, &["wait", "--for=condition=Established", "--all", "crd", "--timeout=60s"], "");
    let namespace = manifests().join("base/namespace.yaml");
    kubectl(&control_plane, &["apply", "--server-side", "-f", &namespace.to_string_lossy()], "");
    control_plane
}

fn kubectl(control_plane: &ControlPlane, arguments: &[&str], input: &str) -> Output {
    kubectl_at(&control_plane.kubeconfig_path(), arguments, input)
}

fn kubectl_at(kubeconfig: &Path, arguments: &[&str], input: &str) -> Output {
    let mut kubectl = Command::new(tool("kubectl"));
    kubectl.env("KUBECONFIG", kubeconfig).args(arguments);
    kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = kubectl.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    success(&arguments.join(" "), child.wait_with_output().unwrap())
}

/// What the server makes of the manifests, and what it warns of.
fn dry_run(control_plane: &ControlPlane, text: &str) -> (Vec<Value>, String) {
    let arguments =
        ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--output=json", "--filename=-"];
    let output = kubectl(control_plane, &arguments, &known(text));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    (list["items"].as_array().unwrap().clone(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn the_api_server_takes_every_manifest_without_a_warning() {
    let control_plane = installed().await;
    for (name, text) in every() {
        let (objects, warnings) = dry_run(&control_plane, &text);
        println!("{name}: {} objects", objects.len());
        assert!(objects.len() > 15, "{name}");
        assert_eq!(warnings, "", "{name}");
    }
}

#[tokio::test]
async fn manifests_are_valid_for_the_schemas_of_the_api_server() {
    let control_plane = installed().await;
    let folder = tempfile::tempdir().unwrap();
    let document = kubectl(&control_plane, &["get", "--raw", "/openapi/v2"], "").stdout;
    assert!(schemas::write(&serde_json::from_slice(&document).unwrap(), folder.path()) > 100);
    let location = format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", folder.path().display());
    let file = folder.path().join("manifests.yaml");
    let conforms = |text: &str| {
        fs::write(&file, text).unwrap();
        let mut kubeconform = Command::new(tool("kubeconform"));
        kubeconform
            .args(["-strict", "-summary", "-schema-location", &location, "-skip", &FOREIGN.join(",")])
            .arg(&file);
        let output = kubeconform.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for (name, text) in every().into_iter().chain([("crds".into(), build(&manifests().join("crds")))]) {
        let (valid, said) = conforms(&text);
        assert!(valid, "{name}: {said}");
        println!("{name}: {}", said.trim());
    }
    let misspelt =
        build(&manifests().join("base")).replace("terminationGracePeriodSeconds:", "terminationGraceSeconds:");
    assert!(!conforms(&misspelt).0, "a field that nobody knows is taken");
}

fn kind<'a>(objects: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn nobody_may_escalate_or_do_everything() {
    let control_plane = installed().await;
    for (name, text) in every() {
        let (objects, _) = dry_run(&control_plane, &text);
        let roles = kind(&objects, "ClusterRole").chain(kind(&objects, "Role"));
        for (role, rule) in
            roles.flat_map(|role| role["rules"].as_array().unwrap().iter().map(move |rule| (role, rule)))
        {
            let verbs = strings(&rule["verbs"]);
            let all = [verbs.clone(), strings(&rule["resources"]), strings(&rule["apiGroups"])].concat();
            let place = format!("{name}: {}: {rule}", role["metadata"]["name"]);
            assert!(!all.contains(&"*") && !verbs.contains(&"escalate") && !verbs.contains(&"impersonate"), "{place}");
            assert!(!verbs.contains(&"bind") || !strings(&rule["resourceNames"]).is_empty(), "{place}");
        }
    }
}

#[tokio::test]
async fn every_container_is_bounded_watched_and_without_rights() {
    let control_plane = installed().await;
    let (objects, _) = dry_run(&control_plane, &build(&manifests().join("base")));
    let workloads: Vec<&Value> = kind(&objects, "Deployment").chain(kind(&objects, "StatefulSet")).collect();
    assert_eq!(workloads.len(), 5);
    for workload in workloads {
        let pod = &workload["spec"]["template"]["spec"];
        let name = &workload["metadata"]["name"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        for container in pod["containers"].as_array().unwrap() {
            let context = &container["securityContext"];
            assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(strings(&context["capabilities"]["drop"]), ["ALL"], "{name}");
            assert!(container["resources"]["requests"]["memory"].is_string(), "{name}");
            assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
            let probes = ["livenessProbe", "readinessProbe"].map(|probe| &container[probe]["httpGet"]["path"]);
            assert!(probes[0].is_string() && probes[0] != probes[1], "{name}: {probes:?}");
            let image = container["image"].as_str().unwrap();
            assert!(!image.ends_with(":latest") && image.rsplit('/').next().unwrap().contains(':'), "{image}");
        }
    }
}

#[tokio::test]
async fn in_the_strict_overlay_the_uploader_reads_no_secret_of_others() {
    let control_plane = installed().await;
    let (objects, _) = dry_run(&control_plane, &build(&manifests().join("overlays/strict")));
    let bound =
        kind(&objects, "ClusterRoleBinding").filter(|binding| binding["subjects"][0]["name"] == "stowage-uploader");
    let roles: Vec<&Value> = bound.map(|binding| &binding["roleRef"]["name"]).collect();
    assert!(!roles.is_empty());
    for role in kind(&objects, "ClusterRole").filter(|role| roles.contains(&&role["metadata"]["name"])) {
        assert!(!role["rules"].to_string().contains("secrets"), "{role}");
    }
}

/// What follows `stowage.local/` in a file, up to the end of the image's name.
fn own_images(text: &str) -> Vec<String> {
    let ends = |part: &&str| part.find(|one: char| !one.is_ascii_alphanumeric() && !"-.:".contains(one));
    let parts = text.split("stowage.local/").skip(1);
    parts.map(|part| part[..ends(&part).unwrap_or(part.len())].to_owned()).collect()
}

#[test]
fn images_are_those_of_the_list_in_this_version() {
    let root = manifests().join("..");
    let list = fs::read_to_string(root.join("images/list")).unwrap();
    let listed = |name: &str| list.lines().any(|line| line == name);
    let compose = fs::read_to_string(root.join("docker-compose.yml")).unwrap();
    let images = [own_images(&compose), own_images(&build(&manifests().join("base")))].concat();
    assert!(images.len() >= 10, "{images:?}");
    for image in images {
        let (name, version) = image.split_once(':').unwrap_or((&image, ""));
        assert!(listed(name) && version == env!("CARGO_PKG_VERSION"), "{image}");
    }
}

/// The image that the manifests name, with the program that `make tools` builds.
fn nats_image() -> Image {
    let text = build(&manifests().join("base"));
    let reference =
        text.lines().find_map(|line| line.trim().strip_prefix("image: ").filter(|name| name.contains("/nats:")));
    Image::new(reference.unwrap()).program(&tool("nats-server"), "/nats-server").unwrap()
}

#[tokio::test]
async fn nats_runs_under_the_restricted_standard_with_users_and_storage() {
    let Some(node) = Node::start_or_skip().await else { return };
    let archive = node.folder().join("nats.tar");
    nats_image().save(&archive).unwrap();
    node.import(&archive);
    let kubeconfig = node.kubeconfig_path();
    let on_node = |arguments: &[&str], input: &str| kubectl_at(&kubeconfig, arguments, input).stdout;
    on_node(&["apply", "--server-side", "-f", &manifests().join("base/namespace.yaml").to_string_lossy()], "");
    let passwords = ["services", "job", "observer"].map(|user| format!("--from-literal={user}=secret-of-{user}"));
    let secret = ["create", "secret", "generic", "nats-users", "-n", "stowage"];
    on_node(&[&secret[..], &passwords.each_ref().map(String::as_str)].concat(), "");
    on_node(&["apply", "--server-side", "-f", "-"], &build(&manifests().join("base")));
    let ready = ["get", "statefulset/nats", "-n", "stowage", "-o", "jsonpath={.status.readyReplicas}"];
    wait_for(Duration::from_secs(120), || async { on_node(&ready, "") == b"1" }).await;
    let claim = ["get", "pvc/data-nats-0", "-n", "stowage", "-o", "jsonpath={.status.phase}"];
    assert_eq!(on_node(&claim, ""), b"Bound");
}
