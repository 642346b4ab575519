//! `kubectl stash download`: snapshots of a Repository of the cluster, into a folder. Nothing is applied to a cluster.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use repository::{Repository, RestoreSummary, Snapshot, SnapshotFilter};
use serde_json::{Value, json};

use crate::{
    args::{ClusterArgs, LockArgs, Output},
    browse,
    exit::{Failure, PARTIAL, note, print},
    human,
    place::{self, EndpointArgs},
    restore_files,
    signals::Signals,
};

#[derive(Args, Debug)]
#[command(long_about = "Restore snapshots of a Repository of the cluster into a folder.\n\n\
    Reads the Repository and its Secret from the cluster, as you, and the snapshots from the storage, from this machine. Each snapshot \
    gets a folder of its own below --destination, named as it was asked for: latest/tmp/resources/… Without --snapshots the latest \
    snapshot of each host is restored, into a folder named by its id.\n\n\
    Exit code: 0 complete; 3 something is damaged in the repository, and everything else was restored; 1 failed.")]
#[command(after_help = "Examples:
  # What the last backup stored
  kubectl stash download -n demo prod-repo --destination ./restored --snapshots latest

  # Two snapshots, of them only one namespace
  kubectl stash download -n demo prod-repo --snapshots 1a2b3c4d,5e6f7a8b --paths namespaces/shop

  # Storage inside the cluster
  kubectl port-forward -n minio service/minio 9000 &
  kubectl stash download -n demo prod-repo --endpoint http://127.0.0.1:9000")]
pub(crate) struct DownloadArgs {
    /// Repository object of the cluster
    repository: String,
    /// Folder to restore into; it is created
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    destination: PathBuf,
    /// Snapshots: ids, beginnings of ids, or `latest`, with commas [default: the latest of each host]
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    snapshots: Vec<String>,
    /// Only snapshots of this host count as the latest (repeatable, or with commas)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    host: Vec<String>,
    /// Only what is at or below these paths, as `ls` prints them or absolute (repeatable, or with commas)
    #[arg(long, value_name = "PATH", value_delimiter = ',')]
    paths: Vec<String>,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    lock: LockArgs,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

/// A snapshot and the folder that it goes into.
struct Wanted {
    snapshot: Snapshot,
    folder: PathBuf,
}

/// Restores what is asked for, and says what it wrote.
pub(crate) async fn run(cluster: &ClusterArgs, args: DownloadArgs) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen()?;
    let work = async {
        let repository = place::open(&cluster.objects().await?, &args.repository, &args.endpoint).await?;
        download(&repository, &args).await
    };
    let done = tokio::select! {
        done = work => done?,
        () = signals.next() => return Err(Failure::RestoreInterrupted),
    };
    let text = match args.output {
        Output::Text => done.iter().map(|(wanted, restored)| line(wanted, restored)).collect(),
        Output::Json => {
            format!("{:#}\n", done.iter().map(|(wanted, restored)| json_of(wanted, restored)).collect::<Value>())
        }
    };
    print(text.as_bytes())?;
    let damaged: Vec<_> =
        done.iter().map(|(_, restored)| restored).filter(|restored| !restored.is_complete()).collect();
    for restored in &damaged {
        restore_files::note_damage(restored);
    }
    Ok(if damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(PARTIAL) })
}

/// One lock over all snapshots. Where it is dropped on the way out it is removed in the background.
async fn download(repository: &Repository, args: &DownloadArgs) -> Result<Vec<(Wanted, RestoreSummary)>, Failure> {
    let all = repository.snapshots().await.map_err(Failure::repository("list the snapshots"))?;
    let wanted =
        if args.snapshots.is_empty() { latest_of_each_host(all, args)? } else { named(repository, &all, args).await? };
    let lock = args.lock.take(repository, false).await?;
    let mut done = Vec::new();
    for one in wanted {
        let folder = &one.folder;
        std::fs::create_dir_all(folder)
            .map_err(|source| Failure::Folder { path: folder.display().to_string(), source })?;
        let restored = restore_files::restore_below(repository, &one.snapshot, &args.paths, "", folder).await?;
        done.push((one, restored));
    }
    if let Some(lock) = lock
        && let Err(error) = lock.release().await
    {
        note(&format!("The lock on the repository could not be removed ({error}); the next backup removes it."));
    }
    Ok(done)
}

/// Each snapshot that was named; `latest` among those of the hosts. All of them are found before the first one is restored.
async fn named(repository: &Repository, all: &[Snapshot], args: &DownloadArgs) -> Result<Vec<Wanted>, Failure> {
    let filter = SnapshotFilter { hosts: args.host.clone(), ..SnapshotFilter::default() };
    let mut wanted = Vec::new();
    for name in &args.snapshots {
        let found = repository.resolve(name, &filter).await;
        let snapshot = found.map_err(Failure::repository(hint(all)))?;
        wanted.push(Wanted { folder: args.destination.join(name), snapshot });
    }
    Ok(wanted)
}

/// `find the snapshot (there are 3, of host-0)`.
fn hint(all: &[Snapshot]) -> String {
    format!("find the snapshot (there are {}, of {})", human::count(all.len() as u64, "snapshot"), hosts(all))
}

fn hosts(all: &[Snapshot]) -> String {
    let mut hosts: Vec<&str> = all.iter().map(|snapshot| snapshot.host.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    if hosts.is_empty() { "no host".to_owned() } else { hosts.join(", ") }
}

/// `all` is sorted, oldest first.
fn latest_of_each_host(all: Vec<Snapshot>, args: &DownloadArgs) -> Result<Vec<Wanted>, Failure> {
    let there = hint(&all);
    let mut latest = BTreeMap::new();
    for snapshot in all.into_iter().filter(|one| args.host.is_empty() || args.host.contains(&one.host)) {
        latest.insert(snapshot.host.clone(), snapshot);
    }
    if latest.is_empty() {
        return Err(Failure::Refused { what: there, why: "nothing to download".to_owned() });
    }
    let wanted = |snapshot: Snapshot| Wanted { folder: args.destination.join(browse::short(&snapshot)), snapshot };
    Ok(latest.into_values().map(wanted).collect())
}

fn line(wanted: &Wanted, restored: &RestoreSummary) -> String {
    let Wanted { snapshot, folder } = wanted;
    let (files, bytes) = (human::count(restored.files, "file"), human::bytes(restored.bytes));
    let (id, host) = (browse::short(snapshot), &snapshot.host);
    format!("Restored {files} ({bytes}) of snapshot {id} ({host}) into {}\n", shown(folder))
}

fn shown(folder: &Path) -> String {
    folder.display().to_string()
}

fn json_of(wanted: &Wanted, restored: &RestoreSummary) -> Value {
    json!({
        "snapshot": wanted.snapshot.id.to_string(),
        "host": wanted.snapshot.host,
        "time": wanted.snapshot.time,
        "folder": shown(&wanted.folder),
        "files": restored.files,
        "bytes": restored.bytes,
        "damagedTotal": restored.damaged_total,
    })
}
