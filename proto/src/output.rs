//! `output.json`: what the containers of a backup leave for the last one, and what that one leaves for the dispatcher.
//!
//! 1. **The form is Stash's**: `{"targetStatus": {"ref": …, "stats": […]}}`, two spaces a level. A Function of somebody
//!    else that writes this file is a full member of a backup.
//! 2. **A failure is a result.** A step that could not do its work writes why, and exits with 0; without the file nobody
//!    could tell the reason from a crash.
//! 3. **Who reads takes what it knows**: further fields are passed over.
//! 4. [`Output::to_message`] is the same in one line and at most [`MESSAGE_BYTES_MAX`] bytes, for the termination message
//!    of a container.

use serde::{Deserialize, Serialize};

use crate::crd::{HostPhase, HostStats, TargetRef};

/// Name of the file in the folder that steps share.
pub const FILE_NAME: &str = "output.json";
/// Size from which on a file is no result. A host has some 400 bytes, and the largest result ends in an object of the API
/// server, which takes 1.5 MiB.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Size of a termination message: what is longer is cut by the kubelet
/// (<https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>).
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// Kind of the reference to a whole cluster, which is no object.
pub const EMPTY_TARGET_KIND: &str = "EmptyTarget";
/// Name and API version of the reference to a whole cluster.
pub const EMPTY_TARGET_NAME: &str = "na";
/// What is left of an error when not even one fits.
const CUT: &str = "…";

/// Result of the backup of one target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The target and how it went.
    pub target_status: OutputTarget,
}

/// A target, and how each of its hosts went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputTarget {
    /// The target.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub ref_: Option<TargetRef>,
    /// How each host went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stats: Vec<HostStats>,
}

/// A file is no result.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It is larger than any result.
    #[error("{FILE_NAME} has {bytes} bytes, more than {FILE_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is no JSON, or fields have other types.
    #[error("read {FILE_NAME}")]
    Json(#[source] serde_json::Error),
    /// It names no host, so that nothing can be said about the target.
    #[error("{FILE_NAME} has no result of any host in targetStatus.stats")]
    NoHost,
    /// A host has no phase.
    #[error("{FILE_NAME} does not say in phase whether host {host:?} succeeded")]
    NoPhase {
        /// Name of the host.
        host: String,
    },
}

impl Output {
    /// A result with these hosts.
    pub fn new(target: TargetRef, stats: Vec<HostStats>) -> Self {
        Self { target_status: OutputTarget { ref_: Some(target), stats } }
    }

    /// The result of a target whose host failed, and why.
    pub fn failed(target: TargetRef, host: &str, why: &str) -> Self {
        let stats = HostStats {
            hostname: Some(host.to_owned()),
            phase: Some(HostPhase::Failed),
            error: Some(why.to_owned()),
            ..HostStats::default()
        };
        Self::new(target, vec![stats])
    }

    /// Reads a result.
    ///
    /// # Errors
    /// [`OutputError`] when `json` is too large, no JSON of this form, names no host, or a host without a phase.
    pub fn parse(json: &[u8]) -> Result<Self, OutputError> {
        if json.len() > FILE_BYTES_MAX {
            return Err(OutputError::TooLarge { bytes: json.len() });
        }
        let output: Self = serde_json::from_slice(json).map_err(OutputError::Json)?;
        let stats = &output.target_status.stats;
        if stats.is_empty() {
            return Err(OutputError::NoHost);
        }
        match stats.iter().find(|host| host.phase.is_none()) {
            Some(host) => Err(OutputError::NoPhase { host: host.hostname.clone().unwrap_or_default() }),
            None => Ok(output),
        }
    }

    /// The content of the file.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a result must be JSON: it has text keys only")
    }

    /// The result in one line of at most [`MESSAGE_BYTES_MAX`] bytes. Where it does not fit, first errors are cut, then
    /// snapshots are left out, then hosts that succeeded, and last those that failed: one that failed always stays.
    pub fn to_message(&self) -> String {
        let mut output = self.clone();
        let ways: [fn(&mut Vec<HostStats>); 4] =
            [|stats| cut_errors(stats), |stats| leave_out_snapshots(stats), leave_out_successes, leave_out_hosts];
        for shorten in ways {
            let message = line(&output);
            if message.len() <= MESSAGE_BYTES_MAX {
                return message;
            }
            shorten(&mut output.target_status.stats);
        }
        line(&output)
    }

    /// Whether every host succeeded.
    pub fn has_succeeded(&self) -> bool {
        self.target_status.stats.iter().all(|host| host.phase == Some(HostPhase::Succeeded))
    }
}

fn line(output: &Output) -> String {
    serde_json::to_string(output).expect("a result must be JSON: it has text keys only")
}

/// A quarter of the message for all errors together. A character has up to six bytes in JSON.
fn cut_errors(stats: &mut [HostStats]) {
    let chars_max = (MESSAGE_BYTES_MAX / 4 / 6 / stats.len().max(1)).max(16);
    for error in stats.iter_mut().filter_map(|host| host.error.as_mut()) {
        if error.chars().count() > chars_max {
            *error = error.chars().take(chars_max).chain(CUT.chars()).collect();
        }
    }
}

