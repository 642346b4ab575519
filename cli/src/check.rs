//! `kubectl stash check`: looks for damage in a repository, and says which snapshots and paths it hits.

use std::{process::ExitCode, str::FromStr};

use clap::Args;
use jiff::Timestamp;
use repository::{
    CheckLock, CheckOptions, CheckPhase, CheckProgress, CheckReport, Finding, HitPath, Id, ReadData, Repository,
};
use serde_json::{Value, json};

use crate::{
    args::{LockArgs, Output, RepositoryArgs},
    exit::{Failure, note, print},
    human,
    progress::Display,
    signals::unless_interrupted,
};

/// Damage was found.
const DAMAGED: u8 = 1;

#[derive(Args, Debug)]
#[command(long_about = "Look for damage in a repository.\n\n\
    Always checked: config, keys, locks, index and snapshots open; every pack is there with its right size; every folder of every \
    snapshot can be read, and every file's content is named by the index. With --read-data also every byte that is stored. Each damaged \
    or missing file is listed with the snapshots and paths that it hits; everything else still restores.\n\n\
    Exit code: 0 nothing is damaged (the last line is `no errors were found`); 1 something is, or the check could not be done.")]
#[command(after_help = "Examples:
  # The structure: quick, reads the index and the folders
  kubectl stash check --repo /backups/prod

  # Once a day, and within a week every byte was read
  kubectl stash check --read-within 7 --repo s3:https://s3.example.com/backups/shop

  # Everything now
  kubectl stash check --read-data --repo /backups/prod")]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    lock: LockArgs,
    /// Read all data
    #[arg(long, conflicts_with_all = ["read_data_subset", "read_within"])]
    read_data: bool,
    /// Read a part of the data: n/t for one of t parts, 2.5% for a random share, 500M for about so much at random
    #[arg(long, value_name = "SUBSET", conflicts_with = "read_within")]
    read_data_subset: Option<Subset>,
    /// Read the part whose turn it is today (UTC), so that a check a day reads everything within this many days
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    read_within: Option<u32>,
    /// Also compare the header of every pack with the index, one small request each
    #[arg(long)]
    headers: bool,
    /// Take no lock, for a storage that cannot be written; what is removed meanwhile looks like damage
    #[arg(long, conflicts_with = "retry_lock")]
    no_lock: bool,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

impl CheckArgs {
    fn options(&self, now: Timestamp) -> CheckOptions {
        let read_data = match (self.read_data, self.read_data_subset, self.read_within) {
            (true, _, _) => ReadData::Everything,
            (_, Some(Subset(read_data)), _) => read_data,
            (_, _, Some(days)) => ReadData::within_days(days, now),
            _ => ReadData::Nothing,
        };
        let lock = if self.no_lock { CheckLock::None } else { CheckLock::Exclusive };
        CheckOptions { read_data, headers: self.headers, lock, retry_lock: self.lock.retry_lock }
    }
}

/// What `--read-data-subset` means, in restic's notation.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Subset(ReadData);

impl FromStr for Subset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write n/t (1/7), a share (2.5%) or an amount (500M)".to_owned();
        if let Some((part, of)) = text.split_once('/') {
            let (part, of) = (part.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
            // Parts are told by one byte of a pack's name.
            let is_valid = (1..=of).contains(&part) && of <= 256;
            return if is_valid {
                Ok(Self(ReadData::Part { part, of }))
            } else {
                Err("1 ≤ n ≤ t ≤ 256 must hold".into())
            };
        }
        if let Some(percent) = text.strip_suffix('%') {
            return ppm(percent).map(|ppm| Self(ReadData::Share { ppm })).ok_or_else(wrong);
        }
        amount(text).map(|bytes| Self(ReadData::Bytes(bytes))).ok_or_else(wrong)
    }
}

/// Millionths, from a percentage above 0 and up to 100 with at most four decimals.
fn ppm(percent: &str) -> Option<u32> {
    let (whole, decimals) = percent.split_once('.').unwrap_or((percent, ""));
    if decimals.len() > 4 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let whole: u32 = whole.parse().ok().filter(|whole| *whole <= 100)?;
    let decimals: u32 = format!("{decimals:0<4}").parse().ok()?;
    Some(whole * 10_000 + decimals).filter(|ppm| (1..=1_000_000).contains(ppm))
}

/// Bytes, with restic's suffixes k, M, G, T for powers of 1024.
fn amount(text: &str) -> Option<u64> {
    let shift = match text.chars().last()?.to_ascii_uppercase() {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => 0,
    };
    let number = if shift == 0 { text } else { &text[..text.len() - 1] };
    number.parse::<u64>().ok().filter(|number| *number > 0)?.checked_mul(1 << shift)
}

