//! `dispatcher run-hook`: a container around the backup runs a hook.
//!
//! A hook before the backup that fails fails the container, and with it the backup, which has not begun. A hook after it that fails
//! does not: the result of the backup is still to be handed on; that the hook failed stands in the termination message.

use std::{io, path::PathBuf, process::Stdio};

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use bytes::Bytes;
use proto::{
    crd::{ExecAction, FormEntry, Handler, HostPhase, HttpHeader, IntOrString, TcpAction},
    output::{FILE_NAME, MESSAGE_BYTES_MAX, Output},
};
use runtime::chain;
use tokio::{net::TcpStream, process::Command, time::timeout};
use tracing::{info, warn};

use super::http::{Ask, Http};
use crate::{
    HookArgs, HookType,
    hook::{HookResult, InvokerSummary, StatusSummary, Summary, TargetSummary, rendered, runs_after},
};

/// Characters of what a command printed that are told: its last ones.
const PRINTED_CHARS_MAX: usize = 400;

/// The hook could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunHookError {
    /// The result cannot be left.
    #[error("write the result to {path}")]
    Write {
        /// The file that it was to be written to.
        path: PathBuf,
        /// Why it could not be.
        #[source]
        source: io::Error,
    },
    /// A hook before the backup failed.
    #[error("the hook failed: {0}")]
    Failed(String),
}

/// Runs the hook of this container.
///
/// # Errors
/// [`RunHookError`].
pub async fn run_hook(args: HookArgs) -> Result<(), RunHookError> {
    let result = outcome(&args).await;
    let left = HookResult { error: result.clone().err().map(|why| why.chars().take(MESSAGE_BYTES_MAX / 8).collect()) };
    let message = serde_json::to_string(&left).expect("a result must be JSON: it has text keys only");
    let failed = |source| RunHookError::Write { path: args.termination_log.clone(), source };
    tokio::fs::write(&args.termination_log, message).await.map_err(failed)?;
    match result {
        Ok(()) => Ok(()),
        Err(why) if args.hook_type == HookType::PreBackup => Err(RunHookError::Failed(why)),
        Err(why) => {
            warn!(session = %args.backupsession, reason = %why, "The hook after the backup failed");
            Ok(())
        }
    }
}

async fn outcome(args: &HookArgs) -> Result<(), String> {
    let handler: Handler =
        serde_json::from_str(&args.handler).map_err(|error| format!("the hook cannot be read: {error}"))?;
    let status = status(args).await;
    if args.hook_type == HookType::PostBackup
        && !runs_after(handler.execution_policy.as_deref(), status.phase == "Succeeded")?
    {
        info!(session = %args.backupsession, "The hook does not run after such a backup");
        return Ok(());
    }
    let handler = rendered(&handler, &summary(args, status)).map_err(|error| chain(&error))?;
    all(args, &handler).await
}

/// All actions that are set, in Stash's order; the first that fails is the last.
async fn all(args: &HookArgs, handler: &Handler) -> Result<(), String> {
    if let Some(action) = &handler.exec {
        exec(args, handler.container_name.as_deref(), action).await?;
    }
    if let Some(action) = &handler.http_get {
        let url = url(args, &action.scheme, &action.host, &action.port, &action.path)?;
        request(args, Method::GET, url, &action.http_headers, Bytes::new(), None).await?;
    }
    if let Some(action) = &handler.http_post {
        let url = url(args, &action.scheme, &action.host, &action.port, &action.path)?;
        let (body, form) = body(action.body.as_deref(), &action.form);
        request(args, Method::POST, url, &action.http_headers, body, Some(form)).await?;
    }
    match &handler.tcp_socket {
        Some(action) => tcp(args, action).await,
        None => Ok(()),
    }
}

/// How the backup went, as far as its file says; before a backup it is only named.
async fn status(args: &HookArgs) -> StatusSummary {
    if args.hook_type == HookType::PreBackup {
        return StatusSummary { phase: "Running".to_owned(), ..StatusSummary::default() };
    }
    if let Some(phase) = args.phase.clone() {
        return StatusSummary { phase, error: args.error.clone(), ..StatusSummary::default() };
    }
    let failed = |error: String| StatusSummary { phase: "Failed".to_owned(), error, ..StatusSummary::default() };
    let json = match tokio::fs::read(args.output_dir.join(FILE_NAME)).await {
        Ok(json) => json,
        Err(error) => return failed(format!("read {FILE_NAME}: {error}")),
    };
    let output = match Output::parse(&json) {
        Ok(output) => output,
        Err(error) => return failed(chain(&error)),
    };
    let stats = &output.target_status.stats;
    let host = stats.iter().find(|host| host.phase == Some(HostPhase::Failed)).or(stats.first());
    let text = |field: fn(&proto::crd::HostStats) -> Option<String>| host.and_then(field).unwrap_or_default();
    let phase = if output.has_succeeded() { "Succeeded" } else { "Failed" };
    StatusSummary {
        phase: phase.to_owned(),
        duration: text(|host| host.duration.clone()),
        error: text(|host| host.error.clone()),
    }
}

