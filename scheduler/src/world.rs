//! What the scheduler has seen of the cluster.
//!
//! A [`Change`] goes in, the invokers that it may concern come out. Nothing here asks anybody: watches and polls deliver.
//! A change that arrives twice, or late, changes nothing the second time: an object replaces itself, and an older version
//! of an object that is known is passed over.

mod change;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use proto::{conditions::Finding, crd::TargetRef, names};
use serde_json::{Value, json};

pub use change::{Change, RepositoryView, Seen, WATCHED, Watched};

use crate::{
    invoker::{Invoker, Key, ObjectName},
    pull::PullSecret,
};

/// Everything seen so far.
#[derive(Debug, Default)]
pub struct World {
    invokers: BTreeMap<Key, Invoker>,
    repositories: BTreeMap<ObjectName, RepositoryView>,
    named: HashMap<Watched, HashMap<ObjectName, BTreeMap<String, String>>>,
    /// As JSON text: thousands of parsed objects would take ten times the memory, and they are looked at rarely.
    children: HashMap<(Watched, ObjectName), Box<str>>,
    targets: HashMap<TargetRef, Finding>,
    known: HashSet<Watched>,
    blind: HashMap<Watched, String>,
    failures: HashMap<Key, String>,
    /// Roles and RoleBindings with the label that is in an owner's place, and its value.
    labelled: HashMap<(Watched, ObjectName), String>,
    /// `None` while those of the operator are to be read yet.
    pull_secrets: Option<Vec<PullSecret>>,
}

impl World {
    /// A world of which nothing is seen yet. It is complete without pull Secrets only where there shall be none.
    pub fn new(has_pull_secrets: bool) -> Self {
        let pull_secrets = (!has_pull_secrets).then(Vec::new);
        Self { pull_secrets, ..Self::default() }
    }

    /// Takes a change in. Returns the invokers whose state may follow from it.
    pub fn apply(&mut self, change: Change) -> BTreeSet<Key> {
        match change {
            Change::Present(kind, at, seen) => self.present(kind, at, seen),
            Change::Gone(kind, at) => self.gone(kind, &at),
            Change::All(kind, present) => self.all(kind, &present),
            Change::Blind { kind, why, is_lasting } => {
                let is_first = self.known.insert(kind);
                if !is_first && !is_lasting || self.blind.get(&kind) == Some(&why) {
                    return BTreeSet::new();
                }
                self.blind.insert(kind, why);
                self.everybody()
            }
            Change::Target(target, finding) => {
                let before = self.targets.insert(target.clone(), finding.clone());
                if before.as_ref() == Some(&finding) { BTreeSet::new() } else { self.aiming_at(&target) }
            }
            Change::PullSecrets(all) => {
                let before = self.pull_secrets.replace(all);
                if before == self.pull_secrets { BTreeSet::new() } else { self.everybody() }
            }
        }
    }

    /// Whether every kind was seen as a whole, or cannot be seen.
    pub fn is_complete(&self) -> bool {
        self.pull_secrets.is_some() && WATCHED.iter().all(|kind| self.known.contains(kind))
    }

    /// An invoker.
    pub fn invoker(&self, key: &Key) -> Option<&Invoker> {
        self.invokers.get(key)
    }

    /// All invokers.
    pub fn invokers(&self) -> impl Iterator<Item = &Invoker> {
        self.invokers.values()
    }

    /// All invokers' keys.
    pub fn everybody(&self) -> BTreeSet<Key> {
        self.invokers.keys().cloned().collect()
    }

    /// A Repository.
    pub fn repository(&self, at: &ObjectName) -> Option<&RepositoryView> {
        self.repositories.get(at)
    }

    /// All Repositories.
    pub fn repositories(&self) -> impl Iterator<Item = &RepositoryView> {
        self.repositories.values()
    }

    /// Whether an object is there. One that was seen is there, also while its kind cannot be watched.
    pub fn finding(&self, kind: Watched, at: &ObjectName) -> Finding {
        let is_there = match kind {
            Watched::Repositories => self.repositories.contains_key(at),
            _ => self.named.get(&kind).is_some_and(|all| all.contains_key(at)),
        };
        match self.blind.get(&kind) {
            _ if is_there => Finding::Present,
            Some(why) => Finding::Unclear(why.clone()),
            None => Finding::Absent,
        }
    }

