//! The program `testbed` as its user sees it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use testkit::{Node, node::skipped, wait_for};

fn testbed() -> Command {
    Command::new(env!("CARGO_BIN_EXE_testbed"))
}

#[test]
fn a_command_finds_the_filled_cluster_and_its_exit_code_comes_back() {
    let script = "kubectl get namespaces -o name; echo $KUBECONFIG >&2; exit 7";
    let arguments = ["run", "--objects", "60", "--namespaces", "3", "--large", "0", "--", "sh", "-c", script];
    let output = testbed().args(arguments).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(7), "{stderr}");
    assert!(stdout.contains("namespace/team-0002\n"), "{stdout}{stderr}");
    let kubeconfig = stderr.lines().find(|line| line.ends_with("/kubeconfig")).unwrap();
    assert!(!Path::new(kubeconfig).exists());
}

#[test]
fn with_a_node_pods_run_and_reach_the_bucket() {
    if let Err(reason) = Node::can_run() {
        skipped(&reason);
        return;
    }
    let script = r#"
        address=${TESTBED_S3_IN_PODS#s3:http://}; address=${address%/testbed}
        kubectl run asks --image stowage.local/busybox:1 --image-pull-policy Never --restart Never --command -- \
            sh -c "printf 'GET / HTTP/1.0\r\n\r\n' | nc ${address%:*} ${address#*:} | head -c 5" >&2
        kubectl wait pod/asks --for jsonpath='{.status.phase}'=Succeeded --timeout 120s >&2 && kubectl logs asks"#;
    let output = testbed().args(["run", "--node", "--s3", "--", "sh", "-c", script]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "HTTP/", "{stderr}");
}

#[tokio::test]
async fn up_prints_what_to_export_and_leaves_nothing_after_its_end() {
    let mut process = testbed().args(["up", "--s3"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let kubeconfig =
        lines.find_map(|line| Some(line.strip_prefix("export KUBECONFIG='")?.trim_matches('\'').to_owned()));
    let kubeconfig = kubeconfig.unwrap();
    assert!(lines.any(|line| line.starts_with("export TESTBED_S3='s3:http://127.0.0.1:")));
    assert!(fs::read_to_string(&kubeconfig).unwrap().contains("client-certificate-data"));
    let ended = Command::new("kill").args(["-s", "INT", &process.id().to_string()]).status().unwrap();
    assert!(ended.success());
    wait_for(Duration::from_secs(10), || std::future::ready(!Path::new(&kubeconfig).exists())).await;
    assert_eq!(process.wait().unwrap().code(), Some(0));
}

#[test]
fn a_command_that_is_none_is_told_apart_from_its_exit_code() {
    let output = testbed().args(["run", "--", "/no/such/command"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr.contains("testbed: run /no/such/command: No such file"), "{stderr}");
}
