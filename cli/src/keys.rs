//! `kubectl stash key`: the keys of a repository, each with a password of its own.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use repository::{KeyInfo, NewKey, Password, Repository};
use serde_json::{Value, json};

use crate::{
    access::password_in,
    args::{LockArgs, Output, RepositoryArgs},
    exit::{Failure, print},
    signals::unless_interrupted,
};

#[derive(Args, Debug)]
#[command(long_about = "List, add and remove the repository's keys, change its password.\n\n\
    A repository has one or more keys, each with a password of its own. A removed key opens nothing any more; who kept the repository's \
    master key from before can still read, because that never changes.")]
#[command(after_help = "Examples:
  kubectl stash key list --repo /backups/prod
  kubectl stash key add --new-password-file ./second --user alice --repo /backups/prod
  kubectl stash key passwd --new-password-file ./new --repo /backups/prod
  kubectl stash key remove 6d007f48 --repo /backups/prod")]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    verb: KeyVerb,
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    /// List the keys; the one in use has an asterisk
    List(KeyListArgs),
    /// Add a key for a new password
    Add(KeyAddArgs),
    /// Remove a key; the one in use stays
    Remove(KeyRemoveArgs),
    /// Replace the key in use by one for a new password
    Passwd(KeyAddArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  kubectl stash key list --repo /backups/prod")]
struct KeyListArgs {
    #[command(flatten)]
    repository: RepositoryArgs,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  kubectl stash key add --new-password-file ./second --repo /backups/prod")]
struct KeyAddArgs {
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    lock: LockArgs,
    /// File with the new password
    #[arg(long, value_name = "FILE")]
    new_password_file: PathBuf,
    /// User, as `key list` shows it [default: $USER]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Host, as `key list` shows it [default: this host]
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  kubectl stash key remove 6d007f48 --repo /backups/prod")]
struct KeyRemoveArgs {
    /// Key: its id or the beginning of it, as `key list` shows it
    id: String,
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    lock: LockArgs,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

/// Does one of the four and says what was done.
pub(crate) async fn run(args: KeyArgs) -> Result<ExitCode, Failure> {
    let text = match args.verb {
        KeyVerb::List(args) => unless_interrupted(list(&args)).await?,
        KeyVerb::Add(args) => unless_interrupted(add(&args)).await?,
        KeyVerb::Remove(args) => unless_interrupted(remove(&args)).await?,
        KeyVerb::Passwd(args) => unless_interrupted(change(&args)).await?,
    };
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

async fn list(args: &KeyListArgs) -> Result<String, Failure> {
    let repository = args.repository.open().await?;
    let keys = repository.keys().await.map_err(Failure::repository("list the keys"))?;
    Ok(match args.output {
        Output::Text => keys_text(&keys),
        Output::Json => format!("{:#}\n", keys.iter().map(key_json).collect::<Value>()),
    })
}

fn keys_text(keys: &[KeyInfo]) -> String {
    let mut text = format!(" {:<8}  {:<20}  {:<16}  HOST\n", "ID", "CREATED (UTC)", "USER");
    for key in keys {
        let mark = if key.current { '*' } else { ' ' };
        let created = key.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        text += &format!("{mark}{:<8}  {created:<20}  {:<16}  {}\n", key.id.short(), key.user, key.host);
    }
    text
}

/// restic's names for the same.
fn key_json(key: &KeyInfo) -> Value {
    json!({
        "current": key.current,
        "id": key.id.to_string(),
        "userName": key.user,
        "hostName": key.host,
        "created": key.created,
    })
}

async fn add(args: &KeyAddArgs) -> Result<String, Failure> {
    let (repository, key, wait) = new_key(args).await?;
    let id = repository.add_key(key, wait).await.map_err(Failure::repository("add the key"))?;
    Ok(said(args.output, &id.to_string(), &format!("Added key {}", id.short())))
}

async fn change(args: &KeyAddArgs) -> Result<String, Failure> {
    let (repository, key, wait) = new_key(args).await?;
    let old = repository.key_file();
    let id = repository.change_password(key, wait).await.map_err(Failure::repository("change the password"))?;
    Ok(said(args.output, &id.to_string(), &format!("Replaced key {} by {}", old.short(), id.short())))
}

async fn remove(args: &KeyRemoveArgs) -> Result<String, Failure> {
    let repository = args.repository.open().await?;
    let id = repository.find_key(&args.id).await.map_err(Failure::repository("find the key"))?;
    repository.remove_key(id, args.lock.retry_lock).await.map_err(Failure::repository("remove the key"))?;
    Ok(said(args.output, &id.to_string(), &format!("Removed key {}", id.short())))
}

/// The opened repository, the key to be, and how long to wait for a lock.
async fn new_key(args: &KeyAddArgs) -> Result<(Repository, NewKey, Duration), Failure> {
    let password = password_in(&args.new_password_file)?;
    if password.is_empty() {
        return Err(Failure::EmptyNewPassword);
    }
    let user = args.user.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_default();
    let key = NewKey { user, host: args.host.clone(), ..NewKey::new(Password::new(password)) };
    Ok((args.repository.open().await?, key, args.lock.retry_lock))
}

fn said(output: Output, id: &str, text: &str) -> String {
    match output {
        Output::Text => format!("{text}\n"),
        Output::Json => format!("{:#}\n", json!({ "id": id })),
    }
}
