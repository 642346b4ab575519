//! A repository in a volume of this Pod: written in this process, with the password from the Secret.

use std::{collections::BTreeMap, sync::Arc, time::Duration, time::Instant};

use k8s_openapi::api::core::v1::Secret;
use proto::{backend::KEY_PASSWORD, token, upload::Saved};
use repository::{
    Backup, BackupOptions, ConnectOptions, FinishOptions, InitOptions, Location, PARTIAL_TAG, Password, Repository,
};
use tracing::{info, warn};

use super::{BackupError, Showing, args::BackupArgs, object, outcome, outcome::Stored, say};
use crate::{
    api::Api,
    service::{self, DumpOptions, Progress},
    sink::{RepositorySink, has_ended},
};

/// Wait for a lock that somebody else holds.
const LOCK_WAIT: Duration = Duration::from_secs(600);

pub(super) async fn store(api: &Api, args: &BackupArgs, options: &DumpOptions) -> Result<Stored, BackupError> {
    let started = Instant::now();
    if args.bucket.is_empty() {
        return Err(BackupError::NoFolder);
    }
    let password = password(api, args).await?;
    let doing = |doing: &'static str| move |source| BackupError::Repository { doing, source };
    let location = Location::Local { path: args.bucket.clone() };
    let backend = location.connect(&ConnectOptions::default()).map_err(doing("connect to the repository's folder"))?;
    let existed = Repository::open(backend.clone(), &password).await;
    let (repository, created) = match existed {
        Err(repository::Error::NotFound { .. }) => {
            let made = Repository::open_or_init(backend, &password, InitOptions::default()).await;
            (made.map_err(doing("make the repository"))?, true)
        }
        opened => (opened.map_err(doing("open the repository"))?, false),
    };
    // The session's token says which snapshot this is; without one it is a snapshot of now.
    let claims = std::fs::read_to_string(&args.session_token_file).ok().and_then(|token| token::peek(&token));
    let time = claims.as_ref().map(token::Claims::snapshot_time);
    let backup = BackupOptions { host: args.hostname.clone(), time, retry_lock: LOCK_WAIT, ..BackupOptions::default() };
    let root = backup.root.clone();
    let backup = repository.backup(backup).await.map_err(doing("begin the backup"))?;
    let sink = Arc::new(RepositorySink::new(backup));
    let (progress, showing) = (Arc::new(Progress::default()), Showing::default());
    showing.set(&progress);
    let dumped = showing.while_running(service::dump(api, options, &sink, &progress)).await;
    let backup = sink.into_backup().await;
    let ledger = match dumped {
        Ok(ledger) => ledger,
        Err(error) => return Err(given_up(backup, error).await),
    };
    say(&ledger);
    let tags = if ledger.is_complete() { Vec::new() } else { vec![PARTIAL_TAG.to_owned()] };
    let summary = backup.finish(FinishOptions { tags }).await.map_err(doing("save the snapshot"))?;
    info!(snapshot = %summary.snapshot.id, files = summary.counts.total_files_processed, "Saved");
    let counts = &summary.counts;
    let saved = Saved {
        snapshot: summary.snapshot.id.to_string(),
        time: time.unwrap_or(counts.backup_start),
        repository_created: created,
        files: counts.total_files_processed,
        files_new: counts.files_new,
        files_changed: counts.files_changed,
        files_unmodified: counts.files_unmodified,
        bytes: counts.total_bytes_processed,
        bytes_added: counts.data_added,
        bytes_stored: counts.data_added_packed,
        seconds: started.elapsed().as_secs_f64(),
    };
    Ok(Stored { saved, root, partial: outcome::incomplete(&ledger) })
}

/// The password, from the variable that the dispatcher sets from the Secret; else from the Secret itself, where this account may read it.
async fn password(api: &Api, args: &BackupArgs) -> Result<Password, BackupError> {
    if let Some(password) = std::env::var(KEY_PASSWORD).ok().filter(|password| !password.is_empty()) {
        return Ok(Password::new(password.into_bytes()));
    }
    let (namespace, name) = (&args.storage_secret_namespace, &args.storage_secret_name);
    let what = format!("Secret {namespace}/{name}");
    let secret: Secret = object(api, &format!("/api/v1/namespaces/{namespace}/secrets/{name}"), &what).await?;
    let mut data: BTreeMap<_, _> = secret.data.unwrap_or_default();
    let password = data.remove(KEY_PASSWORD).map(|value| value.0).filter(|value| !value.is_empty());
    password.map(Password::new).ok_or(BackupError::NoPassword(format!("{namespace}/{name}")))
}

/// Ends the backup after a failed dump and returns the failure that came first.
async fn given_up(backup: Backup, error: service::DumpError) -> BackupError {
    if matches!(&error, service::DumpError::Sink(sink) if has_ended(sink)) {
        if let Err(source) = backup.prepare().await {
            return BackupError::Repository { doing: "store the files", source };
        }
    } else if let Err(lock) = backup.abort().await {
        warn!(reason = %lock, "The lock on the repository could not be removed; the next backup removes it");
    }
    BackupError::Dump(Box::new(error))
}
