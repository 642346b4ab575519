//! Hooks: what is done before and after a backup. Pure: what is to be sent follows from the handler and the summary;
//! [`crate::service::run_hook`] does it.
//!
//! 1. **Templates are a subset of Go's**: `{{ .Status.Phase }}`, a path into the [`Summary`]. Anything else between the braces
//!    is an error that names it: a hook that says something else than was meant is worse than one that fails.
//! 2. **Values are put into parsed strings**, so that an error message with quotes in it cannot change the request's structure.
//! 3. A result is left as the container's termination message ([`HookResult`]).

use proto::crd::Handler;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Variable of a hook's container with the handler, as JSON.
pub const HANDLER_VARIABLE: &str = "STASH_HOOK";

/// What a hook's container leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookResult {
    /// Why the hook failed; nothing when it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What templates may tell about the backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Summary {
    /// Name of the session.
    pub name: String,
    /// Namespace of the session.
    pub namespace: String,
    /// Whose session it is.
    pub invoker: InvokerSummary,
    /// What is backed up.
    pub target: TargetSummary,
    /// How it went.
    pub status: StatusSummary,
}

/// Whose session it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InvokerSummary {
    /// API group.
    #[serde(rename = "APIGroup")]
    pub api_group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// What is backed up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TargetSummary {
    /// API group and version.
    #[serde(rename = "APIVersion")]
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
}

/// How a backup went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct StatusSummary {
    /// Succeeded, Failed or Running.
    pub phase: String,
    /// Time that it took.
    pub duration: String,
    /// Why it failed.
    pub error: String,
}

/// A handler cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("a template has no end: {0}")]
    Open(String),
    /// Something else than a path.
    #[error("a template may only name a path such as .Status.Phase, not {0:?}")]
    NoPath(String),
    /// There is no such path.
    #[error("there is no {0} in the summary of a backup")]
    Unknown(String),
}

/// The handler with every template replaced.
///
/// # Errors
/// [`TemplateError`] of the first template that is none.
pub fn rendered(handler: &Handler, summary: &Summary) -> Result<Handler, TemplateError> {
    let summary = serde_json::to_value(summary).expect("a summary must be JSON: it has text keys only");
    let mut value = serde_json::to_value(handler).expect("a handler must be JSON: it was read from it");
    render_all(&mut value, &summary)?;
    Ok(serde_json::from_value(value).expect("a handler must stay one: only strings were replaced by strings"))
}

fn render_all(value: &mut Value, summary: &Value) -> Result<(), TemplateError> {
    match value {
        Value::String(text) => {
            *text = render(text, summary)?;
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| render_all(item, summary)),
        Value::Object(fields) => fields.values_mut().try_for_each(|field| render_all(field, summary)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn render(text: &str, summary: &Value) -> Result<String, TemplateError> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once("{{") {
        let (template, after) = tail.split_once("}}").ok_or_else(|| TemplateError::Open(tail.to_owned()))?;
        // `{{-` and `-}}` take the space beside them away.
        let (trims_before, template) = template.strip_prefix("- ").map_or((false, template), |rest| (true, rest));
        let (trims_after, template) = template.strip_suffix(" -").map_or((false, template), |rest| (true, rest));
        result.push_str(if trims_before { before.trim_end() } else { before });
        result.push_str(found(template.trim(), summary)?);
        rest = if trims_after { after.trim_start() } else { after };
    }
    result.push_str(rest);
    Ok(result)
}

fn found<'a>(path: &str, summary: &'a Value) -> Result<&'a str, TemplateError> {
    let names = path.strip_prefix('.').ok_or_else(|| TemplateError::NoPath(path.to_owned()))?;
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|one| one.is_alphanumeric() || one == '_');
    if !names.split('.').all(is_name) {
        return Err(TemplateError::NoPath(path.to_owned()));
    }
    let value = names.split('.').try_fold(summary, |value, name| value.get(name));
    value.and_then(Value::as_str).ok_or_else(|| TemplateError::Unknown(path.to_owned()))
}

/// Whether a hook after a backup runs, by its `executionPolicy`: Always, OnSuccess or OnFailure.
///
/// # Errors
/// The policy, when it is none of these.
pub fn runs_after(policy: Option<&str>, has_succeeded: bool) -> Result<bool, String> {
    match policy.unwrap_or("Always") {
        "" | "Always" => Ok(true),
        "OnSuccess" => Ok(has_succeeded),
        "OnFailure" => Ok(!has_succeeded),
        other => Err(format!("executionPolicy {other:?} is none of Always, OnSuccess and OnFailure")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn summary() -> Summary {
        let status =
            StatusSummary { phase: "Failed".into(), error: "a \"quoted\"\nerror".into(), ..Default::default() };
        let target = TargetSummary { api_version: "apps/v1".into(), ..TargetSummary::default() };
        Summary { name: "b-1".into(), namespace: "demo".into(), status, target, ..Summary::default() }
    }

    fn body(text: &str) -> Result<String, TemplateError> {
        let handler: Handler = serde_json::from_value(json!({ "httpPost": { "port": 80, "body": text } })).unwrap();
        rendered(&handler, &summary()).map(|handler| handler.http_post.unwrap().body.unwrap())
    }

    #[test]
    fn templates_name_paths_of_the_summary() {
        let table = [
            ("plain", "plain"),
            ("{{ .Namespace }}/{{.Name}}: {{ .Status.Phase }}", "demo/b-1: Failed"),
            ("{{ .Target.APIVersion }}", "apps/v1"),
            ("{{ .Status.Error }}", "a \"quoted\"\nerror"),
            ("a {{- .Name -}} b", "ab-1b"),
            ("{ }} {", "{ }} {"),
        ];
        for (text, expected) in table {
            assert_eq!(body(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_an_error_that_names_it() {
        let no_path = |text: &str| TemplateError::NoPath(text.to_owned());
        let table = [
            ("{{ if eq .Status.Phase `x` }}", no_path("if eq .Status.Phase `x`")),
            ("{{ .Name | upper }}", no_path(".Name | upper")),
            ("{{ . }}", no_path(".")),
            ("{{}}", no_path("")),
            ("{{ .Missing }}", TemplateError::Unknown(".Missing".to_owned())),
            ("{{ .Status }}", TemplateError::Unknown(".Status".to_owned())),
            ("{{ .Name", TemplateError::Open(" .Name".to_owned())),
        ];
        for (text, expected) in table {
            assert_eq!(body(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn the_policy_says_after_which_backups_a_hook_runs() {
        let table = [
            (None, true, true),
            (Some("Always"), false, true),
            (Some("OnSuccess"), false, false),
            (Some("OnSuccess"), true, true),
            (Some("OnFailure"), false, true),
            (Some("OnFailure"), true, false),
        ];
        for (policy, has_succeeded, expected) in table {
            assert_eq!(runs_after(policy, has_succeeded), Ok(expected), "{policy:?}");
        }
        assert!(runs_after(Some("Sometimes"), true).is_err());
    }
}
