//! Who may use a Repository.

use std::collections::BTreeMap;

use crate::crd::{NamespacesFrom, UsagePolicy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Whether objects in `namespace`, which has these labels, may use a Repository in `repository_namespace`. Without a
/// policy only its own namespace may.
pub fn allows(
    policy: Option<&UsagePolicy>,
    repository_namespace: &str,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> bool {
    let allowed = policy.and_then(|policy| policy.allowed_namespaces.as_ref());
    let from = allowed.and_then(|allowed| allowed.from).unwrap_or_default();
    match from {
        _ if repository_namespace == namespace => true,
        NamespacesFrom::All => true,
        NamespacesFrom::Same => false,
        NamespacesFrom::Selector => {
            allowed.and_then(|allowed| allowed.selector.as_ref()).is_some_and(|selector| matches(selector, labels))
        }
    }
}

/// Whether the selector matches: all of its parts do, so that an empty one matches everything
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#resources-that-support-set-based-requirements>).
fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    equal && selector.match_expressions.iter().flatten().all(|one| fits(one, labels))
}

fn fits(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let LabelSelectorRequirement { key, operator, values } = requirement;
    let label = labels.get(key);
    let is_named = || label.is_some_and(|label| values.iter().flatten().any(|value| value == label));
    match operator.as_str() {
        "In" => is_named(),
        "NotIn" => !is_named(),
        "Exists" => label.is_some(),
        "DoesNotExist" => label.is_none(),
        // Unknown to this version: to let nobody in is the safe reading.
        _ => false,
    }
}

/// The text that Stash refuses with.
pub fn refusal(namespace: &str, repository: &str, repository_namespace: &str) -> String {
    format!(
        "namespace \"{namespace}\" is not allowed to refer Repository \"{repository}\" of \"{repository_namespace}\" \
         namespace. Please, check the `usagePolicy` of the Repository"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn may(policy: Value, namespace: &str, labels: &[(&str, &str)]) -> bool {
        let policy: Option<UsagePolicy> = serde_json::from_value(policy).unwrap();
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        allows(policy.as_ref(), "home", namespace, &labels)
    }

    fn selecting(selector: Value) -> Value {
        json!({ "allowedNamespaces": { "from": "Selector", "selector": selector } })
    }

    #[test]
    fn the_policy_says_which_namespaces_may_use_a_repository() {
        let team = selecting(json!({ "matchLabels": { "team": "a" } }));
        let prod = |operator: &str, values: Value| {
            selecting(json!({ "matchExpressions": [{ "key": "env", "operator": operator, "values": values }] }))
        };
        let table = [
            (json!(null), "home", vec![], true),
            (json!(null), "away", vec![], false),
            (json!({}), "away", vec![], false),
            (json!({ "allowedNamespaces": { "from": "Same" } }), "away", vec![], false),
            (json!({ "allowedNamespaces": { "from": "All" } }), "away", vec![], true),
            (json!({ "allowedNamespaces": { "from": "Selector" } }), "away", vec![], false),
            (selecting(json!({})), "away", vec![], true),
            (team.clone(), "away", vec![("team", "a")], true),
            (team.clone(), "away", vec![("team", "b")], false),
            (team, "home", vec![], true),
            (prod("In", json!(["prod"])), "away", vec![("env", "prod")], true),
            (prod("In", json!(["prod"])), "away", vec![], false),
            (prod("NotIn", json!(["prod"])), "away", vec![], true),
            (prod("NotIn", json!(["prod"])), "away", vec![("env", "prod")], false),
            (prod("Exists", json!(null)), "away", vec![("env", "x")], true),
            (prod("DoesNotExist", json!(null)), "away", vec![("env", "x")], false),
            (prod("Later", json!(null)), "away", vec![("env", "x")], false),
        ];
        for (policy, namespace, labels, expected) in table {
            assert_eq!(may(policy.clone(), namespace, &labels), expected, "{policy} {namespace} {labels:?}");
        }
    }
}
