//! Asks the API server what it serves, and which of it is served by others.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    api::{ACCEPT_JSON, Api, ApiError},
    discovery::{self, Collection, Discovered, Group},
    page,
    target::is_built_in,
};

/// A discovery document of a cluster with thousands of CRDs has a few MiB.
const DOCUMENT_BYTES_MAX: usize = 64 << 20;
/// Per-group requests in flight where the server knows no aggregated discovery.
const GROUPS_IN_FLIGHT: usize = 8;
/// APIService objects per page; each is about 1 KiB.
const API_SERVICES_PAGE: u32 = 500;

/// Asks what the API server serves.
///
/// # Errors
/// Neither `/api` nor `/apis` can be read. A single group that cannot be asked is not an error: it is returned as
/// unavailable.
pub(super) async fn discover(api: &Api) -> Result<Discovered, ApiError> {
    let (core, groups) = futures::try_join!(root(api, "/api"), root(api, "/apis"))?;
    Ok(discovery::select(core.into_iter().chain(groups).collect()))
}

/// One of the two roots of discovery, aggregated or, from an older server, group by group.
async fn root(api: &Api, path: &str) -> Result<Vec<Group>, ApiError> {
    let body = api.get(path, discovery::ACCEPT_AGGREGATED, DOCUMENT_BYTES_MAX).await?;
    if let Ok(Some(groups)) = discovery::aggregated_groups(&body) {
        return Ok(groups);
    }
    let body = api.get(path, ACCEPT_JSON, DOCUMENT_BYTES_MAX).await?;
    let mut groups = match path {
        "/api" => vec![discovery::legacy_core(&body).map_err(ApiError::Malformed)?],
        _ => discovery::legacy_groups(&body).map_err(ApiError::Malformed)?,
    };
    let versions = groups.iter_mut().flat_map(|group| {
        let name = group.name.clone();
        group.versions.iter_mut().map(move |version| (name.clone(), version))
    });
    let asked = versions.map(|(group, version)| async move {
        let path = discovery::version_path(&group, &version.name);
        let resources = match api.get(&path, ACCEPT_JSON, DOCUMENT_BYTES_MAX).await {
            Ok(body) => discovery::legacy_resources(&group, &version.name, &body).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match resources {
            Ok(resources) => version.resources = resources,
            Err(reason) => version.unavailable = Some(discovery::Outage { reason, aggregated: false }),
        }
    });
    stream::iter(asked.collect::<Vec<_>>()).buffer_unordered(GROUPS_IN_FLIGHT).collect::<Vec<()>>().await;
    Ok(groups)
}

/// Whether discovery still names a collection, so that a 404 for it has another cause. Without an answer it may.
pub(super) async fn still_names(api: &Api, collection: &Collection) -> bool {
    let (group, version) = (&collection.group, &collection.version);
    match api.get(&discovery::version_path(group, version), ACCEPT_JSON, DOCUMENT_BYTES_MAX).await {
        Err(error) => error.code() != Some(404),
        Ok(body) => discovery::legacy_resources(group, version, &body)
            .map_or(true, |resources| resources.iter().any(|served| served.resource == collection.resource)),
    }
}

/// Which groups may be served by another server than the API server itself.
#[derive(Debug)]
pub(super) enum Aggregated {
    /// Known from the APIService objects: `group/version`.
    Known(BTreeSet<(String, String)>),
    /// The APIService objects may not be read: every group that Kubernetes does not build in could be.
    Unknown,
}

impl Aggregated {
    /// Whether another server may stand behind a group's version: such a collection is never counted as consistent.
    pub(super) fn may_serve(&self, group: &str, version: &str) -> bool {
        match self {
            Aggregated::Known(known) => known.contains(&(group.to_owned(), version.to_owned())),
            Aggregated::Unknown => !is_built_in(group) || group.ends_with("metrics.k8s.io"),
        }
    }

    /// Whether another server stands behind it for certain: its outage does not make a dump incomplete.
    pub(super) fn serves(&self, group: &str, version: &str) -> bool {
        matches!(self, Aggregated::Known(_)) && self.may_serve(group, version)
    }
}

/// Reads which groups are aggregated.
pub(super) async fn aggregated(api: &Api) -> Aggregated {
    let mut known = BTreeSet::new();
    let mut token = String::new();
    loop {
        let mut path = format!("/apis/apiregistration.k8s.io/v1/apiservices?limit={API_SERVICES_PAGE}");
        if !token.is_empty() {
            path += &super::query::encoded("continue", &token);
        }
        let Ok(body) = api.get(&path, ACCEPT_JSON, DOCUMENT_BYTES_MAX).await else { return Aggregated::Unknown };
        let (Ok(list), Ok(meta)) = (serde_json::from_slice::<ApiServiceList>(&body), page::list_meta(&body)) else {
            return Aggregated::Unknown;
        };
        let remote = list.items.into_iter().flatten().filter(|item| item.spec.service.is_some());
        known.extend(remote.map(|item| (item.spec.group, item.spec.version)));
        if meta.continue_token.is_empty() {
            return Aggregated::Known(known);
        }
        token = meta.continue_token;
    }
}

#[derive(Deserialize)]
struct ApiServiceList {
    items: Option<Vec<ApiService>>,
}

#[derive(Deserialize)]
struct ApiService {
    spec: ApiServiceSpec,
}

#[derive(Deserialize)]
struct ApiServiceSpec {
    #[serde(default)]
    group: String,
    #[serde(default)]
    version: String,
    /// Where the group is served; absent when by the API server itself.
    service: Option<IgnoredAny>,
}
