//! Names of the objects that Stowage makes in a cluster, their labels and annotations: those of Stash, so that who knows
//! one finds his way in the other.
//!
//! Kubernetes limits names, so that long ones are cut. A cut name may be the name of something else, too: whoever creates
//! an object looks whose it is ([`crate::names::session`] says what that means for sessions).

/// Characters of a label, and of most names.
pub const NAME_CHARS_MAX: usize = 63;
/// Characters of a CronJob's name: the controller appends 11 to name its Jobs.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/>
pub const CRON_JOB_CHARS_MAX: usize = 52;
/// Seconds in the number that a CronJob's Job has in its name: it counts minutes.
const SLOT_SECONDS: i64 = 60;

/// Finalizer that Stash left on invokers; Stowage removes it and sets none.
pub const FINALIZER: &str = "stash.appscode.com";
/// Finalizer that Stash left on Repositories; Stowage sets it where `wipeOut` is asked for.
pub const REPOSITORY_FINALIZER: &str = "stash";

/// Label that says which part of Stash made an object.
pub const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
/// Value of [`LABEL_COMPONENT`] on everything that belongs to backups.
pub const COMPONENT_BACKUP: &str = "stash-backup";
/// Label that says who manages an object.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`LABEL_MANAGED_BY`].
pub const MANAGED_BY: &str = "stash.appscode.com";
/// Label with the name of a session's invoker.
pub const LABEL_INVOKER_NAME: &str = "stash.appscode.com/invoker-name";
/// Label with the kind of a session's invoker.
pub const LABEL_INVOKER_TYPE: &str = "stash.appscode.com/invoker-type";
/// Label with the UID of the invoker of an object that cannot have it as its owner, because it is in another namespace, or
/// of which only the labels are looked at.
pub const LABEL_INVOKER_UID: &str = "stash.appscode.com/invoker-uid";
/// Label that tells one content of a copied Secret from another.
pub const LABEL_CONTENT: &str = "stash.appscode.com/content";
/// Label of Jobs that are deleted when they have succeeded.
pub const LABEL_DELETE_ON_COMPLETION: &str = "stash.appscode.com/delete-job-on-completion";

/// ClusterRole of the Pods that create sessions; it is shipped, and bound in each namespace.
pub const CLUSTER_ROLE_TRIGGER: &str = "stash-cron-job";
/// ClusterRole of the Pods that make backups; it is shipped, and bound in each namespace.
pub const CLUSTER_ROLE_JOB: &str = "stash-backup-job";

/// `prefix-name-suffix`, cut in the middle to `max` characters: the first half, rounded up, and the last half. Dashes at
/// both ends go.
pub fn prefix_name_suffix(prefix: &str, name: &str, suffix: &str, max: usize) -> String {
    let joined: Vec<char> = [prefix, name, suffix].join("-").chars().collect();
    if joined.len() <= max {
        return trimmed(joined);
    }
    let (head, tail) = (max.div_ceil(2), max / 2);
    trimmed([&joined[..head], &joined[joined.len() - tail..]].concat())
}

/// `prefix-name`, cut at the end to `max` characters. Dashes at both ends go.
pub fn prefix_name(prefix: &str, name: &str, max: usize) -> String {
    trimmed([prefix, name].join("-").chars().take(max).collect())
}

/// `name-suffix` in `max` characters: the name is cut. Where the suffix alone is as long, its last `max` characters.
pub fn name_suffix(name: &str, suffix: &str, max: usize) -> String {
    let length = suffix.chars().count();
    if length >= max {
        return suffix.chars().skip(length - max).collect();
    }
    let name: String = name.chars().take(max - length - 1).collect();
    format!("{name}-{suffix}")
}

fn trimmed(name: Vec<char>) -> String {
    name.into_iter().collect::<String>().trim_matches('-').to_owned()
}

/// Name of the CronJob of an invoker. The namespace is part of it where the (first) target is in another one.
pub fn cron_job(namespace: &str, invoker: &str, target_namespace: Option<&str>) -> String {
    let invoker = invoker.replace('.', "-");
    match target_namespace {
        Some(target) if target != namespace => {
            prefix_name_suffix("stash-trigger", namespace, &invoker, CRON_JOB_CHARS_MAX)
        }
        _ => prefix_name("stash-trigger", &invoker, CRON_JOB_CHARS_MAX),
    }
}

/// Name of the session of `invoker` for the slot at `unix_seconds`.
///
/// The slot is part of the name, so that a second attempt finds the first one's session. Names of invokers with more than
/// 52 characters are cut: a session of that name may belong to another invoker, which is an error and not a success.
pub fn session(invoker: &str, unix_seconds: i64) -> String {
    name_suffix(invoker, &unix_seconds.to_string(), NAME_CHARS_MAX)
}

/// Name of the session of `invoker` that a Job started which no schedule made, as `kubectl create job --from` does. A
/// repeated Pod of that Job comes to the same name.
pub fn session_of_job(invoker: &str, job: &str) -> String {
    name_suffix(invoker, job, NAME_CHARS_MAX)
}

