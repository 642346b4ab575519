//! ServiceAccounts and RBAC. RBAC names may hold anything but `/` and `%`, and do.

use serde_json::{Value, json};

use super::{Place, Planned};

/// API group of RBAC.
const RBAC: &str = "rbac.authorization.k8s.io";

/// The account that a Pod without one gets; the controller manager would make it.
pub(super) fn default_account(namespace: &str) -> Planned {
    let metadata = json!({ "name": "default", "namespace": namespace });
    let object = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata });
    Planned::new(format!("/api/v1/namespaces/{namespace}/serviceaccounts"), object)
}

pub(super) fn account(mut place: Place) -> Planned {
    let name = place.name();
    let object = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": place.metadata(&name),
        "automountServiceAccountToken": false, "imagePullSecrets": [{ "name": place.random.word() }],
    });
    Planned::new(place.collection("api/v1", "serviceaccounts"), object)
}

pub(super) fn role(mut place: Place) -> Planned {
    let name = odd_name(&mut place);
    let rules = rules(&mut place);
    let metadata = place.metadata(&name);
    let object = json!({ "apiVersion": format!("{RBAC}/v1"), "kind": "Role", "metadata": metadata, "rules": rules });
    Planned::new(place.collection(&format!("apis/{RBAC}/v1"), "roles"), object)
}

pub(super) fn role_binding(mut place: Place) -> Planned {
    let name = odd_name(&mut place);
    let subjects: Vec<Value> = (0..1 + place.random.below(3))
        .map(|_| match place.random.below(3) {
            0 => {
                json!({ "kind": "User", "apiGroup": RBAC, "name": format!("oidc:{}@example.com", place.random.word()) })
            }
            1 => json!({ "kind": "Group", "apiGroup": RBAC, "name": format!("team:{}", place.random.word()) }),
            _ => json!({ "kind": "ServiceAccount", "name": place.random.word(), "namespace": place.namespace }),
        })
        .collect();
    let object = json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding", "metadata": place.metadata(&name),
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": place.random.pick(&["view", "edit", "admin"]) },
        "subjects": subjects,
    });
    Planned::new(place.collection(&format!("apis/{RBAC}/v1"), "rolebindings"), object)
}

pub(super) fn cluster_role(mut place: Place) -> Planned {
    let name = odd_name(&mut place);
    let rules = rules(&mut place);
    let labels = json!({ "rbac.example.com/aggregate-to-view": "true" });
    let object = json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole",
        "metadata": { "name": name, "labels": labels }, "rules": rules,
    });
    Planned::new(format!("/apis/{RBAC}/v1/clusterroles"), object)
}

/// Names as clusters have them, and a few that only RBAC allows.
fn odd_name(place: &mut Place) -> String {
    let name = place.name();
    match place.random.below(12) {
        0 => name.to_uppercase(),
        1 => format!("{name} (old) & größe"),
        2 => format!("..{name}\\*?"),
        3..7 => format!("{}:{name}", place.namespace),
        _ => name,
    }
}

fn rules(place: &mut Place) -> Vec<Value> {
    let rule = |place: &mut Place| {
        json!({
            "apiGroups": [place.random.pick(&["", "apps", "batch", "*"])],
            "resources": [place.random.pick(&["configmaps", "pods/log", "deployments", "*"]), "secrets"],
            "verbs": ["get", "list", "watch"],
        })
    };
    (0..1 + place.random.below(6)).map(|_| rule(place)).collect()
}
