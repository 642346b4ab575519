use serde_json::json;

use super::*;

fn inputs(pairs: &[(&str, &str)]) -> Inputs {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn every_form_of_the_grammar_has_its_result() {
    let inputs = inputs(&[("N", "aB/cB.yaml"), ("EMPTY", ""), ("größe", "7"), ("A_1", "x")]);
    let table = [
        ("plain", "plain"),
        ("${N}", "aB/cB.yaml"),
        ("--x=${A_1}-${A_1}", "--x=x-x"),
        ("${größe}", "7"),
        ("${M:=d}", "d"),
        ("${M=d}", "d"),
        ("${M:-d}", "d"),
        ("${M:=}", ""),
        ("${M:=a:b=c/d e}", "a:b=c/d e"),
        ("${M:=${A_1}y}", "xy"),
        ("${M:=${K:=deep}}", "deep"),
        ("${M:={a}}", "{a}"),
        ("${N:=d}", "aB/cB.yaml"),
        ("${N:=${UNKNOWN}}", "aB/cB.yaml"),
        ("${EMPTY:=d}", ""),
        ("${N:?d}", "aB/cB.yaml"),
        ("${N:+d}", "aB/cB.yaml"),
        ("${#N}", "10"),
        ("${N,}", "aB/cB.yaml"),
        ("${N^}", "AB/cB.yaml"),
        ("${N,,}", "ab/cb.yaml"),
        ("${N^^}", "AB/CB.YAML"),
        ("${N:3}", "cB.yaml"),
        ("${N:3:2}", "cB"),
        ("${N: -4}", "yaml"),
        ("${N:99}", ""),
        ("${N:3:99}", "cB.yaml"),
        ("${N#*B}", "/cB.yaml"),
        ("${N##*B}", ".yaml"),
        ("${N%B*}", "aB/c"),
        ("${N%%B*}", "a"),
        ("${N%.yaml}", "aB/cB"),
        ("${N#zzz}", "aB/cB.yaml"),
        ("${N/B/-}", "a-/cB.yaml"),
        ("${N//B/-}", "a-/c-.yaml"),
        ("${N/#aB/-}", "-/cB.yaml"),
        ("${N/%yaml/-}", "aB/cB.-"),
        ("${N/#B/-}", "aB/cB.yaml"),
        ("$${N}", "${N}"),
        ("$$$$", "$$"),
        ("$N $(N) $ } {", "$N $(N) $ } {"),
        ("a\\\\b \\/ \\n", "a\\b / \\n"),
        ("end$", "end$"),
        ("end\\", "end\\"),
    ];
    for (template, expected) in table {
        assert_eq!(text(template, &inputs).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn what_is_missing_and_what_is_no_expression_are_different_errors() {
    let inputs = inputs(&[("N", "v")]);
    for template in ["${M}", "${M:?d}", "${M:+d}", "x${M,,}", "${#M}", "${M#p}", "${K:=${M}}"] {
        assert_eq!(text(template, &inputs), Err(SubstitutionError::Missing { name: "M".to_owned() }), "{template}");
    }
    let bad =
        ["${", "${N", "${}", "${N-d}", "${N M}", "${N.M}", "${ N}", "${N?d}", "${N+d}", "${N:x}", "${N/a}", "${#}"];
    for template in bad {
        assert!(matches!(text(template, &inputs), Err(SubstitutionError::Bad { .. })), "{template}");
    }
    let deep = format!("{}{}", "${M:=".repeat(100_000), "}".repeat(100_000));
    assert!(matches!(text(&deep, &inputs), Err(SubstitutionError::Bad { .. })));
}

#[test]
fn values_are_not_looked_at_again() {
    assert_eq!(text("${N}", &inputs(&[("N", "${M} $$ \\\\")])).as_deref(), Ok("${M} $$ \\\\"));
}

#[test]
fn errors_name_object_field_and_variable() {
    let spec: FunctionSpec = serde_json::from_value(json!({
        "args": ["update-status", "--a=${A:=}", "--secret=${SECRET}"],
        "runtimeSettings": { "env": [{ "name": "X", "value": "fine" }] },
    }))
    .unwrap();
    let error = function("update-status", &spec, &Inputs::new()).unwrap_err();
    assert_eq!(error.to_string(), "resolve spec.args[2] of Function update-status");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "input/default value not found for key SECRET");
}

/// Whether both have the same fields, lists of the same length, and the same types everywhere.
fn same_shape(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| same_shape(one, other)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_shape(one, other))
        }
        (Value::String(_), Value::String(_)) => true,
        (one, other) => one == other,
    }
}

#[test]
fn no_value_changes_the_structure() {
    let template: FunctionSpec = serde_json::from_value(json!({
        "image": "${image}", "args": ["a", "${one}", "--x=${two:=y}z"], "ports": [{ "containerPort": 80, "name": "${one}" }],
        "runtimeSettings": { "env": [{ "name": "N", "value": "${two}" }] },
    }))
    .unwrap();
    let before = serde_json::to_value(&template).unwrap();
    let pieces =
        ["\"", "\\", "}", "{", "]", ",", "\n", "${", "$", "\u{0}", "\",\"privileged\":true,\"x\":\"", "ü", "/", ":"];
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    for _ in 0..3_000 {
        let mut value = || (0..random() % 9).map(|_| pieces[random() % pieces.len()]).collect::<String>();
        let (image, one, two) = (value(), value(), value());
        let inputs = inputs(&[("image", &image), ("one", &one), ("two", &two)]);
        let after = serde_json::to_value(function("f", &template, &inputs).unwrap()).unwrap();
        assert!(same_shape(&before, &after), "{inputs:?}");
        assert_eq!(after["args"], json!(["a", one, format!("--x={two}z")]));
    }
}

#[test]
fn no_template_makes_a_panic() {
    let pieces = ["${", "}", "$", "\\", "N", ":", "=", "-", "#", "%", "/", ",", "^", "*", "[", "ü", "1", " ", "{"];
    let inputs = inputs(&[("N", "ünï/x")]);
    let mut state = 7_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    for _ in 0..20_000 {
        let template: String = (0..random() % 12).map(|_| pieces[random() % pieces.len()]).collect();
        let template = format!("${{N{template}}}");
        drop(text(&template, &inputs));
    }
}
