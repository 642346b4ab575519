use super::*;
use crate::id::Id;

/// A snapshot at this time with these tags.
fn snapshot(time: &str, tags: &[&str]) -> Snapshot {
    let id = Id::of(format!("{time}{tags:?}").as_bytes());
    let json = serde_json::json!({ "time": time, "tree": id, "paths": ["/r"], "hostname": "h", "tags": tags });
    Snapshot { id, ..serde_json::from_value(json).unwrap() }
}

/// On these days of January 2024; `p` marks the partial ones.
fn january(days: &[&str]) -> Vec<Snapshot> {
    let one = |day: &&str| {
        let (day, tags): (&str, &[&str]) = day.strip_suffix('p').map_or((day, &[]), |day| (day, &[PARTIAL_TAG]));
        snapshot(&format!("2024-01-{day}T12:00:00Z"), tags)
    };
    days.iter().map(one).collect()
}

fn kept(policy: &Policy, snapshots: &[Snapshot]) -> Vec<i8> {
    let now = "2024-06-01T00:00:00Z".parse().unwrap();
    let mut kept: Vec<i8> =
        policy.apply(snapshots, now).keep.iter().map(|kept| kept.snapshot.time.wall_clock().day()).collect();
    kept.reverse();
    kept
}

#[test]
fn a_partial_snapshot_displaces_no_complete_one() {
    let policy = Policy { last: Count::Of(2), ..Policy::default() };
    assert_eq!(kept(&policy, &january(&["01", "02", "03"])), [2, 3]);
    assert_eq!(kept(&policy, &january(&["01", "02", "03p"])), [1, 2, 3], "the newest failure is there to be seen");
    assert_eq!(kept(&policy, &january(&["01", "02", "03p", "04p", "05p"])), [1, 2, 4, 5], "failures are bounded too");
    assert_eq!(kept(&policy, &january(&["01", "02", "03p", "04p", "05"])), [2, 5], "what was repaired goes");
    assert_eq!(
        kept(&policy, &january(&["01p", "02p", "03p"])),
        [2, 3],
        "a backup that is always partial has a history"
    );
}

#[test]
fn a_partial_snapshot_does_not_move_the_newest_that_within_counts_from() {
    let policy = Policy { within: "1d".parse().unwrap(), ..Policy::default() };
    assert_eq!(kept(&policy, &january(&["01", "02", "20p"])), [2, 20]);
    assert_eq!(kept(&policy, &january(&["01", "02", "20"])), [20]);
}

#[test]
fn an_old_partial_snapshot_is_kept_by_its_tags_alone() {
    let policy = Policy { last: Count::Unlimited, ..Policy::default() };
    assert_eq!(kept(&policy, &january(&["01p", "02"])), [2]);
    let by_tag = Policy { tags: vec![vec![PARTIAL_TAG.to_owned()]], ..policy };
    assert_eq!(kept(&by_tag, &january(&["01p", "02"])), [1, 2]);
}

#[test]
fn without_a_rule_everything_is_kept() {
    let choice = Policy::default().apply(&january(&["01", "02p"]), Timestamp::UNIX_EPOCH);
    assert!(choice.remove.is_empty());
    assert!(choice.keep.iter().all(|kept| kept.reasons == ["policy is empty"]));
    assert!(Policy::default().is_empty() && !Policy { tags: vec![vec![]], ..Policy::default() }.is_empty());
}

#[test]
fn a_week_around_new_year_belongs_to_the_year_of_its_thursday() {
    let policy = Policy { weekly: Count::Of(9), ..Policy::default() };
    // 2020-12-31 and 2021-01-03 lie in week 53 of 2020, 2021-01-04 in week 1 of 2021.
    let times = ["2020-12-31T12:00:00Z", "2021-01-03T12:00:00Z", "2021-01-04T12:00:00Z", "2020-12-01T12:00:00Z"];
    let snapshots: Vec<_> = times.iter().map(|time| snapshot(time, &[])).collect();
    assert_eq!(kept(&policy, &snapshots), [1, 3, 4]);
}

#[test]
fn counts_are_numbers_or_unlimited() {
    assert_eq!(
        ["7", "unlimited", "-1"].map(str::parse),
        [Ok(Count::Of(7)), Ok(Count::Unlimited), Ok(Count::Unlimited)]
    );
    assert_eq!("-2".parse::<Count>(), Err(CountError("-2".into())));
}
