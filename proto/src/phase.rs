//! Which phase follows from which conditions. In each function the first rule that fits decides.

use crate::{
    conditions::{
        BACKEND_SECRET_FOUND, BACKUP_EXECUTOR_ENSURED, BACKUP_HISTORY_CLEANED, BACKUP_SKIPPED, CRON_JOB_CREATED,
        GLOBAL_POST_BACKUP_HOOK, GLOBAL_PRE_BACKUP_HOOK, METRICS_PUSHED, POST_BACKUP_HOOK, PRE_BACKUP_HOOK,
        REPOSITORY_FOUND, REPOSITORY_INTEGRITY_VERIFIED, REPOSITORY_METRICS_PUSHED, RETENTION_POLICY_APPLIED, Status,
        TASK_FOUND, VALIDATION_PASSED, is,
    },
    crd::{BackupSessionStatus, Condition, Driver, HostPhase, InvokerPhase, SessionPhase, TargetPhase, TargetStatus},
};

/// Phase of a BackupConfiguration or BackupBatch with these conditions.
pub fn invoker(conditions: &[Condition], driver: Driver) -> InvokerPhase {
    let has = |type_, status| is(conditions, type_, status);
    let storage = [REPOSITORY_FOUND, BACKEND_SECRET_FOUND];
    if storage.iter().any(|type_| has(type_, Status::False) || has(type_, Status::Unknown)) {
        return InvokerPhase::NotReady;
    }
    if has(VALIDATION_PASSED, Status::False) {
        return InvokerPhase::Invalid;
    }
    // Not a rule of Stash, which has no such condition. What cannot be found out does not block.
    if has(TASK_FOUND, Status::False) {
        return InvokerPhase::NotReady;
    }
    let stored = driver != Driver::Restic || storage.iter().all(|type_| has(type_, Status::True));
    if has(VALIDATION_PASSED, Status::True) && has(CRON_JOB_CREATED, Status::True) && stored {
        return InvokerPhase::Ready;
    }
    InvokerPhase::NotReady
}

/// Phase of a target of a session.
pub fn target(status: &TargetStatus) -> TargetPhase {
    let steps = [BACKUP_EXECUTOR_ENSURED, PRE_BACKUP_HOOK, POST_BACKUP_HOOK];
    if steps.iter().any(|step| is(&status.conditions, step.type_, Status::False)) {
        return TargetPhase::Failed;
    }
    let Some(hosts) = status.total_hosts else { return TargetPhase::Pending };
    let ended = |phase| status.stats.iter().filter(|host| host.phase == Some(phase)).count();
    let (succeeded, failed) = (ended(HostPhase::Succeeded), ended(HostPhase::Failed));
    match i32::try_from(succeeded + failed) {
        Ok(reported) if reported == hosts && failed > 0 => TargetPhase::Failed,
        Ok(reported) if reported == hosts => TargetPhase::Succeeded,
        _ => TargetPhase::Running,
    }
}

/// Phase of a session, from its conditions and the phases that its targets have in `status`.
pub fn session(status: &BackupSessionStatus) -> SessionPhase {
    let has = |type_, value| is(&status.conditions, type_, value);
    let steps = [
        RETENTION_POLICY_APPLIED,
        REPOSITORY_METRICS_PUSHED,
        METRICS_PUSHED,
        BACKUP_HISTORY_CLEANED,
        REPOSITORY_INTEGRITY_VERIFIED,
        GLOBAL_PRE_BACKUP_HOOK,
        GLOBAL_POST_BACKUP_HOOK,
    ];
    if steps.iter().any(|step| has(step.type_, Status::False)) {
        return SessionPhase::Failed;
    }
    if has(BACKUP_SKIPPED, Status::True) {
        return SessionPhase::Skipped;
    }
    let cleaned = has(METRICS_PUSHED.type_, Status::True) && has(BACKUP_HISTORY_CLEANED.type_, Status::True);
    of_targets(&status.targets, cleaned)
}

