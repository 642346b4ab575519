//! `kubectl stash rbac`: the least rights that a backup needs, as YAML for `kubectl apply`.
//!
//! A backup gets and lists, nothing else. That the API server may be asked which kinds there are is granted to every ServiceAccount by
//! Kubernetes itself (`system:discovery`).

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::{
    args::{ClusterArgs, Output},
    exit::{Failure, print},
};

#[derive(Args, Debug)]
#[command(long_about = "Print the least rights that a backup needs.\n\n\
    Prints a ServiceAccount in the namespace of the BackupConfiguration, a ClusterRole with get and list for the chosen resources, and the \
    binding of both. Nothing is sent to the cluster. Without --kinds everything can be read, Secrets included: who may create Pods in that \
    namespace can then use it, so give such a ServiceAccount a namespace of its own.\n\n\
    With --kinds the backup has to leave the other kinds out as well, as `kubectl stash backup --include-resources` does: a kind that it \
    lists and may not read makes its snapshot partial, and a session Failed.")]
#[command(after_help = "Examples:
  # A backup of the whole cluster
  kubectl stash rbac -n demo --service-account cluster-reader | kubectl apply -f -

  # Only some resources, written resource.group as `kubectl api-resources` shows them
  kubectl stash rbac -n demo --service-account web-reader --kinds pods,configmaps,deployments.apps,ingresses.networking.k8s.io

  # Everything in one namespace, and the Namespace itself
  kubectl stash rbac -n demo --service-account shop-reader --target-namespace shop")]
pub(crate) struct RbacArgs {
    /// ServiceAccount, and name of role and binding
    #[arg(long, value_name = "NAME", default_value = "backup-reader")]
    service_account: String,
    /// Only these resources, as resource.group; the core group has no name (repeatable, or with commas) [default: all]
    #[arg(long, value_name = "RESOURCE", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Rights in this namespace only; cluster-scoped objects, but for the Namespace itself, cannot be read then
    #[arg(long, value_name = "NAME")]
    target_namespace: Option<String>,
    /// Format: text is YAML
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

/// Prints the objects.
pub(crate) async fn run(cluster: &ClusterArgs, args: RbacArgs) -> Result<ExitCode, Failure> {
    let namespace = cluster.namespace_or_default().await?;
    let objects = objects(&args, &namespace)?;
    let text = match args.output {
        Output::Json => format!("{:#}\n", json!({ "apiVersion": "v1", "kind": "List", "items": objects })),
        Output::Text => {
            let written: Result<Vec<String>, _> = objects.iter().map(serde_saphyr::to_string).collect();
            written.map_err(|error| Failure::Wrong(format!("write YAML: {error}")))?.join("---\n")
        }
    };
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

const GROUP: &str = "rbac.authorization.k8s.io";

fn objects(args: &RbacArgs, namespace: &str) -> Result<Vec<Value>, Failure> {
    let name = &args.service_account;
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}});
    let rules = rules(&args.kinds)?;
    let subjects = json!([{"kind": "ServiceAccount", "name": name, "namespace": namespace}]);
    let of = |kind: &str, name: &str, within: Option<&str>| {
        let mut object = json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": {"name": name}});
        if let Some(within) = within {
            object["metadata"]["namespace"] = json!(within);
        }
        object
    };
    let pair = |role: &str, name: &str, within: Option<&str>, rules: &Value| {
        let (mut granted, mut binding) = (of(role, name, within), of(&format!("{role}Binding"), name, within));
        granted["rules"] = rules.clone();
        binding["roleRef"] = json!({"apiGroup": GROUP, "kind": role, "name": name});
        binding["subjects"] = subjects.clone();
        [granted, binding]
    };
    let mut all = vec![account];
    match &args.target_namespace {
        None => all.extend(pair("ClusterRole", name, None, &rules)),
        Some(target) => {
            all.extend(pair("Role", name, Some(target), &rules));
            let own = json!([{"apiGroups": [""], "resources": ["namespaces"], "resourceNames": [target], "verbs": ["get", "list"]}]);
            all.extend(pair("ClusterRole", &format!("{name}-{target}"), None, &own));
        }
    }
    Ok(all)
}

/// One rule a group, groups and resources in order, each once.
fn rules(kinds: &[String]) -> Result<Value, Failure> {
    let verbs = ["get", "list"];
    if kinds.is_empty() {
        return Ok(json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": verbs}]));
    }
    let mut groups = std::collections::BTreeMap::<&str, std::collections::BTreeSet<&str>>::new();
    for kind in kinds {
        let (resource, group) = kind.split_once('.').unwrap_or((kind, ""));
        let is_name = |text: &str| {
            text.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || ".-*".contains(letter))
        };
        if resource.is_empty() || !is_name(resource) || !is_name(group) {
            return Err(Failure::Wrong(format!(
                "--kinds {kind}: a resource is written as `kubectl api-resources` shows it, in the plural and with its group: pods, deployments.apps"
            )));
        }
        groups.entry(group).or_default().insert(resource);
    }
    Ok(groups
        .iter()
        .map(|(group, resources)| json!({"apiGroups": [group], "resources": resources, "verbs": verbs}))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_granted_by_group_each_once() {
        let kinds =
            ["pods", "deployments.apps", "configmaps", "pods", "ingresses.networking.k8s.io"].map(str::to_owned);
        let rule = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["get", "list"]});
        let expected = [
            rule("", &["configmaps", "pods"]),
            rule("apps", &["deployments"]),
            rule("networking.k8s.io", &["ingresses"]),
        ];
        assert_eq!(rules(&kinds).expect("resources"), json!(expected));
        assert!(rules(&["Deployment".to_owned()]).expect_err("a kind").to_string().contains("in the plural"));
    }
}
