//! Discovery documents as they come over the wire; only what is used of them.

use serde::Deserialize;

use super::{Collection, Outage, Version};

fn listable(verbs: &[String]) -> bool {
    ["get", "list"].iter().all(|wanted| verbs.iter().any(|verb| verb == wanted))
}

#[derive(Deserialize)]
pub(super) struct GroupDiscoveryList {
    #[serde(default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) items: Vec<GroupDiscovery>,
}

#[derive(Deserialize)]
pub(super) struct GroupDiscovery {
    #[serde(default)]
    metadata: Name,
    #[serde(default)]
    versions: Vec<VersionDiscovery>,
}

#[derive(Default, Deserialize)]
struct Name {
    /// Absent for the core group.
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct VersionDiscovery {
    version: String,
    #[serde(default)]
    freshness: String,
    #[serde(default)]
    resources: Vec<ResourceDiscovery>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceDiscovery {
    resource: String,
    response_kind: Option<Kind>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    singular_resource: String,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    kind: String,
}

impl GroupDiscovery {
    pub(super) fn into_group(self) -> super::Group {
        let name = self.metadata.name;
        let versions = self.versions.into_iter().map(|version| version.into_version(&name)).collect();
        super::Group { name, versions }
    }
}

impl VersionDiscovery {
    fn into_version(self, group: &str) -> Version {
        // Only what another server answers can be stale.
        let stale = self.freshness == "Stale";
        let stale = stale.then(|| "the API server could not reach the server of this group".to_owned());
        let (mut resources, mut nameless) = (Vec::new(), None);
        for resource in self.resources.into_iter().filter(|resource| listable(&resource.verbs)) {
            let name = resource.resource.clone();
            match resource.into_collection(group, &self.version) {
                Some(collection) => resources.push(collection),
                None => nameless = Some(format!("the kind of {name} is not known")),
            }
        }
        let aggregated = stale.is_some();
        let unavailable = stale.or(nameless).map(|reason| Outage { reason, aggregated });
        Version { name: self.version, unavailable, resources }
    }
}

impl ResourceDiscovery {
    /// `None` where the document does not say which kind the resource has.
    fn into_collection(self, group: &str, version: &str) -> Option<Collection> {
        let kind = self.response_kind.map(|kind| kind.kind).filter(|kind| !kind.is_empty())?;
        Some(Collection {
            group: group.to_owned(),
            version: version.to_owned(),
            kind,
            aliases: aliases(self.singular_resource, self.short_names),
            namespaced: self.scope == "Namespaced",
            resource: self.resource,
        })
    }
}

fn aliases(singular: String, short: Vec<String>) -> Vec<String> {
    std::iter::once(singular).filter(|name| !name.is_empty()).chain(short).collect()
}

#[derive(Deserialize)]
pub(super) struct CoreVersions {
    #[serde(default)]
    pub(super) versions: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct GroupList {
    #[serde(default)]
    pub(super) groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    name: String,
    #[serde(default)]
    versions: Vec<GroupVersion>,
    preferred_version: Option<GroupVersion>,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
}

impl Group {
    pub(super) fn into_group(self) -> super::Group {
        let preferred = self.preferred_version.map(|preferred| preferred.version);
        let mut versions: Vec<Version> =
            self.versions.into_iter().map(|version| Version { name: version.version, ..Version::default() }).collect();
        versions.sort_by_key(|version| Some(&version.name) != preferred.as_ref());
        super::Group { name: self.name, versions }
    }
}

#[derive(Deserialize)]
pub(super) struct ResourceList {
    #[serde(default)]
    pub(super) resources: Vec<Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource {
    name: String,
    #[serde(default)]
    singular_name: String,
    #[serde(default)]
    namespaced: bool,
    kind: String,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    short_names: Vec<String>,
}

impl Resource {
    pub(super) fn into_collection(self, group: &str, version: &str) -> Option<Collection> {
        let subresource = self.name.contains('/');
        (listable(&self.verbs) && !subresource).then(|| Collection {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: self.kind,
            aliases: aliases(self.singular_name, self.short_names),
            namespaced: self.namespaced,
            resource: self.name,
        })
    }
}
