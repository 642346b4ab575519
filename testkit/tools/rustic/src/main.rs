//! `rustic-judge REPOSITORY VERB [ARGUMENT...]`, with the password in `RESTIC_PASSWORD`:
//!
//! | verb | what it does |
//! |---|---|
//! | `init` | makes a repository (format 2) |
//! | `backup FOLDER` | backs a folder up; prints the snapshot's id |
//! | `snapshots` | prints all ids, one a line |
//! | `check` | checks everything, every byte read |
//! | `mark` | prunes in rustic's way: packs are only marked for deletion in the index |
//! | `prune` | prunes at once |
//! | `forget SNAPSHOT` | removes a snapshot |
//! | `restore SNAPSHOT FOLDER` | restores it |

use std::error::Error;

use rustic_backend::BackendOptions;
use rustic_core::{
    BackupOptions, CheckOptions, ConfigOptions, Credentials, KeyOptions, LimitOption, LocalDestination, LsOptions,
    PathList, PruneOptions, Repository, RepositoryOptions, RestoreOptions, SnapshotOptions,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [repository, verb @ ..] = &arguments[..] else { return Err("which repository?".into()) };
    let credentials = Credentials::password(std::env::var("RESTIC_PASSWORD")?);
    let backends = BackendOptions::default().repository(*repository).to_backends()?;
    let options = RepositoryOptions::default().no_cache(true);
    let closed = Repository::new(&options, &backends)?;
    if verb == ["init"] {
        closed.init(&credentials, &KeyOptions::default(), &ConfigOptions::default())?;
        return Ok(());
    }
    let open = closed.open(&credentials)?;
    match verb {
        ["backup", folder] => {
            let source = PathList::from_string(folder)?.sanitize()?;
            let snapshot = SnapshotOptions::default().host("host-0".to_owned()).to_snapshot()?;
            let snapshot = open.to_indexed_ids()?.backup(&BackupOptions::default(), &source, snapshot)?;
            println!("{}", snapshot.id);
        }
        ["snapshots"] => {
            for snapshot in open.get_all_snapshots()? {
                println!("{}", snapshot.id);
            }
        }
        ["check"] => open.check(CheckOptions::default().trust_cache(true).read_data(true))?.is_ok()?,
        ["mark"] => prune(&open, false)?,
        ["prune"] => prune(&open, true)?,
        ["forget", id] => {
            let snapshot = open.get_snapshot_from_str(id, |_| true)?;
            open.delete_snapshots(&[snapshot.id])?;
        }
        ["restore", id, folder] => restore(open.to_indexed()?, id, folder)?,
        _ => return Err(format!("no such verb: {verb:?}").into()),
    }
    Ok(())
}

fn prune<S: rustic_core::Open>(repository: &Repository<S>, instant_delete: bool) -> Result<(), Box<dyn Error>> {
    let mut options = PruneOptions::default().instant_delete(instant_delete);
    options.max_unused = LimitOption::Size("0B".parse()?);
    options.keep_pack = "0s".parse()?;
    let plan = repository.prune_plan(&options)?;
    Ok(repository.prune(&options, plan)?)
}

fn restore<S: rustic_core::IndexedFull>(repository: Repository<S>, id: &str, folder: &str) -> Result<(), Box<dyn Error>> {
    let node = repository.node_from_snapshot_path(id, |_| true)?;
    let entries = repository.ls(&node, &LsOptions::default())?;
    let destination = LocalDestination::new(folder, true, !node.is_dir())?;
    let options = RestoreOptions::default();
    let plan = repository.prepare_restore(&options, entries.clone(), &destination, false)?;
    Ok(repository.restore(plan, &options, entries, &destination)?)
}