fn of_targets(targets: &[TargetStatus], cleaned: bool) -> SessionPhase {
    let all = |wanted: &[TargetPhase]| {
        let phases = targets.iter().map(|target| target.phase.unwrap_or(TargetPhase::Pending));
        phases.into_iter().all(|phase| wanted.contains(&phase))
    };
    // Also where there are no targets yet.
    if all(&[TargetPhase::Pending]) {
        return SessionPhase::Pending;
    }
    if !all(&[TargetPhase::Succeeded, TargetPhase::Failed]) {
        return SessionPhase::Running;
    }
    match (all(&[TargetPhase::Succeeded]), cleaned) {
        (false, _) => SessionPhase::Failed,
        (true, true) => SessionPhase::Succeeded,
        (true, false) => SessionPhase::Running,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        conditions::{
            Finding, Verdict, backend_secret_found, cron_job_created, repository_found, skipped_not_ready, task_found,
            upsert, validation_passed,
        },
        crd::HostStats,
    };

    fn said(verdicts: &[Verdict]) -> Vec<Condition> {
        upsert(&[], verdicts, Timestamp::UNIX_EPOCH)
    }

    fn repository(finding: Finding) -> Verdict {
        repository_found("n", "r", &finding)
    }

    fn secret(finding: Finding) -> Verdict {
        backend_secret_found("n", "s", &finding)
    }

    #[test]
    fn an_invoker_is_ready_when_all_it_needs_is_there() {
        use InvokerPhase::{Invalid, NotReady, Ready};
        let (present, absent) = (Finding::Present, Finding::Absent);
        let unclear = Finding::Unclear(String::new());
        let (valid, invalid) = (validation_passed(Ok(())), validation_passed(Err("no")));
        let (made, unmade) = (cron_job_created(Ok(())), cron_job_created(Err("no")));
        let found = [repository(present.clone()), secret(present.clone())];
        let with = |more: &[&Verdict]| [found.to_vec(), more.iter().map(|one| (*one).clone()).collect()].concat();
        let table = [
            (vec![], NotReady),
            (with(&[&valid, &made]), Ready),
            (with(&[&valid]), NotReady),
            (with(&[&made]), NotReady),
            (with(&[&valid, &unmade]), NotReady),
            (with(&[&invalid, &made]), Invalid),
            (vec![repository(absent.clone()), invalid.clone()], NotReady),
            (vec![repository(unclear), valid.clone(), made.clone()], NotReady),
            (vec![repository(present.clone()), secret(absent), valid.clone(), made.clone()], NotReady),
            (vec![repository(present), valid.clone(), made.clone()], NotReady),
        ];
        for (verdicts, expected) in table {
            assert_eq!(invoker(&said(&verdicts), Driver::Restic), expected, "{verdicts:?}");
        }
        let task = |finding| with(&[&valid, &made, &task_found("t", &finding)]);
        assert_eq!(invoker(&said(&task(Finding::Absent)), Driver::Restic), NotReady);
        assert_eq!(invoker(&said(&task(Finding::Unclear("forbidden".to_owned()))), Driver::Restic), Ready);
        assert_eq!(invoker(&said(&[valid, made]), Driver::VolumeSnapshotter), Ready);
    }

    fn hosts(phases: &[HostPhase], total: Option<i32>) -> TargetStatus {
        let stats = phases.iter().map(|phase| HostStats { phase: Some(*phase), ..HostStats::default() }).collect();
        TargetStatus { stats, total_hosts: total, ..TargetStatus::default() }
    }

    #[test]
    fn a_target_ends_when_all_hosts_have_reported() {
        use HostPhase::{Failed, Succeeded};
        let table = [
            (hosts(&[], None), TargetPhase::Pending),
            (hosts(&[], Some(1)), TargetPhase::Running),
            (hosts(&[Succeeded], Some(2)), TargetPhase::Running),
            (hosts(&[Succeeded], Some(1)), TargetPhase::Succeeded),
            (hosts(&[Succeeded, Failed], Some(2)), TargetPhase::Failed),
        ];
        for (status, expected) in table {
            assert_eq!(target(&status), expected, "{status:?}");
        }
        let unstarted = TargetStatus { conditions: said(&[BACKUP_EXECUTOR_ENSURED.failed("no")]), ..hosts(&[], None) };
        assert_eq!(target(&unstarted), TargetPhase::Failed);
    }

    #[test]
    fn a_session_ends_after_its_targets_and_its_clean_up() {
        use TargetPhase::{Failed, Pending, Running, Succeeded};
        let cleaned = [METRICS_PUSHED.succeeded(), BACKUP_HISTORY_CLEANED.succeeded()];
        let table: [(&[Verdict], &[TargetPhase], SessionPhase); 9] = [
            (&[], &[], SessionPhase::Pending),
            (&[], &[Pending, Pending], SessionPhase::Pending),
            (&[], &[Pending, Running], SessionPhase::Running),
            (&[], &[Succeeded, Running], SessionPhase::Running),
            (&[], &[Succeeded], SessionPhase::Running),
            (&cleaned, &[Succeeded], SessionPhase::Succeeded),
            (&cleaned, &[Succeeded, Failed], SessionPhase::Failed),
            (&[skipped_not_ready("k", "n", "o")], &[Running], SessionPhase::Skipped),
            (&[METRICS_PUSHED.failed("no")], &[Succeeded], SessionPhase::Failed),
        ];
        for (verdicts, phases, expected) in table {
            let of = |phase: &TargetPhase| TargetStatus { phase: Some(*phase), ..TargetStatus::default() };
            let targets = phases.iter().map(of).collect();
            let status = BackupSessionStatus { conditions: said(verdicts), targets, ..BackupSessionStatus::default() };
            assert_eq!(session(&status), expected, "{verdicts:?} {phases:?}");
        }
    }
}
