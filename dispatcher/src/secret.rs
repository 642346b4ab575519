//! The Secret of a session's target: what its dumper proves itself by and reaches the uploader with.
//!
//! It is made before the Job, is the session's and goes with it. Made twice the first one stays: each holds a token for the same
//! snapshot.

use std::{collections::BTreeMap, fmt};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use proto::{
    key::{PublicKey, SigningKey},
    names::{self, NAME_CHARS_MAX},
    session_access,
    stream::TOKEN_LIFE_MAX,
    token::{self, Claims, TOKEN_VERSION},
};

use crate::{
    invoker::{Member, ObjectName},
    job::{self, LABEL_SESSION, LABEL_TARGET_INDEX, Request},
};

/// Folder in snapshots that files lie in: that of Stash, so that its snapshots and ours are one history.
const ROOT: &str = "/tmp/resources";
/// Uploads that a dumper may open: it starts anew when one breaks off.
const ATTEMPTS_MAX: u32 = 10;
/// Characters of the session's UID in the Secret's name.
const UID_CHARS: usize = 13;
/// How long a token is valid after the session must have ended: clocks differ.
const SLACK: SignedDuration = SignedDuration::from_mins(10);

/// How Jobs reach NATS.
#[derive(Clone, Default)]
pub struct JobNats {
    /// Addresses, separated by commas.
    pub url: String,
    /// User and password, where NATS has users.
    pub user: Option<(String, String)>,
    /// Certificates of authorities, PEM.
    pub authorities: Option<String>,
}

impl fmt::Debug for JobNats {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("JobNats").field("url", &self.url).field("user", &"***").finish_non_exhaustive()
    }
}

/// What all session Secrets follow from.
#[derive(Debug, Clone)]
pub struct Signer {
    /// Signs tokens.
    pub key: SigningKey,
    /// The uploader's public key; `None` while it has published none.
    pub uploader: Option<PublicKey>,
    /// How Jobs reach NATS.
    pub nats: JobNats,
}

/// Contents by key.
pub type Contents = BTreeMap<&'static str, String>;

/// What the Secret of a target holds. `namespace_labels` are those of the session's namespace; the session was created at
/// `created_at` and is given up after `life`.
pub fn contents(
    request: &Request<'_>,
    member: &Member,
    signer: &Signer,
    namespace_labels: BTreeMap<String, String>,
    created_at: Timestamp,
    life: SignedDuration,
) -> Contents {
    let repository = ObjectName::of(&request.repository.metadata);
    let life_max = SignedDuration::try_from(TOKEN_LIFE_MAX).unwrap_or(SignedDuration::MAX);
    let life = life.saturating_add(SLACK).min(life_max);
    let claims = Claims {
        version: TOKEN_VERSION,
        session: request.session.clone(),
        session_created_at: created_at,
        target_index: u32::try_from(request.index).unwrap_or(u32::MAX),
        repository_namespace: repository.namespace,
        repository_name: repository.name,
        namespace_labels,
        host: member.host.clone(),
        root: ROOT.to_owned(),
        expires_at: created_at.saturating_add(life).unwrap_or(Timestamp::MAX),
        attempts_max: ATTEMPTS_MAX,
    };
    let mut contents = Contents::new();
    contents.insert(session_access::TOKEN, token::sign(&claims, &signer.key));
    contents.extend(signer.uploader.map(|key| (session_access::UPLOADER_KEY, key.to_string())));
    contents.insert(session_access::NATS_URL, signer.nats.url.clone());
    contents.insert(session_access::NATS_INBOX_PREFIX, session_access::INBOX_PREFIX.to_owned());
    if let Some((user, password)) = &signer.nats.user {
        contents.insert(session_access::NATS_USER, user.clone());
        contents.insert(session_access::NATS_PASSWORD, password.clone());
    }
    contents.extend(signer.nats.authorities.clone().map(|pem| (session_access::NATS_CA, pem)));
    contents
}

/// Name of the Secret: that of the Job and the start of the session's UID. Nobody else has chosen it, so that one that is there
/// already is this session's; nobody needs the right to look.
pub fn name(request: &Request<'_>) -> String {
    let uid: String = request.session.uid.chars().take(UID_CHARS).collect();
    let job = job::name(&request.session.name, request.index);
    names::name_suffix(&job, uid.trim_matches('-'), NAME_CHARS_MAX)
}

/// The Secret with these contents.
pub fn object(request: &Request<'_>, contents: Contents) -> Secret {
    let mut labels = job::labels(request.invoker);
    labels.insert(LABEL_SESSION.to_owned(), names::label_value(&request.session.name));
    labels.insert(LABEL_TARGET_INDEX.to_owned(), request.index.to_string());
    let metadata = ObjectMeta {
        name: Some(name(request)),
        namespace: Some(request.session.namespace.clone()),
        labels: Some(labels),
        owner_references: Some(vec![job::session_owner(request)]),
        ..ObjectMeta::default()
    };
    let data = contents.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())));
    Secret { metadata, data: Some(data.collect()), immutable: Some(true), ..Secret::default() }
}
