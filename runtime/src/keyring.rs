//! Key pairs of a service, kept in a Secret that its replicas share; their public halves, in a ConfigMap for the other side.
//!
//! 1. The first replica that finds no key makes one. Of two that do so at once one wins, by the API server's versions; the other
//!    takes the winner's.
//! 2. **Rotation**: a key that is older than [`KeyringSettings::age_max`] gets a successor; the one before it stays valid, as sessions under
//!    way were given its public half. Deleting the Secret makes a new key at the next look, and ends the old ones at once.
//! 3. The Secret is written before the ConfigMap: what others are given, every replica can find.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use proto::key::{InvalidKey, KEY_BYTES, PublicKey, Seed};
use tracing::{info, warn};

/// Keys that are valid at once: the newest and the one before.
const KEYS_KEPT: usize = 2;
/// Attempts when another replica writes at the same time.
const CONFLICTS_MAX: usize = 5;

/// Which keys, and where they are kept.
#[derive(Debug, Clone)]
pub struct KeyringSettings {
    /// Namespace of the services.
    pub namespace: String,
    /// Name of the Secret.
    pub secret: String,
    /// Name of the ConfigMap.
    pub config_map: String,
    /// The public half of a seed.
    pub public: fn(Seed) -> PublicKey,
    /// Age at which a key gets a successor.
    pub age_max: Duration,
}

/// The keys could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The API server did not do what it was asked.
    #[error("{verb} {kind} {namespace}/{name}")]
    Kubernetes {
        /// What was asked.
        verb: &'static str,
        /// Secret or ConfigMap.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Why it was not done.
        #[source]
        source: Box<kube::Error>,
    },
    /// The system gives no random numbers.
    #[error("draw a key")]
    Random(#[source] getrandom::Error),
    /// Others write at the same time, again and again.
    #[error("write Secret {0}: other replicas keep changing it")]
    Contended(String),
}

/// Keys by the time of their making, as seconds since 1970, newest last.
pub type Seeds = BTreeMap<i64, Seed>;

/// What is to be done with the keys that were found.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyPlan {
    /// A key is needed.
    pub make: bool,
    /// These are not needed any more.
    pub drop: Vec<i64>,
}

/// What is to be done with keys made at these times.
pub fn plan(made_at: &[i64], now: Timestamp, age_max: Duration) -> KeyPlan {
    let mut made_at = made_at.to_vec();
    made_at.sort_unstable();
    let age = made_at.last().map(|newest| now.as_second().saturating_sub(*newest));
    let make = age.is_none_or(|age| u64::try_from(age).is_ok_and(|age| age > age_max.as_secs()));
    let kept = KEYS_KEPT - usize::from(make);
    let drop = made_at[..made_at.len().saturating_sub(kept)].to_vec();
    KeyPlan { make, drop }
}

/// The keys, with a new one where there is none or the newest is too old; their public halves are published.
///
/// # Errors
/// [`KeyringError`].
pub async fn ensure(client: &Client, settings: &KeyringSettings, now: Timestamp) -> Result<Seeds, KeyringError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &settings.namespace);
    for _ in 0..CONFLICTS_MAX {
        let found = secrets.get_opt(&settings.secret).await.map_err(failed(settings, "get", "Secret"))?;
        let mut seeds = found.as_ref().map(readable).unwrap_or_default();
        let KeyPlan { make, drop } = plan(&seeds.keys().copied().collect::<Vec<_>>(), now, settings.age_max);
        if !make && drop.is_empty() {
            publish(client, settings, &seeds).await?;
            return Ok(seeds);
        }
        seeds.retain(|made_at, _| !drop.contains(made_at));
        if make {
            seeds.insert(now.as_second(), draw()?);
        }
        if write(&secrets, settings, found, &seeds).await? {
            info!(secret = %settings.secret, keys = seeds.len(), "Made a key pair");
            publish(client, settings, &seeds).await?;
            return Ok(seeds);
        }
    }
    Err(KeyringError::Contended(settings.secret.clone()))
}

/// The keys as they are now, without making any.
///
/// # Errors
/// [`KeyringError::Kubernetes`].
pub async fn read(client: &Client, settings: &KeyringSettings) -> Result<Seeds, KeyringError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &settings.namespace);
    let found = secrets.get_opt(&settings.secret).await.map_err(failed(settings, "get", "Secret"))?;
    Ok(found.as_ref().map(readable).unwrap_or_default())
}

