//! restic's own rest-server over a folder.

use std::{fs, path::PathBuf, time::Duration};

use tokio::net::TcpStream;

use crate::{
    folder::Folder,
    port::Port,
    server::{Server, ServerCommand, StartError},
    tls_files::TlsFiles,
    tool::find_tool,
};

/// How long the server may take to listen; it takes about 0.1 s.
const START_MAX: Duration = Duration::from_secs(30);

/// The only user with the password's SHA-1, as Apache's `htpasswd -s` writes it.
const HTPASSWD: &str = "stowage-tests:{SHA}oGIAhdHl4P+/NFyH4DkNR6wmn7c=\n";

/// A running rest-server; it ends on drop, with its repositories.
#[derive(Debug)]
pub struct RestServer {
    server: Server,
    port: Port,
    ca_pem: Option<String>,
    folder: Folder,
}

impl RestServer {
    /// Name of the only user.
    pub const USER: &str = "stowage-tests";
    /// Password of the only user.
    pub const PASSWORD: &str = "stowage-tests-secret";

    /// Starts the server over an empty folder; it asks for the user.
    ///
    /// # Panics
    /// When it cannot be started; the message has the log's last lines.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// As [`RestServer::start`], with further arguments, for example `["--append-only"]`.
    ///
    /// # Panics
    /// As [`RestServer::start`].
    pub async fn start_with(arguments: &[&str]) -> Self {
        Self::try_start(arguments, false).await.unwrap_or_else(|error| panic!("start a rest-server: {}", error.chain()))
    }

    /// As [`RestServer::start`], with HTTPS and a certificate of [`RestServer::ca_pem`].
    ///
    /// # Panics
    /// As [`RestServer::start`].
    pub async fn start_tls() -> Self {
        Self::try_start(&[], true).await.unwrap_or_else(|error| panic!("start a rest-server: {}", error.chain()))
    }

    async fn try_start(arguments: &[&str], tls: bool) -> Result<Self, StartError> {
        let folder = Folder::new("rest-server").map_err(StartError::prepare("a folder"))?;
        fs::write(folder.path().join("users"), HTPASSWD).map_err(StartError::prepare("the users"))?;
        // With a quota the server counts what is there, and wants the folder to be there too.
        fs::create_dir(folder.path().join("data")).map_err(StartError::prepare("data"))?;
        let port = Port::reserve().map_err(StartError::prepare("a port for rest-server"))?;
        let address = format!("127.0.0.1:{}", port.number());
        let mut command = ServerCommand::new("rest-server", find_tool("rest-server")?, folder.path())
            .args(["--listen", &address, "--path", "data", "--htpasswd-file", "users"])
            .args(arguments);
        let tls = if tls { Some(TlsFiles::write(folder.path(), &[])?) } else { None };
        if let Some(TlsFiles { certificate, key, .. }) = &tls {
            command = command.arg("--tls").arg("--tls-cert").arg(certificate).arg("--tls-key").arg(key);
        }
        let mut server = Server::spawn(command)?;
        server.wait_until(START_MAX, || async { TcpStream::connect(&address).await.is_ok() }).await?;
        Ok(Self { server, port, ca_pem: tls.map(|tls| tls.ca_pem), folder })
    }

    /// Base URL without the user, `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port.number())
    }

    /// The authority (PEM) of the server's certificate.
    ///
    /// # Panics
    /// When it was started without one.
    pub fn ca_pem(&self) -> &str {
        self.ca_pem.as_deref().expect("the server must have been started with start_tls()")
    }

    /// A repository in restic's notation, without the user: `rest:http://127.0.0.1:<port>/<path>/`.
    pub fn restic_repository(&self, path: &str) -> String {
        format!("rest:{}/{path}/", self.url())
    }

    /// The variables by which restic finds the user.
    pub fn environment(&self) -> [(&'static str, &'static str); 2] {
        [("RESTIC_REST_USERNAME", Self::USER), ("RESTIC_REST_PASSWORD", Self::PASSWORD)]
    }

    /// The folder of a repository, for a test that damages one.
    pub fn repository_folder(&self, path: &str) -> PathBuf {
        self.folder.path().join("data").join(path)
    }

    /// The running server, for example to let it hang with the signal `STOP`.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }
}
