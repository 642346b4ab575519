//! One condition of a custom resource's status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What is known about one aspect of an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Aspect that the condition is about.
    #[serde(rename = "type")]
    pub type_: String,
    /// True, False or Unknown.
    pub status: String,
    /// Reason in one word, for programs.
    pub reason: String,
    /// Reason in a sentence, for people.
    pub message: String,
    /// Time of the last change of anything here.
    #[schemars(schema_with = "date_time")]
    pub last_transition_time: Time,
    /// Generation of the object that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

impl Default for Condition {
    fn default() -> Self {
        let empty = String::new;
        let never = Time(Timestamp::UNIX_EPOCH);
        let (type_, status, reason, message) = (empty(), empty(), empty(), empty());
        Self { type_, status, reason, message, last_transition_time: never, observed_generation: None }
    }
}

pub(super) fn date_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}
