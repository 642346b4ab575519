//! The containers of a Job as programs: `update-status` and `run-hook`, with a real Pushgateway and real servers.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Command,
    thread::JoinHandle,
};

use serde_json::{Value, json};
use testkit::Pushgateway;

/// Runs the program in a folder; returns its exit code and what it left.
fn ran(folder: &tempfile::TempDir, arguments: &[&str], handler: Option<Value>) -> (i32, String) {
    let left = folder.path().join("termination-log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dispatcher"));
    command.args(arguments).arg(format!("--termination-log={}", left.display()));
    command.arg(format!("--output-dir={}", folder.path().display())).arg("--log-format=plain");
    if let Some(handler) = handler {
        command.env("STASH_HOOK", handler.to_string()).env("POD_IP", "127.0.0.1").env("HOOK_TIMEOUT", "10s");
    }
    let ran = command.output().unwrap();
    let code = ran.status.code().unwrap();
    (code, fs::read_to_string(left).unwrap_or_default())
}

fn output(phase: &str, error: &str) -> String {
    json!({ "targetStatus": {
        "ref": { "apiVersion": "na", "kind": "EmptyTarget", "name": "na" },
        "stats": [{ "hostname": "host-0", "phase": phase, "error": error, "duration": "4.2s" }],
    } })
    .to_string()
}

const STATUS: [&str; 7] = [
    "update-status",
    "--namespace=demo",
    "--backupsession=b-1",
    "--invoker-kind=BackupConfiguration",
    "--invoker-name=b",
    "--repository=storage",
    "--hostname=host-0",
];

#[tokio::test]
async fn the_last_container_hands_the_result_on_and_pushes_metrics() {
    let gateway = Pushgateway::start(&[]).await;
    let url = format!("--metrics-pushgateway-url={}", gateway.url());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("output.json"), output("Succeeded", "")).unwrap();
    let (code, left) = ran(&folder, &[&STATUS[..], &[url.as_str()]].concat(), None);
    assert_eq!(code, 0);
    let left: Value = serde_json::from_str(&left).unwrap();
    assert_eq!(left["targetStatus"]["stats"][0]["phase"], "Succeeded");
    let metrics = get(&gateway.url(), "/metrics");
    let labels = "driver=\"Restic\",group=\"\",hostname=\"host-0\",instance=\"\",invoker_kind=\"BackupConfiguration\",\
                  invoker_name=\"b\",job=\"backupconfiguration-demo-b\",kind=\"EmptyTarget\",name=\"na\",namespace=\"demo\",\
                  repository=\"storage\"";
    assert!(metrics.contains(&format!("stash_backup_host_backup_success{{{labels}}} 1")), "{metrics}");
}

#[test]
fn a_missing_or_broken_file_is_a_failed_backup_and_no_gateway_is_no_failure() {
    let closed = "--metrics-pushgateway-url=http://127.0.0.1:1";
    for (content, expected) in [
        (None, "output.json is missing in "),
        (Some("{"), "read output.json: EOF while parsing"),
        (Some("{\"targetStatus\":{\"stats\":[]}}"), "output.json has no result of any host"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        if let Some(content) = content {
            fs::write(folder.path().join("output.json"), content).unwrap();
        }
        let (code, left) = ran(&folder, &[&STATUS[..], &[closed]].concat(), None);
        assert_eq!(code, 0, "the result is handed on");
        let left: Value = serde_json::from_str(&left).unwrap();
        let stats = &left["targetStatus"]["stats"][0];
        assert_eq!((&stats["phase"], &stats["hostname"]), (&json!("Failed"), &json!("host-0")));
        assert!(stats["error"].as_str().unwrap().starts_with(expected), "{stats}");
    }
}

/// One plain request.
fn get(url: &str, path: &str) -> String {
    let address = url.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A server that answers one request with this status line and headers; joining returns the request.
fn server(answer: &'static str) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut part = [0; 4096];
        loop {
            let read = stream.read(&mut part).unwrap();
            request.extend_from_slice(&part[..read]);
            let text = String::from_utf8_lossy(&request).to_lowercase();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if read == 0 || body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                break;
            }
        }
        write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        String::from_utf8(request).unwrap()
    });
    (port, served)
}

