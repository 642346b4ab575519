//! Whether what was read belongs to one point in time. Pure.
//!
//! Every collection is asked for at `resourceVersion=X&resourceVersionMatch=Exact`, X being the version of the dump's
//! first LIST. In one etcd resource versions are the numbers of its revisions, so everything read at X shows the cluster
//! as it was at one moment. Two things spoil that silently, and both are found out here:
//!
//! - a collection kept in another etcd (events, by `--etcd-servers-overrides`) has a revision X of its own, from another
//!   time. Its own present revision then does not lie between X and a revision read later from the first store;
//! - an aggregated API server may answer "X" to anything. Such collections are never counted as consistent.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>

use serde::Serialize;

/// How the objects of one collection belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As they were at the dump's point in time, with every other collection of this grade.
    Consistent,
    /// Consistent among themselves, at a version of their own.
    Own,
    /// Read over a span of time: the server had forgotten the version it began with.
    Inconsistent,
}

impl Grade {
    /// The word used in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Grade::Consistent => "consistent",
            Grade::Own => "own",
            Grade::Inconsistent => "inconsistent",
        }
    }
}

/// What is known of a collection that was read at exactly X.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// X: the version asked for.
    pub asked: &'a str,
    /// The version the answer named.
    pub answered: &'a str,
    /// The collection's own present version, read after its last page.
    pub present: Option<&'a str>,
    /// A version of the first collection, read after all others were done.
    pub witness: Option<&'a str>,
    /// Whether another server than the API server itself may stand behind the collection.
    pub aggregated: bool,
}

/// The grade of a collection read at exactly X.
///
/// Resource versions are opaque to clients except for comparison for equality and, since Kubernetes 1.35 by contract
/// and before by fact, for order within one store; whatever is not a number here is not counted as consistent.
pub fn grade(evidence: &Evidence<'_>) -> Grade {
    let number = |version: Option<&str>| version.and_then(|version| version.parse::<u64>().ok());
    let (Some(asked), Some(present), Some(witness)) =
        (number(Some(evidence.asked)), number(evidence.present), number(evidence.witness))
    else {
        return Grade::Own;
    };
    let same_store = evidence.answered == evidence.asked && asked <= present && present <= witness;
    if same_store && !evidence.aggregated { Grade::Consistent } else { Grade::Own }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence<'a>(present: &'a str, witness: &'a str) -> Evidence<'a> {
        Evidence { asked: "100", answered: "100", present: Some(present), witness: Some(witness), aggregated: false }
    }

    #[test]
    fn a_version_between_x_and_the_witness_is_consistent() {
        assert_eq!(grade(&evidence("100", "100")), Grade::Consistent);
        assert_eq!(grade(&evidence("120", "140")), Grade::Consistent);
    }

    #[test]
    fn another_store_that_is_behind_or_ahead_is_not() {
        assert_eq!(grade(&evidence("40", "140")), Grade::Own);
        assert_eq!(grade(&evidence("9000", "140")), Grade::Own);
    }

    #[test]
    fn an_aggregated_api_never_is() {
        assert_eq!(grade(&Evidence { aggregated: true, ..evidence("120", "140") }), Grade::Own);
    }

    #[test]
    fn an_answer_at_another_version_or_an_unreadable_one_is_not() {
        assert_eq!(grade(&Evidence { answered: "101", ..evidence("120", "140") }), Grade::Own);
        assert_eq!(grade(&Evidence { present: None, ..evidence("120", "140") }), Grade::Own);
        assert_eq!(grade(&evidence("abc", "140")), Grade::Own);
    }
}
