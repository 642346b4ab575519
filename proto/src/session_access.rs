//! What a session's Secret holds, and where the Pod finds it.
//!
//! The dispatcher makes one Secret for each target of a session, owned by the session. It is mounted, read-only, into those
//! containers of the Job that dump; they are told by environment variables where its files are. Keys and NATS access never
//! come over NATS, and no storage credentials are among them.

/// Folder at which the Secret is mounted.
pub const MOUNT_PATH: &str = "/var/run/stowage/session";

/// Key of the session token ([`crate::token`]).
pub const TOKEN: &str = "token";
/// Key of the uploader's public key ([`crate::key::PublicKey`] as text).
pub const UPLOADER_KEY: &str = "uploader-key";
/// Key of the addresses of NATS, separated by commas.
pub const NATS_URL: &str = "nats-url";
/// Key of the name of the NATS user for Jobs; absent where NATS has no users.
pub const NATS_USER: &str = "nats-user";
/// Key of that user's password.
pub const NATS_PASSWORD: &str = "nats-password";
/// Key of the authorities' certificates for NATS, PEM; absent where the system's are right or there is no TLS.
pub const NATS_CA: &str = "nats-ca.crt";

/// Key of [`INBOX_PREFIX`].
pub const NATS_INBOX_PREFIX: &str = "nats-inbox-prefix";

/// Prefix of the inboxes of Jobs: their NATS user may subscribe to nothing else.
pub const INBOX_PREFIX: &str = "_INBOX_job";

/// ConfigMap with the uploader's public keys, in the namespace of the services: the dispatcher reads it.
pub const UPLOADER_KEYS: &str = "stowage-uploader-keys";
/// ConfigMap with the dispatcher's public keys, in the namespace of the services: the uploader reads it.
pub const DISPATCHER_KEYS: &str = "stowage-dispatcher-keys";

/// A variable of a container that dumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// Its value is that of a key of the Secret.
    Value {
        /// Name of the variable.
        name: &'static str,
        /// Key in the Secret.
        key: &'static str,
    },
    /// Its value is the path of a key's file, [`MOUNT_PATH`] and the key.
    File {
        /// Name of the variable.
        name: &'static str,
        /// Key in the Secret.
        key: &'static str,
    },
}

/// The variables of containers that dump. Those whose key is not in the Secret are left out.
pub const VARIABLES: [Variable; 7] = [
    Variable::File { name: "SESSION_TOKEN_FILE", key: TOKEN },
    Variable::File { name: "UPLOADER_KEY_FILE", key: UPLOADER_KEY },
    Variable::Value { name: "NATS_URL", key: NATS_URL },
    Variable::Value { name: "NATS_USER", key: NATS_USER },
    Variable::File { name: "NATS_PASSWORD_FILE", key: NATS_PASSWORD },
    Variable::File { name: "NATS_CA_FILE", key: NATS_CA },
    Variable::Value { name: "NATS_INBOX_PREFIX", key: NATS_INBOX_PREFIX },
];