/// The slot of a Job that a CronJob made, in Unix seconds: its name ends with the slot in minutes. `None` for any other
/// name.
///
/// The number is the scheduled time and stays the same however late the Job is made (kube-controller-manager,
/// `cronjob.getJobName`).
pub fn slot_of_job(job: &str, cron_job: &str) -> Option<i64> {
    let minutes = job.strip_prefix(cron_job)?.strip_prefix('-')?;
    let is_number = !minutes.is_empty() && minutes.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| minutes.parse::<i64>().ok()?.checked_mul(SLOT_SECONDS)).flatten()
}

/// A name as the value of a label: cut to 63 characters, without signs at its end. Who selects by it compares the name in
/// the spec, too.
pub fn label_value(name: &str) -> String {
    let cut: String = name.chars().take(NAME_CHARS_MAX).collect();
    cut.trim_end_matches(['-', '.', '_']).to_owned()
}

/// Name of the ServiceAccount for the Jobs of an invoker that names none.
pub fn job_service_account(invoker_kind: &str, invoker: &str) -> String {
    prefix_name_suffix(&invoker_kind.to_lowercase(), invoker, "0", NAME_CHARS_MAX)
}

/// Name of the Role and RoleBinding by which the Jobs of the target `index` of an invoker read a Repository in another
/// namespace: there they are.
pub fn repository_access(namespace: &str, invoker_kind: &str, invoker: &str, index: usize) -> String {
    let invoker = format!("{}-{invoker}", invoker_kind.to_lowercase());
    prefix_name_suffix(namespace, &invoker, &index.to_string(), NAME_CHARS_MAX)
}

/// Name of the copy of a pull Secret of the operator's, in the namespace of an invoker.
pub fn pull_secret(secret: &str, invoker_kind: &str, invoker: &str) -> String {
    prefix_name_suffix(secret, &invoker_kind.to_lowercase(), invoker, NAME_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ten(times: usize) -> String {
        "abcdefghij".repeat(times)
    }

    #[test]
    fn names_are_cut_as_stash_cuts_them() {
        let vectors = [
            (
                prefix_name_suffix("stash-backup", &ten(7), "0", 63),
                "stash-backup-abcdefghijabcdefghibcdefghijabcdefghijabcdefghij-0",
            ),
            (prefix_name("stash-trigger", &ten(7), 52), "stash-trigger-abcdefghijabcdefghijabcdefghijabcdefgh"),
            (
                prefix_name_suffix("stash-trigger", "namespace-long-name-xyz", &ten(4), 52),
                "stash-trigger-namespace-loefghijabcdefghijabcdefghij",
            ),
            (name_suffix(&ten(7), "1652164800", 63), "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijab-1652164800"),
            (
                name_suffix("appscode:license-reader", "demo-cluster-resource-reader", 63),
                "appscode:license-reader-demo-cluster-resource-reader",
            ),
            (
                name_suffix("appscode:license-reader", &ten(7), 63),
                "hijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij",
            ),
            (prefix_name("bs-1652164800", "tmpl", 63), "bs-1652164800-tmpl"),
        ];
        for (made, expected) in vectors {
            assert_eq!(made, expected);
        }
    }

    #[test]
    fn cron_jobs_are_named_as_in_the_guides() {
        assert_eq!(cron_job("demo", "cluster-resources-backup", None), "stash-trigger-cluster-resources-backup");
        assert_eq!(cron_job("demo", "kube-system-backup", Some("demo")), "stash-trigger-kube-system-backup");
        assert_eq!(
            cron_job("demo", "application-manifest-backup", Some("kube-system")),
            "stash-trigger-demo-application-manifest-backup"
        );
        assert_eq!(cron_job("demo", "a.b", None), "stash-trigger-a-b");
    }

    #[test]
    fn the_slot_is_in_the_name_of_the_job() {
        assert_eq!(slot_of_job("stash-trigger-a-27536080", "stash-trigger-a"), Some(1_652_164_800));
        for other in ["stash-trigger-a-manual", "stash-trigger-a-", "stash-trigger-ab-27536080", "x", "stash-trigger-a"]
        {
            assert_eq!(slot_of_job(other, "stash-trigger-a"), None, "{other}");
        }
        assert_eq!(slot_of_job(&format!("a-{}", i64::MAX), "a"), None);
    }

    #[test]
    fn sessions_are_named_after_their_slot() {
        assert_eq!(session("cluster-resources-backup", 1_652_164_800), "cluster-resources-backup-1652164800");
        assert_eq!(session_of_job("bc", "by-hand"), "bc-by-hand");
    }

    #[test]
    fn the_job_account_is_named_after_kind_and_invoker() {
        assert_eq!(
            job_service_account("BackupConfiguration", "cluster-resources-backup"),
            "backupconfiguration-cluster-resources-backup-0"
        );
    }

    #[test]
    fn what_stands_in_for_the_invoker_elsewhere_is_named_after_it() {
        assert_eq!(repository_access("demo", "BackupBatch", "b", 1), "demo-backupbatch-b-1");
        assert_eq!(pull_secret("registry", "BackupConfiguration", "b"), "registry-backupconfiguration-b");
    }
}
