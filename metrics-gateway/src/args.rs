//! The command line: Pushgateway's flags where they make sense, and those of what it cannot do.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv6Addr, SocketAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum, parser::ValueSource};
use jiff::Timestamp;
use runtime::args::NatsArgs;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::Config,
    journal::Fsync,
    limits::Limits,
    name::NameScheme,
    service::{Gateway, Options, Persistence, chain},
    web::{Pushes, Server, WebOptions},
};

/// A Prometheus Pushgateway that also forgets, adds up and survives.
#[derive(Debug, Parser)]
#[command(name = "metrics-gateway", version, max_term_width = 120)]
pub struct Cli {
    #[command(flatten)]
    web: WebArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    nats: NatsFlags,
    /// Log messages of this level and above
    #[arg(long = "log.level", value_enum, default_value_t = LogLevel::Info)]
    log_level: LogLevel,
    /// Format of log messages
    #[arg(long = "log.format", value_enum, default_value_t = LogFormat::Logfmt)]
    log_format: LogFormat,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Web")]
struct WebArgs {
    /// Address to listen on
    #[arg(long = "web.listen-address", value_name = "HOST:PORT", default_value = ":9091")]
    listen_address: String,
    /// Path under which to expose metrics
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics")]
    telemetry_path: String,
    /// URL under which the gateway is reachable from outside
    #[arg(long = "web.external-url", value_name = "URL", default_value = "")]
    external_url: String,
    /// Prefix of the gateway's own paths [default: the path of --web.external-url]
    #[arg(long = "web.route-prefix", value_name = "PATH", default_value = "", hide_default_value = true)]
    route_prefix: String,
    /// File with TLS and basic authentication, as all Prometheus programs have it
    #[arg(long = "web.config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Let PUT or POST /-/quit end the program
    #[arg(long = "web.enable-lifecycle")]
    enable_lifecycle: bool,
    /// Let PUT /api/v1/admin/wipe delete everything
    #[arg(long = "web.enable-admin-api")]
    enable_admin_api: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Metrics")]
struct StoreArgs {
    /// File with rules for time to live and aggregation (docs/gateway.md)
    #[arg(long = "config.file", value_name = "FILE")]
    rules_file: Option<PathBuf>,
    /// Folder that keeps the metrics [default: memory only]
    #[arg(long = "persistence.folder", value_name = "FOLDER")]
    persistence_folder: Option<PathBuf>,
    /// As --persistence.folder, for Pushgateway's command lines: the folder is FILE.journal, the file itself is not read
    #[arg(long = "persistence.file", value_name = "FILE", conflicts_with = "persistence_folder")]
    persistence_file: Option<PathBuf>,
    /// When a push is on the disk: before its answer, or within a second
    #[arg(long = "persistence.fsync", value_enum, default_value_t = Fsync::Interval)]
    fsync: Fsync,
    /// Without effect: the journal is always written at once
    #[arg(long = "persistence.interval", value_name = "DURATION", hide = true)]
    persistence_interval: Option<String>,
    /// Answer inconsistent pushes with 202 instead of 400. They are not applied either way
    #[arg(long = "push.disable-consistency-check")]
    disable_consistency_check: bool,
    /// Allow UTF-8 in label names of pushes
    #[arg(long = "push.enable-utf8-names")]
    enable_utf8_names: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "NATS")]
struct NatsFlags {
    /// Also take pushes on stash.metrics.push of these NATS servers, separated by commas [default: HTTP only]
    #[arg(id = "nats_url", long = "nats.url", value_name = "URL", value_delimiter = ',')]
    url: Vec<String>,
    /// Name of the NATS user
    #[arg(id = "nats_user", long = "nats.user", value_name = "NAME", requires = "nats_password_file")]
    user: Option<String>,
    /// File with the NATS user's password
    #[arg(id = "nats_password_file", long = "nats.password-file", value_name = "FILE", requires = "nats_user")]
    password_file: Option<PathBuf>,
    /// File with certificates of authorities for NATS, PEM
    #[arg(id = "nats_ca_file", long = "nats.ca-file", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// Text for people
    Logfmt,
    /// One JSON object a line
    Json,
}

/// Why the program cannot run.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("find an address for {0:?}")]
    Address(String),
    #[error("read {}", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("use {}", .path.display())]
    Config { path: PathBuf, source: crate::config::ConfigError },
    #[error("open the journal")]
    Journal(#[source] crate::journal::JournalError),
    #[error("start the server")]
    Serve(#[source] crate::web::ServeError),
    #[error("listen for signals")]
    Signals(#[source] std::io::Error),
    /// NATS's address or credentials cannot be used.
    #[error("reach NATS")]
    Nats(#[source] runtime::nats::ConnectError),
}

/// Runs the program of this process: 0 after a signal or `/-/quit`, 1 when it cannot run, 2 for a wrong command line.
pub fn run() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let flags = flags(&matches);
    start_logging(cli.log_level, cli.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "Runtime cannot be started");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli.run(flags)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = chain(&error), "Gateway cannot run");
            ExitCode::FAILURE
        }
    }
}

/// Every flag and its value, for the status page.
fn flags(matches: &clap::ArgMatches) -> BTreeMap<String, String> {
    let command = Cli::command();
    let shown = command.get_arguments().filter_map(|argument| {
        let name = argument.get_long()?;
        let id = argument.get_id().as_str();
        matches.try_contains_id(id).ok()?;
        let given = matches.value_source(id) == Some(ValueSource::CommandLine);
        let raw = matches.get_raw(id).map(|mut values| values.next().map(|value| value.to_string_lossy().into_owned()));
        let value = raw.flatten().unwrap_or_else(|| if given { "true".to_owned() } else { String::new() });
        Some((name.to_owned(), value))
    });
    shown.collect()
}

