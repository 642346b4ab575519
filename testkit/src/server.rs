//! One real server under a guard that outlives no one.
//!
//! The server runs under a small shell that shares a pipe with the test process:
//!
//! 1. the pipe closes when the [`Server`] is dropped **and** when the test process dies, be it by SIGKILL; the shell then
//!    kills the server;
//! 2. a line on the pipe is the name of a signal, which the shell passes on ([`Server::signal`]);
//! 3. when the server ends by itself, the shell ends with its exit status, so that a failed start is seen at once.
//!
//! The guard has a process group of its own: Ctrl-C on the terminal reaches the test process only, and the servers go by
//! the pipe.

use std::{
    ffi::OsString,
    fs::{self, File},
    future::Future,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use crate::tool::MissingTool;

/// The guard; its arguments are the server's command line.
const GUARD: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
{ while read -r signal; do kill -s "$signal" "$server"; done; kill -s KILL "$server"; } <&3 &
watcher=$!
exec 3<&-
wait "$server"
status=$?
kill "$watcher"
exit "$status"
"#;

/// Time between two questions to a starting server.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// Lines of the log that an error quotes.
const TAIL_LINES: usize = 12;

/// Why a server did not start, named by the phase that failed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program is not installed.
    #[error(transparent)]
    Find(#[from] MissingTool),
    /// The server's folder, files or ports could not be prepared.
    #[error("prepare {what}")]
    Prepare {
        /// What was being prepared.
        what: String,
        /// Why it could not be.
        #[source]
        source: io::Error,
    },
    /// A key or certificate could not be made.
    #[error("make the certificate of {name}")]
    Certify {
        /// Common name of the certificate.
        name: String,
        /// Why it could not be made.
        #[source]
        source: rcgen::Error,
    },
    /// The guard shell could not be started.
    #[error("start {server}")]
    Spawn {
        /// Name of the server.
        server: String,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The server ended before it answered.
    #[error("{server} ended with {status} before it answered; its last lines:\n{tail}")]
    Ended {
        /// Name of the server.
        server: String,
        /// How it ended.
        status: ExitStatus,
        /// Last lines of its log.
        tail: String,
    },
    /// The server runs but did not answer in time.
    #[error("{server} did not answer within {limit:?}; its last lines:\n{tail}")]
    Silent {
        /// Name of the server.
        server: String,
        /// How long was waited.
        limit: Duration,
        /// Last lines of its log.
        tail: String,
    },
}

impl StartError {
    pub(crate) fn prepare(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Prepare { what, source }
    }

    /// The error and its causes in one line, as a panic shows it.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(source) = cause {
            text = format!("{text}: {source}");
            cause = source.source();
        }
        text
    }
}

/// What to run, and where.
#[derive(Debug)]
pub struct ServerCommand {
    /// Name for the log file and for errors.
    pub name: String,
    /// Path of the program, usually from [`crate::tool`].
    pub program: PathBuf,
    /// Arguments of the program.
    pub arguments: Vec<OsString>,
    /// Variables added to the environment.
    pub environment: Vec<(String, String)>,
    /// Working directory; the log is written here as `<name>.log`.
    pub folder: PathBuf,
}

impl ServerCommand {
    /// A command without arguments and variables.
    pub fn new(name: &str, program: PathBuf, folder: &Path) -> Self {
        let (arguments, environment) = (Vec::new(), Vec::new());
        Self { name: name.to_owned(), program, arguments, environment, folder: folder.to_owned() }
    }

    /// Adds one argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds a variable to the environment.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }
}

/// A running server. It is killed on drop and when this process ends.
#[derive(Debug)]
pub struct Server {
    name: String,
    log: PathBuf,
    guard: Child,
    pipe: Option<ChildStdin>,
}

impl Server {
    /// Starts the command under its guard; it need not answer yet. The log is appended to, so that a second run of the
    /// same server keeps the lines of the first.
    ///
    /// # Errors
    /// [`StartError::Prepare`] when the log cannot be opened, [`StartError::Spawn`] when there is no shell.
    pub fn spawn(command: ServerCommand) -> Result<Self, StartError> {
        let ServerCommand { name, program, arguments, environment, folder } = command;
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log);
        let out = out.map_err(StartError::prepare(format!("the log of {name}")))?;
        let err = out.try_clone().map_err(StartError::prepare(format!("the log of {name}")))?;
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(program)
            .args(arguments)
            .envs(environment)
            .current_dir(folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|source| StartError::Spawn { server: name.clone(), source })?;
        let pipe = guard.stdin.take();
        Ok(Self { name, log, guard, pipe })
    }

    /// Waits until `answers` is true.
    ///
    /// # Errors
    /// [`StartError::Ended`] as soon as the server has ended, [`StartError::Silent`] after `limit`; both quote the log.
    pub async fn wait_until<F, Fut>(&mut self, limit: Duration, mut answers: F) -> Result<(), StartError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = bool>,
    {
        let started = Instant::now();
        loop {
            // A server that takes a question and never answers it must not hold the test for ever.
            if tokio::time::timeout(limit, answers()).await == Ok(true) {
                return Ok(());
            }
            if let Some(status) = self.exit_status() {
                return Err(StartError::Ended { server: self.name.clone(), status, tail: self.log_tail() });
            }
            if started.elapsed() > limit {
                return Err(StartError::Silent { server: self.name.clone(), limit, tail: self.log_tail() });
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// How the server ended; nothing while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.guard.try_wait().ok().flatten()
    }

    /// Sends a signal by its name without `SIG`: `STOP` makes the server hang, `CONT` lets it go on, `TERM` asks it to end.
    ///
    /// # Panics
    /// When the server has ended.
    pub fn signal(&mut self, signal: &str) {
        let pipe = self.pipe.as_mut().expect("the pipe must be there: only stop() takes it");
        writeln!(pipe, "{signal}").unwrap_or_else(|error| panic!("send {signal} to {}: {error}", self.name));
    }

    /// Path of the log, which holds what the server wrote to stdout and stderr.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The log's last lines.
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    fn stop(&mut self) {
        drop(self.pipe.take());
        // The guard ends right after the server; its status does not matter any more.
        let _ = self.guard.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
