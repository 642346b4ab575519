//! `dispatcher update-status`: the last container hands the result of the others on.
//!
//! 1. The result goes into the container's termination message, where the dispatcher reads it with the Pod's status: no right
//!    in the cluster is needed.
//! 2. A file that is missing or broken is a failed backup, and says so.
//! 3. Metrics are pushed last, and their loss fails nothing: the dispatcher pushes them again at the end of the session.
//! 4. The exit code is 0 when the result was handed on, whatever it is.

use std::{io, path::PathBuf, time::Duration};

use proto::{
    crd::TargetRef,
    metrics::{self, InvokerLabels},
    output::{FILE_NAME, Output, empty_target},
};
use runtime::chain;
use tracing::{info, warn};

use super::http::Http;
use crate::StatusArgs;

/// Time for the push: the session waits for it.
const PUSH_MAX: Duration = Duration::from_secs(5);

/// The result could not be handed on.
#[derive(Debug, thiserror::Error)]
#[error("write the result to {path}")]
pub struct UpdateStatusError {
    /// The file that it was to be written to.
    pub path: PathBuf,
    /// Why it could not be.
    #[source]
    pub source: io::Error,
}

/// Reads `output.json`, leaves the result as termination message, pushes the metrics of the hosts.
///
/// # Errors
/// [`UpdateStatusError`]; whatever is wrong with the backup is a result and no error.
pub async fn update_status(args: StatusArgs) -> Result<(), UpdateStatusError> {
    let output = read(&args).await;
    let failed = |source| UpdateStatusError { path: args.termination_log.clone(), source };
    tokio::fs::write(&args.termination_log, output.to_message()).await.map_err(failed)?;
    info!(session = %args.backupsession, succeeded = output.has_succeeded(), "Handed the result on");
    push(&args, &output).await;
    Ok(())
}

async fn read(args: &StatusArgs) -> Output {
    let path = args.output_dir.join(FILE_NAME);
    let why = match tokio::fs::read(&path).await {
        Ok(json) => match Output::parse(&json) {
            Ok(output) => return output,
            Err(error) => chain(&error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            format!("{FILE_NAME} is missing in {}: the steps before left no result", args.output_dir.display())
        }
        Err(error) => format!("read {}: {error}", path.display()),
    };
    warn!(session = %args.backupsession, reason = %why, "There is no result");
    Output::failed(target(args), &args.hostname, &why)
}

fn target(args: &StatusArgs) -> TargetRef {
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    match given(&args.target_kind) {
        None => empty_target(),
        kind => TargetRef {
            api_version: None,
            kind,
            name: given(&args.target_name),
            namespace: given(&args.target_namespace),
        },
    }
}

async fn push(args: &StatusArgs, output: &Output) {
    if args.metrics_pushgateway_url.is_empty() {
        return;
    }
    let labels = InvokerLabels {
        kind: args.invoker_kind.clone(),
        name: args.invoker_name.clone(),
        namespace: args.namespace.clone(),
        repository: args.repository.clone(),
    };
    let target = output.target_status.ref_.as_ref();
    let text = metrics::of_hosts(&labels, output.target_status.stats.iter().map(|host| (target, host)));
    let path = metrics::group_path(&labels);
    let pushed = match Http::new(true) {
        Ok(http) => {
            let pushed = http.push(&args.metrics_pushgateway_url, &path, text, PUSH_MAX).await;
            pushed.map_err(|error| chain(&error))
        }
        Err(error) => Err(chain(&error)),
    };
    if let Err(why) = pushed {
        warn!(session = %args.backupsession, reason = %why, "Metrics are not pushed; the dispatcher pushes them later");
    }
}
