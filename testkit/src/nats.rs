//! A nats-server with JetStream.

use std::{ffi::OsStr, fs, path::Path, time::Duration};

use serde_json::Value;

use crate::{
    folder::Folder,
    server::{Server, ServerCommand, StartError},
    tool::find_tool,
};

/// How long the server may take to listen; it takes about 0.1 s.
const START_MAX: Duration = Duration::from_secs(30);

/// A running nats-server; it ends on drop, with its streams.
#[derive(Debug)]
pub struct NatsServer {
    server: Server,
    url: String,
    // Last: the store is removed after the server has ended.
    _folder: Folder,
}

impl NatsServer {
    /// Starts a server with JetStream and without users.
    ///
    /// # Panics
    /// When it cannot be started; the message has the log's last lines.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with further arguments, for example `["-c", "/path/nats.conf"]`.
    ///
    /// # Panics
    /// As [`NatsServer::start`].
    pub async fn start_with(arguments: &[&str]) -> Self {
        let started = Self::try_start(arguments).await;
        started.unwrap_or_else(|error| panic!("start a nats-server: {}", error.chain()))
    }

    async fn try_start(arguments: &[&str]) -> Result<Self, StartError> {
        let folder = Folder::new("nats").map_err(StartError::prepare("a folder"))?;
        let command = ServerCommand::new("nats-server", find_tool("nats-server")?, folder.path())
            .args(["--addr", "127.0.0.1", "--port", "-1", "--ports_file_dir", ".", "-js", "-sd", "store"])
            .args(arguments);
        let mut server = Server::spawn(command)?;
        server.wait_until(START_MAX, || async { client_url(folder.path()).is_some() }).await?;
        let url = client_url(folder.path()).expect("the file must be there: it was a moment ago");
        Ok(Self { server, url, _folder: folder })
    }

    /// `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The running server, for example to let it hang with the signal `STOP`.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// The address that the server has written into its ports file: `{"nats": ["nats://…"], …}`.
fn client_url(folder: &Path) -> Option<String> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let file = entries.map(|entry| entry.path()).find(|path| path.extension() == Some(OsStr::new("ports")))?;
    // The file may be half written: then it is no JSON yet.
    let ports: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    Some(ports["nats"][0].as_str()?.to_owned())
}