    /// Labels of a Namespace; none when it is not there.
    pub fn namespace_labels(&self, name: &str) -> BTreeMap<String, String> {
        let all = self.named.get(&Watched::Namespaces);
        all.and_then(|all| all.get(&ObjectName::new("", name))).cloned().unwrap_or_default()
    }

    /// What is known about a target; `None` before the first look.
    pub fn target(&self, target: &TargetRef) -> Option<Finding> {
        match namespace_target(target) {
            Some(at) => Some(self.finding(Watched::Namespaces, &at)),
            None => self.targets.get(target).cloned(),
        }
    }

    /// Targets that only a look can find: all but Namespaces, which are watched.
    pub fn targets_to_look_for(&self) -> HashSet<TargetRef> {
        let members = self.invokers.values().flat_map(|invoker| &invoker.members);
        let targets = members.filter_map(|member| member.target.as_ref());
        targets.filter(|target| namespace_target(target).is_none()).cloned().collect()
    }

    /// The pull Secrets of the operator.
    pub fn pull_secrets(&self) -> &[PullSecret] {
        self.pull_secrets.as_deref().unwrap_or_default()
    }

    /// Roles and RoleBindings with the label of an invoker's UID, and the UID.
    pub(crate) fn labelled(&self) -> impl Iterator<Item = (&str, &(Watched, ObjectName))> {
        self.labelled.iter().map(|(which, uid)| (uid.as_str(), which))
    }

    /// An object of an invoker. Of a Secret only the labels are there.
    pub fn child(&self, kind: &str, at: &ObjectName) -> Option<Value> {
        let kind = WATCHED.into_iter().find(|watched| watched.kind() == kind)?;
        if kind == Watched::Secrets {
            let labels = self.named.get(&kind)?.get(at)?;
            return Some(json!({ "metadata": { "labels": labels } }));
        }
        let text = self.children.get(&(kind, at.clone()))?;
        Some(serde_json::from_str(text).expect("the text must be JSON: it was written from it"))
    }

    /// Why the objects of an invoker could not be applied the last time.
    pub fn failure(&self, key: &Key) -> Option<&str> {
        self.failures.get(key).map(String::as_str)
    }

    /// Notes why the objects of an invoker could not be applied; `None` when they could.
    pub fn note_failure(&mut self, key: &Key, why: Option<String>) {
        match why {
            Some(why) => self.failures.insert(key.clone(), why),
            None => self.failures.remove(key),
        };
    }

    fn present(&mut self, kind: Watched, at: ObjectName, seen: Seen) -> BTreeSet<Key> {
        match seen {
            Seen::Invoker(invoker) => {
                let key = invoker.key.clone();
                let known = self.invokers.get(&key);
                if known.is_some_and(|known| {
                    known.uid == invoker.uid && older(&invoker.resource_version, &known.resource_version)
                }) {
                    return BTreeSet::new();
                }
                self.invokers.insert(key.clone(), *invoker);
                BTreeSet::from([key])
            }
            Seen::Repository(repository) => {
                self.repositories.insert(at.clone(), *repository);
                self.concerned(kind, &at)
            }
            Seen::Labels(labels) => {
                let before = self.named.entry(kind).or_default().insert(at.clone(), labels.clone());
                if before == Some(labels) { BTreeSet::new() } else { self.concerned(kind, &at) }
            }
            Seen::Child(object) => {
                self.note_label(kind, &at, &object);
                self.children.insert((kind, at.clone()), object.to_string().into_boxed_str());
                self.concerned(kind, &at)
            }
        }
    }

    fn gone(&mut self, kind: Watched, at: &ObjectName) -> BTreeSet<Key> {
        let concerned = self.concerned(kind, at);
        match kind {
            Watched::Configurations | Watched::Batches => {
                self.invokers.retain(|key, _| !(key.at == *at && key.kind.kind() == kind.kind()));
                self.failures.retain(|key, _| !(key.at == *at && key.kind.kind() == kind.kind()));
            }
            Watched::Repositories => drop(self.repositories.remove(at)),
            Watched::CronJobs | Watched::ServiceAccounts | Watched::Roles | Watched::RoleBindings => {
                self.children.remove(&(kind, at.clone()));
                self.labelled.remove(&(kind, at.clone()));
            }
            Watched::Secrets | Watched::Namespaces | Watched::Tasks => {
                self.named.entry(kind).or_default().remove(at);
            }
        }
        concerned
    }

