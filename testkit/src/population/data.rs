//! ConfigMaps, Secrets, claims of volumes, Events.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Place, Planned, random::Random};

/// Bytes of text in a large ConfigMap; the API server refuses more than 1 MiB.
const LARGE_BYTES: usize = 900_000;
/// Length of the longest name that Kubernetes allows. With `.yaml` behind it, no file can be called so.
const NAME_MAX: usize = 253;

/// Values that a YAML 1.1 reader takes for something else than text, or that need care in quoting.
const ODD_VALUES: [&str; 24] = [
    "no",
    "Yes",
    "on",
    "~",
    "null",
    "true",
    "1e3",
    "0x1F",
    "0o17",
    "017",
    "1_000",
    "12:30:45",
    "2022-01-01",
    ".inf",
    "=",
    " leading",
    "trailing ",
    "tab\there",
    "a: b",
    "# hash",
    "line one\nline two",
    "kept end\n\n",
    "größe ☃ 😀",
    "",
];

pub(super) fn config_map(mut place: Place) -> Planned {
    let name = place.name();
    named_config_map(place, &name)
}

pub(super) fn long_named_config_map(mut place: Place) -> Planned {
    let start = place.name();
    let name = format!("{start}.{}", "x".repeat(NAME_MAX - start.len() - 1));
    named_config_map(place, &name)
}

fn named_config_map(mut place: Place, name: &str) -> Planned {
    let data = match place.random.below(10) {
        0..3 => settings(&mut place.random),
        3..9 => files(&mut place.random),
        _ => odd_values(&mut place.random),
    };
    let mut object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": place.metadata(name), "data": data });
    match place.random.below(20) {
        0 => object["immutable"] = true.into(),
        1 => object["binaryData"] = json!({ "logo.png": place.random.base64(700) }),
        _ => {}
    }
    Planned::new(place.collection("api/v1", "configmaps"), object)
}

pub(super) fn large_config_map(mut place: Place) -> Planned {
    let name = format!("large-{}", place.number);
    let data = json!({ "dashboard.json": place.random.text(LARGE_BYTES) });
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": place.metadata(&name), "data": data });
    Planned::new(place.collection("api/v1", "configmaps"), object)
}

pub(super) fn secret(mut place: Place) -> Planned {
    let name = place.name();
    let random = &mut place.random;
    let (kind, data) = match random.below(4) {
        0 => ("kubernetes.io/tls", json!({ "tls.crt": random.base64(1_200), "tls.key": random.base64(1_700) })),
        1 => ("kubernetes.io/basic-auth", json!({ "username": random.base64(9), "password": random.base64(24) })),
        2 => ("helm.sh/release.v1", json!({ "release": random.base64(4_500) })),
        _ => ("Opaque", json!({ "password": random.base64(32), "config.yaml": random.base64(600) })),
    };
    let metadata = place.metadata(&name);
    let object = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "data": data });
    Planned::new(place.collection("api/v1", "secrets"), object)
}

pub(super) fn claim(mut place: Place) -> Planned {
    let name = place.name();
    let size = place.random.pick(&["1Gi", "10Gi", "512Mi", "1.5Ti"]);
    let object = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": place.metadata(&name),
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
            "resources": { "requests": { "storage": size } },
        },
    });
    Planned::new(place.collection("api/v1", "persistentvolumeclaims"), object)
}

pub(super) fn event(mut place: Place) -> Planned {
    let name = format!("{}.{}", place.name(), place.random.hex(16));
    let time = format!("2026-01-{:02}T08:00:00Z", 1 + place.random.below(28));
    let object = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": { "name": name, "namespace": place.namespace },
        "involvedObject": { "apiVersion": "v1", "kind": "Pod", "namespace": place.namespace, "name": place.random.word() },
        "reason": "BackOff", "message": place.random.text(90), "type": "Warning", "count": 1 + place.random.below(900),
        "firstTimestamp": time, "lastTimestamp": time, "source": { "component": "kubelet" },
    });
    Planned::new(place.collection("api/v1", "events"), object)
}

fn settings(random: &mut Random) -> Value {
    let pairs = (0..3 + random.below(12)).map(|number| {
        let key = format!("{}_{}_{number}", random.word(), random.word()).to_uppercase();
        (key, Value::from(random.text(12)))
    });
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// One or two files with many lines.
fn files(random: &mut Random) -> Value {
    let mut yaml = "server:\n  port: 8080\n  on: \"yes\"\n".to_owned();
    for _ in 0..8 + random.below(45) {
        writeln!(yaml, "  {}: {}", random.word(), random.text(24)).expect("a String takes every text");
    }
    let mut files = json!({ "application.yaml": yaml });
    if random.below(3) == 0 {
        let lines: Vec<String> = (0..10 + random.below(20)).map(|_| random.text(50)).collect();
        // No line end at the end: a block scalar that chomps.
        files["nginx.conf"] = lines.join(";\n").into();
    }
    files
}

fn odd_values(random: &mut Random) -> Value {
    let start = random.below(24) as usize;
    let values = ODD_VALUES.iter().cycle().skip(start).take(9);
    let pairs = values.enumerate().map(|(number, value)| (format!("odd.{number}"), Value::from(*value)));
    let mut values = Value::Object(pairs.collect());
    values["folded"] = random.text(400).into();
    values
}
