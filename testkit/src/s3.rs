//! An S3 server: versitygw over a folder.
//!
//! Attributes of objects are kept in a folder beside them, not in extended attributes, which some file systems lack.

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

/// A running S3 server; it ends on drop, with its data.
#[derive(Debug)]
pub struct S3Server {
    server: Server,
    port: Port,
    ca_pem: Option<String>,
    folder: Folder,
}

impl S3Server {
    /// Region to sign requests for.
    pub const REGION: &str = "us-east-1";
    /// Access key of the only account.
    pub const ACCESS_KEY: &str = "stowage-tests";
    /// Secret key of the only account.
    pub const SECRET_KEY: &str = "stowage-tests-secret";

    /// Starts the server without a bucket.
    ///
    /// # Panics
    /// When it cannot be started; the message has the log's last lines.
    pub async fn start() -> Self {
        Self::try_start().await.unwrap_or_else(|error| panic!("start an S3 server: {}", error.chain()))
    }

    /// As [`S3Server::start`], for callers that report the error themselves.
    ///
    /// # Errors
    /// [`StartError`], named by the phase that failed.
    pub async fn try_start() -> Result<Self, StartError> {
        Self::try_start_with(false).await
    }

    /// As [`S3Server::start`], with HTTPS and a certificate of [`S3Server::ca_pem`].
    ///
    /// # Panics
    /// As [`S3Server::start`].
    pub async fn start_tls() -> Self {
        Self::try_start_with(true).await.unwrap_or_else(|error| panic!("start an S3 server: {}", error.chain()))
    }

    async fn try_start_with(tls: bool) -> Result<Self, StartError> {
        let folder = Folder::new("s3").map_err(StartError::prepare("a folder"))?;
        for name in ["buckets", "attributes"] {
            fs::create_dir(folder.path().join(name)).map_err(StartError::prepare(name))?;
        }
        let port = Port::reserve().map_err(StartError::prepare("a port for versitygw"))?;
        let address = format!("127.0.0.1:{}", port.number());
        let tls = if tls { Some(TlsFiles::write(folder.path(), &[])?) } else { None };
        let mut command = ServerCommand::new("versitygw", find_tool("versitygw")?, folder.path())
            .env("ROOT_ACCESS_KEY", Self::ACCESS_KEY)
            .env("ROOT_SECRET_KEY", Self::SECRET_KEY)
            .args(["--port", &address, "--region", Self::REGION, "--quiet", "--keep-alive"]);
        if let Some(TlsFiles { certificate, key, .. }) = &tls {
            command = command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        let folders = ["attributes", "buckets"].map(|name| folder.path().join(name));
        let command = command.args(["posix", "--sidecar"]).args(folders);
        let mut server = Server::spawn(command)?;
        server.wait_until(START_MAX, || async { TcpStream::connect(&address).await.is_ok() }).await?;
        Ok(Self { server, port, ca_pem: tls.map(|tls| tls.ca_pem), folder })
    }

    /// Base URL, `http://127.0.0.1:<port>` (or `https`); buckets are addressed by path.
    pub fn endpoint(&self) -> String {
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port.number())
    }

    /// The server's port on loopback.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The authority (PEM) of the server's certificate.
    ///
    /// # Panics
    /// When it was started without one.
    pub fn ca_pem(&self) -> &str {
        self.ca_pem.as_deref().expect("the server must have been started with start_tls()")
    }

    /// Creates an empty bucket.
    ///
    /// # Panics
    /// When it exists.
    pub fn create_bucket(&self, name: &str) {
        fs::create_dir(self.bucket(name)).unwrap_or_else(|error| panic!("create bucket {name}: {error}"));
    }

    /// The folder that holds a bucket's objects as files, for a test that damages one.
    pub fn bucket(&self, name: &str) -> PathBuf {
        self.folder.path().join("buckets").join(name)
    }

    /// A bucket, or a folder in it, in restic's notation: `s3:http://127.0.0.1:<port>/<path>`.
    pub fn restic_repository(&self, path: &str) -> String {
        format!("s3:{}/{path}", self.endpoint())
    }

    /// The variables by which S3 clients and restic find the account and its region.
    pub fn environment(&self) -> [(&'static str, &'static str); 3] {
        [
            ("AWS_ACCESS_KEY_ID", Self::ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", Self::SECRET_KEY),
            ("AWS_DEFAULT_REGION", Self::REGION),
        ]
    }

    /// The running server, for example to let it hang with the signal `STOP`.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }
}
