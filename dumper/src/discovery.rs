//! Which collections the API server serves. Pure: the documents are fetched in [`crate::service`].
//!
//! 1. Aggregated discovery answers everything in two requests (`/api`, `/apis`); servers before 1.26, and extension
//!    servers behind a proxy that strips the Accept header, answer the older per-group documents. Both are read here.
//! 2. Each resource of a group is taken once, at the first version of the group's preference order that serves it.
//! 3. Some resources are one store under two groups (events in the core group and in `events.k8s.io`); they are taken
//!    once, under the group that `kubectl get` prints.
//! 4. A group whose server is down degrades only itself: it is returned as [`Unavailable`], never as an error of all.
//!
//! Formats: <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api>.

mod wire;

use std::collections::BTreeMap;

/// What aggregated discovery is asked for with. The plain type stands last: a server that does not know the first
/// answers that, and the caller falls back to [`legacy_groups`].
pub const ACCEPT_AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// The `kind` of an aggregated discovery document.
const AGGREGATED_KIND: &str = "APIGroupDiscoveryList";

/// Resources that are one store behind two groups: (group left out, group kept, resource). The kept one is what
/// `kubectl get` prints and what Stash's layout has.
const COHABITANTS: &[(&str, &str, &str)] = &[
    ("events.k8s.io", "", "events"),
    ("extensions", "apps", "daemonsets"),
    ("extensions", "apps", "deployments"),
    ("extensions", "apps", "replicasets"),
    ("extensions", "networking.k8s.io", "ingresses"),
    ("extensions", "networking.k8s.io", "networkpolicies"),
    ("extensions", "policy", "podsecuritypolicies"),
];

/// One collection of objects that can be listed: what a `kubectl api-resources` line says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Collection {
    /// API group; empty for the core group.
    pub group: String,
    /// Version within the group, e.g. `v1`.
    pub version: String,
    /// Plural resource name, e.g. `deployments`.
    pub resource: String,
    /// Kind, e.g. `Deployment`.
    pub kind: String,
    /// Singular and short names, for matching what a user typed.
    pub aliases: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Collection {
    /// `v1` or `apps/v1`: what stands in an object's `apiVersion`.
    pub fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// `Deployment.apps`, or `ConfigMap` in the core group: the short name used in messages.
    pub fn label(&self) -> String {
        match self.group.as_str() {
            "" => self.kind.clone(),
            group => format!("{}.{group}", self.kind),
        }
    }

    /// Path of the collection at the API server, without a query; of one namespace where one is given and the
    /// collection is namespaced.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let root = version_path(&self.group, &self.version);
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/namespaces/{}/{}", segment(namespace), self.resource),
            None => format!("{root}/{}", self.resource),
        }
    }
}

/// One segment of a path, percent-encoded: what a user calls a namespace may hold anything.
fn segment(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':');
    let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(encode).collect()
}

/// Path of a group's version at the API server.
pub fn version_path(group: &str, version: &str) -> String {
    match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    }
}

/// A version of a group whose resources could not be learned, or not all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// Group; empty for the core group.
    pub group: String,
    /// Version within the group.
    pub version: String,
    /// What is wrong.
    pub outage: Outage,
}

/// Why the resources of a group's version are not known, or may be out of date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// For people.
    pub reason: String,
    /// Whether another server than the API server serves the group for certain.
    pub aggregated: bool,
}

/// What a discovery found: the collections, ordered by group and resource, and the groups that are unavailable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Every collection that can be listed, each once.
    pub collections: Vec<Collection>,
    /// What could not be learned.
    pub unavailable: Vec<Unavailable>,
}

/// One group with its versions in order of preference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Name; empty for the core group.
    pub name: String,
    /// Versions, the preferred one first.
    pub versions: Vec<Version>,
}