fn hook(folder: &tempfile::TempDir, hook_type: &str, handler: Value) -> (i32, Option<String>) {
    let hook_type = format!("--hook-type={hook_type}");
    let arguments = ["run-hook", "--namespace=demo", "--backupsession=b-1", "--target-kind=EmptyTarget", &hook_type];
    let (code, left) = ran(folder, &arguments, Some(handler));
    let left: Value = serde_json::from_str(&left).unwrap();
    (code, left["error"].as_str().map(str::to_owned))
}

#[test]
fn a_post_tells_how_the_backup_went() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("output.json"), output("Failed", "no \"space\"")).unwrap();
    let (port, served) = server("200 OK");
    let handler = json!({ "httpPost": {
        "port": port, "path": "notify", "body": "{{ .Namespace }}/{{ .Name }} {{ .Status.Phase }}: {{ .Status.Error }}",
        "httpHeaders": [{ "name": "X-Team", "value": "a" }],
    } });
    assert_eq!(hook(&folder, "postBackup", handler), (0, None));
    let request = served.join().unwrap();
    assert!(request.starts_with("POST /notify HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\ndemo/b-1 Failed: no \"space\""), "{request}");
    assert!(request.to_lowercase().contains("x-team: a\r\n"), "{request}");
}

#[test]
fn a_form_is_encoded() {
    let folder = tempfile::tempdir().unwrap();
    let (port, served) = server("204 No Content");
    let form = json!([{ "key": "a b", "values": ["1", "&"] }]);
    assert_eq!(
        hook(&folder, "preBackup", json!({ "httpPost": { "port": port.to_string(), "form": form } })),
        (0, None)
    );
    let request = served.join().unwrap();
    assert!(request.ends_with("a+b=1&a+b=%26"), "{request}");
}

#[test]
fn a_failed_hook_before_a_backup_fails_the_container_and_one_after_it_does_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("output.json"), output("Succeeded", "")).unwrap();
    for (hook_type, expected) in [("preBackup", 1), ("postBackup", 0)] {
        let (port, served) = server("503 Service Unavailable");
        let (code, error) = hook(&folder, hook_type, json!({ "httpGet": { "port": port, "path": "/" } }));
        assert_eq!((code, error.unwrap()), (expected, format!("http://127.0.0.1:{port}/ answered 503: ")));
        served.join().unwrap();
    }
}

#[test]
fn commands_and_connections_say_why_they_failed() {
    let folder = tempfile::tempdir().unwrap();
    let (open, _served) = server("200 OK");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let table = [
        (json!({ "exec": { "command": ["true"] } }), None),
        (json!({ "exec": { "command": ["sh", "-c", "test -z \"$STASH_HOOK\""] } }), None),
        (
            json!({ "exec": { "command": ["sh", "-c", "echo broken >&2; exit 3"] } }),
            Some("\"sh\" ended with exit status: 3: broken"),
        ),
        (json!({ "exec": { "command": ["/no/such/program"] } }), Some("start \"/no/such/program\": No such file")),
        (
            json!({ "exec": { "command": ["true"] }, "containerName": "db" }),
            Some("containerName \"db\" cannot be used"),
        ),
        (json!({ "tcpSocket": { "port": open } }), None),
        (json!({ "tcpSocket": { "port": closed } }), Some("connect to 127.0.0.1")),
        (json!({ "tcpSocket": { "port": "http" } }), Some("port String(\"http\") is no number")),
        (json!({ "httpGet": { "port": 1, "path": "{{ if .X }}" } }), Some("a template may only name a path")),
    ];
    for (handler, expected) in table {
        let (_, error) = hook(&folder, "preBackup", handler.clone());
        match expected {
            None => assert_eq!(error, None, "{handler}"),
            Some(expected) => {
                assert!(error.as_deref().unwrap_or_default().starts_with(expected), "{handler}: {error:?}")
            }
        }
    }
}

#[test]
fn a_policy_keeps_a_hook_from_running() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("output.json"), output("Succeeded", "")).unwrap();
    let handler = |policy: &str| json!({ "executionPolicy": policy, "exec": { "command": ["false"] } });
    assert_eq!(hook(&folder, "postBackup", handler("OnFailure")), (0, None));
    assert!(hook(&folder, "postBackup", handler("OnSuccess")).1.is_some());
}