/// The public keys in another service's ConfigMap, newest first; empty while it has not published any.
///
/// # Errors
/// The API server does not give the ConfigMap.
pub async fn public_keys(client: &Client, namespace: &str, config_map: &str) -> Result<Vec<PublicKey>, kube::Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = maps.get_opt(config_map).await?;
    let data = found.and_then(|map| map.data).unwrap_or_default();
    let mut keys: Vec<(i64, PublicKey)> =
        data.iter().filter_map(|(name, text)| Some((name.parse().ok()?, PublicKey::parse(text).ok()?))).collect();
    keys.sort_unstable_by_key(|(made_at, _)| std::cmp::Reverse(*made_at));
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}

/// The keys of a Secret. What is none is left out, and said so.
fn readable(secret: &Secret) -> Seeds {
    let entries = secret.data.iter().flatten();
    let parsed = entries.filter_map(|(name, ByteString(value))| {
        let seed = std::str::from_utf8(value).map_err(|_| InvalidKey).and_then(Seed::parse);
        match (name.parse(), seed) {
            (Ok(made_at), Ok(seed)) => Some((made_at, seed)),
            _ => {
                warn!(secret = secret.metadata.name, entry = name, "An entry of the Secret is no key");
                None
            }
        }
    });
    parsed.collect()
}

fn draw() -> Result<Seed, KeyringError> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(KeyringError::Random)?;
    Ok(Seed::new(bytes))
}

/// Writes the Secret; `false` when another replica was faster.
async fn write(
    secrets: &Api<Secret>,
    settings: &KeyringSettings,
    found: Option<Secret>,
    seeds: &Seeds,
) -> Result<bool, KeyringError> {
    let data = seeds.iter().map(|(made_at, seed)| (made_at.to_string(), ByteString(seed.reveal().as_bytes().to_vec())));
    let data = Some(data.collect());
    let written = match found {
        // The version that was read goes with it: who wrote since then wins.
        Some(secret) => secrets.replace(&settings.secret, &PostParams::default(), &Secret { data, ..secret }).await,
        None => {
            let metadata = ObjectMeta { name: Some(settings.secret.clone()), ..ObjectMeta::default() };
            secrets.create(&PostParams::default(), &Secret { metadata, data, ..Secret::default() }).await
        }
    };
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(failed(settings, "write", "Secret")(error)),
    }
}

async fn publish(client: &Client, settings: &KeyringSettings, seeds: &Seeds) -> Result<(), KeyringError> {
    let KeyringSettings { namespace, config_map, public, .. } = settings;
    let data: BTreeMap<String, String> =
        seeds.iter().map(|(made_at, seed)| (made_at.to_string(), public(seed.clone()).to_string())).collect();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = maps.get_opt(config_map).await.map_err(failed(settings, "get", "ConfigMap"))?;
    if found.is_some_and(|map| map.data.as_ref() == Some(&data)) {
        return Ok(());
    }
    let metadata = ObjectMeta { name: Some(config_map.clone()), ..ObjectMeta::default() };
    let map = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
    let parameters = PatchParams::apply("stowage-keyring").force();
    maps.patch(config_map, &parameters, &Patch::Apply(&map)).await.map_err(failed(settings, "apply", "ConfigMap"))?;
    Ok(())
}

fn failed(
    settings: &KeyringSettings,
    verb: &'static str,
    kind: &'static str,
) -> impl FnOnce(kube::Error) -> KeyringError {
    let namespace = settings.namespace.clone();
    let name = if kind == "Secret" { &settings.secret } else { &settings.config_map }.clone();
    move |source| KeyringError::Kubernetes { verb, kind, namespace, name, source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn a_key_is_made_when_there_is_none_or_the_newest_is_too_old() {
        let day = 86_400;
        let table: [(&[i64], i64, bool, &[i64]); 6] = [
            (&[], 5, true, &[]),
            (&[5], 5, false, &[]),
            (&[5], 5 + day, false, &[]),
            (&[5], 6 + day, true, &[]),
            (&[5, 6], 7 + day, true, &[5]),
            (&[7, 6, 5], 8, false, &[5]),
        ];
        for (made_at, now, make, drop) in table {
            assert_eq!(plan(made_at, at(now), DAY), KeyPlan { make, drop: drop.to_vec() }, "{made_at:?} at {now}");
        }
    }

    #[test]
    fn a_key_of_the_future_is_not_replaced() {
        assert_eq!(plan(&[9_000_000], at(5), DAY), KeyPlan { make: false, drop: vec![] });
    }
}