/// Checks, and says what it found.
pub(crate) async fn run(args: CheckArgs) -> Result<ExitCode, Failure> {
    let report = unless_interrupted(open_and_check(&args)).await?;
    let text = match args.output {
        Output::Text => text(&report),
        Output::Json => format!("{:#}\n", json(&report)),
    };
    print(text.as_bytes())?;
    if report.is_intact() {
        return Ok(ExitCode::SUCCESS);
    }
    note("Error: the repository is damaged");
    Ok(ExitCode::from(DAMAGED))
}

async fn open_and_check(args: &CheckArgs) -> Result<CheckReport, Failure> {
    let repository = args.repository.open().await?;
    let options = args.options(Timestamp::now());
    let display = Display::new(args.output == Output::Json);
    check(&repository, &options, display).await.map_err(Failure::repository("check the repository"))
}

/// Checks and shows how far it is.
async fn check(
    repository: &Repository,
    options: &CheckOptions,
    mut display: Display,
) -> Result<CheckReport, repository::Error> {
    let progress = CheckProgress::default();
    let mut checking = std::pin::pin!(repository.check(options, &progress));
    loop {
        tokio::select! {
            checked = &mut checking => return checked,
            () = tokio::time::sleep(display.interval()) => {
                display.show_line(progress.done(), progress.total(), |_| line(&progress));
            }
        }
    }
}

fn line(progress: &CheckProgress) -> String {
    let (done, total) = (progress.done(), progress.total());
    match progress.phase() {
        CheckPhase::Index => "Reading the index".to_owned(),
        CheckPhase::Trees => format!("Checking snapshots, {}", human::count(done, "folder")),
        CheckPhase::Packs => format!("Reading packs, {done} of {total}"),
        CheckPhase::Hits => "Looking for what the damage hits".to_owned(),
    }
}

fn text(report: &CheckReport) -> String {
    let mut text = format!(
        "Checked {}, {}, {} in {}\n",
        human::count(report.snapshots, "snapshot"),
        human::count(report.trees, "folder"),
        human::count(report.blobs, "blob"),
        human::count(report.packs, "pack"),
    );
    if report.packs_read > 0 {
        let read = human::count(report.packs_read, "pack");
        text += &format!("Read {read} ({}) to the last byte\n", human::bytes(report.bytes_read));
    }
    report.hints.iter().for_each(|hint| text += &format!("hint: {hint}\n"));
    report.findings.iter().for_each(|finding| text += &format!("error: {finding}\n"));
    if report.findings_more > 0 {
        text += &format!("error: and {} more\n", report.findings_more);
    }
    if report.is_intact() { text + "no errors were found\n" } else { text }
}

fn json(report: &CheckReport) -> Value {
    json!({
        "intact": report.is_intact(),
        "findings": report.findings.iter().map(finding_json).collect::<Vec<_>>(),
        "findingsMore": report.findings_more,
        "hints": report.hints,
        "snapshots": report.snapshots,
        "trees": report.trees,
        "files": report.files,
        "blobs": report.blobs,
        "packs": report.packs,
        "headersRead": report.headers_read,
        "packsRead": report.packs_read,
        "bytesRead": report.bytes_read,
    })
}

fn finding_json(finding: &Finding) -> Value {
    let path = |hit: &HitPath| json!({ "snapshot": hit.snapshot.to_string(), "path": hit.path });
    json!({
        "object": finding.object.to_string(),
        "reasons": finding.reasons,
        "reasonsMore": finding.reasons_more,
        "snapshots": finding.hits.snapshots.iter().map(Id::to_string).collect::<Vec<_>>(),
        "snapshotsTotal": finding.hits.snapshots_total,
        "paths": finding.hits.paths.iter().map(path).collect::<Vec<_>>(),
        "pathsTotal": finding.hits.paths_total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_are_written_as_restic_takes_them() {
        for (text, read_data) in [
            ("1/7", ReadData::Part { part: 1, of: 7 }),
            ("256/256", ReadData::Part { part: 256, of: 256 }),
            ("5%", ReadData::Share { ppm: 50_000 }),
            ("2.5%", ReadData::Share { ppm: 25_000 }),
            ("100%", ReadData::Share { ppm: 1_000_000 }),
            ("0.0001%", ReadData::Share { ppm: 1 }),
            ("500", ReadData::Bytes(500)),
            ("2k", ReadData::Bytes(2048)),
            ("10G", ReadData::Bytes(10 << 30)),
        ] {
            assert_eq!(text.parse(), Ok(Subset(read_data)), "{text}");
        }
        for text in [
            "", "0/7", "8/7", "1/257", "1/", "/", "x/7", "0%", "101%", "-1%", "1.00001%", "%", "0", "5X", "M", "1e3%",
            "é",
        ] {
            assert!(text.parse::<Subset>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_an_intact_repository_ends_with_restics_line() {
        let mut report = CheckReport::default();
        assert_eq!(text(&report).lines().last(), Some("no errors were found"));
        report.findings_more = 2;
        assert_eq!(text(&report).lines().last(), Some("error: and 2 more"));
        assert_eq!(json(&report)["intact"], false);
    }
}
