//! Services, Ingresses, NetworkPolicies.

use serde_json::json;

use super::{Place, Planned};

pub(super) fn service(mut place: Place) -> Planned {
    let name = format!("s-{}", place.name());
    let mut spec = json!({
        "selector": { "app": place.random.word() },
        "ports": [
            { "name": "http", "port": 80, "targetPort": "http" },
            { "name": "metrics", "port": 9000 + place.random.below(99), "protocol": "TCP" },
        ],
    });
    if place.random.below(4) == 0 {
        spec["clusterIP"] = "None".into();
    }
    let object = json!({ "apiVersion": "v1", "kind": "Service", "metadata": place.metadata(&name), "spec": spec });
    Planned::new(place.collection("api/v1", "services"), object)
}

pub(super) fn ingress(mut place: Place) -> Planned {
    let name = place.name();
    let host = format!("{name}.example.com");
    let paths: Vec<_> = (0..1 + place.random.below(4))
        .map(|number| {
            let service = json!({ "name": place.random.word(), "port": { "number": 80 } });
            json!({ "path": format!("/v{number}"), "pathType": "Prefix", "backend": { "service": service } })
        })
        .collect();
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": place.metadata(&name),
        "spec": { "rules": [{ "host": host, "http": { "paths": paths } }], "tls": [{ "hosts": [host] }] },
    });
    Planned::new(place.collection("apis/networking.k8s.io/v1", "ingresses"), object)
}

pub(super) fn policy(mut place: Place) -> Planned {
    let name = place.name();
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": place.metadata(&name),
        "spec": {
            "podSelector": { "matchLabels": { "app": place.random.word() } }, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{ "from": [{ "namespaceSelector": { "matchLabels": { "team": place.namespace } } }] }],
            "egress": [{ "to": [{ "ipBlock": { "cidr": "10.0.0.0/8" } }], "ports": [{ "port": 5432, "protocol": "TCP" }] }],
        },
    });
    Planned::new(place.collection("apis/networking.k8s.io/v1", "networkpolicies"), object)
}
