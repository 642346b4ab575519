//! The configuration file: what cannot be said in a flag.
//!
//! ```yaml
//! ttl:
//!   default: 1d                 # nothing: groups stay until they are deleted
//!   rules:                      # the first that matches counts
//!     - match: {job: "ci-.*"}
//!       ttl: 2h
//! aggregation:                  # the first rule that matches counts
//!   - match: {job: "lambda-.*"}
//!     metrics: "lambda_.*"      # nothing: all of the push
//!     drop_labels: [instance]
//!     gauge: max                # last, min, max, mean, sum
//! ```

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use crate::{
    aggregate::{Matcher, RuleConfig, RuleError, Rules},
    grouping::Grouping,
};

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not YAML of the known form.
    #[error("read the configuration: {0}")]
    Yaml(String),
    /// A rule is wrong.
    #[error("use a rule of the configuration")]
    Rule(#[source] RuleError),
    /// A duration is wrong.
    #[error("{0:?} is no duration such as 90s, 2h or 1d")]
    Duration(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    ttl: TtlFile,
    #[serde(default)]
    aggregation: Vec<RuleConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TtlFile {
    #[serde(default)]
    default: Option<String>,
    #[serde(default)]
    rules: Vec<TtlRuleFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TtlRuleFile {
    #[serde(rename = "match")]
    matches: BTreeMap<String, String>,
    ttl: String,
}

/// The configuration, checked.
#[derive(Debug, Default)]
pub struct Config {
    ttl_default: Option<Duration>,
    ttl_rules: Vec<(Matcher, Duration)>,
    pub(crate) rules: Rules,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`ConfigError`], at the first thing that is wrong.
    pub fn parse(yaml: &str) -> Result<Self, ConfigError> {
        if yaml.trim().is_empty() {
            return Ok(Self::default());
        }
        let file: File = serde_saphyr::from_str(yaml).map_err(|error| ConfigError::Yaml(error.to_string()))?;
        let ttl_rules = file
            .ttl
            .rules
            .iter()
            .map(|rule| Ok((Matcher::new(&rule.matches).map_err(ConfigError::Rule)?, duration(&rule.ttl)?)));
        Ok(Self {
            ttl_default: file.ttl.default.as_deref().map(duration).transpose()?,
            ttl_rules: ttl_rules.collect::<Result<_, ConfigError>>()?,
            rules: Rules::new(&file.aggregation).map_err(ConfigError::Rule)?,
        })
    }

    /// How long the group lives after a push that does not say so itself; nothing: for ever.
    pub(crate) fn ttl(&self, grouping: &Grouping) -> Option<Duration> {
        let rule = self.ttl_rules.iter().find(|(matcher, _)| matcher.matches(grouping));
        rule.map(|(_, ttl)| *ttl).or(self.ttl_default)
    }
}

/// A duration as Prometheus writes it (`1d12h`, `90s`, `500ms`), or a number of seconds.
///
/// # Errors
/// [`ConfigError::Duration`].
pub fn duration(text: &str) -> Result<Duration, ConfigError> {
    let wrong = || ConfigError::Duration(text.to_owned());
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
    }
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|char: char| char.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, left) = behind.split_at(letters);
        let milliseconds = milliseconds(unit).ok_or_else(wrong)?;
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(milliseconds)).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or_else(wrong)?;
        rest = left;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

fn milliseconds(unit: &str) -> Option<u64> {
    let units = [
        ("ms", 1),
        ("s", 1000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("w", 604_800_000),
        ("y", 31_536_000_000),
    ];
    units.iter().find(|(name, _)| *name == unit).map(|(_, milliseconds)| *milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_prometheus() {
        let seconds = |text| duration(text).map(|duration| duration.as_secs_f64()).ok();
        assert_eq!(["90s", "1d12h", "500ms", "1.5", "0"].map(seconds), [90.0, 129_600.0, 0.5, 1.5, 0.0].map(Some));
        assert_eq!(["", "-1", "5", "h", "1h2", "1parsec", "99999999999999999999y"].map(seconds)[..2], [None, None]);
        assert_eq!(["h", "1h2", "1parsec", "99999999999999999999y", "nan", "1e300"].map(seconds), [None; 6]);
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let config = Config::parse(
            "ttl:\n  default: 1d\n  rules:\n    - match: {job: 'ci-.*'}\n      ttl: 2h\naggregation:\n  - match: {job: sum}\n    drop_labels: [instance]\n",
        )
        .unwrap();
        let group = |job: &str| Grouping::new([("job".to_owned(), job.to_owned())]);
        assert_eq!(config.ttl(&group("ci-1")), Some(Duration::from_secs(7200)));
        assert_eq!(config.ttl(&group("xci-1")), Some(Duration::from_secs(86_400)));
        assert!(config.rules.find(&group("sum"), "x").is_some() && config.rules.find(&group("sums"), "x").is_none());
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        for yaml in [
            "tll: 1d",
            "ttl: {default: soon}",
            "aggregation: [{match: {job: '('}}]",
            "aggregation: [{drop_labels: [job]}]",
            "- 1",
        ] {
            assert!(Config::parse(yaml).is_err(), "{yaml}");
        }
        assert!(Config::parse("").is_ok());
    }
}
