//! Custom resources, among them Kinds that built-in groups have too.

use serde_json::{Value, json};

use super::{Place, Planned};

struct Definition {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    /// Served versions; the last is stored and preferred.
    versions: &'static [&'static str],
    namespaced: bool,
}

/// An ordinary one in two versions.
const ORDER: Definition = Definition {
    group: "shop.example.com",
    kind: "Order",
    plural: "orders",
    versions: &["v1alpha1", "v1"],
    namespaced: true,
};
/// Kind and plural of the core group's Service.
const SERVICE: Definition = Definition {
    group: "serving.example.com",
    kind: "Service",
    plural: "services",
    versions: &["v1"],
    namespaced: true,
};
/// Kind of the batch group's Job, without a Pod template.
const JOB: Definition =
    Definition { group: "etl.example.com", kind: "Job", plural: "jobs", versions: &["v1beta1"], namespaced: true };
/// Without a namespace.
const SITE: Definition =
    Definition { group: "shop.example.com", kind: "Site", plural: "sites", versions: &["v1"], namespaced: false };

pub(super) fn definitions() -> Vec<Planned> {
    [ORDER, SERVICE, JOB, SITE].iter().map(Definition::planned).collect()
}

pub(super) fn instance(mut place: Place) -> Planned {
    match place.random.below(8) {
        0..4 => {
            let spec = order(&mut place);
            ORDER.instance(place, &spec)
        }
        4..6 => {
            let traffic = json!([{ "percent": place.random.below(101), "latestRevision": true }]);
            let spec = json!({ "template": { "image": place.random.text(20) }, "traffic": traffic });
            SERVICE.instance(place, &spec)
        }
        6 => {
            let steps: Vec<String> = (0..1 + place.random.below(6)).map(|_| place.random.text(30)).collect();
            JOB.instance(place, &json!({ "template": "nightly", "completions": "all", "steps": steps }))
        }
        _ => {
            let spec =
                json!({ "region": place.random.word(), "domain": format!("{}.example.com", place.random.word()) });
            SITE.instance(place, &spec)
        }
    }
}

fn order(place: &mut Place) -> Value {
    let random = &mut place.random;
    let lines: Vec<Value> = (0..1 + random.below(12))
        .map(|number| {
            let price = f64::from(random.below(100_000)) / 100.0;
            json!({ "line": number, "item": random.text(20), "quantity": 1 + random.below(9), "price": price })
        })
        .collect();
    json!({ "customer": random.text(16), "note": random.text(120), "lines": lines, "paid": random.below(2) == 0 })
}

impl Definition {
    fn version(&self) -> &'static str {
        self.versions.last().expect("a definition must have a version: they are constants above")
    }

    /// A schema that takes every field, as operators with free-form parts have it.
    fn planned(&self) -> Planned {
        let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let versions: Vec<Value> = self
            .versions
            .iter()
            .map(|version| {
                let stored = *version == self.version();
                json!({ "name": version, "served": true, "storage": stored, "schema": { "openAPIV3Schema": schema } })
            })
            .collect();
        let Self { group, kind, plural, .. } = self;
        let names = json!({
            "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"),
        });
        let object = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.{group}") },
            "spec": {
                "group": group, "names": names, "versions": versions,
                "scope": if self.namespaced { "Namespaced" } else { "Cluster" },
            },
        });
        Planned::new("/apis/apiextensions.k8s.io/v1/customresourcedefinitions".to_owned(), object)
    }

    fn instance(&self, mut place: Place, spec: &Value) -> Planned {
        let Self { group, kind, plural, .. } = self;
        let (version, name) = (self.version(), place.name());
        let mut metadata = place.metadata(&name);
        let mut collection = place.collection(&format!("apis/{group}/{version}"), plural);
        if !self.namespaced {
            collection = format!("/apis/{group}/{version}/{plural}");
            metadata.as_object_mut().expect("metadata must be an object: Place made it").remove("namespace");
        }
        let object =
            json!({ "apiVersion": format!("{group}/{version}"), "kind": kind, "metadata": metadata, "spec": spec });
        Planned::new(collection, object)
    }
}
