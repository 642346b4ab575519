//! restic as the judge of a repository.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{folder::Folder, tool::tool};

/// One version of restic with a cache folder of its own, so that it trusts nothing that another run has seen.
#[derive(Debug)]
pub struct Restic {
    program: PathBuf,
    repository: String,
    environment: Vec<(String, String)>,
    folder: Folder,
}

/// What one run of restic printed, and how it ended.
#[derive(Debug)]
pub struct ResticOutput {
    /// Exit code; nothing when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: String,
    command: String,
}

impl Restic {
    /// The newest restic, which knows formats 1 and 2.
    ///
    /// # Panics
    /// When the program is missing.
    #[track_caller]
    pub fn newest(repository: impl Into<String>, password: &str) -> Self {
        Self::new(tool("restic"), repository.into(), password)
    }

    /// restic 0.13.1, which knows format 1 only.
    ///
    /// # Panics
    /// When the program is missing.
    #[track_caller]
    pub fn old(repository: impl Into<String>, password: &str) -> Self {
        Self::new(tool("restic-0.13"), repository.into(), password)
    }

    fn new(program: PathBuf, repository: String, password: &str) -> Self {
        let folder = Folder::new("restic").unwrap_or_else(|error| panic!("create a folder: {error}"));
        let password_file = folder.path().join("password");
        fs::write(&password_file, password).unwrap_or_else(|error| panic!("write the password: {error}"));
        Self { program, repository, environment: Vec::new(), folder }
    }

    /// Adds a variable to the environment, for example one of [`crate::S3Server::environment`].
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds variables to the environment.
    pub fn envs<'a>(self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        variables.into_iter().fold(self, |restic, (name, value)| restic.env(name, value))
    }

    /// The repository in restic's notation.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Runs restic and returns what it said, whether it succeeded or not. Blocks until it has ended.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn output(&self, arguments: &[&str]) -> ResticOutput {
        self.output_in(Path::new("."), arguments)
    }

    /// As [`Restic::output`], in another working directory: `backup .` there stores paths without a prefix.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn output_in(&self, folder: &Path, arguments: &[&str]) -> ResticOutput {
        let output = Command::new(&self.program)
            .args(arguments)
            .current_dir(folder)
            .env("RESTIC_REPOSITORY", &self.repository)
            .env("RESTIC_PASSWORD_FILE", self.folder.path().join("password"))
            .env("RESTIC_CACHE_DIR", self.folder.path().join("cache"))
            .env_remove("RESTIC_PASSWORD")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap_or_else(|error| panic!("start {}: {error}", self.program.display()));
        ResticOutput {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            command: format!("restic {}", arguments.join(" ")),
        }
    }

    /// Runs restic and returns its stdout.
    ///
    /// # Panics
    /// When it does not end with 0; the message has what it wrote to stderr.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        self.output(arguments).expect_success()
    }

    /// Runs restic with `--json` where it prints one value (`snapshots`, `stats`).
    ///
    /// # Panics
    /// When it does not end with 0, or prints anything but one value.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut values = self.json_lines(arguments);
        assert!(values.len() == 1, "restic {} printed {} values, not one", arguments.join(" "), values.len());
        values.remove(0)
    }

    /// Runs restic with `--json` where it prints one value a line (`ls`, `backup`, `diff`).
    ///
    /// # Panics
    /// When it does not end with 0, or does not print JSON.
    #[track_caller]
    pub fn json_lines(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.run(&[arguments, &["--json"]].concat());
        let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&text).into_iter().collect();
        values.unwrap_or_else(|error| panic!("restic {}: {error}: {text}", arguments.join(" ")))
    }
}

impl ResticOutput {
    /// Stdout as text.
    ///
    /// # Panics
    /// When restic did not end with 0.
    #[track_caller]
    pub fn expect_success(self) -> String {
        let Self { code, stdout, stderr, command } = self;
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        assert!(code == Some(0), "{command} ended with {code:?}\n{stdout}\n{stderr}");
        stdout
    }
}
