//! One container of the Job.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, EnvVarSource, SecretKeySelector, SecurityContext, VolumeMount,
};
use proto::{
    crd::{ContainerSettings, EmbeddedError},
    session_access::{self, MOUNT_PATH, Variable},
    variables::INTERIM_MOUNT_PATH,
};

use super::{
    JobError, Request, Step, local,
    pod::{all, parsed},
};
use crate::{invoker::Member, secret};

pub(super) const TMP_VOLUME: &str = "tmp-dir";
pub(super) const INTERIM_VOLUME: &str = "stash-interim-volume";
pub(super) const LOCAL_VOLUME: &str = "stash-local";
pub(super) const SESSION_VOLUME: &str = "stowage-session";
/// Where the shared folder is.
const TMP_PATH: &str = "/tmp";
/// Program of the last step, which does not dump.
const UPDATE_STATUS: &str = "update-status";

/// The container of a step of the Task.
pub(super) fn of_step(
    request: &Request<'_>,
    member: &Member,
    step: &Step,
    index: usize,
    is_last: bool,
) -> Result<Container, JobError> {
    let Step { name, function } = step;
    let at = |field: &str| format!("spec.{field} of Function {name}");
    let image = function.image.clone().filter(|image| !image.is_empty());
    let mut container = Container {
        name: format!("{}-{index}", name.replace('.', "-")),
        image: Some(image.ok_or_else(|| JobError::NoImage { name: name.clone() })?),
        command: Some(function.command.clone()).filter(|command| !command.is_empty()),
        args: Some(function.args.clone()).filter(|args| !args.is_empty()),
        working_dir: function.working_dir.clone(),
        ports: all(&function.ports, &at("ports"))?,
        volume_mounts: all(&function.volume_mounts, &at("volumeMounts"))?,
        volume_devices: all(&function.volume_devices, &at("volumeDevices"))?,
        ..bare()
    };
    if let Some(settings) = &function.runtime_settings {
        apply(&mut container, settings, &at("runtimeSettings"))?;
    }
    finish(&mut container, member)?;
    if !(is_last && name == UPDATE_STATUS) {
        give_session_access(&mut container, request);
        mount_repository(&mut container, request);
    }
    Ok(container)
}

pub(super) fn bare() -> Container {
    Container {
        image_pull_policy: Some("IfNotPresent".to_owned()),
        // What a program wrote last is the reason why it failed, as far as anybody knows.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// The user's settings, the shared folder and what is hardened unless somebody said otherwise.
pub(super) fn finish(container: &mut Container, member: &Member) -> Result<(), EmbeddedError> {
    if let Some(settings) = &member.settings.container {
        apply(container, settings, "spec.runtimeSettings.container")?;
    }
    mount(container, TMP_VOLUME, TMP_PATH, None, false);
    if member.interim_volume.is_some() {
        mount(container, INTERIM_VOLUME, INTERIM_MOUNT_PATH, None, false);
    }
    container.security_context.get_or_insert_with(hardened);
    Ok(())
}

fn hardened() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

/// Applies settings over what is there. Requests count without limits, too, other than in Stash.
fn apply(container: &mut Container, settings: &ContainerSettings, at: &str) -> Result<(), EmbeddedError> {
    let field = |name: &str| format!("{at}.{name}");
    if let Some(resources) = &settings.resources {
        container.resources = Some(resources.parse(&field("resources"))?);
    }
    for (target, probe, name) in [
        (&mut container.liveness_probe, &settings.liveness_probe, "livenessProbe"),
        (&mut container.readiness_probe, &settings.readiness_probe, "readinessProbe"),
    ] {
        if let Some(probe) = parsed(probe.as_ref(), &field(name))? {
            *target = Some(probe);
        }
    }
    if let Some(lifecycle) = parsed(settings.lifecycle.as_ref(), &field("lifecycle"))? {
        container.lifecycle = Some(lifecycle);
    }
    if let Some(context) = parsed(settings.security_context.as_ref(), &field("securityContext"))? {
        container.security_context = Some(context);
    }
    if let Some(sources) = all(&settings.env_from, &field("envFrom"))? {
        container.env_from.get_or_insert_default().extend::<Vec<_>>(sources);
    }
    for variable in all::<EnvVar>(&settings.env, &field("env"))?.into_iter().flatten() {
        set(container, variable);
    }
    priorities(container, settings);
    Ok(())
}

fn priorities(container: &mut Container, settings: &ContainerSettings) {
    let nice = settings.nice.as_ref().and_then(|nice| nice.adjustment);
    let class = settings.ionice.as_ref().and_then(|ionice| ionice.class);
    let data = settings.ionice.as_ref().and_then(|ionice| ionice.class_data);
    for (name, value) in [("NICE_ADJUSTMENT", nice), ("IONICE_CLASS", class), ("IONICE_CLASS_DATA", data)] {
        if let Some(value) = value {
            set(container, plain(name, value.to_string()));
        }
    }
}

pub(super) fn plain(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value), value_from: None }
}

