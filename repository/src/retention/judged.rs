//! restic judges the choice: thousands of histories and policies, and both programs must agree with us on every snapshot and reason.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::ToSpan;
use jiff::tz::Offset;
use serde_json::{Value, json};
use testkit::Restic;

use super::*;
use crate::backend::{File, FileKind, LocalBackend};
use crate::id::Id;
use crate::key_file::KdfParams;
use crate::moment::Moment;
use crate::repository::{InitOptions, Repository};
use crate::secret::Password;
use crate::{ForgetOptions, SnapshotFilter, Version};

/// Histories in the repository; each is a group of its own.
const HOSTS: u64 = 120;

/// Policies that each history is judged by.
const POLICIES: u64 = 40;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    fn small(&mut self, limit: u64) -> u32 {
        u32::try_from(self.below(limit)).unwrap()
    }
}

/// Where histories begin: leap days, the turns of years with and without a week 53, changes of the clocks, and after `now`.
fn beginning(random: &mut Random, now: Timestamp) -> Timestamp {
    let famous = [
        "2020-02-28T22:00:00Z",
        "2024-02-29T12:00:00Z",
        "2020-12-26T00:00:00Z",
        "2021-12-28T00:00:00Z",
        "2015-12-27T23:59:59Z",
        "2023-03-26T00:30:00Z",
        "2022-01-31T00:00:00Z",
        "1999-12-30T00:00:00Z",
    ];
    match random.below(10) {
        0 => now + 400.hours(),
        1 => now - 30.hours(),
        _ => random.pick(&famous).parse().unwrap(),
    }
}

/// A history: times that follow each other by minutes, hours, days, weeks or months; some twice; clocks that differ.
fn history(random: &mut Random, now: Timestamp) -> Vec<(Moment, Vec<&'static str>)> {
    let mut at = beginning(random, now);
    let step_minutes = random.pick(&[7, 61, 500, 1440, 1441, 9000, 44_000, 300_000]);
    let offsets: &[i32] = if random.one_in(3) { &[0, 540, -300, 345, 825, -720] } else { &[0] };
    let mut history: Vec<(Moment, Vec<&str>)> = Vec::new();
    for _ in 0..1 + random.below(28) {
        // A twin is the same in everything: of two that differ, restic takes either first.
        if let Some(twin) = history.last().filter(|_| random.one_in(9)).cloned() {
            history.push(twin);
            continue;
        }
        at += i64::try_from(1 + random.below(2 * step_minutes)).unwrap().minutes();
        if random.one_in(4) {
            at += 1.nanoseconds();
        }
        let offset = Offset::from_seconds(random.pick(offsets) * 60).unwrap();
        let tags = ["a", "b", "c"].into_iter().filter(|_| random.one_in(4)).collect();
        history.push((Moment { at, offset }, tags));
    }
    history
}

/// A policy that keeps at least one, and restic's flags for it. restic 0.13.1 knows no `unlimited`.
fn policy(random: &mut Random, unlimited: bool) -> (Policy, Vec<String>) {
    let mut flags = Vec::new();
    let mut flag = |name: &str, value: String| flags.extend([format!("--keep-{name}"), value]);
    let mut policy = Policy::default();
    let Policy { last, hourly, daily, weekly, monthly, yearly, .. } = &mut policy;
    let counts = [
        (last, "last"),
        (hourly, "hourly"),
        (daily, "daily"),
        (weekly, "weekly"),
        (monthly, "monthly"),
        (yearly, "yearly"),
    ];
    for (count, name) in counts {
        if random.one_in(3) {
            let all = unlimited && random.one_in(5);
            *count = if all { Count::Unlimited } else { Count::Of(1 + random.small(9)) };
            flag(name, if let Count::Of(number) = count { number.to_string() } else { "unlimited".to_owned() });
        }
    }
    let Policy { within, within_hourly, within_daily, within_weekly, within_monthly, within_yearly, .. } = &mut policy;
    let spans = [
        (within, "within"),
        (within_hourly, "within-hourly"),
        (within_daily, "within-daily"),
        (within_weekly, "within-weekly"),
        (within_monthly, "within-monthly"),
        (within_yearly, "within-yearly"),
    ];
    for (span, name) in spans {
        if random.one_in(4) {
            span.years = if random.one_in(3) { random.small(3) } else { 0 };
            span.months = if random.one_in(2) { random.small(14) } else { 0 };
            span.days = if random.one_in(2) { random.small(40) } else { 0 };
            span.hours = 1 + random.small(50);
            flag(name, span.to_string());
        }
    }
    for _ in 0..random.below(3) {
        let list = random.pick(&[&["a"][..], &["a", "b"], &[""], &["nothing"], &["c"]]);
        policy.tags.push(list.iter().map(|tag| (*tag).to_owned()).collect());
        flag("tag", list.join(","));
    }
    if policy == (Policy { tags: policy.tags.clone(), ..Policy::default() }) {
        policy.last = Count::Of(1);
        flag("last", "1".to_owned());
    }
    (policy, flags)
}

