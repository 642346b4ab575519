//! What can go wrong, the one place that prints it, and the exit codes.

use std::{
    error::Error as StdError,
    io::{self, Write},
    process::ExitCode,
};

use thiserror::Error;

/// Failed; nothing was saved.
const FAILED: u8 = 1;
/// A snapshot was saved, but something could not be read; or something was restored, and the rest is damaged.
pub(crate) const PARTIAL: u8 = 3;
/// Ended by Ctrl-C or SIGTERM, as shells count it.
const INTERRUPTED: u8 = 130;

/// Why a verb failed. Each message says what to do where there is something to do.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("read the kubeconfig {path}")]
    Kubeconfig { path: String, source: Box<dyn StdError + Send + Sync> },
    #[error("use the kubeconfig")]
    Context { source: Box<dyn StdError + Send + Sync> },
    #[error(
        "no cluster: there is no kubeconfig (name one with --kubeconfig or KUBECONFIG), and this is no Pod with a service account"
    )]
    NoCluster,
    #[error("{what} in {server}")]
    Unreachable { what: String, server: String, source: Box<kube::Error> },
    #[error("{what}: {why}")]
    Refused { what: String, why: String },
    /// A statement that says all: what is wrong, where, and what to do.
    #[error("{0}")]
    Wrong(String),
    #[error("create the folder {path}")]
    Folder { path: String, source: std::io::Error },
    #[error("prepare the connection to {server}")]
    Client { server: String, source: Box<kube::Error> },
    #[error("--target must be kind/name, for example deployment/web; got \"{0}\"")]
    TargetNotation(String),
    #[error(
        "--include-namespaces and --exclude-namespaces choose among the namespaces of a whole cluster: give -A with them"
    )]
    NamespacePatterns,
    #[error("no repository: name one with --repo, or set RESTIC_REPOSITORY")]
    NoRepository,
    #[error("read the repository file {path}")]
    RepositoryFile { path: String, source: std::io::Error },
    #[error("repository \"{repository}\"")]
    Location { repository: String, source: repository::LocationError },
    #[error(
        "no password for the repository, or an empty one: set RESTIC_PASSWORD, or name a file with --password-file"
    )]
    NoPassword,
    #[error("read the password file {path}")]
    PasswordFile { path: String, source: std::io::Error },
    #[error("run the password command \"{command}\": {why}")]
    PasswordCommand { command: String, why: String },
    #[error("read the certificate file {path}")]
    CertificateFile { path: String, source: std::io::Error },
    #[error("{what}")]
    Repository { what: String, source: Box<repository::Error> },
    #[error("back up from {server}")]
    Dump { server: String, source: Box<dumper::service::DumpError> },
    #[error(
        "interrupted; no snapshot was saved, and the repository is as it was (what was uploaded is found again by the next backup)"
    )]
    Interrupted,
    #[error(
        "interrupted twice, stopped at once: `kubectl stash snapshots` shows whether the snapshot was saved, and the next backup removes the lock"
    )]
    Stopped,
    #[error("interrupted; the folder holds a part of the files")]
    RestoreInterrupted,
    #[error("interrupted; no snapshot lost anything, and the next prune finishes what this one began")]
    PruneInterrupted,
    #[error("interrupted; what was done by then stays done")]
    Cancelled,
    #[error("the new password is empty")]
    EmptyNewPassword,
    #[error("--unsafe-allow-remove-all removes all snapshots of a choice: choose with --host, --tag or --path")]
    RemoveAllOfAll,
    #[error("read the pattern")]
    Pattern(#[source] repository::PatternError),
    #[error("listen for signals")]
    Signals(#[source] std::io::Error),
    #[error("write the output")]
    Output(#[source] std::io::Error),
    #[error("the snapshot {snapshot} is saved, but the report of it could not be written")]
    Report { snapshot: String, source: std::io::Error },
}

impl Failure {
    /// For `map_err`: a repository operation, named for people.
    pub(crate) fn repository(what: impl Into<String>) -> impl FnOnce(repository::Error) -> Failure {
        move |source| Failure::Repository { what: what.into(), source: Box::new(source) }
    }
}

/// Prints a line for people. Where standard error is closed nobody reads it, and that is no reason to stop.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints a result.
///
/// # Errors
/// [`Failure::Output`].
pub(crate) fn print(text: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text).and_then(|()| stdout.flush()).map_err(Failure::Output)
}

/// A result that is printed line by line while it is being found.
pub(crate) struct Lines {
    output: io::BufWriter<io::Stdout>,
    failed: Option<io::Error>,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self { output: io::BufWriter::new(io::stdout()), failed: None }
    }

    /// Prints a line. An error ends the search; [`Lines::finish`] tells which it was.
    pub(crate) fn print(&mut self, line: &str) -> Result<(), repository::Error> {
        let written = writeln!(self.output, "{line}");
        written.map_err(|error| {
            self.failed = Some(error);
            repository::Error::Interrupted { action: "writing the output" }
        })
    }

    /// The result of what printed.
    ///
    /// # Errors
    /// [`Failure::Output`], or the repository's as `what`.
    pub(crate) fn finish<T>(mut self, done: Result<T, repository::Error>, what: &str) -> Result<T, Failure> {
        match (self.failed.take(), done) {
            (Some(error), _) => Err(Failure::Output(error)),
            (None, Err(error)) => Err(Failure::repository(what)(error)),
            (None, Ok(done)) => self.output.flush().map_err(Failure::Output).map(|()| done),
        }
    }
}

/// Prints an error with its sources, once each, and returns the exit code for it.
pub(crate) fn report(error: &dyn StdError) -> ExitCode {
    note(&format!("Error: {}", chain(error)));
    ExitCode::from(FAILED)
}

/// The same for a [`Failure`]. A reader that closed its end of a pipe is no failure.
pub(crate) fn report_failure(failure: &Failure) -> ExitCode {
    match failure {
        Failure::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Failure::Interrupted
        | Failure::Stopped
        | Failure::RestoreInterrupted
        | Failure::PruneInterrupted
        | Failure::Cancelled => {
            report(failure);
            ExitCode::from(INTERRUPTED)
        }
        other => report(other),
    }
}

/// `a: b: c`, of each the first line, leaving out a source whose text already stands there.
fn chain(error: &dyn StdError) -> String {
    let line = |error: &dyn StdError| error.to_string().lines().next().unwrap_or_default().to_owned();
    let mut text = line(error);
    let mut source = error.source();
    while let Some(error) = source {
        let next = line(error);
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_many_lines_and_a_repeated_source_make_one_line() {
        let source = io::Error::other("it is broken\n --> here\n  ^");
        let failure = Failure::Kubeconfig { path: "/k".into(), source: Box::new(source) };
        assert_eq!(chain(&failure), "read the kubeconfig /k: it is broken");
        let twice = Failure::Context { source: "use the kubeconfig".into() };
        assert_eq!(chain(&twice), "use the kubeconfig");
    }
}
