//! The rules. To add one, add a line here and a line to the table in `tests/sanitize_rules.rs`.
//!
//! Kept on purpose, as Stash keeps it: `ownerReferences`, `finalizers`, all labels (`pod-template-hash`, `controller-uid`), `last-applied-configuration`, a Service's cluster
//! IPs and node ports, a PersistentVolumeClaim's `volumeName`, a Job's selector, `volumeClaimTemplates[].status`, token volumes of Pods, and defaults that name nothing of the
//! source cluster (`schedulerName`, `restartPolicy`, `terminationMessagePolicy`, `securityContext: {}`).

use super::Rule::{Default, DefaultNumber, Field, Fields, Members};
use super::{EACH, Kind, Rule, Rules};

pub(super) static STANDARD: Rules = Rules { object: OBJECT, metadata: METADATA, pod_spec: POD_SPEC, kinds: KINDS };

const OBJECT: &[Rule] = &[
    // Observed by controllers of the source cluster; an API server ignores it on create.
    Field(&["status"]),
];

const METADATA: &[Rule] = &[
    Fields(&[
        // Given by the API server on create; it refuses or ignores them.
        "creationTimestamp",
        "resourceVersion",
        "uid",
        "generation",
        // Not served since 1.20; old API servers still write it.
        "selfLink",
        // The name has been generated; a second one would only confuse.
        "generateName",
        // They name managers of the source cluster and break server-side apply.
        "managedFields",
    ]),
    Members(
        "annotations",
        &[
            // Bookkeeping of the job and deployment controllers: they write it again.
            "controller-uid",
            "pod-template-hash",
            "deployment.kubernetes.io/desired-replicas",
            "deployment.kubernetes.io/max-replicas",
            "deployment.kubernetes.io/revision",
            // A claim that says it is bound waits for ever for a volume that the target cluster does not have.
            "pv.kubernetes.io/bind-completed",
            "pv.kubernetes.io/bound-by-controller",
        ],
    ),
];

const POD_SPEC: &[Rule] = &[
    Default(&["dnsPolicy"], "ClusterFirst"),
    DefaultNumber(&["terminationGracePeriodSeconds"], "30"),
    // The admission plugin writes both; `serviceAccount` is the old name of the same field.
    Default(&["serviceAccountName"], "default"),
    Default(&["serviceAccount"], "default"),
    Default(&["containers", EACH, "terminationMessagePath"], "/dev/termination-log"),
    Default(&["initContainers", EACH, "terminationMessagePath"], "/dev/termination-log"),
    Default(&["ephemeralContainers", EACH, "terminationMessagePath"], "/dev/termination-log"),
];

const KINDS: &[Kind] = &[
    Kind {
        group: "",
        kind: "Pod",
        metadata: &[],
        pod_spec: &["spec"],
        // The scheduler wrote it, and it names a node of the source cluster. In a template only a user writes it: there it stays.
        own: &[Field(&["spec", "nodeName"])],
    },
    with_template("", "ReplicationController"),
    with_template("apps", "Deployment"),
    with_template("apps", "StatefulSet"),
    with_template("apps", "ReplicaSet"),
    with_template("apps", "DaemonSet"),
    with_template("batch", "Job"),
    Kind {
        group: "batch",
        kind: "CronJob",
        metadata: &[&["spec", "jobTemplate", "metadata"], &["spec", "jobTemplate", "spec", "template", "metadata"]],
        pod_spec: &["spec", "jobTemplate", "spec", "template", "spec"],
        own: &[],
    },
];

/// A workload with its pod template in the usual place.
const fn with_template(group: &'static str, kind: &'static str) -> Kind {
    Kind {
        group,
        kind,
        metadata: &[&["spec", "template", "metadata"]],
        pod_spec: &["spec", "template", "spec"],
        own: &[],
    }
}
