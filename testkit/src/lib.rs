//! The real programs that Stowage's tests need, started and stopped by the test that uses them.
//!
//! 1. **Real, not imitated.** A control plane is etcd and kube-apiserver; the judge of a repository is restic. [`tool`]
//!    finds the programs; `make tools` builds them once.
//! 2. **Nothing is shared.** Every server has its own temporary folder and its own loopback ports, so tests run beside
//!    each other and beside whatever else the machine does.
//! 3. **Nothing stays.** A server dies when its value is dropped, and also when the test process dies in any way
//!    ([`Server`] says how). Its log stands in its folder and its last lines in the error of a failed start.
//! 4. **Nothing sleeps.** Starting means waiting until the server answers; [`wait_for`] waits for any other condition.
//! 5. Functions that a test calls panic with one clear line where no test can go on. What the `testbed` program shares
//!    with them returns errors.

mod azure;
mod control_plane;
pub mod fault;
mod folder;
mod gcs;
pub mod image;
mod kubeconfig;
mod nats;
pub mod node;
mod pki;
mod population;
mod port;
mod prometheus;
mod pushgateway;
mod rest_server;
mod restic;
mod s3;
mod server;
mod site;
pub mod testbed;
mod tls_files;
mod tool;
mod tunnel;
mod wait;

pub use azure::AzureServer;
pub use control_plane::{ControlPlane, ControlPlaneBuilder, User};
pub use fault::{Effect, Fault, FaultProxy, PendingFault, SeenRequest};
pub use gcs::GcsServer;
pub use nats::NatsServer;
pub use node::Node;
pub use population::{PopulateError, Populated, Population, populate, try_populate};
pub use port::Port;
pub use prometheus::{Prometheus, promtool};
pub use pushgateway::Pushgateway;
pub use rest_server::RestServer;
pub use restic::{Restic, ResticOutput};
pub use s3::S3Server;
pub use server::{Server, ServerCommand, StartError};
pub use tls_files::unrelated_ca_pem;
pub use tool::{MissingTool, find_tool, tool, tools_folder};
pub use tunnel::Tunnel;
pub use wait::wait_for;
