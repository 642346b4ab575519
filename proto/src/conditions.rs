//! What a condition says in which case: type, reason and message, word for word those of Stash.
//!
//! A [`Verdict`] is a condition without its time. [`upsert`] joins verdicts to the conditions that stand in a status, and
//! changes nothing that says the same already: writing the same verdicts again is no write.

mod invoker;
mod session;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub use invoker::{
    Finding, backend_secret_found, backup_target_found, cron_job_created, repository_found, task_found, timer_set,
    validation_passed,
};
pub use session::{
    BACKEND_REPOSITORY_INITIALIZED, BACKUP_EXECUTOR_ENSURED, BACKUP_HISTORY_CLEANED, GLOBAL_POST_BACKUP_HOOK,
    GLOBAL_PRE_BACKUP_HOOK, METRICS_PUSHED, POST_BACKUP_HOOK, PRE_BACKUP_HOOK, REPOSITORY_INTEGRITY_VERIFIED,
    REPOSITORY_METRICS_PUSHED, RETENTION_POLICY_APPLIED, Step, previous_session_runs, skipped_not_ready,
};

use crate::crd::Condition;

/// Type of the condition that the Repository is there.
pub const REPOSITORY_FOUND: &str = "RepositoryFound";
/// Type of the condition that the storage Secret is there.
pub const BACKEND_SECRET_FOUND: &str = "BackendSecretFound";
/// Type of the condition that the spec makes sense and is allowed.
pub const VALIDATION_PASSED: &str = "ValidationPassed";
/// Type of the condition that the Tasks are there. An addition to Stash's, and only there when one was missing: Stash
/// notices when a session has begun.
pub const TASK_FOUND: &str = "TaskFound";
/// Type of the condition that the target is there.
pub const BACKUP_TARGET_FOUND: &str = "BackupTargetFound";
/// Type of the condition that the schedule is set up.
pub const CRON_JOB_CREATED: &str = "CronJobCreated";
/// Type of the condition that a session was skipped.
pub const BACKUP_SKIPPED: &str = "BackupSkipped";

/// The three values of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It could not be found out.
    Unknown,
}

impl Status {
    /// The value as it stands in a condition.
    pub fn name(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition without its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Aspect that it is about.
    pub type_: &'static str,
    /// Its value.
    pub status: Status,
    /// Reason in one word.
    pub reason: &'static str,
    /// Reason in a sentence.
    pub message: String,
}

impl Verdict {
    fn new(type_: &'static str, status: Status, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status, reason, message: message.into() }
    }

    fn is_said_by(&self, condition: &Condition) -> bool {
        condition.status == self.status.name() && condition.reason == self.reason && condition.message == self.message
    }

    fn at(&self, now: Timestamp) -> Condition {
        Condition {
            type_: self.type_.to_owned(),
            status: self.status.name().to_owned(),
            reason: self.reason.to_owned(),
            message: self.message.clone(),
            // Kubernetes keeps whole seconds: what is read back must equal what was written.
            last_transition_time: Time(whole_seconds(now)),
            observed_generation: None,
        }
    }
}

/// `conditions` with each of `verdicts` in it: a condition of the same type is replaced if it says something else, a new
/// one is appended. The time of what stays is not touched.
pub fn upsert(conditions: &[Condition], verdicts: &[Verdict], now: Timestamp) -> Vec<Condition> {
    let mut all = conditions.to_vec();
    for verdict in verdicts {
        match all.iter_mut().find(|condition| condition.type_ == verdict.type_) {
            Some(condition) if verdict.is_said_by(condition) => {}
            Some(condition) => *condition = verdict.at(now),
            None => all.push(verdict.at(now)),
        }
    }
    all
}

/// Whether the condition of this type is there and has this value.
pub fn is(conditions: &[Condition], type_: &str, status: Status) -> bool {
    conditions.iter().any(|condition| condition.type_ == type_ && condition.status == status.name())
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn what_says_the_same_keeps_its_time() {
        let verdict = [validation_passed(Ok(()))];
        let first = upsert(&[], &verdict, at(10));
        assert_eq!(upsert(&first, &verdict, at(20)), first);
    }

    #[test]
    fn what_says_something_else_is_replaced_in_its_place() {
        let first = upsert(&[], &[validation_passed(Ok(())), cron_job_created(Ok(()))], at(10));
        let second = upsert(&first, &[validation_passed(Err("no"))], at(20));
        assert_eq!(second.len(), 2);
        assert_eq!((second[0].status.as_str(), second[0].last_transition_time.0), ("False", at(20)));
        assert_eq!(second[1], first[1]);
    }

    #[test]
    fn conditions_of_others_stay() {
        let foreign = Condition { type_: "StashSidecarInjected".to_owned(), ..Condition::default() };
        let all = upsert(std::slice::from_ref(&foreign), &[cron_job_created(Ok(()))], at(10));
        assert_eq!(all[0], foreign);
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn times_are_whole_seconds() {
        let now = Timestamp::from_millisecond(10_999).unwrap();
        assert_eq!(upsert(&[], &[cron_job_created(Ok(()))], now)[0].last_transition_time.0, at(10));
    }
}
