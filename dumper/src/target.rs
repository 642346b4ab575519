//! What is dumped: the cluster, one namespace, or one application. Pure.
//!
//! An application is a root object and, where wanted, everything that it owns directly or indirectly by
//! `metadata.ownerReferences`. The owners come from metadata-only LISTs, never from a GET per object, and every object is
//! placed once:
//!
//! - under its controller where that belongs to the application, else under the first of its owners that does;
//! - owners that own each other in a circle do no harm: whoever was placed is not placed again.

use std::collections::{HashMap, HashSet, VecDeque};

use thiserror::Error;

use crate::discovery::Collection;

/// What is dumped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every object of the cluster.
    Cluster,
    /// Every object of one namespace, and the Namespace object itself.
    Namespace(String),
    /// A root object and its dependants.
    Application(Application),
}

/// The root of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// What the user calls its kind: `Deployment`, `deployments.apps`, `deploy`…
    pub kind: String,
    /// Name of the root object.
    pub name: String,
    /// Its namespace; ignored where the kind is cluster-scoped.
    pub namespace: String,
    /// Whether what it owns is dumped too.
    pub include_dependants: bool,
}

/// A target that the cluster does not have.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TargetError {
    /// No collection goes by that name.
    #[error("the API server serves no kind \"{kind}\"{}; `kubectl api-resources` lists what it serves", suggestion(.similar))]
    UnknownKind {
        /// What was asked for.
        kind: String,
        /// What has a similar name.
        similar: Vec<String>,
    },
    /// Several groups serve that kind, none of them built in.
    #[error("kind \"{kind}\" is served by several API groups: name one of {}", .candidates.join(", "))]
    AmbiguousKind {
        /// What was asked for.
        kind: String,
        /// The ways to name it without doubt.
        candidates: Vec<String>,
    },
    /// The object is not there.
    #[error("{label} \"{name}\" does not exist{}", .namespace.as_ref().map(|namespace| format!(" in namespace \"{namespace}\"")).unwrap_or_default())]
    NotFound {
        /// Kind and group.
        label: String,
        /// Name.
        name: String,
        /// Namespace, for a namespaced kind.
        namespace: Option<String>,
    },
}

fn suggestion(similar: &[String]) -> String {
    if similar.is_empty() { String::new() } else { format!(" (did you mean {}?)", similar.join(" or ")) }
}

impl Target {
    /// The target in words: `cluster`, `namespace demo`, `Deployment.apps demo/web`, `ClusterRole.rbac.authorization.k8s.io
    /// admin`. A kind that is not among `collections` stands as the user called it.
    pub fn describe(&self, collections: &[Collection]) -> String {
        let Application { kind, name, namespace, .. } = match self {
            Target::Cluster => return "cluster".to_owned(),
            Target::Namespace(namespace) => return format!("namespace {namespace}"),
            Target::Application(application) => application,
        };
        match find_collection(collections, kind) {
            Ok(root) if root.namespaced => format!("{} {namespace}/{name}", root.label()),
            Ok(root) => format!("{} {name}", root.label()),
            Err(_) => format!("{kind} {name}"),
        }
    }
}

/// Finds the collection that a user calls `kind`, as kubectl does: resource, kind, singular or short name, each also with
/// `.group` or `.version.group`. Without a group the core group wins, then the built-in groups, then the only one there is.
///
/// # Errors
/// No collection has that name, or several do and none of them is built in.
pub fn find_collection<'a>(collections: &'a [Collection], kind: &str) -> Result<&'a Collection, TargetError> {
    let wanted = kind.to_lowercase();
    let names = |collection: &Collection| -> Vec<String> {
        let plain = [&collection.resource, &collection.kind].into_iter().chain(&collection.aliases);
        plain.map(|name| name.to_lowercase()).collect()
    };
    let mut found: Vec<&Collection> = collections
        .iter()
        .filter(|collection| {
            let (name, group) =
                wanted.split_once('.').map_or((wanted.as_str(), None), |(name, group)| (name, Some(group)));
            let of_group = |group| group == collection.group || group == versioned(collection);
            group.is_none_or(of_group) && names(collection).iter().any(|own| own == name)
        })
        .collect();
    found.sort_by_key(|collection| (!is_built_in(&collection.group), collection.group.clone()));
    match found.as_slice() {
        [] => Err(unknown_kind(collections, kind)),
        [first, rest @ ..] if rest.is_empty() || is_built_in(&first.group) => Ok(first),
        several => {
            let candidates =
                several.iter().map(|collection| format!("{}.{}", collection.resource, collection.group)).collect();
            Err(TargetError::AmbiguousKind { kind: kind.to_owned(), candidates })
        }
    }
}

