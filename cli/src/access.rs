//! The repository, its password and its storage, by restic's flags and variables.
//!
//! What restic reads as the same, this reads as the same: blanks around a password that comes from a file or a command, and
//! around a repository's name that comes from a file, do not count; the command is not run by a shell, but quotes group its
//! words; an empty password is refused.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use repository::{Backend, ConnectOptions, Location, Password, Repository};

use crate::{args::RepositoryArgs, exit::Failure};

/// Where the repository is and how to open it; nothing has been sent yet.
pub(crate) struct Access {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) password: Password,
}

impl RepositoryArgs {
    /// Reads the flags, the variables and the files that they name.
    ///
    /// # Errors
    /// The repository's notation is wrong, there is no password, or a file cannot be read.
    pub(crate) fn access(&self) -> Result<Access, Failure> {
        let repository = self.repository()?;
        let location = Location::parse(&repository).map_err(|source| Failure::Location { repository, source })?;
        let mut options = ConnectOptions::from_env(|name| std::env::var(name).ok());
        if let Some(path) = &self.cacert {
            options.ca_pem = Some(read(path, |path, source| Failure::CertificateFile { path, source })?);
        }
        options.connections_max = self.connections;
        let backend = location.connect(&options).map_err(Failure::repository("connect to the repository's storage"))?;
        Ok(Access { backend, password: self.password()? })
    }

    /// Opens the repository.
    ///
    /// # Errors
    /// As [`RepositoryArgs::access`], and what the repository answers: not there, wrong password, damaged, unreachable.
    pub(crate) async fn open(&self) -> Result<Repository, Failure> {
        let Access { backend, password } = self.access()?;
        Repository::open(backend, &password).await.map_err(Failure::repository("open the repository"))
    }

    fn repository(&self) -> Result<String, Failure> {
        match (&self.repo, &self.repository_file) {
            (Some(repository), _) => Ok(repository.clone()),
            (None, Some(path)) => {
                let text = read(path, |path, source| Failure::RepositoryFile { path, source })?;
                Ok(String::from_utf8_lossy(&text).trim().to_owned())
            }
            (None, None) => Err(Failure::NoRepository),
        }
    }

    fn password(&self) -> Result<Password, Failure> {
        let password = match (&self.password_command, &self.password_file) {
            (Some(command), _) => trimmed(output(command)?),
            (None, Some(path)) => password_in(path)?,
            (None, None) => std::env::var("RESTIC_PASSWORD").unwrap_or_default().into_bytes(),
        };
        if password.is_empty() { Err(Failure::NoPassword) } else { Ok(Password::new(password)) }
    }
}

/// The password in a file.
pub(crate) fn password_in(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(trimmed(read(path, |path, source| Failure::PasswordFile { path, source })?))
}

/// Runs the user's command and returns what it prints. It may ask on the terminal.
fn output(command: &str) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| Failure::PasswordCommand { command: command.to_owned(), why };
    let words = words(command).ok_or_else(|| failed("a quote is not closed".to_owned()))?;
    let (program, arguments) = words.split_first().ok_or_else(|| failed("it is empty".to_owned()))?;
    let output = Command::new(program).args(arguments).stderr(Stdio::inherit()).stdin(Stdio::inherit()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() { Ok(output.stdout) } else { Err(failed(output.status.to_string())) }
}

/// The words of a command line; quotes of both kinds group. `None` when one is not closed.
fn words(command: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in command.chars() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

fn trimmed(bytes: Vec<u8>) -> Vec<u8> {
    match std::str::from_utf8(&bytes) {
        Ok(text) => text.trim().as_bytes().to_vec(),
        Err(_) => bytes.trim_ascii().to_vec(),
    }
}

fn read(path: &Path, failed: impl FnOnce(String, std::io::Error) -> Failure) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|source| failed(path.display().to_string(), source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_group_the_words_of_a_command() {
        let split = |command| words(command).map(|words| words.join("|"));
        assert_eq!(split("pass show backups").as_deref(), Some("pass|show|backups"));
        assert_eq!(split(" sh -c 'echo \"a b\"' \"\" x'y z' ").as_deref(), Some("sh|-c|echo \"a b\"||xy z"));
        assert_eq!(split("echo 'a"), None);
    }

    #[test]
    fn blanks_around_a_password_do_not_count() {
        assert_eq!(trimmed(b" p w \r\n\n".to_vec()), b"p w");
        assert_eq!(trimmed(b"\xff\n".to_vec()), b"\xff");
    }
}
