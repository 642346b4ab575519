//! The node is a real one: containers run, names of Services resolve, and nothing stays.

#![expect(clippy::unwrap_used, reason = "what helps a test fails like a test")]

use std::{fs, path::Path, time::Duration};

use http::Request;
use kube::Client;
use serde_json::{Value, json};
use testkit::{NatsServer, Node, node::BUSYBOX, wait_for};

/// A Pod starts in two seconds on an idle machine.
const POD_MAX: Duration = Duration::from_secs(120);

async fn post(client: &Client, path: &str, object: &Value) {
    let request = Request::post(path).header("content-type", "application/json").body(object.to_string().into_bytes());
    client.request::<Value>(request.unwrap()).await.unwrap();
}

async fn get(client: &Client, path: &str) -> Value {
    client.request(Request::get(path).body(Vec::new()).unwrap()).await.unwrap()
}

fn shell(name: &str, script: &str) -> Value {
    json!({
        "name": name, "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["/bin/sh", "-ec", script],
        "volumeMounts": [{ "name": "work", "mountPath": "/shared" }],
    })
}

/// A Job of one Pod with these containers.
fn job(name: &str, first: &[Value], containers: &[Value]) -> Value {
    let pod = json!({
        "restartPolicy": "Never", "volumes": [{ "name": "work", "emptyDir": {} }], "initContainers": first,
        "containers": containers,
    });
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name },
        "spec": { "backoffLimit": 0, "template": { "spec": pod } },
    })
}

/// Waits for the end of the Job, and returns what `container` of it wrote.
async fn output_of(node: &Node, client: &Client, name: &str, container: &str) -> String {
    let path = format!("/apis/batch/v1/namespaces/default/jobs/{name}");
    let ended = |job: &Value| job["status"]["conditions"].as_array().is_some_and(|all| !all.is_empty());
    wait_for(POD_MAX, || async { ended(&get(client, &path).await) }).await;
    let logs = node.kubectl().args(["logs", &format!("job/{name}"), "-c", container]).output().unwrap();
    let text = String::from_utf8_lossy(&logs.stdout).into_owned();
    let job = get(client, &path).await;
    assert_eq!(job["status"]["succeeded"], 1, "{}: {text}{}", job["status"], String::from_utf8_lossy(&logs.stderr));
    text
}

#[tokio::test]
async fn pods_run_resolve_names_reach_what_the_test_publishes_and_wait_for_their_kubelet() {
    let Some(mut node) = Node::start_or_skip().await else { return };
    let client = node.client().await;
    let jobs = "/apis/batch/v1/namespaces/default/jobs";

    let written = job("two", &[shell("first", "echo made > /shared/file")], &[shell("last", "cat /shared/file")]);
    post(&client, jobs, &written).await;
    assert_eq!(output_of(&node, &client, "two", "last").await, "made\n");

    let script = "nslookup kubernetes.default.svc.cluster.local && nc -w 5 kubernetes.default.svc 443 </dev/null && echo reached";
    post(&client, jobs, &job("api", &[], &[shell("last", script)])).await;
    let answer = output_of(&node, &client, "api", "last").await;
    assert!(answer.contains("10.43.0.1") && answer.ends_with("reached\n"), "{answer}");

    let nats = NatsServer::start().await;
    let port = nats.url().rsplit(':').next().unwrap().parse().unwrap();
    let forward = node.publish(port).await;
    let published = forward.address();
    let script = format!("sleep 1 | nc -w 5 {} {} | head -c 4", published.ip(), published.port());
    post(&client, jobs, &job("nats", &[], &[shell("last", &script)])).await;
    assert_eq!(output_of(&node, &client, "nats", "last").await, "INFO");

    node.stop_kubelet();
    post(&client, jobs, &job("later", &[], &[shell("last", "echo later")])).await;
    node.start_kubelet().await;
    assert_eq!(output_of(&node, &client, "later", "last").await, "later\n");
}

/// The file system's own words on what is mounted, and the machine's on processes.
fn traces(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mut found: Vec<String> = mounts.lines().filter(|line| line.contains(&*folder)).map(str::to_owned).collect();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&*folder) {
            found.push(line);
        }
    }
    found
}

/// What all nodes of the machine have in common. Nothing of it is looked at while another test has a node.
fn common_traces() -> Vec<&'static str> {
    let turn = fs::File::open(std::env::temp_dir().join("stowage-node.lock")).unwrap();
    if turn.try_lock().is_err() {
        return Vec::new();
    }
    let traces = ["/sys/fs/cgroup/kubepods", "/sys/fs/cgroup/memory/kubepods", "/sys/class/net/stowage-node"];
    traces.into_iter().filter(|trace| Path::new(trace).exists()).collect()
}

#[tokio::test]
async fn a_killed_node_leaves_nothing_behind() {
    if let Err(reason) = Node::can_run() {
        testkit::node::skipped(&reason);
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "helper_a_node_that_waits_to_be_killed"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    while !line.contains("folder=") {
        line.clear();
        assert_ne!(std::io::BufRead::read_line(&mut lines, &mut line).unwrap(), 0, "the other process has ended");
    }
    let folder = line.trim().rsplit("folder=").next().unwrap().to_owned();
    assert!(!traces(Path::new(&folder)).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for(Duration::from_secs(30), || async { traces(Path::new(&folder)).is_empty() }).await;

    // Its folder and its control groups go with the next one.
    let node = Node::start().await;
    let own = node.folder().to_owned();
    assert!(!Path::new(&folder).exists() && own.exists());
    drop(node);
    assert_eq!(traces(&own), Vec::<String>::new());
    assert_eq!(common_traces(), Vec::<&str>::new());
    assert!(!own.exists());
}

#[tokio::test]
#[ignore = "run by a_killed_node_leaves_nothing_behind"]
async fn helper_a_node_that_waits_to_be_killed() {
    let node = Node::start().await;
    println!("folder={}", node.folder().display());
    std::future::pending::<()>().await;
}
