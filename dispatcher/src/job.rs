//! The Job that backs up one target of a session.
//!
//! 1. **Names, labels, containers and volumes are Stash's**, so that who knows one finds his way in the other.
//! 2. The steps of the Task become containers in order: all but the last as init containers, the last as the main one. A hook
//!    before the backup goes first, a hook after it right before the last. `/tmp` is one volume for all of them.
//! 3. **Everything follows from its inputs**: a second dispatcher, or the same after a restart, makes the same Job, and the
//!    second create finds the first.
//! 4. The Pod is hardened by default (Pod Security Standard `restricted`); a security context of the user replaces ours as
//!    a whole.
//! 5. Third-party Functions that only write `output.json` are full steps; what a session's Secret holds is mounted into the
//!    containers that dump, and into no other.

mod container;
mod hooks;
mod objects;
mod pod;

use k8s_openapi::api::{batch::v1::Job, core::v1::PersistentVolumeClaim};
use proto::{
    crd::{FunctionSpec, Handler, LocalBackend, Provider, Repository, TaskSpec},
    event::ObjectRef,
    names::{self, NAME_CHARS_MAX},
    resolve::{self, Inputs, ResolveError},
    variables::{self, Operator},
};

pub(crate) use objects::session_owner;
pub use objects::{access, labels, service_account};

use crate::invoker::{Invoker, Member};

/// Label with the name of the session that a Job or Pod belongs to.
pub const LABEL_SESSION: &str = "stash.appscode.com/backup-session";
/// Label with the index of the target that a Job or Pod backs up.
pub const LABEL_TARGET_INDEX: &str = "stash.appscode.com/target-index";
/// Name of the container that runs the hook before a backup.
pub const PRE_HOOK: &str = "pre-task-hook";
/// Name of the container that runs the hook after a backup.
pub const POST_HOOK: &str = "post-task-hook";

/// Name of the container that runs a hook around all targets of a batch.
pub const GLOBAL_HOOK: &str = "global-hook";

/// What is the same for all Jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobSettings {
    /// Image with this program, for hooks.
    pub image: String,
    /// Names of the Secrets for pulling images, in the namespace of the services.
    pub pull_secrets: Vec<String>,
    /// Values of variables that are the same for all backups.
    pub operator: Operator,
}

/// What a Job follows from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The session.
    pub session: &'a ObjectRef,
    /// Whose run it is.
    pub invoker: &'a Invoker,
    /// Which of the invoker's targets.
    pub index: usize,
    /// The Repository.
    pub repository: &'a Repository,
    /// The Task.
    pub task: &'a TaskSpec,
    /// The Function of each of the Task's steps.
    pub functions: &'a [FunctionSpec],
    /// What is the same for all Jobs.
    pub settings: &'a JobSettings,
    /// Keys that the session's Secret has; empty where there is none.
    pub secret_keys: &'a [&'static str],
}

/// A Job cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The invoker has no such target.
    #[error("{kind} {name} has no target {index}")]
    NoTarget {
        /// Kind of the invoker.
        kind: &'static str,
        /// Name of the invoker.
        name: String,
        /// Index of the target.
        index: usize,
    },
    /// The Task has no steps.
    #[error("Task {name} has no steps")]
    NoSteps {
        /// Name of the Task.
        name: String,
    },
    /// A variable cannot be resolved.
    #[error("resolve variables")]
    Resolve(#[from] ResolveError),
    /// A part that Kubernetes defines is of another type.
    #[error("assemble the Pod")]
    Embedded(#[from] proto::crd::EmbeddedError),
    /// A Function has no image.
    #[error("Function {name} names no image")]
    NoImage {
        /// Name of the Function.
        name: String,
    },
    /// A local backend is used from another namespace, where its volume and Secret cannot be mounted.
    #[error("Repository {repository} has a local backend, which can only be used from its own namespace")]
    LocalElsewhere {
        /// Namespace and name of the Repository.
        repository: String,
    },
}

/// A step of a Task with its Function, resolved.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    name: String,
    function: FunctionSpec,
}

