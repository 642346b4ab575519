//! Fills a cluster with objects as varied as those of a real one.
//!
//! 1. The objects are a pure function of the [`Population`]: the same seed gives the same names and contents, so two
//!    clusters can be compared, and a second run creates nothing.
//! 2. Kinds and sizes follow a cluster of many small teams: ConfigMaps and Secrets lead, an object is about 2.3 KB of JSON
//!    as the API server lists it. [`Population::large`] ConfigMaps hold 900 KB, near the limit of etcd.
//! 3. What breaks backup tools is there: names with colons, blanks and letters beyond ASCII (RBAC), names that differ in
//!    case only, names longer than a file name may be, values that YAML 1.1 takes for something else, custom resources
//!    whose Kind is `Service` or `Job`, a custom resource in two versions, owner references.
//! 4. Without a controller manager nothing would own anything, so workloads come with ReplicaSets and Pods of their own.

mod access;
mod custom;
mod data;
mod network;
mod pour;
mod random;
mod workloads;

use serde_json::{Value, json};

pub use pour::{PopulateError, Populated, populate, try_populate};
use random::Random;

/// How much of what a cluster gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Population {
    /// Decides every name and content.
    pub seed: u64,
    /// Namespaces, `team-0000` and so on; at least one.
    pub namespaces: usize,
    /// Objects in all, namespaces and definitions of custom resources included. A few more may come: a workload is not
    /// left without its Pods.
    pub objects: usize,
    /// How many ConfigMaps hold 900 KB.
    pub large: usize,
}

impl Default for Population {
    /// 3,000 objects in ten namespaces, two of them large: a few seconds on two cores.
    fn default() -> Self {
        Self { seed: 42, namespaces: 10, objects: 3_000, large: 2 }
    }
}

/// One object in so many has the longest name that Kubernetes allows.
const LONG_NAME_EVERY: usize = 300;

/// An object to create, and those that it owns.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planned {
    /// Path of the collection that takes it, for example `/api/v1/namespaces/team-0000/configmaps`.
    pub(crate) collection: String,
    pub(crate) object: Value,
    /// Each gets an owner reference to this object.
    pub(crate) dependants: Vec<Planned>,
}

impl Planned {
    fn new(collection: String, object: Value) -> Self {
        Self { collection, object, dependants: Vec::new() }
    }

    /// This object and all that hang on it.
    pub(crate) fn count(&self) -> usize {
        1 + self.dependants.iter().map(Planned::count).sum::<usize>()
    }
}

/// Where one object of the population stands, and its source of chance.
struct Place {
    random: Random,
    /// Number within the population; names contain it and are therefore unique.
    number: usize,
    namespace: String,
}

impl Place {
    /// A name that is unique in the population.
    fn name(&mut self) -> String {
        format!("{}-{}-{}", self.random.word(), self.random.word(), self.number)
    }

    /// Collection of a namespaced resource: `api` is `api/v1` or `apis/<group>/<version>`.
    fn collection(&self, api: &str, resource: &str) -> String {
        format!("/{api}/namespaces/{}/{resource}", self.namespace)
    }

    /// Metadata with labels as charts set them, and now and then an annotation.
    fn metadata(&mut self, name: &str) -> Value {
        let Self { random, namespace, .. } = self;
        let mut metadata = json!({
            "name": name,
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/name": random.word(),
                "app.kubernetes.io/instance": label(name),
                "app.kubernetes.io/managed-by": random.pick(&["Helm", "argocd", "kubectl"]),
                "team": namespace,
            },
        });
        if random.below(3) == 0 {
            metadata["annotations"] = json!({
                "example.com/description": random.text(80),
                "example.com/revision": random.below(40).to_string(),
            });
        }
        metadata
    }
}

impl Population {
    /// The namespaces; they must exist before everything else.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = Planned> + '_ {
        (0..self.namespaces.max(1)).map(|number| {
            let name = namespace(number);
            let labels = json!({ "team": name, "cost-center": (1_000 + number).to_string() });
            let object = json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels },
            });
            Planned::new("/api/v1/namespaces".to_owned(), object)
        })
    }

    /// The definitions of the custom resources.
    pub(crate) fn definitions() -> Vec<Planned> {
        custom::definitions()
    }

    /// The account in each namespace without which it takes no Pods. The controller manager would make them too.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = Planned> + '_ {
        (0..self.namespaces.max(1)).map(|number| access::default_account(&namespace(number)))
    }

    /// Everything else, in an order in which any two neighbours may be created at once.
    pub(crate) fn rest(&self) -> impl Iterator<Item = Planned> + '_ {
        let namespaces = self.namespaces.max(1);
        let mut left = self.objects.saturating_sub(2 * namespaces + Self::definitions().len());
        let trees = (0..).map(move |number| {
            let place = Place {
                random: Random::new(self.seed, number as u64),
                number,
                namespace: namespace(number % namespaces),
            };
            match number {
                _ if number < self.large => data::large_config_map(place),
                _ if number % LONG_NAME_EVERY == LONG_NAME_EVERY - 1 => data::long_named_config_map(place),
                _ => tree(place),
            }
        });
        trees.take_while(move |planned| {
            let more = left > 0;
            left = left.saturating_sub(planned.count());
            more
        })
    }
}

fn namespace(number: usize) -> String {
    format!("team-{number:04}")
}

/// What of a name may stand in a label: at most 63 letters, digits and dashes.
fn label(name: &str) -> String {
    let plain: String =
        name.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').take(63).collect();
    plain.trim_matches('-').to_owned()
}

/// One object or workload. The weights add up to 100.
fn tree(mut place: Place) -> Planned {
    match place.random.below(100) {
        0..36 => data::config_map(place),
        36..53 => data::secret(place),
        53..56 => data::claim(place),
        56..61 => workloads::deployment(place),
        61..63 => workloads::stateful_set(place),
        63..66 => workloads::cron_job(place),
        66..68 => workloads::job(place),
        68..74 => network::service(place),
        74..76 => network::ingress(place),
        76..78 => network::policy(place),
        78..81 => access::account(place),
        81..85 => access::role(place),
        85..89 => access::role_binding(place),
        89..91 => access::cluster_role(place),
        91..93 => data::event(place),
        _ => custom::instance(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn all(population: &Population) -> Vec<Planned> {
        let early = Population::definitions().into_iter().chain(population.namespaces()).chain(population.accounts());
        early.chain(population.rest()).collect()
    }

    fn flat<'a>(planned: &'a [Planned], into: &mut Vec<&'a Planned>) {
        for one in planned {
            into.push(one);
            flat(&one.dependants, into);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_objects() {
        let population = Population { objects: 500, ..Population::default() };
        assert_eq!(all(&population), all(&population));
        assert_ne!(all(&population), all(&Population { seed: 43, ..population.clone() }));
    }

    #[test]
    fn the_number_of_objects_is_met_but_for_one_workload() {
        for objects in [50, 1_000, 5_000] {
            let population = Population { objects, ..Population::default() };
            let planned: usize = all(&population).iter().map(Planned::count).sum();
            assert!((objects..objects + 10).contains(&planned), "{objects}: {planned}");
        }
    }

    #[test]
    fn no_two_objects_have_the_same_name() {
        let population = Population { objects: 5_000, ..Population::default() };
        let planned = all(&population);
        let mut objects = Vec::new();
        flat(&planned, &mut objects);
        let names: BTreeSet<_> = objects
            .iter()
            .map(|planned| (&planned.collection, planned.object["metadata"]["name"].to_string()))
            .collect();
        assert_eq!(names.len(), objects.len());
    }
}