/// `v1.apps`, or `v1.` in the core group: how kubectl takes a version.
fn versioned(collection: &Collection) -> String {
    format!("{}.{}", collection.version, collection.group)
}

/// The error for a kind that none of `collections` has.
pub(crate) fn unknown_kind(collections: &[Collection], kind: &str) -> TargetError {
    TargetError::UnknownKind { kind: kind.to_owned(), similar: similar(collections, &kind.to_lowercase()) }
}

fn similar(collections: &[Collection], wanted: &str) -> Vec<String> {
    let stem: String = wanted.split('.').next().unwrap_or_default().chars().take(5).collect();
    let starts = |collection: &&Collection| !stem.is_empty() && collection.resource.starts_with(&stem);
    collections.iter().filter(starts).map(Collection::label).take(3).collect()
}

/// Whether Kubernetes itself serves the group: the core group, the old names without a dot, and `*.k8s.io`. CRDs may also
/// use `*.k8s.io` where the community approved them (snapshots, gateways).
pub fn is_built_in(group: &str) -> bool {
    !group.contains('.') || group.ends_with(".k8s.io")
}

/// Index of an object in an [`Ownership`].
type Member = usize;

/// Who owns whom among the objects of an application's reach.
#[derive(Debug, Default)]
pub struct Ownership {
    members: Vec<Owned>,
    by_owner: HashMap<String, Vec<Member>>,
}

/// One object that has owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Its uid; or something else that no other object has.
    pub uid: String,
    /// Uid of the owner that is its controller.
    pub controller: Option<String>,
    /// Index of its collection.
    pub collection: usize,
    /// Its namespace, where namespaced.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// A dependant with its place: the objects from below the root down to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    /// The objects between the root (left out) and this one, outermost first, this one last.
    pub chain: Vec<&'a Owned>,
}

impl Ownership {
    /// Takes an object and the uids of its owners. Objects without owners need not be given.
    pub fn add(&mut self, object: Owned, owners: impl Iterator<Item = String>) {
        let member = self.members.len();
        for owner in owners {
            self.by_owner.entry(owner).or_default().push(member);
        }
        self.members.push(object);
    }

