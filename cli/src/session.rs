//! What a BackupSession says, in words. Pure.

use proto::crd::{BackupSession, Condition, HostPhase, SessionPhase};

/// The phase as the cluster prints it; a session that nobody has taken up yet has none.
pub(crate) fn phase(session: &BackupSession) -> &'static str {
    match session.status.as_ref().and_then(|status| status.phase) {
        None => "not taken up yet",
        Some(SessionPhase::Pending) => "Pending",
        Some(SessionPhase::Skipped) => "Skipped",
        Some(SessionPhase::Running) => "Running",
        Some(SessionPhase::Succeeded) => "Succeeded",
        Some(SessionPhase::Failed) => "Failed",
        Some(SessionPhase::Unknown) => "Unknown",
    }
}

/// The final phase, once there is one.
pub(crate) fn end(session: &BackupSession) -> Option<SessionPhase> {
    session.status.as_ref()?.phase.filter(|phase| phase.is_final())
}

/// Why it failed or was skipped: what conditions and hosts say, each once.
pub(crate) fn reasons(session: &BackupSession) -> Vec<String> {
    let Some(status) = &session.status else { return Vec::new() };
    let of_targets = status.targets.iter().flat_map(|target| &target.conditions);
    let conditions = status.conditions.iter().chain(of_targets).filter(|one| is_bad(one)).map(said);
    let hosts = status.targets.iter().flat_map(|target| &target.stats);
    let failed = hosts.filter(|host| host.phase == Some(HostPhase::Failed) || host.error.is_some()).map(|host| {
        let name = host.hostname.as_deref().unwrap_or("host");
        format!("{name}: {}", host.error.as_deref().unwrap_or("failed without a reason"))
    });
    let mut reasons: Vec<String> = Vec::new();
    for reason in conditions.chain(failed) {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    reasons
}

/// A condition that tells of trouble. `BackupSkipped` is the only one that does so by being true.
fn is_bad(condition: &Condition) -> bool {
    match condition.type_.as_str() {
        "BackupSkipped" => condition.status == "True",
        _ => condition.status == "False",
    }
}

/// `Type=Status: message`.
pub(crate) fn said(condition: &Condition) -> String {
    let Condition { type_, status, message, reason, .. } = condition;
    format!("{type_}={status}: {}", if message.is_empty() { reason } else { message })
}

/// Snapshots that it saved, by their short ids.
pub(crate) fn snapshots(session: &BackupSession) -> Vec<String> {
    let targets = session.status.iter().flat_map(|status| &status.targets);
    let snapshots = targets.flat_map(|target| &target.stats).flat_map(|host| &host.snapshots);
    snapshots.filter_map(|snapshot| snapshot.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_reason_is_told_once_wherever_it_stands() {
        let at = "2026-01-01T00:00:00Z";
        let condition = |type_: &str, status: &str, message: &str| json!({"type": type_, "status": status, "reason": "R", "message": message, "lastTransitionTime": at});
        let session: BackupSession = serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": {}, "status": {
            "phase": "Failed",
            "conditions": [condition("RetentionPolicyApplied", "True", "fine"), condition("MetricsPushed", "False", "no gateway")],
            "targets": [{"conditions": [condition("BackupExecutorEnsured", "False", "no rights"), condition("BackupExecutorEnsured", "False", "no rights")],
                "stats": [{"hostname": "host-0", "phase": "Failed", "error": "disk"}, {"hostname": "host-1", "phase": "Succeeded", "snapshots": [{"name": "1a2b3c4d"}]}]}]
        }}))
        .expect("a session");
        let reasons = reasons(&session);
        assert_eq!(
            reasons,
            ["MetricsPushed=False: no gateway", "BackupExecutorEnsured=False: no rights", "host-0: disk"]
        );
        assert_eq!(snapshots(&session), ["1a2b3c4d"]);
        assert_eq!((phase(&session), end(&session)), ("Failed", Some(SessionPhase::Failed)));
    }

    #[test]
    fn a_session_without_a_status_is_no_error() {
        let session = BackupSession::default();
        assert_eq!((phase(&session), end(&session)), ("not taken up yet", None));
        assert!(reasons(&session).is_empty());
    }
}
