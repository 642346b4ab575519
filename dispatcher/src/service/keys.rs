//! The key pair that signs session tokens, and the public key of the uploader.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use proto::{
    key::SigningKey,
    session_access::{DISPATCHER_KEYS, UPLOADER_KEYS},
};
use runtime::{
    chain,
    keyring::{self, KeyringError, KeyringSettings},
    shutdown::Drain,
    tasks::TaskResult,
};
use tokio::{sync::watch, time::sleep};
use tracing::warn;

use crate::secret::{JobNats, Signer};

/// Time between two looks. A new key of the uploader is used soon enough: the one before it is valid for a month.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Time between two looks while the uploader has published no key: sessions wait for it.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Age at which a key gets a successor.
const AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Secret with the private keys, in the namespace of the services.
const SECRET: &str = "stowage-dispatcher-keys";

/// Keeps `keys` up to date until `drain`.
pub(super) async fn run(
    client: Client,
    namespace: String,
    nats: JobNats,
    keys: watch::Sender<Option<Signer>>,
    mut drain: Drain,
) -> TaskResult {
    loop {
        match look(&client, &namespace, &nats).await {
            Ok(signer) => drop(keys.send_replace(signer)),
            Err(error) => warn!(reason = %chain(&error), "Cannot look after keys at the moment"),
        }
        let is_complete = keys.borrow().as_ref().is_some_and(|signer| signer.uploader.is_some());
        let pause = if is_complete { LOOK_EVERY } else { LOOK_AGAIN };
        tokio::select! { () = sleep(pause) => {} () = drain.signaled() => return Ok(()) }
    }
}

/// Who signs now.
async fn look(client: &Client, namespace: &str, nats: &JobNats) -> Result<Option<Signer>, KeyringError> {
    let settings = KeyringSettings {
        namespace: namespace.to_owned(),
        secret: SECRET.to_owned(),
        config_map: DISPATCHER_KEYS.to_owned(),
        public: |seed| SigningKey::new(seed).public(),
        age_max: AGE_MAX,
    };
    let seeds = keyring::ensure(client, &settings, Timestamp::now()).await?;
    let uploader = match keyring::public_keys(client, namespace, UPLOADER_KEYS).await {
        Ok(keys) => keys.into_iter().next(),
        Err(error) => {
            warn!(reason = %chain(&error), "Cannot read the uploader's public key");
            None
        }
    };
    let newest = seeds.into_iter().next_back();
    Ok(newest.map(|(_, seed)| Signer { key: SigningKey::new(seed), uploader, nats: nats.clone() }))
}
