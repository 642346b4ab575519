//! What an order means, and what its result says. Pure.

use proto::{
    crd::RetentionPolicy,
    order::{Maintained, ORDER_VERSION, Order, Outcome, Step},
};
use repository::{CheckReport, Count, ForgetGroup, Policy};

/// Findings of a check that a result names; the rest is counted.
const FINDINGS_NAMED_MAX: usize = 5;

/// The engine's policy for that of an invoker: numbers above zero are rules, as in Stash. Without any everything is kept.
pub fn policy(retention: &RetentionPolicy) -> Policy {
    let count = |number: Option<i64>| Count::Of(number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0));
    Policy {
        last: count(retention.keep_last),
        hourly: count(retention.keep_hourly),
        daily: count(retention.keep_daily),
        weekly: count(retention.keep_weekly),
        monthly: count(retention.keep_monthly),
        yearly: count(retention.keep_yearly),
        tags: retention.keep_tags.iter().map(|tags| tags.split(',').map(ToOwned::to_owned).collect()).collect(),
        ..Policy::default()
    }
}

/// A result of which nothing is known yet.
pub fn begun(order: &Order) -> Maintained {
    Maintained {
        version: ORDER_VERSION,
        id: order.id.clone(),
        object: order.repository.clone(),
        outcome: Outcome::Done,
        retention: None,
        kept: 0,
        removed: 0,
        integrity: None,
        total_bytes: None,
        snapshots: None,
        seconds: 0.0,
    }
}

/// Snapshots that stay and go.
pub fn counts(groups: &[ForgetGroup]) -> (u64, u64) {
    let sum = |of: fn(&ForgetGroup) -> usize| groups.iter().map(|group| of(group) as u64).sum();
    (sum(|group| group.keep.len()), sum(|group| group.remove.len()))
}

/// What a check says of the repository.
pub fn integrity(report: &CheckReport) -> Step {
    if report.is_intact() {
        return Step::Succeeded;
    }
    let named = report.findings.iter().take(FINDINGS_NAMED_MAX).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let all = report.findings.len() as u64 + report.findings_more;
    let more = all.saturating_sub(FINDINGS_NAMED_MAX as u64);
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    let reason =
        format!("{all} damaged or missing: {named}{more}. `kubectl stash check` lists them with the files they hit");
    Step::Failed { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_above_zero_are_rules_and_none_keeps_everything() {
        let retention = RetentionPolicy {
            name: "p".into(),
            keep_last: Some(3),
            keep_daily: Some(0),
            keep_weekly: Some(-1),
            keep_tags: vec!["a,b".into(), "c".into()],
            ..RetentionPolicy::default()
        };
        let rules = policy(&retention);
        assert_eq!((rules.last, rules.daily, rules.weekly), (Count::Of(3), Count::Of(0), Count::Of(0)));
        assert_eq!(rules.tags, [vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]]);
        assert!(policy(&RetentionPolicy::default()).is_empty());
    }
}
