//! Conditions of BackupConfigurations and BackupBatches.

use std::fmt;

use super::{
    BACKEND_SECRET_FOUND, BACKUP_TARGET_FOUND, CRON_JOB_CREATED, REPOSITORY_FOUND, Status, TASK_FOUND,
    VALIDATION_PASSED, Verdict,
};
use crate::crd::TargetRef;

/// What a look for an object has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is there.
    Present,
    /// It is not there.
    Absent,
    /// It could not be looked for, and why.
    Unclear(String),
}

/// Whether the Repository `namespace/name` is there.
pub fn repository_found(namespace: &str, name: &str, finding: &Finding) -> Verdict {
    let verdict = |status, reason, message| Verdict::new(REPOSITORY_FOUND, status, reason, message);
    let object = format!("Repository {namespace}/{name}");
    match finding {
        Finding::Present => verdict(Status::True, "RepositoryAvailable", format!("{object} exist.")),
        Finding::Absent => verdict(Status::False, "RepositoryNotAvailable", format!("{object} does not exist.")),
        Finding::Unclear(why) => {
            verdict(Status::Unknown, "UnableToCheckRepositoryAvailability", unclear(&format!("the {object}"), why))
        }
    }
}

/// Whether the storage Secret `namespace/name` is there.
pub fn backend_secret_found(namespace: &str, name: &str, finding: &Finding) -> Verdict {
    let verdict = |status, reason, message| Verdict::new(BACKEND_SECRET_FOUND, status, reason, message);
    let object = format!("Backend Secret {namespace}/{name}");
    match finding {
        Finding::Present => verdict(Status::True, "BackendSecretAvailable", format!("{object} exist.")),
        Finding::Absent => verdict(Status::False, "BackendSecretNotAvailable", format!("{object} does not exist.")),
        Finding::Unclear(why) => {
            let object = format!("the backend Secret {namespace}/{name}");
            verdict(Status::Unknown, "UnableToCheckBackendSecretAvailability", unclear(&object, why))
        }
    }
}

/// Whether the Task `name` is there.
pub fn task_found(name: &str, finding: &Finding) -> Verdict {
    let verdict = |status, reason, message| Verdict::new(TASK_FOUND, status, reason, message);
    match finding {
        Finding::Present => verdict(Status::True, "TaskAvailable", format!("Task {name} exist.")),
        Finding::Absent => verdict(Status::False, "TaskNotAvailable", format!("Task {name} does not exist.")),
        Finding::Unclear(why) => {
            verdict(Status::Unknown, "UnableToCheckTaskAvailability", unclear(&format!("the Task {name}"), why))
        }
    }
}

/// Whether the target is there. `None` is the whole cluster, which Stash calls `EmptyTarget` and always finds.
pub fn backup_target_found(target: Option<&TargetRef>, finding: &Finding) -> Verdict {
    let verdict = |status, reason, message| Verdict::new(BACKUP_TARGET_FOUND, status, reason, message);
    let object = format!("backup target {}", TargetName(target));
    match finding {
        Finding::Present => verdict(Status::True, "TargetAvailable", capital(&format!("{object} found."))),
        Finding::Absent => verdict(Status::False, "TargetNotAvailable", capital(&format!("{object} does not exist."))),
        Finding::Unclear(why) => verdict(Status::Unknown, "UnableToCheckTargetAvailability", unclear(&object, why)),
    }
}

/// Whether the spec makes sense and is allowed; the error is the text that the user shall read.
pub fn validation_passed(result: Result<(), &str>) -> Verdict {
    match result {
        Ok(()) => Verdict::new(VALIDATION_PASSED, Status::True, "ResourceValidationPassed", "Successfully validated."),
        Err(text) => Verdict::new(VALIDATION_PASSED, Status::False, "ResourceValidationFailed", text),
    }
}

