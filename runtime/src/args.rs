//! Flags and environment variables that every service has. Each flag can be given as a variable of the same name, in
//! capitals and with underscores. Secrets are given as files: arguments and variables can be read by others.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum};

/// Flags of every service.
#[derive(Debug, Clone, Args)]
pub struct RuntimeArgs {
    /// How log and admin server are set up.
    #[command(flatten)]
    pub log: LogArgs,
    /// Where /live, /ready and /metrics are served.
    #[arg(long, env, default_value = "0.0.0.0:8081")]
    pub admin_address: SocketAddr,
    /// How NATS is reached.
    #[command(flatten)]
    pub nats: NatsArgs,
}

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// Form of the log's lines.
    #[arg(long, env, value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// Least important level that is logged: error, warn, info, debug or trace.
    #[arg(long, env, default_value = "info")]
    pub log_level: tracing_subscriber::filter::LevelFilter,
}

/// Form of the log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Plain text for people.
    Plain,
}

/// How NATS is reached.
#[derive(Debug, Clone, Args)]
pub struct NatsArgs {
    /// Addresses of NATS servers, separated by commas; tls:// asks for TLS.
    #[arg(long, env, default_value = "nats://nats:4222", value_delimiter = ',')]
    pub nats_url: Vec<String>,
    /// Name of the NATS user.
    #[arg(long, env, requires = "nats_password_file")]
    pub nats_user: Option<String>,
    /// File with the NATS user's password.
    #[arg(long, env, requires = "nats_user")]
    pub nats_password_file: Option<PathBuf>,
    /// File with the seed of the NATS user's key (nkey).
    #[arg(long, env, conflicts_with_all = ["nats_user", "nats_credentials_file"])]
    pub nats_nkey_file: Option<PathBuf>,
    /// File with the NATS user's token and seed, as `nsc` writes it.
    #[arg(long, env, conflicts_with = "nats_user")]
    pub nats_credentials_file: Option<PathBuf>,
    /// File with certificates of authorities, PEM. They replace those of the system.
    #[arg(long, env)]
    pub nats_ca_file: Option<PathBuf>,
    /// File with the client's certificate, PEM.
    #[arg(long, env, requires = "nats_key_file")]
    pub nats_certificate_file: Option<PathBuf>,
    /// File with the key of the client's certificate, PEM.
    #[arg(long, env, requires = "nats_certificate_file")]
    pub nats_key_file: Option<PathBuf>,
    /// Prefix of the subjects on which answers come; the NATS user must be allowed to subscribe to them.
    #[arg(long, env, default_value = "_INBOX")]
    pub nats_inbox_prefix: String,
}

impl NatsArgs {
    /// A server without users and TLS, as in the development set-up.
    pub fn plain(url: &str) -> Self {
        Self {
            nats_url: vec![url.to_owned()],
            nats_user: None,
            nats_password_file: None,
            nats_nkey_file: None,
            nats_credentials_file: None,
            nats_ca_file: None,
            nats_certificate_file: None,
            nats_key_file: None,
            nats_inbox_prefix: "_INBOX".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Service {
        #[command(flatten)]
        runtime: RuntimeArgs,
    }

    #[test]
    fn the_defaults_are_those_of_a_pod() {
        let service = Service::try_parse_from(["service"]).unwrap();
        assert_eq!(service.runtime.log.log_format, LogFormat::Json);
        assert_eq!(service.runtime.nats.nats_url, ["nats://nats:4222"]);
        assert_eq!(service.runtime.admin_address.port(), 8081);
    }

    #[test]
    fn a_user_needs_a_password_and_only_one_way_to_log_in_is_taken() {
        let refused = [
            vec!["service", "--nats-user", "u"],
            vec!["service", "--nats-nkey-file", "a", "--nats-credentials-file", "b"],
            vec!["service", "--log-level", "loud"],
        ];
        for arguments in refused {
            assert!(Service::try_parse_from(&arguments).is_err(), "{arguments:?}");
        }
    }
}
