//! kubectl as the judge: what it prints for an object, and what it reads from our YAML.
//!
//! `kubectl patch --local` with an empty patch prints an object from a file through the same printer as `kubectl get -o yaml` (compared on a real
//! API server over this corpus), and needs no server.

use std::process::Command;

use serde_json::{Value, json};

/// What `kubectl … -o FORMAT` prints for the object in `file_text`.
fn print(file_text: &[u8], format: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("object");
    std::fs::write(&file, file_text).unwrap();
    let output = Command::new(testkit::tool("kubectl"))
        .args([
            "patch",
            "--local",
            "--type=merge",
            "--patch={}",
            "--show-managed-fields",
            "--output",
            format,
            "--filename",
        ])
        .arg(&file)
        .env("KUBECONFIG", "/dev/null")
        .env("HOME", folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "kubectl: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn ours(json: &[u8]) -> Vec<u8> {
    let mut tape = dumper::json::Tape::new();
    let mut out = Vec::new();
    dumper::yaml::emit(tape.parse(json).unwrap().root(), &mut out);
    out
}

pub(crate) fn object(spec: Value) -> Value {
    json!({"apiVersion": "judge.test/v1", "kind": "Anything", "metadata": {"name": "a"}, "spec": spec})
}

/// The whole document must be equal to kubectl's, byte for byte.
pub(crate) fn assert_same_bytes(object: &Value) {
    assert_same_bytes_of_json(&serde_json::to_vec(object).unwrap());
}

pub(crate) fn assert_same_bytes_of_json(json: &[u8]) {
    let (expected, actual) = (print(json, "yaml"), ours(json));
    assert!(expected.len() > 40, "kubectl printed {} bytes", expected.len());
    if expected == actual {
        return;
    }
    let at = expected.iter().zip(&actual).take_while(|(a, b)| a == b).count();
    let around = |text: &[u8]| {
        let start = text[..at].iter().rev().position(|byte| *byte == b'\n').map_or(0, |back| at - back);
        String::from_utf8_lossy(&text[start.saturating_sub(200)..(at + 200).min(text.len())]).into_owned()
    };
    panic!("byte {at}:\n--- kubectl\n{}\n--- ours\n{}", around(&expected), around(&actual));
}

/// kubectl must read the same values from our YAML.
pub(crate) fn assert_reads_back(object: &Value) {
    let yaml = ours(&serde_json::to_vec(object).unwrap());
    let read: Value = serde_json::from_slice(&print(&yaml, "json")).unwrap();
    if read != *object {
        assert_same_tree("", object, &read);
        unreachable!("the trees differ, so a part of them does");
    }
}

fn assert_same_tree(path: &str, expected: &Value, actual: &Value) {
    match (expected, actual) {
        (Value::Object(a), Value::Object(b)) => {
            assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>(), "keys at {path}");
            a.iter().for_each(|(key, value)| assert_same_tree(&format!("{path}/{key}"), value, &b[key]));
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().for_each(|(i, (a, b))| assert_same_tree(&format!("{path}/{i}"), a, b));
        }
        _ => assert_eq!(expected, actual, "at {path}"),
    }
}
