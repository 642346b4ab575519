//! `kubectl stash forget`: removes snapshots, by a policy or by id. Flags and JSON are restic's.

use std::{fmt::Write, process::ExitCode};

use clap::Args;
use jiff::Timestamp;
use repository::{Count, ForgetGroup, ForgetOptions, GroupBy, Id, Policy, Repository, Snapshot, SnapshotFilter, Span};
use serde_json::{Value, json};

use crate::{
    args::{LockArgs, Output, RepositoryArgs},
    browse,
    exit::{Failure, note, print},
    human,
    prune::{self, LimitArgs},
    signals::unless_interrupted,
};

#[derive(Args, Debug)]
#[command(long_about = "Remove snapshots by a policy or by id.\n\n\
    Snapshots are put into groups (by host and paths, unless --group-by says otherwise). In each group a snapshot stays if any --keep \
    rule wants it; without a rule everything stays. A rule that has more to give than there is history keeps the oldest snapshot too. \
    Snapshots tagged `partial` never displace complete ones, and go when a newer complete one exists. A policy that would leave nothing \
    of a group is refused.\n\n\
    A number may be `unlimited`; a duration is years, months, days and hours: 2y5m7d3h.")]
#[command(after_help = "Examples:
  # A week of days, a month of weeks, a year of months; first see what it would do
  kubectl stash forget --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --dry-run --repo /backups/prod

  # The same, and free the space; forgetting alone removes only the names of snapshots
  kubectl stash forget --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --prune --repo /backups/prod

  # One snapshot
  kubectl stash forget 1a2b3c4d --repo /backups/prod")]
