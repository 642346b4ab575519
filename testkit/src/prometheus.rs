//! Prometheus itself: the reader that every exposition is written for.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tokio::net::TcpStream;

use crate::{
    folder::Folder,
    port::Port,
    server::{Server, ServerCommand, StartError},
    tool::{find_tool, tool},
};

/// How long it may take to listen; it takes about half a second.
const START_MAX: Duration = Duration::from_secs(60);

/// A running Prometheus that scrapes one target every second; it ends on drop, with its data.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
    port: Port,
    _folder: Folder,
}

impl Prometheus {
    /// Starts it. `scrape_config` stands in its scrape configuration beside the job's name and the target, for example
    /// `honor_labels: true`.
    ///
    /// # Panics
    /// When it cannot be started; the message has the log's last lines.
    pub async fn scraping(target: &str, scrape_config: &str) -> Self {
        let started = Self::try_start(target, scrape_config).await;
        started.unwrap_or_else(|error| panic!("start a Prometheus: {}", error.chain()))
    }

    async fn try_start(target: &str, scrape_config: &str) -> Result<Self, StartError> {
        let folder = Folder::new("prometheus").map_err(StartError::prepare("a folder"))?;
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: target\n  static_configs: [{{targets: ['{target}']}}]\n  \
             {scrape_config}\n"
        );
        fs::write(folder.path().join("prometheus.yml"), config).map_err(StartError::prepare("prometheus.yml"))?;
        let port = Port::reserve().map_err(StartError::prepare("a port for prometheus"))?;
        let address = format!("127.0.0.1:{}", port.number());
        let command = ServerCommand::new("prometheus", find_tool("prometheus")?, folder.path())
            .arg(format!("--web.listen-address={address}"))
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--enable-feature=native-histograms"]);
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

/// What `promtool` says: whether it ended well, and what it printed.
///
/// # Panics
/// When promtool is not there or cannot be run.
pub fn promtool(arguments: &[&str], folder: &Path, input: &[u8]) -> (bool, String) {
    let mut process = Command::new(tool("promtool"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("run promtool: {error}"));
    // It may end before it has read everything.
    let _ = process.stdin.take().map(|mut stdin| stdin.write_all(input));
    let output = process.wait_with_output().unwrap_or_else(|error| panic!("run promtool: {error}"));
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
}
