//! The program `testbed`: a real, filled control plane for a command or for a person.
//!
//! 1. Standard output belongs to the command; what `testbed` itself says goes to standard error.
//! 2. The command finds the cluster by `KUBECONFIG`, and the pinned kubectl and restic by `PATH`.
//! 3. Everything is gone when it ends, in whatever way: the servers die with this process (see [`crate::Server`]).

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{ExitCode, ExitStatus},
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand};
use tokio::{
    process::Command,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    ControlPlane, Node, PopulateError, Population, S3Server, StartError,
    node::{Forward, Reason},
    population::try_populate,
    tool::tools_folder,
};

/// Time between two lines of progress.
const REPORT_EVERY: Duration = Duration::from_secs(2);
/// Exit code when the test bed itself fails, apart from the codes that commands commonly end with.
const FAILED: u8 = 125;
/// What a shell adds to the number of the signal that ended a command.
const ENDED_BY_SIGNAL: u8 = 128;

/// A real Kubernetes control plane, full of objects, for one command.
///
/// Starts etcd and kube-apiserver on free loopback ports, fills the cluster with varied objects, and removes everything
/// again at the end. Nothing is downloaded and no privileges are needed; `make tools` builds the programs.
#[derive(Debug, Parser)]
#[command(name = "testbed", after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  testbed run -- kubectl get namespaces                 an empty cluster, one command
  testbed run --objects 3000 -- ./demo/run.sh           a cluster with 3,000 objects in 10 namespaces
  testbed run --objects 200000 --namespaces 200 -- sh   a shell in a large one: `exit` ends it
  testbed up --objects 3000 --controller-manager        keeps running; prints what to export in another terminal
  testbed up --node --image target/images/nats.tar      with a node where Pods run (Linux, root)

The command gets KUBECONFIG, and finds the pinned kubectl and restic on its PATH. With --s3 it also gets AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, and in TESTBED_S3 a bucket in restic's notation (s3:http://…/testbed); with --node
too, TESTBED_S3_IN_PODS is the same bucket as Pods reach it.
testbed ends with the command's exit code, or with 125 when it could not start the cluster.";