/// The Job, and the claim for its volume where the invoker asks for one.
#[derive(Debug, Clone, PartialEq)]
pub struct Executor {
    /// The Job.
    pub job: Job,
    /// The claim.
    pub claim: Option<PersistentVolumeClaim>,
}

/// Name of the Job of a session's target.
pub fn name(session: &str, index: usize) -> String {
    names::prefix_name_suffix("stash-backup", &session.replace('.', "-"), &index.to_string(), NAME_CHARS_MAX)
}

/// Whether the dumper writes the repository itself, on a mounted volume.
pub fn is_local(repository: &Repository) -> bool {
    local(repository).is_some()
}

fn local(repository: &Repository) -> Option<&LocalBackend> {
    let backend = repository.spec.backend.as_ref()?;
    (backend.provider()? == Provider::Local).then_some(backend.local.as_ref()).flatten()
}

/// The Job for a target, and what it needs in the namespace.
///
/// # Errors
/// [`JobError`]: nothing that waiting could mend; somebody must change the invoker, the Task or a Function.
pub fn executor(request: &Request<'_>) -> Result<Executor, JobError> {
    let member = member(request)?;
    let invoker = request.invoker;
    if is_local(request.repository) && request.repository.metadata.namespace.as_deref() != Some(&invoker.at.namespace) {
        let metadata = &request.repository.metadata;
        return Err(JobError::LocalElsewhere { repository: crate::invoker::ObjectName::of(metadata).to_string() });
    }
    let operator = operator_inputs(request, member);
    let user = &member.task.params;
    let task_name = member.task.name.clone().unwrap_or_default();
    let task = resolve::task(&task_name, request.task, &variables::of_task(user, &operator))?;
    let steps = steps(request, member, &task, &operator)?;
    if steps.is_empty() {
        return Err(JobError::NoSteps { name: task_name });
    }
    let claim = objects::claim(request, member)?;
    let job = pod::job(request, member, &steps, &task, claim.as_ref())?;
    Ok(Executor { job, claim })
}

/// The Job of a hook around all targets of a batch, at the place `index` after the targets. `told` is what the hook is told
/// about the session: its phase and error.
///
/// # Errors
/// [`JobError`].
pub fn global_hook(
    session: &ObjectRef,
    invoker: &Invoker,
    index: usize,
    settings: &JobSettings,
    (handler, told): (&Handler, Option<(&str, &str)>),
) -> Result<Job, JobError> {
    let (repository, task, member) = (Repository::default(), TaskSpec::default(), Member::of_all());
    let request = Request {
        session,
        invoker,
        index,
        repository: &repository,
        task: &task,
        functions: &[],
        settings,
        secret_keys: &[],
    };
    let container = hooks::global(&request, &member, handler, told)?;
    pod::around(&request, &member, vec![container], &task, None)
}

fn member<'a>(request: &Request<'a>) -> Result<&'a Member, JobError> {
    let (invoker, index) = (request.invoker, request.index);
    let missing = || JobError::NoTarget { kind: invoker.kind.kind(), name: invoker.at.name.clone(), index };
    invoker.members.get(index).ok_or_else(missing)
}

fn operator_inputs(request: &Request<'_>, member: &Member) -> Inputs {
    variables::of_backup(&variables::Backup {
        namespace: &request.session.namespace,
        session: &request.session.name,
        invoker_kind: request.invoker.kind.kind(),
        invoker_name: &request.invoker.at.name,
        repository: request.repository,
        target: member.target.as_ref(),
        reference: &member.reference,
        retention: &request.invoker.retention,
        host: &member.host,
        caching: !member.temp_dir.disable_caching.unwrap_or_default(),
        interim_volume: member.interim_volume.is_some(),
        operator: &request.settings.operator,
    })
}

fn steps(request: &Request<'_>, member: &Member, task: &TaskSpec, operator: &Inputs) -> Result<Vec<Step>, JobError> {
    let steps = task.steps.iter().zip(request.functions);
    let resolved = steps.map(|(step, function)| {
        let name = step.name.clone().unwrap_or_default();
        let inputs = variables::of_step(&step.params, &member.task.params, operator, function.image.as_deref());
        Ok(Step { function: resolve::function(&name, function, &inputs)?, name })
    });
    resolved.collect()
}