async fn fill(folder: &std::path::Path, random: &mut Random, now: Timestamp) -> Repository {
    let options = InitOptions { version: Version::V1, kdf: KdfParams { n: 2, r: 1, p: 1 } };
    let password = Password::new("p");
    let repository = Repository::init(std::sync::Arc::new(LocalBackend::new(folder)), &password, options);
    let repository = repository.await.unwrap();
    for host in 0..HOSTS {
        for (number, (time, tags)) in history(random, now).into_iter().enumerate() {
            let tree = Id::of(number.to_string().as_bytes());
            let host = format!("host-{host:03}");
            let snapshot = json!({ "time": time, "tree": tree, "paths": ["/r"], "hostname": host, "tags": tags });
            let sealed = repository.shared.sealed.key.seal(snapshot.to_string().as_bytes()).unwrap();
            let file = File::Named(FileKind::Snapshot, Id::of(&sealed));
            // Straight into the folder: thousands of durable writes would take longer than the judgement.
            std::fs::write(folder.join(file.to_string()), Bytes::from(sealed)).unwrap();
        }
    }
    repository
}

/// Host → what stays (time, tags, reasons) and what goes (no reasons), sorted.
type Verdicts = BTreeMap<String, Vec<(String, Vec<String>, Vec<String>)>>;

fn restics(output: &Value) -> Verdicts {
    let texts = |value: &Value| -> Vec<String> {
        serde_json::from_value::<Option<_>>(value.clone()).unwrap().unwrap_or_default()
    };
    let one = |snapshot: &Value, reasons: Vec<String>| {
        (snapshot["time"].as_str().unwrap().to_owned(), texts(&snapshot["tags"]), reasons)
    };
    let mut verdicts = Verdicts::new();
    for group in output.as_array().unwrap() {
        let reasons = group["reasons"].as_array().into_iter().flatten();
        let kept = reasons.map(|reason| one(&reason["snapshot"], texts(&reason["matches"])));
        let removed = group["remove"].as_array().into_iter().flatten().map(|snapshot| one(snapshot, Vec::new()));
        let mut all: Vec<_> = kept.chain(removed).collect();
        all.sort();
        verdicts.insert(group["host"].as_str().unwrap().to_owned(), all);
    }
    verdicts
}

fn ours(groups: Vec<crate::ForgetGroup>) -> Verdicts {
    let one = |snapshot: Snapshot, reasons| (snapshot.time.to_string(), snapshot.tags, reasons);
    let groups = groups.into_iter().map(|group| {
        let kept = group.keep.into_iter().map(|kept| one(kept.snapshot, kept.reasons));
        let mut all: Vec<_> = kept.chain(group.remove.into_iter().map(|snapshot| one(snapshot, Vec::new()))).collect();
        all.sort();
        (group.key.host, all)
    });
    groups.collect()
}

/// The only difference: 0.13.1 does not keep a snapshot for being the oldest.
fn without_oldest(mut verdicts: Verdicts) -> Verdicts {
    for group in verdicts.values_mut() {
        group.iter_mut().for_each(|(_, _, reasons)| reasons.retain(|reason| !reason.starts_with("oldest ")));
        group.sort();
    }
    verdicts
}

