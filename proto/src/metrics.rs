//! What is pushed about backups: names, labels and values, as the text that Prometheus' Pushgateway takes.
//!
//! 1. **Names and labels are Stash's** (release v2022.05.18), so that dashboards and alerts go on. Values are what the names
//!    say: `stash_backup_session_success` is 1 when the session succeeded, which Stash never pushed.
//! 2. **One group an invoker** ([`group_path`]): a push with POST replaces metrics of the same name in it.
//! 3. What is only known of a success is pushed only then, so that the last value stays beside a failure.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::{
    crd::{HostPhase, HostStats, SnapshotStats, TargetPhase, TargetRef, TargetStatus},
    figures,
    output::EMPTY_TARGET_NAME,
};

/// Labels that all metrics of an invoker have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InvokerLabels {
    /// BackupConfiguration or BackupBatch.
    pub kind: String,
    /// Name of the invoker.
    pub name: String,
    /// Namespace of the invoker.
    pub namespace: String,
    /// Name of the Repository.
    pub repository: String,
}

/// Labels that the metrics of a Repository have besides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepositoryLabels {
    /// Namespace of the Repository.
    pub namespace: String,
    /// Provider of its backend.
    pub backend: String,
    /// Bucket, container or host.
    pub bucket: String,
    /// Folder in it.
    pub prefix: String,
}

/// What is known of a Repository after its maintenance.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RepositoryFigures {
    /// Whether the check found everything in order.
    pub integrity: Option<bool>,
    /// Stored bytes.
    pub size_bytes: Option<u64>,
    /// Snapshots that there are.
    pub snapshots: Option<u64>,
    /// Snapshots that were removed.
    pub removed: Option<u64>,
}

/// Path of the group of an invoker, from the gateway's address on: `/metrics/job/<kind>-<namespace>-<name>`.
pub fn group_path(invoker: &InvokerLabels) -> String {
    let InvokerLabels { kind, name, namespace, .. } = invoker;
    format!("/metrics/job/{}-{namespace}-{name}", kind.to_lowercase())
}

/// Metrics of a session that has ended, and of its targets.
pub fn of_session(
    invoker: &InvokerLabels,
    has_succeeded: bool,
    duration_seconds: f64,
    targets: &[TargetStatus],
    now: Timestamp,
) -> String {
    let mut text = Text::default();
    let own = labels(invoker);
    text.add("stash_backup_session_success", &own, f64::from(u8::from(has_succeeded)));
    if has_succeeded {
        text.add("stash_backup_session_duration_seconds", &own, duration_seconds);
        text.add("stash_backup_target_count_total", &own, count(targets.len()));
        text.add("stash_backup_last_success_time_seconds", &own, seconds(now));
    }
    for target in targets {
        let own = target_labels(invoker, target.ref_.as_ref());
        let has_succeeded = target.phase == Some(TargetPhase::Succeeded);
        text.add("stash_backup_target_success", &own, f64::from(u8::from(has_succeeded)));
        if has_succeeded {
            let hosts = f64::from(target.total_hosts.unwrap_or_default());
            text.add("stash_backup_target_host_count_total", &own, hosts);
            text.add("stash_backup_target_last_success_time_seconds", &own, seconds(now));
        }
    }
    text.finish()
}

/// Metrics of hosts, each with its target.
pub fn of_hosts<'a>(
    invoker: &InvokerLabels,
    hosts: impl IntoIterator<Item = (Option<&'a TargetRef>, &'a HostStats)>,
) -> String {
    let mut text = Text::default();
    for (target, host) in hosts {
        let mut own = target_labels(invoker, target);
        own.push(("hostname", host.hostname.clone().unwrap_or_default()));
        let has_succeeded = host.phase == Some(HostPhase::Succeeded);
        text.add("stash_backup_host_backup_success", &own, f64::from(u8::from(has_succeeded)));
        if has_succeeded {
            of_success(&mut text, &own, host);
        }
    }
    text.finish()
}

