//! `kubectl stash find`: which snapshots have files whose names or paths fit.

use std::process::ExitCode;

use clap::Args;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use repository::{Entry, FindQuery, NodeKind, Pattern, Repository, Snapshot, SnapshotFilter};
use serde_json::{Value, json};

use crate::{
    args::{LockArgs, Output, RepositoryArgs},
    browse,
    exit::{Failure, Lines, print},
    forget::tag_lists,
    human,
    signals::unless_interrupted,
};

#[derive(Args, Debug)]
#[command(long_about = "Search snapshots for files by name or path.\n\n\
    A pattern is a name, or names with / between them: * is any text, ? any character, [a-z] one of these, ** any number of folders. One \
    that begins with / begins at the snapshot's root (/tmp/resources/…). What lies below a folder that fits, fits too.")]
#[command(after_help = "Examples:
  # When did this ConfigMap exist?
  kubectl stash find 'namespaces/shop/ConfigMap/prices.yaml' --repo /backups/prod

  # Every Secret whose present state is from May
  kubectl stash find 'Secret/*' --oldest 2024-05-01 --newest 2024-06-01 --repo /backups/prod")]
pub(crate) struct FindArgs {
    /// What to look for
    #[arg(required = true, value_name = "PATTERN")]
    patterns: Vec<String>,
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    lock: LockArgs,
    /// Only in this snapshot: its id, the beginning of it, or `latest` (repeatable)
    #[arg(short, long, value_name = "SNAPSHOT")]
    snapshot: Vec<String>,
    /// Only in snapshots of this host (repeatable)
    #[arg(short = 'H', long, value_name = "NAME")]
    host: Vec<String>,
    /// Only in snapshots with all of these tags (repeatable: with those or with these)
    #[arg(long, value_name = "TAG[,TAG]")]
    tag: Vec<String>,
    /// Only in snapshots of this absolute path (repeatable: of all of them)
    #[arg(long, value_name = "PATH")]
    path: Vec<String>,
    /// Only files last changed at this time or later: 2024-05-01, 2024-05-01T12:00:00Z; UTC unless it says otherwise
    #[arg(short = 'O', long, value_name = "TIME", value_parser = moment)]
    oldest: Option<Timestamp>,
    /// Only files last changed at this time or earlier
    #[arg(short = 'N', long, value_name = "TIME", value_parser = moment)]
    newest: Option<Timestamp>,
    /// Make no difference between upper and lower case
    #[arg(short, long)]
    ignore_case: bool,
    /// Take no lock, for a storage that cannot be written
    #[arg(long)]
    no_lock: bool,
    /// Format of the result; JSON is that of `restic find --json`
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let at = text
        .parse::<Timestamp>()
        .or_else(|_| text.parse::<DateTime>()?.to_zoned(TimeZone::UTC).map(|at| at.timestamp()));
    at.map_err(|_| "a time is written 2024-05-01, '2024-05-01 12:00:00' or 2024-05-01T12:00:00Z".to_owned())
}

/// Prints what is found, the newest snapshot first.
pub(crate) async fn run(args: FindArgs) -> Result<ExitCode, Failure> {
    unless_interrupted(find(&args)).await?;
    Ok(ExitCode::SUCCESS)
}

async fn find(args: &FindArgs) -> Result<(), Failure> {
    let patterns = args.patterns.iter().map(|text| Pattern::parse(text, args.ignore_case));
    let patterns = patterns.collect::<Result<_, _>>().map_err(Failure::Pattern)?;
    let query = FindQuery { patterns, ignore_case: args.ignore_case, oldest: args.oldest, newest: args.newest };
    let repository = args.repository.open().await?;
    let lock = args.lock.take(&repository, args.no_lock).await?;
    let snapshots = wanted(&repository, args).await?;
    match args.output {
        Output::Text => find_text(&repository, &snapshots, &query).await?,
        Output::Json => find_json(&repository, &snapshots, &query).await?,
    }
    drop(lock);
    Ok(())
}

async fn wanted(repository: &Repository, args: &FindArgs) -> Result<Vec<Snapshot>, Failure> {
    let filter = SnapshotFilter { hosts: args.host.clone(), paths: args.path.clone(), tags: tag_lists(&args.tag) };
    let mut snapshots = Vec::new();
    for name in &args.snapshot {
        let found = repository.resolve(name, &filter).await;
        snapshots.push(found.map_err(Failure::repository("find the snapshot"))?);
    }
    if args.snapshot.is_empty() {
        snapshots = repository.snapshots().await.map_err(Failure::repository("list the snapshots"))?;
        snapshots.retain(|snapshot| filter.matches(snapshot));
    }
    snapshots.sort_by_key(|snapshot| std::cmp::Reverse((snapshot.time, snapshot.id)));
    snapshots.dedup_by_key(|snapshot| snapshot.id);
    Ok(snapshots)
}

async fn find_text(repository: &Repository, snapshots: &[Snapshot], query: &FindQuery) -> Result<(), Failure> {
    let (mut lines, mut last) = (Lines::new(), None);
    let found = repository.find(snapshots, query, |snapshot, entry| {
        if last.replace(snapshot.id) != Some(snapshot.id) {
            let time = snapshot.time.at.strftime("%Y-%m-%dT%H:%M:%SZ");
            lines.print(&format!("Snapshot {} of {time}, host {}:", browse::short(snapshot), snapshot.host))?;
        }
        lines.print(&format!("  {}", browse::relative(&entry.path)))
    });
    let found = found.await;
    if let Ok(summary) = &found {
        let _ = lines.print(&human::count(summary.hits, "hit"));
    }
    lines.finish(found, "search the snapshots").map(drop)
}

async fn find_json(repository: &Repository, snapshots: &[Snapshot], query: &FindQuery) -> Result<(), Failure> {
    let mut found: Vec<(String, Vec<Value>)> = Vec::new();
    let searched = repository.find(snapshots, query, |snapshot, entry| {
        let id = snapshot.id.to_string();
        match found.last_mut() {
            Some((last, matches)) if *last == id => matches.push(entry_json(entry)),
            _ => found.push((id, vec![entry_json(entry)])),
        }
        Ok(())
    });
    searched.await.map_err(Failure::repository("search the snapshots"))?;
    let found = found.into_iter();
    let found = found.map(|(id, matches)| json!({ "hits": matches.len(), "matches": matches, "snapshot": id }));
    print(format!("{:#}\n", found.collect::<Value>()).as_bytes())
}

fn entry_json(entry: &Entry) -> Value {
    let Entry { path, node } = entry;
    let kind = match node.kind {
        NodeKind::File => "file",
        NodeKind::Dir => "dir",
        NodeKind::Symlink { .. } => "symlink",
        NodeKind::Other => "other",
    };
    let (path, mode) = (browse::relative(path), format!("{:04o}", node.mode));
    json!({ "path": path, "type": kind, "mode": mode, "mtime": node.modified, "uid": node.uid, "gid": node.gid, "size": node.size })
}
