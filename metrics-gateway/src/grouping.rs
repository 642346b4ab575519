//! The grouping key: which group a push belongs to, read from the path of its URL.
//!
//! 1. `/metrics/job/<job>{/<label>/<value>}`; a label (or `job`) with `@base64` behind it has its value in URL-safe base64,
//!    with or without padding. That is the only way to say an empty value or one with a slash.
//! 2. Two paths that name the same labels in another order name the same group. Of a label named twice the last value counts;
//!    the first segment's job counts always.
//! 3. `instance=""` is what every series gets that has no instance. A key that says so is the key without it; to Pushgateway
//!    they are two groups whose series collide, and from then on no scrape succeeds.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::{
    family::Label,
    name::{Escaping, NameScheme, RESERVED_PREFIX, unescape_values},
};

/// Behind a label's name: its value is base64.
const BASE64_SUFFIX: &str = "@base64";
/// The label every grouping key has.
const JOB: &str = "job";
/// The label every series has.
pub(crate) const INSTANCE: &str = "instance";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// The labels that name a group, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grouping {
    labels: Vec<Label>,
}

/// Why a path names no group. All are answered with 400.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupingError {
    /// The job is empty.
    #[error("job name is required")]
    NoJob,
    /// A label has no value.
    #[error("odd number of components in label string {0:?}")]
    Odd(String),
    /// A label's name is not valid, or reserved.
    #[error("improper label name {0:?}")]
    LabelName(String),
    /// A value is no base64, or its bytes are no UTF-8.
    #[error("invalid base64 encoding for label {name}={value:?}")]
    Base64 {
        /// The label.
        name: String,
        /// What its value should have been.
        value: String,
    },
}

impl Grouping {
    /// The group of a path behind `…/metrics/`, percent-decoded: `job/a/instance/b`. A slash at the end is ignored only
    /// right behind the job.
    ///
    /// # Errors
    /// [`GroupingError`], in the order in which Pushgateway finds them.
    pub fn of_path(path: &str, scheme: NameScheme) -> Result<Self, GroupingError> {
        let mut segments = path.splitn(3, '/');
        let (key, job) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
        let job = if key == JOB { job.to_owned() } else { decode(JOB, job)? };
        let mut labels = BTreeMap::new();
        if let Some(rest) = segments.next().filter(|rest| !rest.is_empty()) {
            read_labels(rest, scheme, &mut labels)?;
        }
        if job.is_empty() {
            return Err(GroupingError::NoJob);
        }
        labels.insert(JOB.to_owned(), job);
        Ok(Self::new(labels))
    }

    /// The group of these labels.
    pub fn new(labels: impl IntoIterator<Item = (String, String)>) -> Self {
        let kept = labels.into_iter().filter(|(name, value)| name != INSTANCE || !value.is_empty());
        let mut labels: Vec<Label> = kept.map(|(name, value)| Label::new(name, value)).collect();
        labels.sort();
        Self { labels }
    }

    /// The labels, sorted by name.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// The value of a label of the key.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|label| &*label.name == name).map(|label| &*label.value)
    }

    /// A path that names the group, as [`Grouping::of_path`] reads it; every value in base64, so that it can hold anything.
    pub(crate) fn path(&self, scheme: NameScheme) -> String {
        let segment = |label: &Label| {
            let name = match scheme {
                NameScheme::Legacy => Cow::Borrowed(&*label.name),
                NameScheme::Utf8 => Escaping::Values.escape(&label.name),
            };
            // Without a value there would be an empty segment; the padding stands for it.
            let value = if label.value.is_empty() { "=".to_owned() } else { BASE64.encode(&*label.value) };
            format!("{name}{BASE64_SUFFIX}/{value}")
        };
        let job = self.labels.iter().filter(|label| &*label.name == JOB);
        let others = self.labels.iter().filter(|label| &*label.name != JOB);
        job.chain(others).map(segment).collect::<Vec<_>>().join("/")
    }

    /// The key without the labels that `drop` names.
    pub(crate) fn without(&self, drop: impl Fn(&str) -> bool) -> Self {
        Self { labels: self.labels.iter().filter(|label| !drop(&label.name)).cloned().collect() }
    }
}