fn of_success(text: &mut Text, own: &[(&'static str, String)], host: &HostStats) {
    let duration = host.duration.as_deref().and_then(figures::parse_duration);
    if let Some(duration) = duration {
        text.add("stash_backup_host_backup_duration_seconds", own, duration.as_secs_f64());
    }
    let sum = |figure: &dyn Fn(&SnapshotStats) -> Option<f64>| {
        host.snapshots.iter().filter_map(figure).fold(0.0, |sum, one| sum + one)
    };
    let size = |field: &Option<String>| field.as_deref().and_then(figures::parse_size);
    let processing = |one: &SnapshotStats| {
        one.processing_time.as_deref().and_then(figures::parse_processing_time).map(|time| time.as_secs_f64())
    };
    text.add("stash_backup_host_data_size_bytes", own, sum(&|one| size(&one.total_size)));
    text.add("stash_backup_host_data_uploaded_bytes", own, sum(&|one| size(&one.uploaded)));
    text.add("stash_backup_host_data_processing_time_seconds", own, sum(&processing));
    let files =
        |pick: fn(&crate::crd::FileStats) -> Option<i64>| sum(&|one| one.file_stats.as_ref().and_then(pick).map(whole));
    text.add("stash_backup_host_files_total", own, files(|files| files.total_files));
    text.add("stash_backup_host_files_new", own, files(|files| files.new_files));
    text.add("stash_backup_host_files_modified", own, files(|files| files.modified_files));
    text.add("stash_backup_host_files_unmodified", own, files(|files| files.unmodified_files));
}

/// Metrics of a Repository after its maintenance. What is not known is left out.
pub fn of_repository(invoker: &InvokerLabels, repository: &RepositoryLabels, figures: &RepositoryFigures) -> String {
    let mut own = labels(&InvokerLabels { namespace: repository.namespace.clone(), ..invoker.clone() });
    own.push(("name", invoker.repository.clone()));
    own.push(("backend", repository.backend.clone()));
    for (name, value) in [("bucket", &repository.bucket), ("prefix", &repository.prefix)] {
        if !value.is_empty() {
            own.push((name, value.clone()));
        }
    }
    let mut text = Text::default();
    let known = [
        ("stash_repository_integrity", figures.integrity.map(|is_whole| f64::from(u8::from(is_whole)))),
        ("stash_repository_size_bytes", figures.size_bytes.map(large)),
        ("stash_repository_snapshot_count", figures.snapshots.map(large)),
        ("stash_repository_snapshot_cleaned", figures.removed.map(large)),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            text.add(name, &own, value);
        }
    }
    text.finish()
}

fn labels(invoker: &InvokerLabels) -> Vec<(&'static str, String)> {
    let InvokerLabels { kind, name, namespace, repository } = invoker.clone();
    let driver = "Restic".to_owned();
    vec![
        ("invoker_kind", kind),
        ("invoker_name", name),
        ("namespace", namespace),
        ("driver", driver),
        ("repository", repository),
    ]
}

fn target_labels(invoker: &InvokerLabels, target: Option<&TargetRef>) -> Vec<(&'static str, String)> {
    let target = target.cloned().unwrap_or_else(crate::output::empty_target);
    let version = target.api_version.unwrap_or_default();
    let group = version.split_once('/').map(|(group, _)| group.to_owned()).unwrap_or_default();
    let mut own = labels(invoker);
    own.push(("kind", target.kind.unwrap_or_default()));
    own.push(("group", group));
    own.push(("name", target.name.unwrap_or_else(|| EMPTY_TARGET_NAME.to_owned())));
    own
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
fn whole(number: i64) -> f64 {
    number as f64
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
fn large(number: u64) -> f64 {
    number as f64
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
fn count(number: usize) -> f64 {
    number as f64
}

fn seconds(time: Timestamp) -> f64 {
    whole(time.as_second())
}

/// The text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>). Samples of one name stand together,
/// as the format asks for.
#[derive(Debug, Default)]
struct Text {
    families: Vec<(&'static str, String)>,
}

impl Text {
    fn add(&mut self, name: &'static str, labels: &[(&'static str, String)], value: f64) {
        let at = self.families.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            self.families.push((name, String::new()));
            self.families.len() - 1
        });
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let samples = &mut self.families[at].1;
        writeln!(samples, "{name}{{{}}} {value}", labels.join(",")).expect("a String must take what is written");
    }

    fn finish(self) -> String {
        let families = self.families.into_iter();
        families.map(|(name, samples)| format!("# TYPE {name} gauge\n{samples}")).collect()
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{crd::FileStats, output::empty_target};

    fn invoker() -> InvokerLabels {
        InvokerLabels {
            kind: "BackupConfiguration".to_owned(),
            name: "b".to_owned(),
            namespace: "demo".to_owned(),
            repository: "storage".to_owned(),
        }
    }

    const COMMON: &str = "invoker_kind=\"BackupConfiguration\",invoker_name=\"b\",namespace=\"demo\",driver=\"Restic\",repository=\"storage\"";

    fn lines(text: &str) -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(|line| line.replace(COMMON, "I")).collect()
    }

    #[test]
    fn a_session_that_succeeded_says_so() {
        let target = TargetStatus {
            ref_: Some(empty_target()),
            phase: Some(TargetPhase::Succeeded),
            total_hosts: Some(1),
            ..Default::default()
        };
        let text = of_session(&invoker(), true, 69.0, &[target], Timestamp::from_second(1_652_164_800).unwrap());
        let expected = [
            "stash_backup_session_success{I} 1",
            "stash_backup_session_duration_seconds{I} 69",
            "stash_backup_target_count_total{I} 1",
            "stash_backup_last_success_time_seconds{I} 1652164800",
            "stash_backup_target_success{I,kind=\"EmptyTarget\",group=\"\",name=\"na\"} 1",
            "stash_backup_target_host_count_total{I,kind=\"EmptyTarget\",group=\"\",name=\"na\"} 1",
            "stash_backup_target_last_success_time_seconds{I,kind=\"EmptyTarget\",group=\"\",name=\"na\"} 1652164800",
        ];
        assert_eq!(lines(&text), expected);
        assert_eq!(group_path(&invoker()), "/metrics/job/backupconfiguration-demo-b");
    }

    #[test]
    fn a_failed_session_leaves_what_was_known_of_the_last_success() {
        let target = TargetStatus { phase: Some(TargetPhase::Failed), ..Default::default() };
        let text = of_session(&invoker(), false, 69.0, &[target], Timestamp::UNIX_EPOCH);
        assert_eq!(lines(&text).len(), 2);
        assert!(lines(&text).iter().all(|line| line.ends_with(" 0")), "{text}");
    }

    #[test]
    fn a_host_has_the_sums_of_its_snapshots() {
        let snapshot = SnapshotStats {
            total_size: Some("1.500 KiB".to_owned()),
            uploaded: Some("512 B".to_owned()),
            processing_time: Some("0:03".to_owned()),
            file_stats: Some(FileStats { total_files: Some(7), new_files: Some(2), ..FileStats::default() }),
            ..SnapshotStats::default()
        };
        let host = HostStats {
            hostname: Some("host-0".to_owned()),
            phase: Some(HostPhase::Succeeded),
            duration: Some("4.5s".to_owned()),
            snapshots: vec![snapshot.clone(), snapshot],
            error: None,
        };
        let target = TargetRef {
            api_version: Some("apps/v1".to_owned()),
            kind: Some("Deployment".to_owned()),
            name: Some("w\"".to_owned()),
            namespace: None,
        };
        let text = of_hosts(&invoker(), [(Some(&target), &host)]);
        let own = "{I,kind=\"Deployment\",group=\"apps\",name=\"w\\\"\",hostname=\"host-0\"}";
        let expected = [
            "backup_success 1",
            "backup_duration_seconds 4.5",
            "data_size_bytes 3072",
            "data_uploaded_bytes 1024",
            "data_processing_time_seconds 6",
            "files_total 14",
            "files_new 4",
            "files_modified 0",
            "files_unmodified 0",
        ]
        .map(|one| one.split_once(' ').unwrap())
        .map(|(name, value)| format!("stash_backup_host_{name}{own} {value}"));
        assert_eq!(lines(&text), expected);
        let failed = HostStats { phase: Some(HostPhase::Failed), ..host };
        assert_eq!(lines(&of_hosts(&invoker(), [(None, &failed)])).len(), 1);
    }

    #[test]
    fn samples_of_one_name_stand_together() {
        let host = |name: &str| HostStats {
            hostname: Some(name.to_owned()),
            phase: Some(HostPhase::Succeeded),
            ..HostStats::default()
        };
        let hosts = [host("a"), host("b")];
        let text = of_hosts(&invoker(), hosts.iter().map(|host| (None, host)));
        assert_eq!(text.matches("# TYPE stash_backup_host_backup_success gauge\n").count(), 1);
    }

    #[test]
    fn a_repository_has_its_own_namespace_and_place() {
        let labels = RepositoryLabels {
            namespace: "store".to_owned(),
            backend: "s3".to_owned(),
            bucket: "b".to_owned(),
            prefix: String::new(),
        };
        let figures = RepositoryFigures { integrity: Some(false), size_bytes: Some(9), ..RepositoryFigures::default() };
        let text = of_repository(&invoker(), &labels, &figures);
        let own = COMMON.replace("demo", "store") + ",name=\"storage\",backend=\"s3\",bucket=\"b\"";
        let expected =
            [format!("stash_repository_integrity{{{own}}} 0"), format!("stash_repository_size_bytes{{{own}}} 9")];
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples, expected);
    }
}
