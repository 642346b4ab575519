//! The folder of each kind: `<Kind>`, or `<Kind>.<group>` where several API groups serve a kind of that name.
//!
//! - Of the groups that are part of Kubernetes the first in [`BUILT_IN_GROUPS`] keeps `<Kind>`, whatever else is installed.
//! - Without such a group a kind that is served once has `<Kind>`; of several none keeps it, so that a group installed later never takes over the
//!   folder of another.

use std::collections::{BTreeMap, BTreeSet};

use super::{GLOBAL, MANIFEST, NAMESPACES, file_name};

/// Groups of Kubernetes itself. Where two serve the same kind (`Event`, long ago `Ingress`), the earlier has precedence.
const BUILT_IN_GROUPS: &[&str] = &[
    "",
    "apps",
    "batch",
    "autoscaling",
    "policy",
    "networking.k8s.io",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "admissionregistration.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "node.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storagemigration.k8s.io",
    "extensions",
];

/// Names that folders of kinds must leave to the layout.
const RESERVED: &[&str] = &[MANIFEST, GLOBAL, NAMESPACES];

/// Which folder a kind gets, for all kinds that a cluster serves.
#[derive(Debug, Clone, Default)]
pub struct KindNames {
    /// Kind to the group whose folder carries the bare kind, if there is one.
    keepers: BTreeMap<String, Option<String>>,
}

impl KindNames {
    /// Takes (group, kind) of everything served; order and repetitions do not matter.
    pub fn new<'a>(served: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (group, kind) in served {
            groups.entry(kind).or_default().insert(group);
        }
        let keeper = |groups: &BTreeSet<&str>| {
            let built_in = BUILT_IN_GROUPS.iter().copied().find(|group| groups.contains(group));
            let only = groups.first().copied().filter(|_| groups.len() == 1);
            built_in.or(only).map(str::to_owned)
        };
        Self { keepers: groups.iter().map(|(kind, groups)| ((*kind).to_owned(), keeper(groups))).collect() }
    }

    /// The folder of a kind: one component of a path, the same for no other (group, kind). A kind that was not among those
    /// served gets `<Kind>.<group>`.
    pub fn folder(&self, group: &str, kind: &str) -> String {
        let keeps = self.keepers.get(kind).and_then(Option::as_deref) == Some(group);
        // No dot in the kind: the first dot of a folder separates kind and group.
        let kind = match file_name::escape(kind).replace('.', "%2E") {
            reserved if RESERVED.contains(&reserved.as_str()) => escape_first(&reserved),
            other => other,
        };
        let folder = if keeps { kind } else { format!("{kind}.{}", file_name::escape(group)) };
        file_name::component(no_file_name(folder), "")
    }
}

/// `MANIFEST` to `%4DANIFEST`: the same name, escaped where nobody else is.
fn escape_first(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    format!("%{:02X}{rest}", first.as_bytes()[0])
}

/// In an application's dump folders of kinds stand beside files of objects: none may end like a file. `escape` writes no
/// small hexadecimal letters, so this is the folder of no other kind.
fn no_file_name(folder: String) -> String {
    match folder.strip_suffix(".yaml") {
        Some(start) => format!("{start}%2eyaml"),
        None => folder,
    }
}
