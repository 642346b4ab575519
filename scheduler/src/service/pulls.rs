//! Reads the operator's own pull Secrets ([`crate::pull`]), now and then: they are few, and change when somebody renews a
//! password.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use runtime::{chain, shutdown::Drain, tasks::TaskResult};
use tokio::{sync::mpsc, time::sleep};
use tracing::warn;

use crate::{pull::PullSecret, world::Change};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Pause after a look that failed: until the first one has succeeded nothing is planned.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Reads the Secrets with these names until `drain`.
pub(super) async fn run(
    client: Client,
    namespace: String,
    names: Vec<String>,
    changes: mpsc::Sender<Change>,
    mut drain: Drain,
) -> TaskResult {
    let api: Api<Secret> = Api::namespaced(client, &namespace);
    while !drain.is_signaled() {
        let pause = match read(&api, &names).await {
            Ok(all) => {
                let _ = changes.send(Change::PullSecrets(all)).await;
                LOOK_EVERY
            }
            Err(error) => {
                warn!(%namespace, reason = %chain(&error), "Cannot read the pull Secrets");
                AGAIN_AFTER
            }
        };
        tokio::select! { () = sleep(pause) => {} () = drain.signaled() => {} }
    }
    Ok(())
}

/// Those that are there. One that is missing is said, and stops nothing: images may be public.
async fn read(api: &Api<Secret>, names: &[String]) -> kube::Result<Vec<PullSecret>> {
    let mut all = Vec::new();
    for name in names {
        match api.get_opt(name).await? {
            Some(secret) => all.push(PullSecret::of(&secret)),
            None => warn!(%name, "There is no such pull Secret"),
        }
    }
    Ok(all)
}
