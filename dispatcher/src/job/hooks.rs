//! The containers that run hooks.
//!
//! What is to be done stands in the container's environment, as JSON: the container needs no right to read the invoker, and
//! a change of the invoker during a session changes nothing.

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, VolumeMount};
use proto::crd::Handler;

use super::{
    GLOBAL_HOOK, JobError, POST_HOOK, PRE_HOOK, Request,
    container::{bare, finish, plain, set},
};
use crate::{hook, invoker::Member};

/// Folder with `output.json`, as the Tasks of the catalogue name it.
pub(super) const OUTPUT_FOLDER: &str = "/tmp/output";

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Before,
    After,
}

pub(super) fn container(
    request: &Request<'_>,
    member: &Member,
    when: When,
    handler: &Handler,
    mounts: &[VolumeMount],
) -> Result<Container, JobError> {
    let name = match when {
        When::Before => PRE_HOOK,
        When::After => POST_HOOK,
    };
    let mut container = Container {
        name: name.to_owned(),
        image: Some(request.settings.image.clone()),
        args: Some(args(request, member, when)),
        volume_mounts: Some(mounts.to_vec()),
        ..bare()
    };
    finish(&mut container, member)?;
    let json = serde_json::to_string(handler).expect("a hook must be JSON: it was read from it");
    // The kubelet would expand $(NAME).
    set(&mut container, plain(hook::HANDLER_VARIABLE, json.replace('$', "$$")));
    set(&mut container, of_pod("POD_NAME", "metadata.name"));
    set(&mut container, of_pod("POD_IP", "status.podIP"));
    Ok(container)
}

/// The container of a hook around all targets.
pub(super) fn global(
    request: &Request<'_>,
    member: &Member,
    handler: &Handler,
    told: Option<(&str, &str)>,
) -> Result<Container, JobError> {
    let when = if told.is_some() { When::After } else { When::Before };
    let mut container = container(request, member, when, handler, &[])?;
    container.name = GLOBAL_HOOK.to_owned();
    let (phase, error) = told.unwrap_or_default();
    let told = [("phase", phase), ("error", error)].into_iter().filter(|(_, text)| !text.is_empty());
    let told = told.map(|(name, text)| format!("--{name}={}", text.replace('$', "$$")));
    container.args.get_or_insert_default().extend(told);
    Ok(container)
}

fn args(request: &Request<'_>, member: &Member, when: When) -> Vec<String> {
    let reference = &member.reference;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let hook_type = match when {
        When::Before => "preBackup",
        When::After => "postBackup",
    };
    let flags = [
        ("namespace", request.session.namespace.clone()),
        ("backupsession", request.session.name.clone()),
        ("invoker-kind", request.invoker.kind.kind().to_owned()),
        ("invoker-name", request.invoker.at.name.clone()),
        ("target-api-version", text(&reference.api_version)),
        ("target-kind", text(&reference.kind)),
        ("target-namespace", text(&reference.namespace)),
        ("target-name", text(&reference.name)),
        ("hook-type", hook_type.to_owned()),
        ("hostname", member.host.clone()),
        ("output-dir", output_folder(member)),
    ];
    let flags = flags.into_iter().map(|(name, value)| format!("--{name}={value}"));
    ["run-hook".to_owned()].into_iter().chain(flags).collect()
}

/// The folder that the user names by the param `outputDir`, else that of the catalogue.
fn output_folder(member: &Member) -> String {
    let named = member.task.params.iter().find(|param| param.name == "outputDir");
    named.map_or_else(|| OUTPUT_FOLDER.to_owned(), |param| param.value.clone())
}

fn of_pod(name: &str, field: &str) -> EnvVar {
    let selector = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: field.to_owned() };
    let source = EnvVarSource { field_ref: Some(selector), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}
