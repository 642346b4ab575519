//! This service's key pair, and the dispatcher's public keys.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::Client;
use proto::{
    key::{AgreementKey, KeyId, PublicKey, Seed},
    session_access::{DISPATCHER_KEYS, UPLOADER_KEYS},
};
use runtime::{
    chain,
    keyring::{self, KeyringSettings, Seeds},
    ready::Waiting,
    shutdown::Drain,
    tasks::TaskResult,
};
use tokio::time::sleep;
use tracing::warn;

/// Secret with the private keys.
const SECRET: &str = "stowage-uploader-keys";
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Time between two looks while something is missing.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Time between two looks that an unknown key asks for: whoever sends nonsense shall not burden the API server.
const ASKED_EVERY: Duration = Duration::from_secs(2);
const DAY: Duration = Duration::from_secs(86_400);

/// The keys. Clones share them.
#[derive(Clone)]
pub(super) struct Keys(Arc<Inner>);

struct Inner {
    client: Client,
    settings: KeyringSettings,
    known: Mutex<Known>,
    asked: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Default, Clone)]
struct Known {
    own: Vec<AgreementKey>,
    dispatcher: Vec<PublicKey>,
}

impl Keys {
    pub(super) fn new(client: Client, namespace: &str, days: u32) -> Self {
        let settings = KeyringSettings {
            namespace: namespace.to_owned(),
            secret: SECRET.to_owned(),
            config_map: UPLOADER_KEYS.to_owned(),
            public: |seed: Seed| AgreementKey::new(seed).public(),
            age_max: DAY * days,
        };
        Self(Arc::new(Inner { client, settings, known: Mutex::default(), asked: tokio::sync::Mutex::default() }))
    }

    /// The private key with this id. One that is not known may be another replica's newest: it is looked for.
    pub(super) async fn own(&self, id: KeyId) -> Option<AgreementKey> {
        let find = |known: Known| known.own.into_iter().find(|key| key.public().id() == id);
        if let Some(key) = find(self.known()) {
            return Some(key);
        }
        self.look_if_due().await;
        find(self.known())
    }

    /// The dispatcher's public keys; looked for again where `again` is set.
    pub(super) async fn dispatcher(&self, again: bool) -> Vec<PublicKey> {
        if again {
            self.look_if_due().await;
        }
        self.known().dispatcher
    }

    fn known(&self) -> Known {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn look_if_due(&self) {
        let mut asked = self.0.asked.lock().await;
        if asked.is_none_or(|at| at.elapsed() >= ASKED_EVERY) {
            let Inner { client, settings, .. } = &*self.0;
            match keyring::read(client, settings).await {
                Ok(seeds) => self.set_own(seeds),
                Err(error) => warn!(reason = %chain(&error), "The keys cannot be read"),
            }
            self.look_at_dispatcher().await;
            *asked = Some(Instant::now());
        }
    }

    async fn look_at_dispatcher(&self) {
        let Inner { client, settings, .. } = &*self.0;
        match keyring::public_keys(client, &settings.namespace, DISPATCHER_KEYS).await {
            Ok(keys) => self.0.known.lock().unwrap_or_else(PoisonError::into_inner).dispatcher = keys,
            Err(error) => warn!(reason = %error, "The dispatcher's public keys cannot be read"),
        }
    }

    fn set_own(&self, seeds: Seeds) {
        let own = seeds.into_values().rev().map(AgreementKey::new).collect();
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner).own = own;
    }
}

/// Looks at the keys now and then, and makes one where it is time. `waiting` is dropped when there is one.
pub(super) async fn run(keys: Keys, waiting: Waiting, mut drain: Drain) -> TaskResult {
    let mut waiting = Some(waiting);
    while !drain.is_signaled() {
        let Inner { client, settings, .. } = &*keys.0;
        match keyring::ensure(client, settings, Timestamp::now()).await {
            Ok(seeds) => {
                keys.set_own(seeds);
                drop(waiting.take());
            }
            Err(error) => warn!(reason = %chain(&error), "The key pair cannot be looked after"),
        }
        keys.look_at_dispatcher().await;
        let complete = waiting.is_none() && !keys.known().dispatcher.is_empty();
        let pause = if complete { LOOK_EVERY } else { LOOK_AGAIN };
        tokio::select! { () = sleep(pause) => {} () = drain.signaled() => {} }
    }
    Ok(())
}
