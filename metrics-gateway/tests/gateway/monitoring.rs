//! The alerts of k8s/monitoring, judged by promtool.

use std::{fs, path::Path};

use serde_json::{Value, json};
use testkit::promtool;

fn monitoring(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/monitoring").join(file)).unwrap()
}

fn rules() -> Value {
    let object: Value = serde_saphyr::from_str(&monitoring("prometheus-rules.yaml")).unwrap();
    json!({ "groups": object["spec"]["groups"] })
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    // JSON is YAML.
    fs::write(folder.path().join("rules.yaml"), rules().to_string()).unwrap();
    fs::write(folder.path().join("rules.test.yaml"), monitoring("rules.test.yaml")).unwrap();
    let (well, printed) = promtool(&["test", "rules", "rules.test.yaml"], folder.path(), b"");
    assert!(well, "{printed}");
}

#[test]
fn every_alert_is_tested() {
    let tests = monitoring("rules.test.yaml");
    let rules = rules();
    let alerts = rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    for alert in alerts.filter_map(|rule| rule["alert"].as_str()) {
        assert!(tests.contains(&format!("- alertname: {alert}\n")), "{alert}");
    }
}

#[test]
fn the_dashboard_asks_what_promtool_understands() {
    let dashboard: Value = serde_json::from_str(&monitoring("grafana-dashboard.json")).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let rules: Vec<Value> = targets
        .enumerate()
        .map(|(number, target)| {
            let expression = target["expr"].as_str().unwrap().replace("$namespace", ".*");
            json!({ "record": format!("panel:{number}"), "expr": expression })
        })
        .collect();
    assert!(rules.len() >= 10);
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("rules.yaml"),
        json!({ "groups": [{ "name": "panels", "rules": rules }] }).to_string(),
    )
    .unwrap();
    let (well, printed) = promtool(&["check", "rules", "rules.yaml"], folder.path(), b"");
    assert!(well, "{printed}");
}