    /// Everything that the object with uid `root` owns directly or indirectly, each once, nearest first.
    pub fn dependants(&self, root: &str) -> Vec<Placed<'_>> {
        let reached = self.reachable(root);
        let belongs = |uid: &str| uid == root || reached.contains(uid);
        let mut placed: HashSet<&str> = HashSet::from([root]);
        let mut queue: VecDeque<(&str, Vec<&Owned>)> = VecDeque::from([(root, Vec::new())]);
        let mut result = Vec::new();
        // Two passes over the same edges: first every object goes under its controller; what then is left (its
        // controller can only be reached through itself) goes under whichever owner comes first.
        let mut deferred: VecDeque<(&str, Vec<&Owned>)> = VecDeque::new();
        let mut strict = true;
        loop {
            let Some((owner, chain)) = queue.pop_front() else {
                if deferred.is_empty() {
                    return result;
                }
                (queue, strict) = (std::mem::take(&mut deferred), false);
                continue;
            };
            let mut left = false;
            for &member in self.by_owner.get(owner).into_iter().flatten() {
                let object = &self.members[member];
                if placed.contains(object.uid.as_str()) {
                    continue;
                }
                let elsewhere = object.controller.as_deref().is_some_and(|uid| uid != owner && belongs(uid));
                if strict && elsewhere {
                    left = true;
                    continue;
                }
                placed.insert(&object.uid);
                let mut chain = chain.clone();
                chain.push(object);
                queue.push_back((&object.uid, chain.clone()));
                result.push(Placed { chain });
            }
            if left {
                deferred.push_back((owner, chain));
            }
        }
    }

    fn reachable(&self, root: &str) -> HashSet<&str> {
        let mut reached: HashSet<&str> = HashSet::new();
        let mut queue: VecDeque<&str> = VecDeque::from([root]);
        while let Some(owner) = queue.pop_front() {
            for &member in self.by_owner.get(owner).into_iter().flatten() {
                let uid = self.members[member].uid.as_str();
                if reached.insert(uid) {
                    queue.push_back(uid);
                }
            }
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collection(group: &str, resource: &str, kind: &str, short: &str) -> Collection {
        Collection {
            group: group.into(),
            version: "v1".into(),
            resource: resource.into(),
            kind: kind.into(),
            aliases: vec![short.into()],
            namespaced: true,
        }
    }

    fn served() -> Vec<Collection> {
        vec![
            collection("", "services", "Service", "svc"),
            collection("apps", "deployments", "Deployment", "deploy"),
            collection("a.example", "clusters", "Cluster", ""),
            collection("b.example", "clusters", "Cluster", ""),
            collection("serving.example", "services", "Service", "ksvc"),
        ]
    }

    fn group_of(kind: &str) -> Result<String, TargetError> {
        find_collection(&served(), kind).map(|collection| collection.group.clone())
    }

    #[test]
    fn a_kind_goes_by_all_its_names() {
        for kind in
            ["Deployment", "deployments", "deploy", "Deployment.apps", "deployments.apps", "deployments.v1.apps"]
        {
            assert_eq!(group_of(kind).as_deref(), Ok("apps"), "{kind}");
        }
        assert_eq!(group_of("services.v1.").as_deref(), Ok(""));
        assert_eq!(group_of("ksvc").as_deref(), Ok("serving.example"));
    }

    #[test]
    fn the_built_in_group_wins_and_two_others_are_ambiguous() {
        assert_eq!(group_of("service").as_deref(), Ok(""));
        assert_eq!(group_of("services.serving.example").as_deref(), Ok("serving.example"));
        assert!(
            matches!(group_of("Cluster"), Err(TargetError::AmbiguousKind { candidates, .. }) if candidates.len() == 2)
        );
    }

    #[test]
    fn an_unknown_kind_is_an_error_that_names_similar_ones() {
        let error = group_of("Deploymnt").expect_err("no such kind");
        assert!(error.to_string().contains("did you mean Deployment.apps?"), "{error}");
    }

    /// A tree written as `child: owners…`, the controller marked with `*`; returns `a/b` chains of uids.
    fn placed(lines: &[&str], root: &str) -> Vec<String> {
        let mut ownership = Ownership::default();
        for line in lines {
            let (uid, owners) = line.split_once(": ").expect("uid: owners");
            let owners: Vec<&str> = owners.split(' ').collect();
            let controller = owners.iter().find_map(|owner| owner.strip_prefix('*')).map(str::to_owned);
            let object = Owned { uid: uid.into(), controller, collection: 0, namespace: None, name: uid.into() };
            ownership.add(object, owners.iter().map(|owner| owner.trim_start_matches('*').to_owned()));
        }
        let chain =
            |placed: &Placed<'_>| placed.chain.iter().map(|object| object.uid.as_str()).collect::<Vec<_>>().join("/");
        ownership.dependants(root).iter().map(chain).collect()
    }

    #[test]
    fn dependants_are_found_through_several_levels() {
        assert_eq!(placed(&["rs: *root", "pod: *rs", "other: *elsewhere"], "root"), ["rs", "rs/pod"]);
    }

    #[test]
    fn an_object_with_several_owners_stands_once_under_its_controller() {
        assert_eq!(placed(&["a: *root", "b: *root", "shared: a *b"], "root"), ["a", "b", "b/shared"]);
        assert_eq!(placed(&["deep: *root", "shared: root *deep"], "root"), ["deep", "deep/shared"]);
    }

    #[test]
    fn a_controller_outside_the_application_does_not_hide_an_object() {
        assert_eq!(placed(&["shared: root *elsewhere"], "root"), ["shared"]);
    }

    #[test]
    fn owners_in_a_circle_end_and_every_object_stands_once() {
        assert_eq!(placed(&["a: *root b", "b: *a"], "root"), ["a", "a/b"]);
        assert_eq!(placed(&["a: root *b", "b: *a"], "root"), ["a", "a/b"]);
        assert_eq!(placed(&["root: *a", "a: *root"], "root"), ["a"]);
    }
}
