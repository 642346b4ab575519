//! What is wrong with Pods of a session. Pure.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use kube::ResourceExt;

use super::Finding;

/// Everything that keeps these Pods from their work, or ended it badly.
pub(super) fn findings(pods: &[Pod]) -> Vec<Finding> {
    pods.iter()
        .flat_map(|pod| unscheduled(pod).into_iter().chain(containers(pod).filter_map(|one| of_container(pod, one))))
        .collect()
}

fn place(pod: &Pod) -> String {
    format!("Pod {}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| status.init_container_statuses.iter().chain(&status.container_statuses)).flatten()
}

fn unscheduled(pod: &Pod) -> Option<Finding> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|one| one.type_ == "PodScheduled" && one.status == "False")?;
    let why = condition.message.as_deref().unwrap_or("no reason is given");
    let fix = "free room on the nodes, or lower spec.runtimeSettings.container.resources.requests";
    Some(Finding::new(format!("{} finds no node: {why}", place(pod)), fix))
}

fn of_container(pod: &Pod, status: &ContainerStatus) -> Option<Finding> {
    let state = status.state.as_ref()?;
    let what = format!("{}, container {}: {}", place(pod), status.name, trouble(state)?);
    let reason = reason(state);
    let fix = match reason {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" => {
            "the image cannot be pulled: look at its name in the Function, and at spec.runtimeSettings.pod.imagePullSecrets".to_owned()
        }
        "CreateContainerConfigError" => "a Secret or ConfigMap that the container names does not exist, or its user is not allowed".to_owned(),
        "OOMKilled" => "raise spec.runtimeSettings.container.resources.limits.memory".to_owned(),
        "Evicted" => "the node ran out of memory or disk; the next session tries again".to_owned(),
        _ => format!("kubectl logs -n {} {} -c {}", pod.namespace().unwrap_or_default(), pod.name_any(), status.name),
    };
    Some(Finding::new(what, fix))
}

fn reason(state: &ContainerState) -> &str {
    let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref());
    let ended = state.terminated.as_ref().and_then(|ended| ended.reason.as_deref());
    waiting.or(ended).unwrap_or_default()
}

/// `ImagePullBackOff: …`, `OOMKilled, exit code 137`. Nothing where all is well.
fn trouble(state: &ContainerState) -> Option<String> {
    if let Some(ended) = &state.terminated {
        return (ended.exit_code != 0).then(|| format!("{}, exit code {}", reason(state), ended.exit_code));
    }
    let waiting = state.waiting.as_ref()?;
    let is_normal = matches!(reason(state), "" | "ContainerCreating" | "PodInitializing");
    (!is_normal).then(|| format!("{}: {}", reason(state), waiting.message.as_deref().unwrap_or_default()))
}

/// One line on a Pod: its phase, and its containers that do not run.
pub(super) fn line(pod: &Pod) -> String {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Unknown");
    let troubles = containers(pod).filter_map(|one| Some(format!(", {} {}", one.name, trouble(one.state.as_ref()?)?)));
    format!("{} {phase}{}", pod.name_any(), troubles.collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(state: Value) -> Pod {
        let container =
            json!({"name": "dumper", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "d"}, "status": {"phase": "Pending", "initContainerStatuses": [container]}}))
            .expect("a Pod")
    }

    #[test]
    fn each_trouble_of_a_container_has_its_fix() {
        let table = [
            (json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}), Some("cannot be pulled")),
            (json!({"terminated": {"reason": "OOMKilled", "exitCode": 137}}), Some("limits.memory")),
            (json!({"terminated": {"reason": "Error", "exitCode": 1}}), Some("kubectl logs -n d p -c dumper")),
            (json!({"terminated": {"reason": "Completed", "exitCode": 0}}), None),
            (json!({"waiting": {"reason": "PodInitializing"}}), None),
            (json!({"running": {}}), None),
        ];
        for (state, expected) in table {
            let found = findings(&[pod(state.clone())]);
            assert_eq!(found.len(), usize::from(expected.is_some()), "{state}");
            assert!(expected.is_none_or(|fix| found[0].fix.contains(fix)), "{found:?}");
        }
    }

    #[test]
    fn a_pod_without_a_status_is_no_trouble() {
        assert_eq!((findings(&[Pod::default()]), line(&Pod::default())), (Vec::new(), " Unknown".to_owned()));
    }
}