fn summary(args: &HookArgs, status: StatusSummary) -> Summary {
    Summary {
        name: args.backupsession.clone(),
        namespace: args.namespace.clone(),
        invoker: InvokerSummary {
            api_group: proto::crd::GROUP.to_owned(),
            kind: args.invoker_kind.clone(),
            name: args.invoker_name.clone(),
        },
        target: TargetSummary {
            api_version: args.target_api_version.clone(),
            kind: args.target_kind.clone(),
            name: args.target_name.clone(),
            namespace: args.target_namespace.clone(),
        },
        status,
    }
}

/// Runs a command in this container: the others of the Pod have ended, or have not begun.
async fn exec(args: &HookArgs, container: Option<&str>, action: &ExecAction) -> Result<(), String> {
    if let Some(name) = container.filter(|name| !name.is_empty()) {
        return Err(format!(
            "containerName {name:?} cannot be used: of the Pod of a backup only the hook's own container runs now"
        ));
    }
    let Some((program, arguments)) = action.command.split_first() else {
        return Err("exec.command is empty".to_owned());
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    // What the hook is told must not reach what it starts.
    command.env_remove(crate::hook::HANDLER_VARIABLE);
    let output = match timeout(args.timeout, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("start {program:?}: {error}")),
        Err(_) => return Err(format!("{program:?} has not ended within {} s", args.timeout.as_secs())),
    };
    if output.status.success() {
        return Ok(());
    }
    let printed = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let skipped = printed.chars().count().saturating_sub(PRINTED_CHARS_MAX);
    let printed: String = printed.chars().skip(skipped).collect();
    Err(format!("{program:?} ended with {}: {printed}", output.status))
}

fn url(
    args: &HookArgs,
    scheme: &Option<String>,
    host: &Option<String>,
    port: &IntOrString,
    path: &Option<String>,
) -> Result<String, String> {
    let scheme = scheme.as_deref().unwrap_or("HTTP").to_lowercase();
    if !["http", "https"].contains(&scheme.as_str()) {
        return Err(format!("scheme {scheme:?} is neither HTTP nor HTTPS"));
    }
    let path = path.as_deref().unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(format!("{scheme}://{}:{}{slash}{path}", self::host(args, host), number(port)?))
}

fn host(args: &HookArgs, host: &Option<String>) -> String {
    let host = host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| args.pod_ip.clone());
    let is_bare_v6 = host.contains(':') && !host.starts_with('[');
    if is_bare_v6 { format!("[{host}]") } else { host }
}

fn number(port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(text) => text.parse().ok(),
    };
    let bad = || format!("port {port:?} is no number from 1 to 65535: names of ports are not known here");
    number.filter(|number| *number > 0).ok_or_else(bad)
}

/// The body and its type: a form, or what the text looks like.
fn body(text: Option<&str>, form: &[FormEntry]) -> (Bytes, &'static str) {
    if !form.is_empty() {
        let mut encoder = form_urlencoded::Serializer::new(String::new());
        for FormEntry { key, values } in form {
            for value in values {
                encoder.append_pair(key.as_deref().unwrap_or_default(), value);
            }
        }
        return (encoder.finish().into(), "application/x-www-form-urlencoded");
    }
    let text = text.unwrap_or_default().to_owned();
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
    (text.into(), if is_json { "application/json" } else { "text/plain; charset=utf-8" })
}

async fn request(
    args: &HookArgs,
    method: Method,
    url: String,
    given: &[HttpHeader],
    body: Bytes,
    form: Option<&'static str>,
) -> Result<(), String> {
    let mut headers = HeaderMap::new();
    headers.extend(form.map(|form| (CONTENT_TYPE, HeaderValue::from_static(form))));
    for HttpHeader { name, value } in given {
        let header = (HeaderName::try_from(name.as_str()).ok()).zip(HeaderValue::try_from(value.as_str()).ok());
        let (name, value) = header.ok_or_else(|| format!("header {name:?} cannot be sent"))?;
        headers.insert(name, value);
    }
    let http = Http::new(args.tls_verify).map_err(|error| chain(&error))?;
    http.ask(Ask { method, url, headers, body }, args.timeout).await.map_err(|error| chain(&error))
}

async fn tcp(args: &HookArgs, action: &TcpAction) -> Result<(), String> {
    let address = format!("{}:{}", host(args, &action.host), number(&action.port)?);
    match timeout(args.timeout, TcpStream::connect(&address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("connect to {address}: {error}")),
        Err(_) => Err(format!("{address} does not answer within {} s", args.timeout.as_secs())),
    }
}