/// Whether the CronJob is set up; the error is the reason why it is not.
pub fn cron_job_created(result: Result<(), &str>) -> Verdict {
    match result {
        Ok(()) => Verdict::new(
            CRON_JOB_CREATED,
            Status::True,
            "CronJobCreationSucceeded",
            "Successfully created backup triggering CronJob.",
        ),
        Err(why) => Verdict::new(
            CRON_JOB_CREATED,
            Status::False,
            "CronJobCreationFailed",
            format!("Failed to create backup triggering CronJob. Reason: {why}"),
        ),
    }
}

/// That the scheduler itself starts the backups. Type and value are those of a CronJob that was made: the phase, and
/// whoever waits for the condition, need not know the difference. An addition to Stash's texts.
pub fn timer_set() -> Verdict {
    let message = "The scheduler starts the backups itself; there is no CronJob.";
    Verdict::new(CRON_JOB_CREATED, Status::True, "TimerSet", message)
}

fn unclear(object: &str, why: &str) -> String {
    format!("Failed to check whether {object} exist or not. Reason: {why}")
}

fn capital(text: &str) -> String {
    text.replacen("backup", "Backup", 1)
}

struct TargetName<'a>(Option<&'a TargetRef>);

impl fmt::Display for TargetName<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(target) = self.0 else { return out.write_str("EmptyTarget /na") };
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        write!(out, "{} {}/{}", text(&target.kind), text(&target.namespace), text(&target.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_those_of_stash() {
        let unclear = Finding::Unclear("timeout".to_owned());
        let said = |verdict: Verdict| format!("{} {} {}", verdict.status.name(), verdict.reason, verdict.message);
        let target = TargetRef {
            api_version: Some("apps/v1".to_owned()),
            kind: Some("Deployment".to_owned()),
            name: Some("web".to_owned()),
            namespace: Some("shop".to_owned()),
        };
        let table = [
            (repository_found("demo", "r", &Finding::Present), "True RepositoryAvailable Repository demo/r exist."),
            (
                repository_found("demo", "r", &Finding::Absent),
                "False RepositoryNotAvailable Repository demo/r does not exist.",
            ),
            (
                repository_found("demo", "r", &unclear),
                "Unknown UnableToCheckRepositoryAvailability Failed to check whether the Repository demo/r exist or not. Reason: timeout",
            ),
            (
                backend_secret_found("demo", "s", &Finding::Present),
                "True BackendSecretAvailable Backend Secret demo/s exist.",
            ),
            (
                backend_secret_found("demo", "s", &Finding::Absent),
                "False BackendSecretNotAvailable Backend Secret demo/s does not exist.",
            ),
            (
                backend_secret_found("demo", "s", &unclear),
                "Unknown UnableToCheckBackendSecretAvailability Failed to check whether the backend Secret demo/s exist or not. Reason: timeout",
            ),
            (
                backup_target_found(Some(&target), &Finding::Present),
                "True TargetAvailable Backup target Deployment shop/web found.",
            ),
            (
                backup_target_found(Some(&target), &Finding::Absent),
                "False TargetNotAvailable Backup target Deployment shop/web does not exist.",
            ),
            (
                backup_target_found(Some(&target), &unclear),
                "Unknown UnableToCheckTargetAvailability Failed to check whether backup target Deployment shop/web exist or not. Reason: timeout",
            ),
            (backup_target_found(None, &Finding::Present), "True TargetAvailable Backup target EmptyTarget /na found."),
            (validation_passed(Ok(())), "True ResourceValidationPassed Successfully validated."),
            (validation_passed(Err("no")), "False ResourceValidationFailed no"),
            (cron_job_created(Ok(())), "True CronJobCreationSucceeded Successfully created backup triggering CronJob."),
            (
                cron_job_created(Err("no")),
                "False CronJobCreationFailed Failed to create backup triggering CronJob. Reason: no",
            ),
        ];
        for (verdict, expected) in table {
            assert_eq!(said(verdict), expected);
        }
    }
}
