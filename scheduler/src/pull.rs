//! The operator's own pull Secrets (`--image-pull-secrets`): copies of them stand in the namespace of each invoker, so that
//! its Pods can pull the images of Stowage. Names are those of Stash; the dispatcher finds them by name, too.
//!
//! Of Secrets only metadata is watched. A label tells one content from another, so that a changed one is copied again.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::api::core::v1::Secret;
use proto::names;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::invoker::Invoker;

/// A pull Secret of the operator. Its `Debug` shows nothing of its content.
#[derive(Clone, PartialEq)]
pub struct PullSecret {
    /// Its name.
    pub name: String,
    type_: Option<String>,
    data: Value,
    /// Changes with the content.
    mark: String,
}

impl PullSecret {
    /// Reads a Secret.
    pub fn of(secret: &Secret) -> Self {
        let data = json!(secret.data);
        let mark =
            mark(&secret.data.clone().unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect());
        Self { name: secret.metadata.name.clone().unwrap_or_default(), type_: secret.type_.clone(), data, mark }
    }

    /// Name of the copy for an invoker.
    pub fn copy_name(&self, invoker: &Invoker) -> String {
        names::pull_secret(&self.name, invoker.key.kind.kind(), &invoker.key.at.name)
    }

    /// The copy for an invoker.
    pub fn copy(&self, invoker: &Invoker, mut object: Value) -> Value {
        let labels = &mut object["metadata"]["labels"];
        labels[names::LABEL_CONTENT] = json!(self.mark);
        labels[names::LABEL_INVOKER_UID] = json!(invoker.uid);
        object["type"] = json!(self.type_);
        object["data"] = self.data.clone();
        object
    }
}

impl fmt::Debug for PullSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PullSecret({} ***)", self.name)
    }
}

/// 128 bits that change with the content and say nothing about it: the first half of its SHA-256.
fn mark(data: &BTreeMap<String, Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    for (key, value) in data {
        for part in [key.as_bytes(), value] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
