//! What the user wants of a cluster. Pure.
//!
//! A pattern is a name with `*` and `?`, compared without regard to case:
//!
//! | pattern | means |
//! |---|---|
//! | `pods`, `Pod`, `po` | that resource, kind or short name, in whatever group |
//! | `deployments.apps`, `Deployment.apps` | that of this group |
//! | `*.metrics.k8s.io` | everything of this group |
//! | `Event.` | that of the core group |
//!
//! Exclusion wins over inclusion. What is left out is returned with its reason and stands in the ledger.

use wildmatch::WildMatch;

use crate::{
    discovery::Collection,
    target::{self, TargetError},
};

/// Objects that carry this label with the value `true` are not backed up.
pub const OPT_OUT_LABEL: &str = "stash.appscode.com/exclude-from-backup";

/// Names that match a pattern with `*` and `?`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    text: String,
    matcher: WildMatch,
}

impl Pattern {
    /// A pattern from what the user typed; blanks around it do not count.
    pub fn new(text: &str) -> Self {
        let text = text.trim();
        Self { text: text.to_owned(), matcher: WildMatch::new(&text.to_lowercase()) }
    }

    /// Whether a plain name (a namespace) matches.
    pub fn matches(&self, name: &str) -> bool {
        self.matcher.matches(&name.to_lowercase())
    }

    /// Whether it can only mean collections of groups for which `matches` is true, and all of them: `*.<group>`.
    fn is_whole_group(&self, group: &str) -> bool {
        self.text.strip_prefix("*.").is_some_and(|pattern| Pattern::new(pattern).matches(group))
    }

    /// Whether it may mean a collection of a group.
    fn may_be_of(&self, group: &str) -> bool {
        self.text.split_once('.').is_none_or(|(_, pattern)| Pattern::new(pattern).matches(group))
    }

    fn matches_collection(&self, collection: &Collection) -> bool {
        let names = [&collection.resource, &collection.kind].into_iter().chain(&collection.aliases);
        let qualified = self.text.contains('.');
        let mut names = names.map(|name| if qualified { format!("{name}.{}", collection.group) } else { name.clone() });
        names.any(|name| self.matches(&name))
    }
}

/// What is wanted; the default is everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only these collections; empty means all.
    pub include: Vec<Pattern>,
    /// Not these collections.
    pub exclude: Vec<Pattern>,
    /// Only objects of these namespaces (and cluster-scoped ones); empty means all.
    pub include_namespaces: Vec<Pattern>,
    /// Not the objects of these namespaces.
    pub exclude_namespaces: Vec<Pattern>,
    /// Only objects with these labels, in the notation of `kubectl -l`; evaluated by the API server.
    pub label_selector: Option<String>,
    /// Only objects with these field values, in the notation of `kubectl --field-selector`; evaluated by the API server.
    pub field_selector: Option<String>,
}

impl Filter {
    /// Why a collection is left out, or `None` when it is wanted.
    pub fn excludes_collection(&self, collection: &Collection) -> Option<String> {
        if let Some(pattern) = self.exclude.iter().find(|pattern| pattern.matches_collection(collection)) {
            return Some(format!("excluded by \"{}\"", pattern.text));
        }
        let included =
            self.include.is_empty() || self.include.iter().any(|pattern| pattern.matches_collection(collection));
        (!included).then(|| "not among the included resources".to_owned())
    }

    /// Whether every collection of a group is left out, whatever collections it has.
    pub fn excludes_group(&self, group: &str) -> bool {
        let included = self.include.is_empty() || self.include.iter().any(|pattern| pattern.may_be_of(group));
        !included || self.exclude.iter().any(|pattern| pattern.is_whole_group(group))
    }

    /// Checks that what is to be included is served at all, as kubectl does for what it is asked to get. Patterns with
    /// `*` or `?` may match nothing.
    ///
    /// # Errors
    /// [`TargetError::UnknownKind`] for the first that is not.
    pub fn check(&self, collections: &[Collection]) -> Result<(), TargetError> {
        let is_name = |pattern: &&Pattern| !pattern.text.contains(['*', '?']);
        for pattern in self.include.iter().filter(is_name) {
            if !collections.iter().any(|collection| pattern.matches_collection(collection)) {
                return Err(target::unknown_kind(collections, &pattern.text));
            }
        }
        Ok(())
    }

