//! Objects of the cluster: reading and writing them, and what is said where that fails.

use std::fmt::Debug;

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::exit::Failure;

/// HTTP status of what is not there.
const NOT_FOUND: u16 = 404;
/// HTTP status of what is there already.
const CONFLICT: u16 = 409;
/// Objects per page of a list; kubectl's default.
const PAGE_OBJECTS: u32 = 500;

/// A cluster whose objects are read and written.
pub(crate) struct Objects {
    pub(crate) client: Client,
    /// Its URL, for messages.
    pub(crate) server: String,
    /// The namespace of `-n`, else of the context, else `default`.
    pub(crate) namespace: String,
}

/// An object of one namespace, of a kind that is known when this is built.
pub(crate) trait Known:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize
{
}

impl<K> Known for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize
{
}

impl Objects {
    /// Objects of a kind in a namespace.
    pub(crate) fn api<K: Known>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Reads an object that must be there.
    ///
    /// # Errors
    /// It is not there, may not be read, or the cluster does not answer.
    pub(crate) async fn get<K: Known>(&self, namespace: &str, name: &str) -> Result<K, Failure> {
        let what = format!("read {} {namespace}/{name}", K::kind(&()));
        let found = self.api::<K>(namespace).get_opt(name).await.map_err(|error| self.failed(&what, error))?;
        match found {
            Some(object) => Ok(object),
            None => Err(self.missing::<K>(namespace, name).await),
        }
    }

    /// What is said of an object that is not there: whether the kind itself is unknown, and which others there are.
    async fn missing<K: Known>(&self, namespace: &str, name: &str) -> Failure {
        let (kind, plural) = (K::kind(&()), K::plural(&()));
        match self.list::<K>(namespace).await {
            Err(unknown @ Failure::Wrong(_)) => unknown,
            Ok(others) if !others.is_empty() => {
                let names: Vec<String> = others.iter().map(ResourceExt::name_any).collect();
                let names = names.join(", ");
                Failure::Wrong(format!("there is no {kind} {namespace}/{name}; in {namespace} there are: {names}"))
            }
            _ => Failure::Wrong(format!(
                "there is no {kind} {namespace}/{name}; `kubectl get {plural} -A` shows where there are, -n chooses the namespace"
            )),
        }
    }

    /// All objects of a kind in a namespace, page by page.
    ///
    /// # Errors
    /// The kind is unknown ([`Failure::Wrong`]), may not be listed, or the cluster does not answer.
    pub(crate) async fn list<K: Known>(&self, namespace: &str) -> Result<Vec<K>, Failure> {
        let (api, mut all) = (self.api::<K>(namespace), Vec::new());
        let mut page = ListParams::default().limit(PAGE_OBJECTS);
        loop {
            let listed = api.list(&page).await;
            let listed =
                listed.map_err(|error| self.failed(&format!("list {} of {namespace}", K::plural(&())), error))?;
            all.extend(listed.items);
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page.continue_token = Some(token),
                None => return Ok(all),
            }
        }
    }

    /// Creates an object and returns it as the cluster stored it.
    ///
    /// # Errors
    /// It is there already, is not accepted, or the cluster does not answer.
    pub(crate) async fn create<K: Known>(&self, namespace: &str, object: &K) -> Result<K, Failure> {
        let created = self.api::<K>(namespace).create(&PostParams::default(), object).await;
        created.map_err(|error| {
            let name = object.meta().name.as_deref().or(object.meta().generate_name.as_deref()).unwrap_or_default();
            self.failed(&format!("create {} {namespace}/{name}", K::kind(&())), error)
        })
    }

    /// What a request's error is to a user.
    pub(crate) fn failed(&self, what: &str, error: kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) if status.code == NOT_FOUND && is_unknown_kind(&status.message) => {
                Failure::Wrong(format!(
                    "{what}: {} does not know this kind; the custom resources of Stowage are not installed there: `kubectl apply --server-side -k k8s/crds`",
                    self.server
                ))
            }
            kube::Error::Api(status) if status.code == CONFLICT && status.reason == "AlreadyExists" => {
                Failure::Wrong(format!("{what}: it is there already"))
            }
            kube::Error::Api(status) => Failure::Refused { what: what.to_owned(), why: status.message.clone() },
            other => {
                Failure::Unreachable { what: what.to_owned(), server: self.server.clone(), source: Box::new(other) }
            }
        }
    }
}

/// Whether it is the path that was not found, not an object at it.
fn is_unknown_kind(message: &str) -> bool {
    message.contains("404 page not found") || message.contains("could not find the requested resource")
}