#[tokio::test(flavor = "multi_thread")]
async fn both_restics_choose_the_same_for_the_same_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let (mut random, now) = (Random(7), Timestamp::now());
    let repository = fill(folder.path(), &mut random, now).await;
    let location = folder.path().display().to_string();
    // With `TZ` restic would count days on the local clock where that has the snapshot's offset.
    let newest = Restic::newest(location.as_str(), "p").env("TZ", "UTC");
    let old = Restic::old(location.as_str(), "p").env("TZ", "UTC");
    for round in 0..POLICIES {
        let (policy, flags) = policy(&mut random, round % 4 == 0);
        let options = ForgetOptions { policy, dry_run: true, ..ForgetOptions::default() };
        let verdicts = ours(repository.forget(&options, now).await.unwrap());
        assert_eq!(verdicts.len() as u64, HOSTS);
        let arguments: Vec<&str> =
            ["forget", "--dry-run", "--no-lock"].into_iter().chain(flags.iter().map(String::as_str)).collect();
        assert_same(&verdicts, &restics(&newest.json(&arguments)), &flags);
        if round % 4 != 0 {
            let arguments: Vec<&str> =
                ["forget", "--dry-run"].into_iter().chain(flags.iter().map(String::as_str)).collect();
            assert_same(&without_oldest(verdicts), &restics(&old.json(&arguments)), &flags);
        }
    }
}

fn assert_same(ours: &Verdicts, restics: &Verdicts, flags: &[String]) {
    for (host, expected) in restics {
        assert_eq!(&ours[host], expected, "{host} {flags:?}");
    }
    assert_eq!(ours.len(), restics.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_groups_mean_what_they_mean_to_restic() {
    let folder = tempfile::tempdir().unwrap();
    let (mut random, now) = (Random(8), Timestamp::now());
    let repository = fill(folder.path(), &mut random, now).await;
    let restic = Restic::newest(folder.path().display().to_string(), "p").env("TZ", "UTC");
    let lists =
        |lists: &[&[&str]]| lists.iter().map(|list| list.iter().map(|tag| (*tag).to_owned()).collect()).collect();
    let hosts = vec!["host-003".to_owned(), "host-007".to_owned()];
    for (group_by, filter, flags) in [
        ("host,paths", SnapshotFilter { hosts, ..SnapshotFilter::default() }, "--host host-003 --host host-007"),
        (
            "host",
            SnapshotFilter { tags: lists(&[&["a", "b"], &["c"]]), ..SnapshotFilter::default() },
            "--tag a,b --tag c",
        ),
        ("host,tags", SnapshotFilter { tags: lists(&[&[""]]), ..SnapshotFilter::default() }, "--tag="),
        ("tags", SnapshotFilter::default(), ""),
        ("", SnapshotFilter { paths: vec!["/r".into()], ..SnapshotFilter::default() }, "--path /r"),
    ] {
        let policy = Policy { last: Count::Of(2), ..Policy::default() };
        let group_by = group_by.parse::<GroupBy>().unwrap();
        let options = ForgetOptions { policy, group_by, filter, dry_run: true, ..ForgetOptions::default() };
        let groups = repository.forget(&options, now).await.unwrap();
        let group_by = format!("--group-by={group_by}");
        let mut arguments = vec!["forget", "--dry-run", "--keep-last", "2", &group_by];
        arguments.extend(flags.split_whitespace());
        let judged = restic.json(&arguments);
        // Twins may be on either side of the cut: they are counted, not named.
        let mut expected: Vec<_> = judged.as_array().unwrap().iter().map(counts).collect();
        expected.sort();
        let mut got: Vec<_> = groups
            .iter()
            .map(|group| {
                let GroupKey { host, paths, tags } = group.key.clone();
                (host, paths, tags, group.keep.len(), group.remove.len())
            })
            .collect();
        got.sort();
        assert_eq!(got, expected, "{group_by} {flags}");
    }
}

fn counts(group: &Value) -> (String, Vec<String>, Vec<String>, usize, usize) {
    let texts = |value: &Value| serde_json::from_value::<Option<_>>(value.clone()).unwrap().unwrap_or_default();
    let length = |value: &Value| value.as_array().map_or(0, Vec::len);
    let host = group["host"].as_str().unwrap().to_owned();
    (host, texts(&group["paths"]), texts(&group["tags"]), length(&group["keep"]), length(&group["remove"]))
}
