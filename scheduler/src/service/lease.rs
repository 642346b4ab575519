//! Which replica acts: the one that holds the Lease.
//!
//! 1. A Lease counts as given up when it did not change for [`LEASE_FOR`] on our own clock: clocks of others do not matter.
//! 2. Who cannot renew stops to act before the others begin.
//! 3. On drain the Lease is given back, so that the next one need not wait.
//! 4. Should two act at once all the same: they do the same, and writes name the version that they were made from.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use runtime::{chain, shutdown::Drain, tasks::TaskResult};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{info, warn};

/// Name of the Lease.
const NAME: &str = "stowage-scheduler";
/// Time after which a Lease that nobody renews is taken over.
const LEASE_FOR: Duration = Duration::from_secs(15);
/// [`LEASE_FOR`] as it stands in the Lease.
const LEASE_SECONDS: i32 = 15;
/// Time after which who cannot renew stops to act.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// Time between renewals, and between looks of those that wait.
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// Holds the Lease whenever nobody else does, and says so in `leads`.
pub(super) async fn run(
    client: Client,
    namespace: String,
    identity: String,
    leads: watch::Sender<bool>,
    mut drain: Drain,
) -> TaskResult {
    let mut holder = Holder { api: Api::namespaced(client, &namespace), identity, seen: None };
    let mut renewed = Instant::now();
    loop {
        match timeout(GIVE_UP_AFTER, holder.hold()).await {
            Ok(Ok(holds)) => {
                renewed = Instant::now();
                holder.say(&leads, holds);
            }
            Ok(Err(error)) => warn!(reason = %chain(&error), "Cannot renew the Lease"),
            Err(_) => warn!("The API server does not answer about the Lease"),
        }
        if renewed.elapsed() >= GIVE_UP_AFTER {
            holder.say(&leads, false);
        }
        tokio::select! { () = sleep(RENEW_EVERY) => {} () = drain.signaled() => break }
    }
    if *leads.borrow() {
        let _ = timeout(RENEW_EVERY, holder.give_back()).await;
    }
    Ok(())
}

struct Holder {
    api: Api<Lease>,
    identity: String,
    /// The version of the Lease that was seen last, and since when it is that.
    seen: Option<(String, Instant)>,
}

impl Holder {
    fn say(&self, leads: &watch::Sender<bool>, holds: bool) {
        let changed = leads.send_if_modified(|leads| std::mem::replace(leads, holds) != holds);
        if changed {
            info!(identity = %self.identity, acts = holds, "The Lease has changed hands");
        }
    }

    /// Takes or renews the Lease if that may be. Returns whether it is held now.
    async fn hold(&mut self) -> kube::Result<bool> {
        let Some(present) = self.api.get_opt(NAME).await? else {
            let lease = self.lease(ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() });
            return self.won(self.api.create(&PostParams::default(), &lease).await);
        };
        let version = present.metadata.resource_version.clone().unwrap_or_default();
        let owner = present.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => Instant::now(),
        };
        self.seen = Some((version, since));
        if owner != self.identity && !owner.is_empty() && since.elapsed() < LEASE_FOR {
            return Ok(false);
        }
        let lease = self.lease(present.metadata);
        self.won(self.api.replace(NAME, &PostParams::default(), &lease).await)
    }

    fn lease(&self, metadata: ObjectMeta) -> Lease {
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        };
        Lease { metadata, spec: Some(spec) }
    }

    /// A write that somebody else was faster with is no error: he has it.
    fn won(&self, written: kube::Result<Lease>) -> kube::Result<bool> {
        const CONFLICT: u16 = 409;
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == CONFLICT => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn give_back(&self) -> kube::Result<()> {
        let present = self.api.get(NAME).await?;
        let mut lease = self.lease(present.metadata);
        lease.spec = Some(LeaseSpec { holder_identity: Some(String::new()), ..LeaseSpec::default() });
        self.api.replace(NAME, &PostParams::default(), &lease).await.map(drop)
    }
}
