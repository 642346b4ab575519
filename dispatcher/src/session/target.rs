//! How the status of one target changes.

use jiff::Timestamp;
use proto::{
    conditions::{BACKUP_EXECUTOR_ENSURED, POST_BACKUP_HOOK, PRE_BACKUP_HOOK, Status, Step, is, upsert},
    crd::{HostPhase, HostStats, TargetPhase, TargetRef, TargetStatus},
    phase,
};

use super::TargetEvent;
use crate::observe::HookResults;

/// Actions before the first target.
pub const PRE_ACTIONS: [&str; 1] = ["InitializeBackendRepository"];
/// Actions after the last target.
pub const POST_ACTIONS: [&str; 3] = ["ApplyRetentionPolicy", "VerifyRepositoryIntegrity", "SendRepositoryMetrics"];
/// A dump has one host, whatever its target is.
const HOSTS: i32 = 1;

/// The statuses of targets that are about to begin. Their hosts are named at once, so that a target without a result has
/// one to fail.
pub(super) fn listed(targets: Vec<(TargetRef, String)>, maintains: bool) -> Vec<TargetStatus> {
    let last = targets.len().saturating_sub(1);
    let of = |(index, (reference, host)): (usize, (TargetRef, String))| TargetStatus {
        ref_: Some(reference),
        pre_backup_actions: actions(&PRE_ACTIONS, index == 0),
        post_backup_actions: actions(&POST_ACTIONS, index == last && maintains),
        stats: vec![HostStats { hostname: Some(host), ..HostStats::default() }],
        ..TargetStatus::default()
    };
    targets.into_iter().enumerate().map(of).collect()
}

fn actions(all: &[&str], are_wanted: bool) -> Vec<String> {
    if are_wanted { all.iter().map(|&action| action.to_owned()).collect() } else { Vec::new() }
}

pub(super) fn has_ended(target: &TargetStatus) -> bool {
    matches!(phase::target(target), TargetPhase::Succeeded | TargetPhase::Failed)
}

pub(super) fn is_ensured(target: &TargetStatus) -> bool {
    is(&target.conditions, BACKUP_EXECUTOR_ENSURED.type_, Status::True)
}

pub(super) fn apply(target: &mut TargetStatus, event: TargetEvent, now: Timestamp) {
    match event {
        TargetEvent::Ensured(result) => {
            say(target, &BACKUP_EXECUTOR_ENSURED, &result, now);
            if let Err(why) = result {
                fail(target, &why);
            }
        }
        TargetEvent::Begun => target.total_hosts = Some(HOSTS),
        TargetEvent::Reported(output, hooks) => {
            target.stats = output.target_status.stats;
            target.total_hosts = Some(i32::try_from(target.stats.len()).unwrap_or(i32::MAX));
            say_hooks(target, &hooks, now);
        }
        TargetEvent::Broken(why, hooks) => {
            fail(target, &why);
            say_hooks(target, &hooks, now);
        }
    }
}

/// Every host that has no result has failed.
fn fail(target: &mut TargetStatus, why: &str) {
    target.total_hosts = Some(i32::try_from(target.stats.len()).unwrap_or(HOSTS));
    for host in target.stats.iter_mut().filter(|host| host.phase.is_none()) {
        host.phase = Some(HostPhase::Failed);
        host.error = Some(why.to_owned());
    }
}

fn say_hooks(target: &mut TargetStatus, hooks: &HookResults, now: Timestamp) {
    for (step, result) in [(&PRE_BACKUP_HOOK, &hooks.before), (&POST_BACKUP_HOOK, &hooks.after)] {
        if let Some(result) = result {
            say(target, step, result, now);
        }
    }
}

fn say(target: &mut TargetStatus, step: &Step, result: &Result<(), String>, now: Timestamp) {
    let verdict = match result {
        Ok(()) => step.succeeded(),
        Err(why) => step.failed(why),
    };
    target.conditions = upsert(&target.conditions, &[verdict], now);
}
