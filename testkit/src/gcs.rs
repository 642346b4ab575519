//! A server that speaks the API of Google Cloud Storage: fake-gcs-server, with its objects in memory.

use std::{fs, time::Duration};

use tokio::net::TcpStream;

use crate::{
    folder::Folder,
    port::Port,
    server::{Server, ServerCommand, StartError},
    tool::find_tool,
};

/// How long the server may take to listen; it takes about 0.1 s.
const START_MAX: Duration = Duration::from_secs(30);

/// A running fake-gcs-server; it ends on drop, with its data.
#[derive(Debug)]
pub struct GcsServer {
    server: Server,
    port: Port,
    _folder: Folder,
}

impl GcsServer {
    /// Starts the server with empty buckets.
    ///
    /// # Panics
    /// When it cannot be started; the message has the log's last lines.
    pub async fn start(buckets: &[&str]) -> Self {
        Self::try_start(buckets).await.unwrap_or_else(|error| panic!("start a GCS server: {}", error.chain()))
    }

    async fn try_start(buckets: &[&str]) -> Result<Self, StartError> {
        let folder = Folder::new("gcs").map_err(StartError::prepare("a folder"))?;
        for bucket in buckets {
            // A folder of the seed is a bucket.
            fs::create_dir_all(folder.path().join("seed").join(bucket)).map_err(StartError::prepare(*bucket))?;
        }
        let port = Port::reserve().map_err(StartError::prepare("a port for fake-gcs-server"))?;
        let (number, address) = (port.number().to_string(), format!("127.0.0.1:{}", port.number()));
        let command = ServerCommand::new("fake-gcs-server", find_tool("fake-gcs-server")?, folder.path())
            .args(["-scheme", "http", "-host", "127.0.0.1", "-port", &number, "-public-host", &address])
            .args(["-external-url", &format!("http://{address}"), "-backend", "memory", "-data", "seed"])
            .args(["-log-level", "warn"]);
        let mut server = Server::spawn(command)?;
        server.wait_until(START_MAX, || async { TcpStream::connect(&address).await.is_ok() }).await?;
        Ok(Self { server, port, _folder: folder })
    }

    /// Base URL, `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// The variables by which Google's clients and restic find the server; the token is not looked at.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        let address = format!("127.0.0.1:{}", self.port.number());
        [
            ("STORAGE_EMULATOR_HOST", address),
            ("GOOGLE_ACCESS_TOKEN", "not-looked-at".to_owned()),
            ("GOOGLE_PROJECT_ID", "stowage-tests".to_owned()),
        ]
    }

    /// The running server, for example to let it hang with the signal `STOP`.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }
}
