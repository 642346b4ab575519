//! Conditions of BackupSessions and of their targets.

use super::{BACKUP_SKIPPED, Status, Verdict};

/// A step of a session that succeeds or fails, and what its condition says then.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Type of the condition.
    pub type_: &'static str,
    done: (&'static str, &'static str),
    failed: (&'static str, &'static str),
    /// What follows the reason of a failure.
    end: &'static str,
}

impl Step {
    /// The step has succeeded.
    pub fn succeeded(&self) -> Verdict {
        Verdict::new(self.type_, Status::True, self.done.0, self.done.1)
    }

    /// The step is still to be done.
    pub fn awaited(&self) -> Verdict {
        Verdict::new(self.type_, Status::Unknown, "NotExecutedYet", "Not executed yet.")
    }

    /// The step was not done now, and why. That is neither success nor failure.
    pub fn postponed(&self, why: &str) -> Verdict {
        Verdict::new(self.type_, Status::Unknown, "Postponed", format!("Postponed. Reason: {why}"))
    }

    /// The step has failed, and why.
    pub fn failed(&self, why: &str) -> Verdict {
        let message = format!("{} Reason: {why}{}", self.failed.1, self.end);
        Verdict::new(self.type_, Status::False, self.failed.0, message)
    }
}

const fn step(
    type_: &'static str,
    done: (&'static str, &'static str),
    failed: (&'static str, &'static str),
    end: &'static str,
) -> Step {
    Step { type_, done, failed, end }
}

/// The restic repository is there.
pub const BACKEND_REPOSITORY_INITIALIZED: Step = step(
    "BackendRepositoryInitialized",
    ("BackendRepositoryFound", "Repository exist in the backend."),
    ("FailedToInitializeBackendRepository", "Failed to initialize backend repository."),
    "",
);
/// Old backups were removed.
pub const RETENTION_POLICY_APPLIED: Step = step(
    "RetentionPolicyApplied",
    ("SuccessfullyAppliedRetentionPolicy", "Successfully applied retention policy."),
    ("FailedToApplyRetentionPolicy", "Failed to apply retention policy."),
    "",
);
/// The repository was checked.
pub const REPOSITORY_INTEGRITY_VERIFIED: Step = step(
    "RepositoryIntegrityVerified",
    ("SuccessfullyVerifiedRepositoryIntegrity", "Repository integrity verification succeeded."),
    ("FailedToVerifyRepositoryIntegrity", "Repository integrity verification failed."),
    "",
);
/// Metrics of the repository were pushed.
pub const REPOSITORY_METRICS_PUSHED: Step = step(
    "RepositoryMetricsPushed",
    ("SuccessfullyPushedRepositoryMetrics", "Successfully pushed repository metrics."),
    ("FailedToPushRepositoryMetrics", "Failed to push repository metrics."),
    "",
);
/// Metrics of the session were pushed.
pub const METRICS_PUSHED: Step = step(
    "MetricsPushed",
    ("SuccessfullyPushedMetrics", "Successfully pushed metrics."),
    ("FailedToPushMetrics", "Failed to push metrics."),
    "",
);
/// Old sessions were removed.
pub const BACKUP_HISTORY_CLEANED: Step = step(
    "BackupHistoryCleaned",
    ("SuccessfullyCleanedBackupHistory", "Successfully cleaned up backup history according to backupHistoryLimit."),
    ("FailedToCleanBackupHistory", "Failed to cleanup old BackupSessions."),
    "",
);
/// The hook of a BackupBatch before its first target.
pub const GLOBAL_PRE_BACKUP_HOOK: Step = step(
    "GlobalPreBackupHookSucceeded",
    ("GlobalPreBackupHookExecutedSuccessfully", "Global PreBackup hook has been executed successfully"),
    ("GlobalPreBackupHookExecutionFailed", "Failed to execute global PreBackup Hook."),
    ".",
);
/// The hook of a BackupBatch after its last target.
pub const GLOBAL_POST_BACKUP_HOOK: Step = step(
    "GlobalPostBackupHookSucceeded",
    ("GlobalPostBackupHookExecutedSuccessfully", "Global PostBackup hook has been executed successfully"),
    ("GlobalPostBackupHookExecutionFailed", "Failed to execute global PostBackup Hook."),
    ".",
);
/// The Job of a target was made.
pub const BACKUP_EXECUTOR_ENSURED: Step = step(
    "BackupExecutorEnsured",
    ("SuccessfullyEnsuredBackupExecutor", "Successfully ensured backup executor."),
    ("FailedToEnsureBackupExecutor", "Failed to ensure backup executor."),
    "",
);
/// The hook before the backup of a target.
pub const PRE_BACKUP_HOOK: Step = step(
    "PreBackupHookExecutionSucceeded",
    ("SuccessfullyExecutedPreBackupHook", "Successfully executed preBackup hook."),
    ("FailedToExecutePreBackupHook", "Failed to execute preBackup hook."),
    "",
);
/// The hook after the backup of a target.
pub const POST_BACKUP_HOOK: Step = step(
    "PostBackupHookExecutionSucceeded",
    ("SuccessfullyExecutedPostBackupHook", "Successfully executed postBackup hook."),
    ("FailedToExecutePostBackupHook", "Failed to execute postBackup hook."),
    "",
);

/// The session is skipped because its invoker `kind namespace/name` is not ready.
pub fn skipped_not_ready(kind: &str, namespace: &str, name: &str) -> Verdict {
    skipped(format!("Skipped taking backup. Reason: {kind} {namespace}/{name} is not ready."))
}

/// The session is skipped because the session `previous` of the same invoker still runs.
pub fn previous_session_runs(previous: &str) -> Verdict {
    skipped(format!("Skipped taking new backup. Reason: Previous BackupSession: {previous} is \"Running\"."))
}

fn skipped(message: String) -> Verdict {
    Verdict::new(BACKUP_SKIPPED, Status::True, "SkippedTakingNewBackup", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_says_why() {
        let verdict = RETENTION_POLICY_APPLIED.failed("locked");
        assert_eq!(verdict.message, "Failed to apply retention policy. Reason: locked");
        assert_eq!((verdict.status, verdict.reason), (Status::False, "FailedToApplyRetentionPolicy"));
        let verdict = GLOBAL_PRE_BACKUP_HOOK.failed("exit 1");
        assert_eq!(verdict.message, "Failed to execute global PreBackup Hook. Reason: exit 1.");
    }

    #[test]
    fn a_skipped_session_says_what_was_in_its_way() {
        assert_eq!(
            skipped_not_ready("BackupConfiguration", "demo", "b").message,
            "Skipped taking backup. Reason: BackupConfiguration demo/b is not ready."
        );
        assert_eq!(
            previous_session_runs("b-1").message,
            "Skipped taking new backup. Reason: Previous BackupSession: b-1 is \"Running\"."
        );
    }
}
