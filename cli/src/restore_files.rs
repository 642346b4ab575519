//! `kubectl stash restore-files`: a snapshot's files, or some of them, into a folder. Nothing is applied to a cluster.

use std::{path::Path, process::ExitCode};

use repository::{DamagedPath, Repository, RestoreOptions, RestoreProgress, RestoreSummary, Snapshot};
use serde_json::{Value, json};

use crate::{
    args::{Output, RestoreFilesArgs},
    browse,
    exit::{Failure, PARTIAL, note, print},
    human,
    signals::Signals,
};

/// Restores, and says what it wrote. The repository is locked meanwhile, and unlocked also on Ctrl-C.
pub(crate) async fn run(args: RestoreFilesArgs) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen()?;
    let repository = tokio::select! {
        opened = args.repository.open() => opened?,
        () = signals.next() => return Err(Failure::RestoreInterrupted),
    };
    let snapshot = browse::resolve(&repository, &args.snapshot).await?;
    let lock = repository
        .lock_shared_within(args.lock.retry_lock)
        .await
        .map_err(Failure::repository("lock the repository"))?;
    let restored = tokio::select! {
        restored = restore(&repository, &snapshot, &args.paths, &args.to) => restored,
        () = signals.next() => Err(Failure::RestoreInterrupted),
    };
    if let Err(error) = lock.release().await {
        note(&format!("The lock on the repository could not be removed ({error}); the next backup removes it."));
    }
    let restored = restored?;
    let text = match args.output {
        Output::Text => format!(
            "Restored {} ({}) of snapshot {} into {}\n",
            human::count(restored.files, "file"),
            human::bytes(restored.bytes),
            browse::short(&snapshot),
            args.to.display()
        ),
        Output::Json => format!("{:#}\n", result_json(&restored, &snapshot, &args)),
    };
    print(text.as_bytes())?;
    Ok(note_damage(&restored))
}

fn result_json(restored: &RestoreSummary, snapshot: &Snapshot, args: &RestoreFilesArgs) -> Value {
    let damaged = |path: &DamagedPath| json!({ "path": path.path, "file": path.file, "reason": path.what });
    json!({
        "snapshot": snapshot.id.to_string(),
        "files": restored.files,
        "bytes": restored.bytes,
        "folder": args.to,
        "damaged": restored.damaged.iter().map(damaged).collect::<Vec<_>>(),
        "damagedTotal": restored.damaged_total,
    })
}

/// Says what could not be restored. Returns the exit code.
pub(crate) fn note_damage(restored: &RestoreSummary) -> ExitCode {
    if restored.is_complete() {
        return ExitCode::SUCCESS;
    }
    for DamagedPath { path, file, what } in &restored.damaged {
        note(&format!("Not restored: {path} ({file}: {what})"));
    }
    let listed = restored.damaged.len() as u64;
    if restored.damaged_total > listed {
        note(&format!("Not restored: {} more", restored.damaged_total - listed));
    }
    note("Error: the repository is damaged; everything else was restored, and `kubectl stash check` says more");
    ExitCode::from(PARTIAL)
}

/// Restores what is wanted of what a dump stored.
async fn restore(
    repository: &Repository,
    snapshot: &Snapshot,
    paths: &[String],
    to: &Path,
) -> Result<RestoreSummary, Failure> {
    let base = browse::absolute(snapshot, "");
    restore_below(repository, snapshot, paths, &base, to).await
}

/// Restores what is wanted, all of `base` if nothing is named, so that what is in `base` comes to lie in `to`; the summaries of all
/// paths as one. Takes no lock.
pub(crate) async fn restore_below(
    repository: &Repository,
    snapshot: &Snapshot,
    paths: &[String],
    base: &str,
    to: &Path,
) -> Result<RestoreSummary, Failure> {
    let wanted = paths.iter().map(|path| browse::absolute(snapshot, path)).collect();
    let wanted = if paths.is_empty() { vec![base.to_owned()] } else { outermost(wanted) };
    let mut all = RestoreSummary::default();
    for path in wanted {
        let options = RestoreOptions { path, base: base.to_owned(), no_lock: true, ..RestoreOptions::default() };
        let restored = repository.restore(snapshot, &|_| true, &options, to, &RestoreProgress::default()).await;
        let restored = restored.map_err(Failure::repository("restore"))?;
        all.files += restored.files;
        all.bytes += restored.bytes;
        all.damaged.extend(restored.damaged);
        all.damaged_total += restored.damaged_total;
    }
    Ok(all)
}

/// The paths without those that lie at or below another one: nothing is restored and counted twice.
fn outermost(mut paths: Vec<String>) -> Vec<String> {
    paths.iter_mut().for_each(|path| path.truncate(path.trim_end_matches('/').len()));
    paths.sort();
    paths.dedup();
    let all = paths.clone();
    let is_below = |path: &str, other: &str| path.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
    paths.retain(|path| !all.iter().any(|other| is_below(path, other)));
    paths
}

#[cfg(test)]
mod tests {
    use super::outermost;

    #[test]
    fn nothing_is_restored_twice() {
        let paths = ["/r/a/b", "/r/ab", "/r/a/", "/r/a", "/r/c"].map(str::to_owned).to_vec();
        assert_eq!(outermost(paths), ["/r/a", "/r/ab", "/r/c"]);
    }
}