fn leave_out_snapshots(stats: &mut [HostStats]) {
    stats.iter_mut().for_each(|host| host.snapshots.clear());
}

fn leave_out_successes(stats: &mut Vec<HostStats>) {
    if stats.iter().any(|host| host.phase == Some(HostPhase::Failed)) {
        stats.retain(|host| host.phase == Some(HostPhase::Failed));
    }
}

fn leave_out_hosts(stats: &mut Vec<HostStats>) {
    stats.truncate(1);
}

/// The reference by which statuses and metrics name a whole cluster.
pub fn empty_target() -> TargetRef {
    TargetRef {
        api_version: Some(EMPTY_TARGET_NAME.to_owned()),
        kind: Some(EMPTY_TARGET_KIND.to_owned()),
        name: Some(EMPTY_TARGET_NAME.to_owned()),
        namespace: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crd::{FileStats, SnapshotStats};

    fn finished() -> Output {
        let files = FileStats {
            total_files: Some(776),
            new_files: Some(776),
            modified_files: Some(0),
            unmodified_files: Some(0),
        };
        let snapshot = SnapshotStats {
            name: Some("5085e316".to_owned()),
            path: Some("/tmp/resources".to_owned()),
            total_size: Some("2.324 MiB".to_owned()),
            uploaded: Some("2.401 MiB".to_owned()),
            processing_time: Some("0:03".to_owned()),
            file_stats: Some(files),
        };
        let host = HostStats {
            hostname: Some("host-0".to_owned()),
            phase: Some(HostPhase::Succeeded),
            duration: Some("4.2s".to_owned()),
            snapshots: vec![snapshot],
            error: None,
        };
        Output::new(empty_target(), vec![host])
    }

    #[test]
    fn the_file_has_the_form_of_stash() {
        let json = finished().to_json();
        assert!(json.starts_with("{\n  \"targetStatus\": {\n    \"ref\": {\n"), "{json}");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let expected = json!({ "targetStatus": {
            "ref": { "apiVersion": "na", "kind": "EmptyTarget", "name": "na" },
            "stats": [{ "hostname": "host-0", "phase": "Succeeded", "duration": "4.2s", "snapshots": [{
                "name": "5085e316", "path": "/tmp/resources", "totalSize": "2.324 MiB", "uploaded": "2.401 MiB",
                "processingTime": "0:03",
                "fileStats": { "totalFiles": 776, "newFiles": 776, "modifiedFiles": 0, "unmodifiedFiles": 0 },
            }] }],
        } });
        assert_eq!(value, expected);
        assert_eq!(Output::parse(json.as_bytes()).unwrap(), finished());
    }

    #[test]
    fn fields_of_others_are_passed_over() {
        let json = json!({ "version": 2, "targetStatus": { "totalHosts": 1, "stats": [{ "phase": "Failed" }] } });
        let output = Output::parse(json.to_string().as_bytes()).unwrap();
        assert!(!output.has_succeeded());
    }

    #[test]
    fn what_is_no_result_says_why() {
        let table = [
            ("", "read output.json"),
            ("{}", "read output.json"),
            (r#"{"targetStatus":{}}"#, "output.json has no result of any host in targetStatus.stats"),
            (
                r#"{"targetStatus":{"stats":[{"hostname":"a"}]}}"#,
                "output.json does not say in phase whether host \"a\" succeeded",
            ),
            (r#"{"targetStatus":{"stats":[{"phase":"Perhaps"}]}}"#, "read output.json"),
        ];
        for (json, expected) in table {
            assert_eq!(Output::parse(json.as_bytes()).unwrap_err().to_string(), expected, "{json}");
        }
        let large = vec![b' '; FILE_BYTES_MAX + 1];
        assert!(matches!(Output::parse(&large), Err(OutputError::TooLarge { .. })));
    }

    #[test]
    fn a_message_fits_whatever_is_in_it_and_keeps_the_failure() {
        let failure = |host: usize, chars: usize| HostStats {
            hostname: Some(format!("host-{host}")),
            phase: Some(HostPhase::Failed),
            error: Some("\u{1}".repeat(chars)),
            ..HostStats::default()
        };
        let success = finished().target_status.stats;
        for (successes, failures, chars) in [(1, 0, 0), (1, 1, 10), (1, 1, 100_000), (500, 1, 9_000), (9, 900, 900)] {
            let mut stats = vec![success[0].clone(); successes];
            stats.extend((0..failures).map(|host| failure(host, chars)));
            let message = Output::new(empty_target(), stats).to_message();
            assert!(message.len() <= MESSAGE_BYTES_MAX, "{} bytes", message.len());
            assert!(!message.contains('\n'));
            let read = Output::parse(message.as_bytes()).unwrap();
            assert_eq!(read.has_succeeded(), failures == 0);
        }
        assert_eq!(Output::parse(finished().to_message().as_bytes()).unwrap(), finished());
    }
}
