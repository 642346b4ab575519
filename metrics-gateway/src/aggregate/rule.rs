//! Which pushes are added up.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;

use super::GaugeFold;
use crate::grouping::Grouping;

/// A rule as the configuration file has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Labels of the grouping key and the regular expressions that they must match as a whole; none: every group.
    #[serde(default, rename = "match")]
    pub matches: BTreeMap<String, String>,
    /// Regular expression that a family's name must match as a whole; none: every family.
    #[serde(default)]
    pub metrics: Option<String>,
    /// Labels taken from the series and from the grouping key.
    #[serde(default)]
    pub drop_labels: Vec<String>,
    /// How gauges and untyped metrics are folded.
    #[serde(default)]
    pub gauge: GaugeFold,
}

/// Why a rule cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// An expression does not parse.
    #[error("the regular expression {expression:?}")]
    Expression {
        /// The expression.
        expression: String,
        /// What is wrong in it.
        #[source]
        source: Box<regex::Error>,
    },
    /// Every group has a job.
    #[error("the label \"job\" cannot be dropped")]
    DropsJob,
}

/// Compares the labels of a grouping key with regular expressions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matcher {
    labels: Vec<(String, Regex)>,
}

impl Matcher {
    pub(crate) fn new(matches: &BTreeMap<String, String>) -> Result<Self, RuleError> {
        let labels = matches.iter().map(|(name, expression)| Ok((name.clone(), anchored(expression)?)));
        Ok(Self { labels: labels.collect::<Result<_, RuleError>>()? })
    }

    /// Whether every label matches; one that is not there is empty.
    pub(crate) fn matches(&self, grouping: &Grouping) -> bool {
        self.labels.iter().all(|(name, expression)| expression.is_match(grouping.get(name).unwrap_or_default()))
    }
}

/// Prometheus' expressions match the whole text.
fn anchored(expression: &str) -> Result<Regex, RuleError> {
    Regex::new(&format!("^(?s:{expression})$"))
        .map_err(|source| RuleError::Expression { expression: expression.to_owned(), source: Box::new(source) })
}

/// A rule.
#[derive(Debug)]
pub(crate) struct Rule {
    matcher: Matcher,
    metrics: Option<Regex>,
    drop_labels: Vec<String>,
    pub(crate) gauge: GaugeFold,
}

impl Rule {
    fn new(config: &RuleConfig) -> Result<Self, RuleError> {
        if config.drop_labels.iter().any(|label| label == "job") {
            return Err(RuleError::DropsJob);
        }
        let metrics = config.metrics.as_deref().map(anchored).transpose()?;
        let (drop_labels, gauge) = (config.drop_labels.clone(), config.gauge);
        Ok(Self { matcher: Matcher::new(&config.matches)?, metrics, drop_labels, gauge })
    }

    /// Whether the label is taken away.
    pub(crate) fn drops(&self, label: &str) -> bool {
        self.drop_labels.iter().any(|drop| drop == label)
    }

    /// The group that a push to this one is added to.
    pub(crate) fn target(&self, grouping: &Grouping) -> Grouping {
        grouping.without(|label| self.drops(label))
    }
}

/// All rules; the first that matches counts.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
}

impl Rules {
    pub(crate) fn new(configs: &[RuleConfig]) -> Result<Self, RuleError> {
        Ok(Self { rules: configs.iter().map(Rule::new).collect::<Result<_, _>>()? })
    }

    /// The rule for a family of a push to the group.
    pub(crate) fn find(&self, grouping: &Grouping, family: &str) -> Option<&Rule> {
        let fits = |rule: &&Rule| {
            rule.metrics.as_ref().is_none_or(|metrics| metrics.is_match(family)) && rule.matcher.matches(grouping)
        };
        self.rules.iter().find(fits)
    }
}