#[derive(Debug, Subcommand)]
enum Action {
    /// Start a cluster, run a command, stop the cluster, end with the command's exit code.
    Run {
        #[command(flatten)]
        bed: Bed,
        /// The command and its arguments, after `--`.
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Say whether a node can run here, and if not, why. Exit code 0 or 1.
    NodeCheck,
    /// Start a cluster, print its KUBECONFIG, and keep it until Ctrl-C.
    Up {
        #[command(flatten)]
        bed: Bed,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct Bed {
    /// Fill the cluster with so many objects in all; 0 leaves it empty.
    #[arg(long, default_value_t = 0)]
    objects: usize,
    /// Spread them over so many namespaces.
    #[arg(long, default_value_t = 10)]
    namespaces: usize,
    /// Let so many of them be ConfigMaps of 900 KB.
    #[arg(long, default_value_t = 2)]
    large: usize,
    /// Decides names and contents: the same number gives the same cluster.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Run kube-controller-manager too: Deployments get Pods, garbage is collected.
    #[arg(long)]
    controller_manager: bool,
    /// Run a node too, with all that Pods need: they really run. Needs Linux, root and containerd.
    #[arg(long)]
    node: bool,
    /// Give the node the images of this archive, as `docker save` writes it; may be repeated.
    #[arg(long, value_name = "ARCHIVE", requires = "node")]
    image: Vec<PathBuf>,
    /// Run an S3 server with a bucket too.
    #[arg(long)]
    s3: bool,
}

/// Why there is no test bed, named by the phase.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("run a node here")]
    Node(#[source] Reason),
    #[error("start the servers")]
    Start(#[source] StartError),
    #[error("fill the cluster")]
    Fill(#[source] PopulateError),
    #[error("run {command}")]
    Run {
        command: String,
        #[source]
        source: io::Error,
    },
    #[error("wait for signals")]
    Signals(#[source] io::Error),
}

impl Args {
    /// Does what the command line says, and returns the exit code of the command.
    pub async fn run(self) -> ExitCode {
        let ended = match self.action {
            Action::Run { bed, command } => run(&bed, &command).await,
            Action::Up { bed } => up(&bed).await,
            Action::NodeCheck => Ok(node_check()),
        };
        ended.map_or_else(
            |failure| {
                say(&chain(&failure));
                ExitCode::from(FAILED)
            },
            ExitCode::from,
        )
    }
}

/// The servers of one test bed.
struct Servers {
    // Before the servers that it leads to.
    s3_in_pods: Option<Forward>,
    cluster: Cluster,
    s3: Option<S3Server>,
}

enum Cluster {
    ControlPlane(Box<ControlPlane>),
    Node(Box<Node>),
}

impl Cluster {
    async fn start(bed: &Bed) -> Result<Self, Failure> {
        if !bed.node {
            let builder = ControlPlane::builder().controller_manager(bed.controller_manager);
            return Ok(Self::ControlPlane(Box::new(builder.try_start().await.map_err(Failure::Start)?)));
        }
        Node::can_run().map_err(Failure::Node)?;
        let node = Node::try_start().await.map_err(Failure::Start)?;
        bed.image.iter().try_for_each(|archive| node.try_import(archive)).map_err(Failure::Start)?;
        Ok(Self::Node(Box::new(node)))
    }

    fn control_plane(&self) -> &ControlPlane {
        match self {
            Self::ControlPlane(control_plane) => control_plane,
            Self::Node(node) => node.control_plane(),
        }
    }
}

async fn run(bed: &Bed, command: &[OsString]) -> Result<u8, Failure> {
    let mut signals = Signals::new()?;
    let servers = tokio::select! {
        servers = start(bed) => servers?,
        number = signals.next() => return Ok(ENDED_BY_SIGNAL + number),
    };
    let (program, arguments) = command.split_first().expect("clap must have asked for a command");
    let failed = |source| Failure::Run { command: program.to_string_lossy().into_owned(), source };
    let mut child = Command::new(program);
    child.args(arguments).envs(variables(&servers)).kill_on_drop(true);
    let mut child = child.spawn().map_err(failed)?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(exit_code(status.map_err(failed)?)),
            number = signals.next() => {
                // Ctrl-C has reached the command as well; it decides when to end.
                if number != INTERRUPT {
                    return Ok(ENDED_BY_SIGNAL + number);
                }
            }
        }
    }
}

fn node_check() -> u8 {
    match Node::can_run() {
        Ok(()) => 0,
        Err(reason) => {
            say(&chain(&reason));
            1
        }
    }
}

async fn up(bed: &Bed) -> Result<u8, Failure> {
    let mut signals = Signals::new()?;
    let number = tokio::select! {
        servers = start(bed) => {
            let servers = servers?;
            let mut out = io::stdout();
            for (name, value) in variables(&servers) {
                // A closed pipe at the other end is no reason to stop.
                let _ = writeln!(out, "export {name}='{}'", value.to_string_lossy());
            }
            let _ = out.flush();
            say("the cluster is up; Ctrl-C stops it and removes everything");
            signals.next().await
        }
        number = signals.next() => number,
    };
    Ok(if number == INTERRUPT { 0 } else { ENDED_BY_SIGNAL + number })
}

async fn start(bed: &Bed) -> Result<Servers, Failure> {
    let started = Instant::now();
    let cluster = Cluster::start(bed).await?;
    let s3 = if bed.s3 { Some(S3Server::try_start().await.map_err(Failure::Start)?) } else { None };
    if let Some(s3) = &s3 {
        s3.create_bucket(BUCKET);
    }
    let s3_in_pods = match (&cluster, &s3) {
        (Cluster::Node(node), Some(s3)) => Some(node.publish(s3.port()).await),
        _ => None,
    };
    let what = if bed.node { "node" } else { "control plane" };
    say(&format!("the {what} is ready after {:.1} s", started.elapsed().as_secs_f64()));
    if bed.objects > 0 {
        fill(bed, cluster.control_plane()).await?;
    }
    Ok(Servers { s3_in_pods, cluster, s3 })
}

async fn fill(bed: &Bed, control_plane: &ControlPlane) -> Result<(), Failure> {
    let Bed { objects, namespaces, large, seed, .. } = *bed;
    let population = Population { seed, namespaces, objects, large };
    let started = Instant::now();
    let mut reported = started;
    let client = control_plane.client().await;
    let populated = try_populate(&client, &population, |so_far| {
        if reported.elapsed() >= REPORT_EVERY {
            reported = Instant::now();
            say(&format!("{} of {objects} objects", so_far.objects));
        }
    });
    let populated = populated.await.map_err(Failure::Fill)?;
    let (seconds, megabytes) = (started.elapsed().as_secs_f64(), populated.bytes / 1_000_000);
    say(&format!("{} objects, {megabytes} MB of JSON, created in {seconds:.1} s", populated.objects));
    Ok(())
}

/// Name of the bucket that `--s3` creates.
const BUCKET: &str = "testbed";

fn variables(servers: &Servers) -> Vec<(&'static str, OsString)> {
    let mut variables = vec![("KUBECONFIG", servers.cluster.control_plane().kubeconfig_path().into_os_string())];
    if let Some(s3) = &servers.s3 {
        variables.extend(s3.environment().map(|(name, value)| (name, value.into())));
        variables.push(("TESTBED_S3", s3.restic_repository(BUCKET).into()));
    }
    if let Some(forward) = &servers.s3_in_pods {
        variables.push(("TESTBED_S3_IN_PODS", format!("s3:http://{}/{BUCKET}", forward.address()).into()));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [tools_folder()].into_iter().chain(env::split_paths(&path));
    // Only a folder with a colon in its name cannot be joined; the command then keeps its own PATH.
    variables.extend(env::join_paths(folders).ok().map(|path| ("PATH", path)));
    variables
}

/// As a shell has it: the code, or 128 and the number of the signal.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|number| i32::from(ENDED_BY_SIGNAL) + number));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}

/// Number of the signal that Ctrl-C sends.
const INTERRUPT: u8 = 2;
/// Number of the signal that asks a program to end.
const TERMINATE: u8 = 15;

/// The signals that end this program in order.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let interrupt = signal(SignalKind::interrupt()).map_err(Failure::Signals)?;
        let terminate = signal(SignalKind::terminate()).map_err(Failure::Signals)?;
        Ok(Self { interrupt, terminate })
    }

    /// The number of the next one.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => INTERRUPT,
            _ = self.terminate.recv() => TERMINATE,
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn say(line: &str) {
    // Nobody reads it any more: no reason to stop.
    let _ = writeln!(io::stderr(), "testbed: {line}");
}
