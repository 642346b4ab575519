//! A nats-server with JetStream.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

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
    server: Option<Server>,
    url: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    // Last: the store is removed after the server has ended.
    folder: Folder,
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
        let arguments = [&["-js", "-sd", "store"], arguments].concat();
        let started = Self::try_start(&arguments, &[]).await;
        started.unwrap_or_else(|error| panic!("start a nats-server: {}", error.chain()))
    }

    /// Starts a server with a configuration file and the variables that it refers to. Address and ports are the test's,
    /// whatever the file says; the folder for JetStream is the variable `NATS_STORE`.
    ///
    /// # Panics
    /// As [`NatsServer::start`], also when the file is not valid.
    pub async fn start_configured(file: &Path, environment: &[(&str, &str)]) -> Self {
        let file = file.to_string_lossy();
        let started = Self::try_start(&["-c", &file, "--http_port", "-1"], environment).await;
        started.unwrap_or_else(|error| panic!("start a nats-server with {file}: {}", error.chain()))
    }

    async fn try_start(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self, StartError> {
        let folder = Folder::new("nats").map_err(StartError::prepare("a folder"))?;
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut nats = Self { server: None, url: String::new(), arguments, environment, folder };
        nats.run("-1").await?;
        Ok(nats)
    }

    async fn run(&mut self, port: &str) -> Result<(), StartError> {
        let folder = self.folder.path();
        // A ports file of a server that was killed would be taken for the new one's.
        ports_file(folder).map(fs::remove_file);
        let mut command = ServerCommand::new("nats-server", find_tool("nats-server")?, folder)
            .args(["--addr", "127.0.0.1", "--port", port, "--ports_file_dir", "."])
            .args(&self.arguments);
        command.environment.clone_from(&self.environment);
        let command = command.env("NATS_STORE", folder.join("store").to_string_lossy());
        let mut server = Server::spawn(command)?;
        server.wait_until(START_MAX, || async { client_url(folder).is_some() }).await?;
        self.url = client_url(folder).expect("the file must be there: it was a moment ago");
        self.server = Some(server);
        Ok(())
    }

    /// Kills the server, as an outage would. Its store stays.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts the server again, at the same address and with the same store.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_again(&mut self) {
        let port = self.url.rsplit(':').next().unwrap_or_default().to_owned();
        self.run(&port).await.unwrap_or_else(|error| panic!("start nats-server again: {}", error.chain()));
    }

    /// `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Folder of the streams.
    pub fn store(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    /// The running server, for example to let it hang with the signal `STOP`.
    ///
    /// # Panics
    /// While it is stopped.
    pub fn server(&mut self) -> &mut Server {
        self.server.as_mut().expect("nats-server is stopped")
    }
}

/// The address that the server has written into its ports file: `{"nats": ["nats://…"], …}`.
fn client_url(folder: &Path) -> Option<String> {
    // The file may be half written: then it is no JSON yet.
    let ports: Value = serde_json::from_slice(&fs::read(ports_file(folder)?).ok()?).ok()?;
    Some(ports["nats"][0].as_str()?.to_owned())
}

fn ports_file(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    entries.map(|entry| entry.path()).find(|path| path.extension() == Some(OsStr::new("ports")))
}