/// One version of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Name, e.g. `v1beta1`.
    pub name: String,
    /// Why its resources are not known (or may be out of date), if so.
    pub unavailable: Option<Outage>,
    /// What it serves that can be both listed and read.
    pub resources: Vec<Collection>,
}

/// Reads an aggregated discovery document.
///
/// Returns `None` when the document is of another kind (an older server's answer to the same request).
///
/// # Errors
/// The document is not the JSON that discovery promises.
pub fn aggregated_groups(body: &[u8]) -> Result<Option<Vec<Group>>, serde_json::Error> {
    let list: wire::GroupDiscoveryList = serde_json::from_slice(body)?;
    if list.kind != AGGREGATED_KIND {
        return Ok(None);
    }
    Ok(Some(list.items.into_iter().map(wire::GroupDiscovery::into_group).collect()))
}

/// Reads the older list of groups (`/apis`): each group with its versions, the preferred one first, resources unknown.
///
/// # Errors
/// The document is not the JSON that discovery promises.
pub fn legacy_groups(body: &[u8]) -> Result<Vec<Group>, serde_json::Error> {
    let list: wire::GroupList = serde_json::from_slice(body)?;
    Ok(list.groups.into_iter().map(wire::Group::into_group).collect())
}

/// Reads the older list of core versions (`/api`).
///
/// # Errors
/// The document is not the JSON that discovery promises.
pub fn legacy_core(body: &[u8]) -> Result<Group, serde_json::Error> {
    let list: wire::CoreVersions = serde_json::from_slice(body)?;
    let versions = list.versions.into_iter().map(|name| Version { name, ..Version::default() }).collect();
    Ok(Group { name: String::new(), versions })
}

/// Reads the older list of one version's resources (`/api/v1`, `/apis/apps/v1`).
///
/// # Errors
/// The document is not the JSON that discovery promises.
pub fn legacy_resources(group: &str, version: &str, body: &[u8]) -> Result<Vec<Collection>, serde_json::Error> {
    let list: wire::ResourceList = serde_json::from_slice(body)?;
    Ok(list.resources.into_iter().filter_map(|resource| resource.into_collection(group, version)).collect())
}

