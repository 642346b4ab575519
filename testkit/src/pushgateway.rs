//! Prometheus' own Pushgateway: the judge of what a push means.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::{
    folder::Folder,
    port::Port,
    server::{Server, ServerCommand, StartError},
    tool::find_tool,
};

/// How long it may take to listen; it takes about 0.1 s.
const START_MAX: Duration = Duration::from_secs(30);

/// A running Pushgateway; it ends on drop.
#[derive(Debug)]
pub struct Pushgateway {
    server: Server,
    port: Port,
    _folder: Folder,
}

impl Pushgateway {
    /// Starts it with these arguments, for example `["--web.enable-admin-api"]`.
    ///
    /// # Panics
    /// When it cannot be started; the message has the log's last lines.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::try_start(arguments).await.unwrap_or_else(|error| panic!("start a Pushgateway: {}", error.chain()))
    }

    async fn try_start(arguments: &[&str]) -> Result<Self, StartError> {
        let folder = Folder::new("pushgateway").map_err(StartError::prepare("a folder"))?;
        let port = Port::reserve().map_err(StartError::prepare("a port for pushgateway"))?;
        let address = format!("127.0.0.1:{}", port.number());
        let command = ServerCommand::new("pushgateway", find_tool("pushgateway")?, folder.path())
            .arg(format!("--web.listen-address={address}"))
            .args(arguments);
        let mut server = Server::spawn(command)?;
        server.wait_until(START_MAX, || async { TcpStream::connect(&address).await.is_ok() }).await?;
        Ok(Self { server, port, _folder: folder })
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// The running server.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }
}
