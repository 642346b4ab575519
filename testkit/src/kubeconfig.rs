//! The text of a kubeconfig. Certificates are inside, so that the file can be used from any folder.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::pki::Identity;

/// A kubeconfig with one cluster, one user and one context, all named `testkit`. JSON, which is YAML too.
pub(crate) fn kubeconfig(server: &str, authority: Option<&str>, identity: Option<&Identity>) -> String {
    let mut cluster = json!({ "server": server });
    if let Some(authority) = authority {
        cluster["certificate-authority-data"] = STANDARD.encode(authority).into();
    }
    let user = identity.map_or_else(
        || json!({}),
        |identity| {
            json!({
                "client-certificate-data": STANDARD.encode(&identity.certificate),
                "client-key-data": STANDARD.encode(&identity.key),
            })
        },
    );
    text(&cluster, &user)
}

fn text(cluster: &Value, user: &Value) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "testkit", "cluster": cluster }],
        "users": [{ "name": "testkit", "user": user }],
        "contexts": [{ "name": "testkit", "context": { "cluster": "testkit", "user": "testkit" } }],
        "current-context": "testkit",
    });
    format!("{config:#}\n")
}