/// Picks each resource once per group and once per store. Pure and independent of the order of `groups`.
pub fn select(groups: Vec<Group>) -> Discovered {
    let mut found = Discovered::default();
    let mut chosen: BTreeMap<(String, String), Collection> = BTreeMap::new();
    for group in groups {
        for version in group.versions {
            if let Some(outage) = version.unavailable {
                let (group, version) = (group.name.clone(), version.name);
                found.unavailable.push(Unavailable { group, version, outage });
            }
            for collection in version.resources {
                chosen.entry((group.name.clone(), collection.resource.clone())).or_insert(collection);
            }
        }
    }
    for &(left_out, kept, resource) in COHABITANTS {
        if chosen.contains_key(&(kept.to_owned(), resource.to_owned())) {
            chosen.remove(&(left_out.to_owned(), resource.to_owned()));
        }
    }
    found.collections = chosen.into_values().collect();
    found.unavailable.sort_by(|a, b| (&a.group, &a.version).cmp(&(&b.group, &b.version)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collection(group: &str, version: &str, resource: &str) -> Collection {
        Collection {
            group: group.into(),
            version: version.into(),
            resource: resource.into(),
            kind: "K".into(),
            aliases: vec![],
            namespaced: true,
        }
    }

    fn group(name: &str, versions: &[(&str, &[&str])]) -> Group {
        Group {
            name: name.into(),
            versions: versions
                .iter()
                .map(|(version, resources)| Version {
                    name: (*version).into(),
                    unavailable: None,
                    resources: resources.iter().map(|resource| collection(name, version, resource)).collect(),
                })
                .collect(),
        }
    }

    fn paths(found: &Discovered) -> Vec<String> {
        found.collections.iter().map(|collection| collection.path(None)).collect()
    }

    #[test]
    fn a_namespace_never_leads_to_another_path() {
        let path = collection("", "v1", "pods").path(Some("a b/../secrets?x#ü"));
        assert_eq!(path, "/api/v1/namespaces/a%20b%2F..%2Fsecrets%3Fx%23%C3%BC/pods");
    }

    #[test]
    fn a_resource_is_taken_once_at_the_preferred_version() {
        let found = select(vec![group("autoscaling", &[("v2", &["hpas"]), ("v1", &["hpas", "old"])])]);
        assert_eq!(paths(&found), ["/apis/autoscaling/v2/hpas", "/apis/autoscaling/v1/old"]);
    }

    #[test]
    fn cohabiting_events_are_taken_once_whatever_the_order_of_groups() {
        let core = group("", &[("v1", &["events", "pods"])]);
        let events = group("events.k8s.io", &[("v1", &["events"])]);
        for groups in [vec![core.clone(), events.clone()], vec![events, core]] {
            assert_eq!(paths(&select(groups)), ["/api/v1/events", "/api/v1/pods"]);
        }
    }

    #[test]
    fn a_cohabitant_alone_is_kept() {
        let found = select(vec![group("events.k8s.io", &[("v1", &["events"])])]);
        assert_eq!(paths(&found), ["/apis/events.k8s.io/v1/events"]);
    }

    #[test]
    fn subresources_and_what_cannot_be_listed_are_left_out_of_older_documents() {
        let body = br#"{"kind":"APIResourceList","resources":[
            {"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get","list"],"shortNames":["po"]},
            {"name":"pods/status","singularName":"","namespaced":true,"kind":"Pod","verbs":["get","list"]},
            {"name":"bindings","singularName":"","namespaced":true,"kind":"Binding","verbs":["create"]}]}"#;
        let found = legacy_resources("", "v1", body).expect("valid document");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].aliases, ["pod", "po"]);
    }

    #[test]
    fn a_stale_group_is_reported_and_its_last_known_resources_are_still_tried() {
        let body = br#"{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":"metrics.k8s.io"},"versions":[
            {"version":"v1beta1","freshness":"Stale","resources":[{"resource":"nodes","responseKind":{"kind":"NodeMetrics"},
              "scope":"Cluster","singularResource":"","verbs":["get","list"]}]}]}]}"#;
        let found = select(aggregated_groups(body).expect("valid").expect("aggregated"));
        assert_eq!(found.unavailable[0].group, "metrics.k8s.io");
        assert!(found.unavailable[0].outage.aggregated);
        assert_eq!(paths(&found), ["/apis/metrics.k8s.io/v1beta1/nodes"]);
    }

    #[test]
    fn a_resource_without_a_kind_is_reported() {
        let body = br#"{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":"g"},"versions":[{"version":"v1","resources":[
            {"resource":"things","responseKind":{"kind":""},"verbs":["get","list"]},{"resource":"parts","verbs":["create"]}]}]}]}"#;
        let found = select(aggregated_groups(body).expect("valid").expect("aggregated"));
        assert_eq!(found.unavailable[0].outage.reason, "the kind of things is not known");
        assert!(!found.unavailable[0].outage.aggregated);
    }

    #[test]
    fn an_older_document_is_told_apart_from_an_aggregated_one() {
        assert_eq!(aggregated_groups(br#"{"kind":"APIGroupList","groups":[]}"#).expect("valid"), None);
    }

    #[test]
    fn the_preferred_version_of_an_older_document_comes_first() {
        let body = br#"{"groups":[{"name":"g","versions":[{"groupVersion":"g/v1","version":"v1"},
            {"groupVersion":"g/v2","version":"v2"}],"preferredVersion":{"groupVersion":"g/v2","version":"v2"}}]}"#;
        let names: Vec<_> = legacy_groups(body).expect("valid")[0].versions.iter().map(|v| v.name.clone()).collect();
        assert_eq!(names, ["v2", "v1"]);
    }
}