pub(crate) struct ForgetArgs {
    /// Snapshots to remove: ids, beginnings of ids, or `latest`; without any the policy decides
    snapshots: Vec<String>,
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    lock: LockArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Only snapshots of this host (repeatable)
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Only snapshots with all of these tags (repeatable: with those or with these)
    #[arg(long, value_name = "TAG[,TAG]")]
    tag: Vec<String>,
    /// Only snapshots of this absolute path (repeatable: of all of them)
    #[arg(long, value_name = "PATH")]
    path: Vec<String>,
    /// What the snapshots of a group share: host, paths, tags, with commas; '' makes one group of all
    #[arg(short, long, default_value = "host,paths", value_name = "GROUP")]
    group_by: GroupBy,
    /// Without a --keep rule: remove every snapshot that --host, --tag and --path choose
    #[arg(long)]
    unsafe_allow_remove_all: bool,
    /// Remove nothing, say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Afterwards remove what no snapshot needs any more, if a snapshot was removed
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    limits: LimitArgs,
    /// Format of the result; JSON is that of `restic forget --json`
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

#[derive(Args, Debug)]
struct PolicyArgs {
    /// Keep the newest snapshots
    #[arg(
        short = 'l',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    keep_last: Count,
    /// Keep the newest snapshot of each of the last N hours that have one
    #[arg(
        short = 'H',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    keep_hourly: Count,
    /// The same for days
    #[arg(
        short = 'd',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    keep_daily: Count,
    /// The same for weeks
    #[arg(
        short = 'w',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    keep_weekly: Count,
    /// The same for months
    #[arg(
        short = 'm',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    keep_monthly: Count,
    /// The same for years
    #[arg(
        short = 'y',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    keep_yearly: Count,
    /// Keep all snapshots that are at most this much older than the newest
    #[arg(long, value_name = "DURATION", default_value = "", hide_default_value = true)]
    keep_within: Span,
    /// Of those at most this much older than the newest keep one an hour
    #[arg(long, value_name = "DURATION", default_value = "", hide_default_value = true)]
    keep_within_hourly: Span,
    /// The same, one a day
    #[arg(long, value_name = "DURATION", default_value = "", hide_default_value = true)]
    keep_within_daily: Span,
    /// The same, one a week
    #[arg(long, value_name = "DURATION", default_value = "", hide_default_value = true)]
    keep_within_weekly: Span,
    /// The same, one a month
    #[arg(long, value_name = "DURATION", default_value = "", hide_default_value = true)]
    keep_within_monthly: Span,
    /// The same, one a year
    #[arg(long, value_name = "DURATION", default_value = "", hide_default_value = true)]
    keep_within_yearly: Span,
    /// Keep snapshots with all of these tags (repeatable: with those or with these)
    #[arg(long, value_name = "TAG[,TAG]")]
    keep_tag: Vec<String>,
}

impl PolicyArgs {
    fn policy(&self) -> Policy {
        Policy {
            last: self.keep_last,
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            within: self.keep_within,
            within_hourly: self.keep_within_hourly,
            within_daily: self.keep_within_daily,
            within_weekly: self.keep_within_weekly,
            within_monthly: self.keep_within_monthly,
            within_yearly: self.keep_within_yearly,
            tags: tag_lists(&self.keep_tag),
        }
    }
}

/// Each use of a flag is a list of tags with commas between them.
pub(crate) fn tag_lists(flags: &[String]) -> Vec<Vec<String>> {
    flags.iter().map(|flag| flag.split(',').map(|tag| tag.trim().to_owned()).collect()).collect()
}

/// Removes what is named, or what the policy does not keep.
pub(crate) async fn run(args: ForgetArgs) -> Result<ExitCode, Failure> {
    let repository = args.repository.open().await?;
    let (text, removed) = if args.snapshots.is_empty() {
        unless_interrupted(by_policy(&args, &repository)).await?
    } else {
        unless_interrupted(by_id(&args, &repository)).await?
    };
    print(text.as_bytes())?;
    if args.prune && removed > 0 && !args.dry_run {
        free(&args, &repository).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prunes. What was forgotten stands on standard output already; this goes there only where people read it.
async fn free(args: &ForgetArgs, repository: &Repository) -> Result<(), Failure> {
    let options = args.limits.options(&args.lock, false);
    let summary = unless_interrupted(prune::prune(repository, &options, args.output)).await?;
    match args.output {
        Output::Text => print(prune::text(&summary, false).as_bytes()),
        Output::Json => Ok(()),
    }
}

fn options(args: &ForgetArgs) -> Result<ForgetOptions, Failure> {
    let filter = SnapshotFilter { hosts: args.host.clone(), paths: args.path.clone(), tags: tag_lists(&args.tag) };
    if args.unsafe_allow_remove_all && filter.is_empty() {
        return Err(Failure::RemoveAllOfAll);
    }
    Ok(ForgetOptions {
        policy: args.policy.policy(),
        group_by: args.group_by,
        filter,
        remove_all: args.unsafe_allow_remove_all,
        dry_run: args.dry_run,
        retry_lock: args.lock.retry_lock,
    })
}

/// What it did, and how many snapshots it removed.
async fn by_policy(args: &ForgetArgs, repository: &Repository) -> Result<(String, usize), Failure> {
    let options = options(args)?;
    if options.policy.is_empty() && !options.remove_all {
        note("No --keep rule was given: every snapshot is kept.");
    }
    let groups = repository.forget(&options, Timestamp::now()).await;
    let groups = groups.map_err(Failure::repository("forget snapshots"))?;
    let text = match args.output {
        Output::Text => groups_text(&groups, args.dry_run),
        Output::Json => format!("{}\n", groups.iter().map(group_json).collect::<Value>()),
    };
    Ok((text, groups.iter().map(|group| group.remove.len()).sum()))
}

fn groups_text(groups: &[ForgetGroup], dry_run: bool) -> String {
    let (mut text, mut kept, mut removed) = (String::new(), 0, 0);
    for ForgetGroup { key, keep, remove } in groups {
        let (keeps, removes) = (keep.len(), remove.len());
        let _ = writeln!(text, "{key}: keep {keeps}, remove {removes}");
        for kept in keep {
            let _ = writeln!(text, "  keep    {}  {}", line(&kept.snapshot), kept.reasons.join(", "));
        }
        for snapshot in remove {
            let _ = writeln!(text, "  remove  {}", line(snapshot));
        }
        kept += keeps as u64;
        removed += removes as u64;
    }
    let verb = if dry_run { "Would remove" } else { "Removed" };
    text + &format!("{verb} {}, kept {kept}\n", human::count(removed, "snapshot"))
}

fn line(snapshot: &Snapshot) -> String {
    let tags = if snapshot.tags.is_empty() { String::new() } else { format!("  [{}]", snapshot.tags.join(",")) };
    format!("{}  {}{tags}", browse::short(snapshot), snapshot.time.at.strftime("%Y-%m-%dT%H:%M:%SZ"))
}

/// A group in the shape of `restic forget --json`, where an empty list is `null`.
fn group_json(group: &ForgetGroup) -> Value {
    let ForgetGroup { key, keep, remove } = group;
    let reason =
        |kept: &repository::Kept| json!({ "snapshot": snapshot_json(&kept.snapshot), "matches": kept.reasons });
    json!({
        "tags": or_null(key.tags.iter().map(|tag| json!(tag)).collect()),
        "host": key.host,
        "paths": or_null(key.paths.iter().map(|path| json!(path)).collect()),
        "keep": or_null(keep.iter().map(|kept| snapshot_json(&kept.snapshot)).collect()),
        "remove": or_null(remove.iter().map(snapshot_json).collect()),
        "reasons": or_null(keep.iter().map(reason).collect()),
    })
}

fn or_null(values: Vec<Value>) -> Value {
    if values.is_empty() { Value::Null } else { Value::Array(values) }
}

/// A snapshot as it is stored, and its id in both lengths.
fn snapshot_json(snapshot: &Snapshot) -> Value {
    let mut json = json!(snapshot);
    json["id"] = json!(snapshot.id.to_string());
    json["short_id"] = json!(browse::short(snapshot));
    json
}

/// Removes the snapshots that were named, if there is one for each name: a slip of the pen removes nothing.
async fn by_id(args: &ForgetArgs, repository: &Repository) -> Result<(String, usize), Failure> {
    let filter = options(args)?.filter;
    let mut ids: Vec<Id> = Vec::new();
    for wanted in &args.snapshots {
        let id = id_of(repository, wanted, &filter).await?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let removed = if args.dry_run {
        ids
    } else {
        let removed = repository.forget_ids(&ids, args.lock.retry_lock).await;
        removed.map_err(Failure::repository("forget snapshots"))?
    };
    let text = match args.output {
        Output::Text => {
            let verb = if args.dry_run { "Would remove" } else { "Removed" };
            removed.iter().map(|id| format!("{verb} snapshot {}\n", id.short())).collect()
        }
        Output::Json => {
            let removed: Vec<String> = removed.iter().map(ToString::to_string).collect();
            format!("{:#}\n", json!({ "removed": removed }))
        }
    };
    Ok((text, removed.len()))
}

/// A whole id is taken as it is: a snapshot that cannot be read can be removed, too.
async fn id_of(repository: &Repository, wanted: &str, filter: &SnapshotFilter) -> Result<Id, Failure> {
    match wanted.parse() {
        Ok(id) => Ok(id),
        Err(_) => {
            let found = repository.resolve(wanted, filter).await;
            Ok(found.map_err(Failure::repository("find the snapshot"))?.id)
        }
    }
}
