//! The YAML of this crate beside kubectl's: whole documents, byte for byte; and kubectl reads it back as it was.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod corpus;
mod generate;
mod judge;

use generate::Random;
use judge::{assert_reads_back, assert_same_bytes, assert_same_bytes_of_json, object};
use serde_json::{Map, Value, json};

/// Documents of about this many values each keep a failure readable and a kubectl start (50 ms) negligible.
const BATCH: usize = 1000;

#[test]
fn nasty_strings_are_written_as_kubectl_writes_them() {
    let strings = corpus::strings();
    let nested: Vec<Value> = strings.iter().map(|text| json!({"deep": {"er": [[text], {"key": text}]}})).collect();
    assert_same_bytes(&object(json!({"strings": strings})));
    assert_same_bytes(&object(json!({"nested": nested})));
}

#[test]
fn nasty_keys_are_written_as_kubectl_writes_them() {
    for value in [
        json!(1),
        json!("a\nb\n"),
        json!({"a": [1]}),
        json!([1, {"b": [2]}]),
        json!([]),
        json!({}),
        json!("w ".repeat(80)),
    ] {
        let maps: Vec<Value> = corpus::keys().into_iter().map(|key| json!({key: value})).collect();
        assert_same_bytes(&object(json!({"keys": maps})));
    }
}

#[test]
fn a_string_that_ends_the_document_is_written_as_kubectl_writes_it() {
    for text in ["a\n\n", "\n", "a\n", "a\nb", "a\u{2028}", "a\n\u{2028}", " \n", ""] {
        assert_same_bytes(&json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "z": text}));
    }
}

#[test]
fn numbers_are_written_as_kubectl_writes_them() {
    let numbers = corpus::JSON_NUMBERS.join(",");
    assert_same_bytes_of_json(format!(r#"{{"apiVersion":"v1","kind":"A","n":[{numbers}]}}"#).as_bytes());
    let mut random = Random(1);
    let doubles: Vec<Value> = (0..5000).map(|_| generate::double(&mut random)).collect();
    assert_same_bytes(&object(json!({"doubles": doubles})));
}

#[test]
fn nested_collections_are_written_as_kubectl_writes_them() {
    let spec = json!([[], {}, [[]], [{}], [[], []], [[1, 2], [3]], [[[["x"]]]], {"a": []}, {"a": {}}, {"a": [[]], "b": [{}]}, [{"a": 1, "b": [{"c": [[{"d": "x\ny"}]]}]}], null, [null], {"a": null}]);
    assert_same_bytes(&object(spec.clone()));
    assert_same_bytes(&object(json!({"a": spec, "b": {"c": {"d": spec}}})));
}

#[test]
fn unusual_json_is_read_as_kubectl_reads_it() {
    for value in [
        r#"{"a":1,"a":2,"b":{"c":1},"b":[]}"#,
        r#""\ud800x""#,
        r#""\ud800\u0041""#,
        r#""\ude00""#,
        r#""\ud83d\ude00""#,
        r#""\/""#,
        r#"{"":{"":{"":[]}}}"#,
        " [ 1 , { } , [ ] ] ",
    ] {
        assert_same_bytes_of_json(
            format!(r#"{{"apiVersion":"v1","kind":"A","metadata":{{"name":"a"}},"v":{value}}}"#).as_bytes(),
        );
    }
    assert_same_bytes_of_json(b"{\"apiVersion\":\"v1\",\"kind\":\"A\",\"metadata\":{\"name\":\"a\"},\"v\":[\"a\xFFb\",\"\xC3\",\"\xED\xA0\x80\"]}");
}

#[test]
fn generated_strings_are_written_as_kubectl_writes_them() {
    let mut random = Random(2);
    for _ in 0..30 {
        let strings: Vec<String> = (0..BATCH).map(|_| generate::nasty_string(&mut random)).collect();
        assert_same_bytes(&object(json!(strings)));
    }
}

#[test]
fn generated_keys_are_written_as_kubectl_writes_them() {
    let mut random = Random(3);
    for _ in 0..10 {
        let maps: Vec<Value> = (0..BATCH).map(|_| json!({generate::nasty_key(&mut random): "v"})).collect();
        assert_same_bytes(&object(json!(maps)));
    }
}

#[test]
fn two_keys_stand_in_the_order_in_which_kubectl_puts_them() {
    let mut random = Random(4);
    for _ in 0..10 {
        let pairs: Vec<Value> = (0..BATCH)
            .map(|_| {
                let (a, b) = generate::key_pair(&mut random);
                Value::Object(Map::from_iter([(a, json!(1)), (b, json!(2))]))
            })
            .collect();
        assert_same_bytes(&object(json!(pairs)));
    }
}

#[test]
fn generated_trees_are_written_as_kubectl_writes_them() {
    let mut random = Random(5);
    for _ in 0..20 {
        let trees: Vec<Value> = (0..BATCH / 10).map(|_| generate::tree(&mut random, 4)).collect();
        assert_same_bytes(&object(json!(trees)));
    }
}

#[test]
fn kubectl_reads_back_what_was_written() {
    let mut random = Random(6);
    let generated: Vec<String> = (0..BATCH).map(|_| generate::nasty_string(&mut random)).collect();
    let trees: Vec<Value> = (0..BATCH / 10).map(|_| generate::tree(&mut random, 4)).collect();
    assert_reads_back(&object(json!({"corpus": corpus::strings(), "generated": generated, "trees": trees})));
    let keys: Vec<Value> = corpus::keys().into_iter().map(|key| json!({key: "v"})).collect();
    assert_reads_back(&object(json!(keys)));
}

#[test]
fn values_that_kubectl_would_lose_are_kept() {
    let keys: Vec<Value> = corpus::BEYOND_KUBECTL.iter().map(|key| json!({*key: "v"})).collect();
    let long_keys = json!({"k".repeat(2000): 1, "k ".repeat(2000): [1]});
    assert_reads_back(&object(json!({"strings": corpus::BEYOND_KUBECTL, "keys": keys, "long": long_keys})));
}