    fn all(&mut self, kind: Watched, present: &HashSet<ObjectName>) -> BTreeSet<Key> {
        let first = self.known.insert(kind);
        let was_blind = self.blind.remove(&kind).is_some();
        let missing: Vec<ObjectName> = self.names(kind).into_iter().filter(|at| !present.contains(at)).collect();
        let mut concerned = BTreeSet::new();
        for at in &missing {
            concerned.append(&mut self.gone(kind, at));
        }
        if first || was_blind { self.everybody() } else { concerned }
    }

    fn names(&self, kind: Watched) -> Vec<ObjectName> {
        match kind {
            Watched::Configurations | Watched::Batches => {
                let keys = self.invokers.keys().filter(|key| key.kind.kind() == kind.kind());
                keys.map(|key| key.at.clone()).collect()
            }
            Watched::Repositories => self.repositories.keys().cloned().collect(),
            Watched::CronJobs | Watched::ServiceAccounts | Watched::Roles | Watched::RoleBindings => {
                self.children.keys().filter(|(one, _)| *one == kind).map(|(_, at)| at.clone()).collect()
            }
            _ => self.named.get(&kind).map(|all| all.keys().cloned().collect()).unwrap_or_default(),
        }
    }

    /// The invokers that look at an object.
    fn concerned(&self, kind: Watched, at: &ObjectName) -> BTreeSet<Key> {
        let looks = |invoker: &&Invoker| match kind {
            Watched::Configurations | Watched::Batches => invoker.key.at == *at,
            Watched::Repositories => invoker.repository.as_ref() == Some(at),
            Watched::Secrets => self.uses_secret(invoker, at) || self.copies_to(invoker, at),
            Watched::Namespaces => invoker.key.at.namespace == at.name || aims_at_namespace(invoker, &at.name),
            Watched::Tasks => invoker.members.iter().any(|member| member.task == at.name),
            Watched::CronJobs | Watched::ServiceAccounts | Watched::Roles | Watched::RoleBindings => {
                let is_own = invoker.key.at.namespace == at.namespace && invoker.trigger_name == at.name;
                is_own || invoker.access.contains(at)
            }
        };
        self.invokers.values().filter(looks).map(|invoker| invoker.key.clone()).collect()
    }

    fn note_label(&mut self, kind: Watched, at: &ObjectName, object: &Value) {
        let uid = object["metadata"]["labels"][names::LABEL_INVOKER_UID].as_str();
        match uid {
            Some(uid) => self.labelled.insert((kind, at.clone()), uid.to_owned()),
            None => self.labelled.remove(&(kind, at.clone())),
        };
    }

    fn copies_to(&self, invoker: &Invoker, secret: &ObjectName) -> bool {
        let is_copy = |one: &PullSecret| one.copy_name(invoker) == secret.name;
        invoker.key.at.namespace == secret.namespace && self.pull_secrets().iter().any(is_copy)
    }

    fn uses_secret(&self, invoker: &Invoker, secret: &ObjectName) -> bool {
        let repository = invoker.repository.as_ref().and_then(|at| self.repositories.get(at));
        repository.is_some_and(|one| one.at.namespace == secret.namespace && one.secret == secret.name)
    }

    fn aiming_at(&self, target: &TargetRef) -> BTreeSet<Key> {
        let aims = |invoker: &&Invoker| invoker.members.iter().any(|member| member.target.as_ref() == Some(target));
        self.invokers.values().filter(aims).map(|invoker| invoker.key.clone()).collect()
    }
}

/// Whether one version of an object is older than another. Versions of one object count up
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>); what is no number is never older.
fn older(version: &str, than: &str) -> bool {
    match (version.parse::<u128>(), than.parse::<u128>()) {
        (Ok(version), Ok(than)) => version < than,
        _ => false,
    }
}

fn namespace_target(target: &TargetRef) -> Option<ObjectName> {
    let is_namespace = target.kind.as_deref() == Some("Namespace") && target.api_version.as_deref() == Some("v1");
    is_namespace.then(|| ObjectName::new("", target.name.as_deref().unwrap_or_default()))
}

fn aims_at_namespace(invoker: &Invoker, name: &str) -> bool {
    let targets = invoker.members.iter().filter_map(|member| member.target.as_ref());
    targets.filter_map(namespace_target).any(|at| at.name == name)
}
