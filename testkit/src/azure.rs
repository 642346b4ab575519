//! A server that speaks the API of Azure Blob Storage: Azurite, Azure's own emulator, with its blobs in memory.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    folder::Folder,
    port::Port,
    server::{Server, ServerCommand, StartError},
    tls_files::TlsFiles,
    tool::find_tool,
};

/// How long the server may take to listen; Node.js takes a second or two to load it.
const START_MAX: Duration = Duration::from_secs(60);

/// Domain of the account's own host name, which the certificate is for.
const ENDPOINT_SUFFIX: &str = "azurite.test";

/// A running Azurite; it ends on drop, with its data.
#[derive(Debug)]
pub struct AzureServer {
    server: Server,
    port: Port,
    ca_pem: Option<String>,
    _folder: Folder,
}

impl AzureServer {
    /// The only account.
    pub const ACCOUNT: &str = "stowagetests";
    /// Its key.
    pub const KEY: &str = "c3Rvd2FnZS10ZXN0cy1hY2NvdW50LWtleS1vZi02NC1ieXRlcywga25vd24gdG8gZXZlcnlvbmUgYW55d2F5IQ==";
    /// A shared access signature of the account: everything in blobs until 2099. Computed once from the key above.
    pub const SAS: &str = "sv=2021-06-08&ss=b&srt=sco&sp=rwdlac&se=2099-01-01T00:00:00Z&spr=https,http\
        &sig=wVlbxFZbBKpTZilfhfh24F7v1hrGZNLiiQRfgb5m3dU%3D";

    /// Starts the server with empty containers.
    ///
    /// # Panics
    /// When it cannot be started, or a container cannot be made; the message has the log's last lines.
    pub async fn start(containers: &[&str]) -> Self {
        let azure = Self::try_start(false).await;
        let azure = azure.unwrap_or_else(|error| panic!("start an Azure server: {}", error.chain()));
        for container in containers {
            azure.create_container(container).await;
        }
        azure
    }

    /// Starts the server with HTTPS, a certificate of [`AzureServer::ca_pem`], and no container.
    ///
    /// # Panics
    /// As [`AzureServer::start`].
    pub async fn start_tls() -> Self {
        Self::try_start(true).await.unwrap_or_else(|error| panic!("start an Azure server: {}", error.chain()))
    }

    async fn try_start(tls: bool) -> Result<Self, StartError> {
        let folder = Folder::new("azure").map_err(StartError::prepare("a folder"))?;
        let port = Port::reserve().map_err(StartError::prepare("a port for azurite"))?;
        let (number, address) = (port.number().to_string(), format!("127.0.0.1:{}", port.number()));
        let mut command = ServerCommand::new("azurite", find_tool("azurite")?, folder.path())
            .env("AZURITE_ACCOUNTS", format!("{}:{}", Self::ACCOUNT, Self::KEY))
            .args(["--blobHost", "127.0.0.1", "--blobPort", &number, "--inMemoryPersistence", "--silent"])
            .args(["--disableTelemetry", "--skipApiVersionCheck"]);
        let host = format!("{}.blob.{ENDPOINT_SUFFIX}", Self::ACCOUNT);
        let tls = if tls { Some(TlsFiles::write(folder.path(), &[&host])?) } else { None };
        if let Some(TlsFiles { certificate, key, .. }) = &tls {
            command = command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        let mut server = Server::spawn(command)?;
        server.wait_until(START_MAX, || async { TcpStream::connect(&address).await.is_ok() }).await?;
        Ok(Self { server, port, ca_pem: tls.map(|tls| tls.ca_pem), _folder: folder })
    }

    /// URL of the account, `http://127.0.0.1:<port>/<account>` (or `https`).
    pub fn endpoint(&self) -> String {
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/{}", self.port.number(), Self::ACCOUNT)
    }

    /// The authority (PEM) of the server's certificate.
    ///
    /// # Panics
    /// When it was started without one.
    pub fn ca_pem(&self) -> &str {
        self.ca_pem.as_deref().expect("the server must have been started with start_tls()")
    }

    /// The port, for a [`crate::Tunnel`] through which restic finds the account under its host name.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The variables by which restic finds the account; it speaks HTTPS only.
    pub fn environment(&self) -> [(&'static str, &'static str); 3] {
        [
            ("AZURE_ACCOUNT_NAME", Self::ACCOUNT),
            ("AZURE_ACCOUNT_KEY", Self::KEY),
            ("AZURE_ENDPOINT_SUFFIX", ENDPOINT_SUFFIX),
        ]
    }

    /// Creates an empty container.
    ///
    /// # Panics
    /// When it exists.
    pub async fn create_container(&self, name: &str) {
        let status = self.put_container(name).await.unwrap_or_else(|error| panic!("create container {name}: {error}"));
        assert!(status.contains(" 201 "), "create container {name}: {status}");
    }

    /// The first line of the answer.
    async fn put_container(&self, name: &str) -> io::Result<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port.number())).await?;
        let request = format!(
            "PUT /{}/{name}?restype=container&{} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nx-ms-version: 2021-06-08\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n",
            Self::ACCOUNT,
            Self::SAS,
            self.port.number(),
        );
        connection.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        Ok(answer.lines().next().unwrap_or_default().to_owned())
    }

    /// The running server, for example to let it hang with the signal `STOP`.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }
}