impl fmt::Display for Grouping {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("{")?;
        for (at, Label { name, value }) in self.labels.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(out, "{comma}{name}={value:?}")?;
        }
        out.write_str("}")
    }
}

fn read_labels(rest: &str, scheme: NameScheme, labels: &mut BTreeMap<String, String>) -> Result<(), GroupingError> {
    let segments: Vec<&str> = rest.split('/').collect();
    let (pairs, left) = segments.as_chunks::<2>();
    if !left.is_empty() {
        return Err(GroupingError::Odd(format!("/{rest}")));
    }
    for [name, value] in pairs {
        let plain = name.strip_suffix(BASE64_SUFFIX).unwrap_or(name);
        let label = match scheme {
            NameScheme::Legacy => plain.into(),
            NameScheme::Utf8 => unescape_values(plain),
        };
        if !scheme.allows_label(&label) || plain.starts_with(RESERVED_PREFIX) {
            return Err(GroupingError::LabelName(plain.to_owned()));
        }
        let value = if plain.len() == name.len() { (*value).to_owned() } else { decode(plain, value)? };
        labels.insert(label.into_owned(), value);
    }
    Ok(())
}

fn decode(name: &str, value: &str) -> Result<String, GroupingError> {
    let bytes = BASE64.decode(value.trim_end_matches('=')).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| GroupingError::Base64 { name: name.to_owned(), value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(path: &str) -> Result<String, GroupingError> {
        Grouping::of_path(path, NameScheme::Legacy).map(|grouping| grouping.to_string())
    }

    #[test]
    fn a_path_names_its_labels_in_any_order() {
        assert_eq!(group("job/a").unwrap(), r#"{job="a"}"#);
        assert_eq!(group("job/a/").unwrap(), r#"{job="a"}"#);
        assert_eq!(group("job/a/z/1/b/2").unwrap(), r#"{b="2",job="a",z="1"}"#);
        assert_eq!(group("job/a/b/2/z/1"), group("job/a/z/1/b/2"));
        assert_eq!(group("job/a/b/1/b/2/job/x").unwrap(), r#"{b="2",job="a"}"#);
    }

    #[test]
    fn base64_values_hold_slashes_and_nothing() {
        assert_eq!(group("job@base64/YS9i/path@base64/L3Zhcg==").unwrap(), r#"{job="a/b",path="/var"}"#);
        assert_eq!(group("job/a/empty@base64/=").unwrap(), r#"{empty="",job="a"}"#);
        assert_eq!(group("job/a/instance@base64/=").unwrap(), r#"{job="a"}"#);
        assert!(matches!(group("job@base64/*"), Err(GroupingError::Base64 { .. })));
        assert!(matches!(group("job@base64/_w"), Err(GroupingError::Base64 { .. })), "one byte 0xFF is no UTF-8");
    }

    #[test]
    fn wrong_paths_are_refused() {
        assert_eq!(group("job/"), Err(GroupingError::NoJob));
        assert_eq!(group("job@base64/="), Err(GroupingError::NoJob));
        assert!(matches!(group("job/a/b"), Err(GroupingError::Odd(_))));
        for name in ["1a", "a-b", "__x", "ü", "@base64"] {
            assert!(matches!(group(&format!("job/a/{name}/v")), Err(GroupingError::LabelName(_))), "{name}");
        }
    }

    #[test]
    fn the_path_of_a_group_names_it() {
        for scheme in [NameScheme::Legacy, NameScheme::Utf8] {
            let labels = [("job", "a/b"), ("empty", ""), ("zone", "ü"), ("instance", "i")];
            let grouping = Grouping::new(labels.map(|(name, value)| (name.to_owned(), value.to_owned())));
            assert_eq!(Grouping::of_path(&grouping.path(scheme), scheme), Ok(grouping));
        }
    }

    #[test]
    fn utf8_names_are_unescaped() {
        let grouping = Grouping::of_path("job/a/U__my_2e_label/v", NameScheme::Utf8).unwrap();
        assert_eq!(grouping.get("my.label"), Some("v"));
    }
}
