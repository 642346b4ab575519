//! What conditions say after the steps behind the targets.

use proto::{
    conditions::{REPOSITORY_INTEGRITY_VERIFIED, REPOSITORY_METRICS_PUSHED, RETENTION_POLICY_APPLIED, Step, Verdict},
    order::{self, Maintained},
};

/// What the condition of a step says.
pub(super) fn verdict(step: &Step, result: &Result<(), String>) -> Verdict {
    match result {
        Ok(()) => step.succeeded(),
        Err(why) => step.failed(why),
    }
}

/// What the conditions say after maintenance. As in Stash a step that failed is the last one.
pub(super) fn maintained(result: &Maintained, pushed: Option<Result<(), String>>) -> Vec<Verdict> {
    let of = |step: &order::Step| match step {
        order::Step::Succeeded => Ok(()),
        order::Step::Failed { reason } => Err(reason.clone()),
    };
    let mut verdicts = Vec::new();
    match (&result.outcome, &result.retention, &result.integrity) {
        (order::Outcome::Postponed { reason }, ..) => return postponed(reason),
        (order::Outcome::Failed { reason }, None, None) => return vec![RETENTION_POLICY_APPLIED.failed(reason)],
        (outcome, retention, integrity) => {
            let retention = retention.as_ref().map_or(Ok(()), of);
            verdicts.push(verdict(&RETENTION_POLICY_APPLIED, &retention));
            let integrity = match (integrity, outcome) {
                (Some(step), _) => Some(of(step)),
                (None, order::Outcome::Failed { reason }) if retention.is_ok() => Some(Err(reason.clone())),
                (None, _) => None,
            };
            verdicts.extend(integrity.map(|integrity| verdict(&REPOSITORY_INTEGRITY_VERIFIED, &integrity)));
        }
    }
    verdicts.extend(pushed.map(|pushed| verdict(&REPOSITORY_METRICS_PUSHED, &pushed)));
    verdicts
}

pub(super) fn postponed(why: &str) -> Vec<Verdict> {
    vec![RETENTION_POLICY_APPLIED.postponed(why), REPOSITORY_INTEGRITY_VERIFIED.postponed(why)]
}