/// Sets a variable; one of the same name is replaced.
pub(super) fn set(container: &mut Container, variable: EnvVar) {
    let env = container.env.get_or_insert_default();
    match env.iter_mut().find(|one| one.name == variable.name) {
        Some(present) => *present = variable,
        None => env.push(variable),
    }
}

/// Mounts a volume; a mount of the Function at the same path stays.
fn mount(container: &mut Container, volume: &str, path: &str, sub_path: Option<String>, read_only: bool) {
    let mounts = container.volume_mounts.get_or_insert_default();
    if mounts.iter().all(|mount| mount.mount_path != path) {
        mounts.push(VolumeMount {
            name: volume.to_owned(),
            mount_path: path.to_owned(),
            sub_path,
            read_only: read_only.then_some(true),
            ..VolumeMount::default()
        });
    }
}

fn from_secret(name: &str, secret: String, key: &str) -> EnvVar {
    let selector = SecretKeySelector { name: secret, key: key.to_owned(), optional: None };
    let source = EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

fn give_session_access(container: &mut Container, request: &Request<'_>) {
    if request.secret_keys.is_empty() {
        return;
    }
    mount(container, SESSION_VOLUME, MOUNT_PATH, None, true);
    let secret = secret::name(request);
    for variable in session_access::VARIABLES {
        match variable {
            Variable::Value { name, key } if request.secret_keys.contains(&key) => {
                set(container, from_secret(name, secret.clone(), key));
            }
            Variable::File { name, key } if request.secret_keys.contains(&key) => {
                set(container, plain(name, format!("{MOUNT_PATH}/{key}")));
            }
            Variable::Value { .. } | Variable::File { .. } => {}
        }
    }
}

/// The volume of a local backend, and the password: who dumps writes the repository itself.
fn mount_repository(container: &mut Container, request: &Request<'_>) {
    let Some(backend) = local(request.repository) else { return };
    let path = backend.mount_path.clone().unwrap_or_default();
    mount(container, LOCAL_VOLUME, &path, backend.sub_path.clone(), false);
    let secret = request.repository.spec.backend.as_ref().and_then(|backend| backend.storage_secret_name.clone());
    if let Some(secret) = secret {
        set(container, from_secret("RESTIC_PASSWORD", secret, "RESTIC_PASSWORD"));
    }
}

/// Mounts of the containers, for hooks: each path once, without the session's Secret.
pub(super) fn shared_mounts(containers: &[Container]) -> Vec<VolumeMount> {
    let mut all: Vec<VolumeMount> = Vec::new();
    for mount in containers.iter().flat_map(|container| container.volume_mounts.iter().flatten()) {
        if mount.name != SESSION_VOLUME && all.iter().all(|one| one.mount_path != mount.mount_path) {
            all.push(mount.clone());
        }
    }
    all
}