    /// Why objects of a namespace are left out, or `None` when they are wanted.
    pub fn excludes_namespace(&self, namespace: &str) -> Option<&'static str> {
        if self.exclude_namespaces.iter().any(|pattern| pattern.matches(namespace)) {
            return Some("namespace excluded");
        }
        let included = self.include_namespaces.is_empty()
            || self.include_namespaces.iter().any(|pattern| pattern.matches(namespace));
        (!included).then_some("namespace not included")
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

    fn excluding(pattern: &str) -> Filter {
        Filter { exclude: vec![Pattern::new(pattern)], ..Filter::default() }
    }

    #[test]
    fn a_collection_is_known_by_resource_kind_short_name_and_group() {
        let deployment = collection("apps", "deployments", "Deployment", "deploy");
        for pattern in
            ["deployments", "DEPLOYMENT", "deploy", "dep*", "deployments.apps", "Deployment.apps", "*.apps", "*.a?ps"]
        {
            assert!(excluding(pattern).excludes_collection(&deployment).is_some(), "{pattern}");
        }
        for pattern in ["deployments.batch", "pods", "Deployment.", "*.batch"] {
            assert!(excluding(pattern).excludes_collection(&deployment).is_none(), "{pattern}");
        }
    }

    #[test]
    fn a_dot_at_the_end_means_the_core_group_only() {
        let filter = excluding("Event.");
        assert!(filter.excludes_collection(&collection("", "events", "Event", "ev")).is_some());
        assert!(filter.excludes_collection(&collection("example.org", "events", "Event", "")).is_none());
    }

    #[test]
    fn blanks_after_a_comma_do_not_count() {
        assert!(excluding(" secrets ").excludes_collection(&collection("", "secrets", "Secret", "")).is_some());
    }

    #[test]
    fn an_included_name_that_nothing_has_is_an_error() {
        let served = [collection("apps", "deployments", "Deployment", "deploy")];
        let including = |pattern| Filter { include: vec![Pattern::new(pattern)], ..Filter::default() };
        assert_eq!(including("deploy").check(&served), Ok(()));
        assert_eq!(including("widget*").check(&served), Ok(()));
        let error = including("deploymnts").check(&served).expect_err("a slip of the pen").to_string();
        assert!(error.contains("no kind \"deploymnts\" (did you mean Deployment.apps?)"), "{error}");
    }

    #[test]
    fn a_group_is_left_out_by_its_own_pattern_or_by_including_others_only() {
        assert!(excluding("*.metrics.k8s.io").excludes_group("metrics.k8s.io"));
        assert!(excluding("*.*.k8s.io").excludes_group("metrics.k8s.io"));
        assert!(!excluding("pods.metrics.k8s.io").excludes_group("metrics.k8s.io"));
        let including = |pattern| Filter { include: vec![Pattern::new(pattern)], ..Filter::default() };
        assert!(including("deployments.apps").excludes_group("metrics.k8s.io"));
        assert!(!including("pods").excludes_group("metrics.k8s.io"));
    }

    #[test]
    fn exclusion_wins_over_inclusion_and_says_why() {
        let filter = Filter { include: vec![Pattern::new("*")], ..excluding("secrets") };
        let reason = filter.excludes_collection(&collection("", "secrets", "Secret", ""));
        assert_eq!(reason.as_deref(), Some("excluded by \"secrets\""));
        assert_eq!(filter.excludes_collection(&collection("", "pods", "Pod", "po")), None);
    }

    #[test]
    fn namespaces_are_included_and_excluded_by_glob() {
        let filter = Filter {
            include_namespaces: vec![Pattern::new("team-*")],
            exclude_namespaces: vec![Pattern::new("team-7")],
            ..Filter::default()
        };
        assert_eq!(filter.excludes_namespace("team-1"), None);
        assert_eq!(filter.excludes_namespace("team-7"), Some("namespace excluded"));
        assert_eq!(filter.excludes_namespace("kube-system"), Some("namespace not included"));
    }
}