fn start_logging(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Error => tracing::Level::ERROR,
    };
    let logging = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Logfmt => logging.with_ansi(false).init(),
        LogFormat::Json => logging.json().init(),
    }
}

impl Cli {
    async fn run(self, flags: BTreeMap<String, String>) -> Result<(), RunError> {
        let Self { web, store, limits, nats, .. } = self;
        let address = address(&web.listen_address)?;
        let is_checked = !store.disable_consistency_check;
        let options = store.options(limits)?;
        let gateway = Arc::new(Gateway::open(options, Timestamp::now()).map_err(RunError::Journal)?);
        let (options, web_config) = (web.options(is_checked, flags), web.config_file);
        let server = Server::bind(gateway.clone(), options, address, web_config).await.map_err(RunError::Serve)?;
        let over_nats = nats.pushes(server.pushes()).await?;
        let address = server.address().map_err(RunError::Signals)?;
        tracing::info!(%address, "Listening");
        let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
        let end = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        tokio::select! {
            () = server.serve(end) => {}
            () = gateway.run_expiry(Timestamp::now) => {}
            () = gateway.clone().run_snapshots() => {}
            () = over_nats => {}
        }
        tracing::info!("Stopped");
        Ok(())
    }
}

impl NatsFlags {
    /// What takes pushes over NATS; without an address it never ends and does nothing.
    async fn pushes(self, pushes: Pushes) -> Result<impl Future<Output = ()>, RunError> {
        let Self { url, user, password_file, ca_file } = self;
        let connection = match url.is_empty() {
            true => None,
            false => {
                let plain = NatsArgs::plain("");
                let args = NatsArgs {
                    nats_url: url,
                    nats_user: user,
                    nats_password_file: password_file,
                    nats_ca_file: ca_file,
                    ..plain
                };
                let mut metrics = prometheus_client::registry::Registry::default();
                Some(runtime::nats::connect(&args, "metrics-gateway", &mut metrics).await.map_err(RunError::Nats)?)
            }
        };
        Ok(async move {
            match connection {
                Some(connection) => crate::nats::run(connection.client().clone(), pushes).await,
                None => std::future::pending().await,
            }
        })
    }
}

impl StoreArgs {
    fn options(self, limits: Limits) -> Result<Options, RunError> {
        let config = self.rules_file.as_deref().map(read_config).transpose()?.unwrap_or_default();
        let beside = |file: PathBuf| {
            let mut folder = file.into_os_string();
            folder.push(".journal");
            PathBuf::from(folder)
        };
        if self.persistence_interval.is_some() {
            tracing::warn!("--persistence.interval has no effect: the journal is always written at once");
        }
        let given = self.persistence_file.filter(|file| !file.as_os_str().is_empty()).map(beside);
        let folder = self.persistence_folder.or(given);
        let persistence = folder.map(|folder| Persistence { folder, fsync: self.fsync });
        let scheme = if self.enable_utf8_names { NameScheme::Utf8 } else { NameScheme::Legacy };
        Ok(Options { limits, scheme, config, persistence })
    }
}

fn read_config(path: &Path) -> Result<Config, RunError> {
    let text = fs::read_to_string(path).map_err(|source| RunError::Read { path: path.to_owned(), source })?;
    Config::parse(&text).map_err(|source| RunError::Config { path: path.to_owned(), source })
}

impl WebArgs {
    fn options(&self, is_checked: bool, flags: BTreeMap<String, String>) -> WebOptions {
        let external =
            self.external_url.split_once("://").map_or("", |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
        let prefix = |path: &str| {
            let path = path.trim_matches('/');
            if path.is_empty() { String::new() } else { format!("/{path}") }
        };
        let route_prefix = if self.route_prefix.is_empty() { external } else { &self.route_prefix };
        WebOptions {
            telemetry_path: format!("/{}", self.telemetry_path.trim_matches('/')),
            route_prefix: prefix(route_prefix),
            external_prefix: prefix(external),
            enable_lifecycle: self.enable_lifecycle,
            enable_admin_api: self.enable_admin_api,
            is_checked,
            flags,
        }
    }
}

/// `host:port`; without a host every address of the machine.
fn address(text: &str) -> Result<SocketAddr, RunError> {
    let wrong = || RunError::Address(text.to_owned());
    if let Some(port) = text.strip_prefix(':') {
        let port: u16 = port.parse().map_err(|_| wrong())?;
        return Ok((Ipv6Addr::UNSPECIFIED, port).into());
    }
    text.to_socket_addrs().map_err(|_| wrong())?.next().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_has_the_limits_defaults() {
        Cli::command().debug_assert();
        let cli = Cli::parse_from(["metrics-gateway"]);
        assert_eq!(format!("{:?}", cli.limits), format!("{:?}", Limits::default()));
    }

    #[test]
    fn command_lines_of_pushgateway_are_understood() {
        let line = "metrics-gateway --web.listen-address=:9091 --web.external-url=http://x:1/push/ --persistence.file=/data/m \
                    --persistence.interval=5m --push.enable-utf8-names --log.level=debug --web.enable-admin-api";
        let cli = Cli::parse_from(line.split_whitespace());
        let options = cli.web.options(true, BTreeMap::new());
        assert_eq!((options.route_prefix.as_str(), options.external_prefix.as_str()), ("/push", "/push"));
        let options = cli.store.options(Limits::default()).unwrap();
        assert_eq!(options.persistence.unwrap().folder, PathBuf::from("/data/m.journal"));
    }
}
