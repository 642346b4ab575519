//! Key files: the repository's master key, sealed with a key that scrypt derives from a password. Plain JSON, as restic defines it.
//!
//! The cost parameters come from the storage, so they are bounded before memory is given to scrypt.

use jiff::Timestamp;
use scrypt::Params;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::backend::{File, FileKind};
use crate::crypto::{Key, KeyBytes};
use crate::error::Error;
use crate::id::Id;
use crate::secret::Password;

/// Memory that scrypt may take, 128·N·r bytes; restic's default takes 32 MiB, a very careful user's choice 1 GiB.
const KDF_BYTES_MAX: u64 = 1 << 30;

/// Rounds p·N·r that scrypt may take; restic's default is 786,432, and this is about 40 seconds.
const KDF_ROUNDS_MAX: u64 = 1 << 27;

/// Bytes of a new salt, as restic makes it.
const SALT_BYTES: usize = 64;

/// scrypt's cost. Memory is `128 · n · r` bytes, time grows with `n · r · p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfParams {
    /// Cost in memory and time; a power of two, at least 2.
    pub n: u32,
    /// Block size.
    pub r: u32,
    /// Parallelism.
    pub p: u32,
}

impl Default for KdfParams {
    /// restic's choice of a strong key; about a quarter of a second.
    fn default() -> Self {
        Self { n: 1 << 15, r: 8, p: 3 }
    }
}

impl KdfParams {
    /// `None` when scrypt does not define them or they exceed the limits.
    fn checked(self) -> Option<Params> {
        let (n, r, p) = (u64::from(self.n), u64::from(self.r), u64::from(self.p));
        let affordable = n.checked_mul(r)?.checked_mul(128)? <= KDF_BYTES_MAX
            && n.checked_mul(r)?.checked_mul(p)? <= KDF_ROUNDS_MAX
            && r.checked_mul(p)? < 1 << 30;
        if !affordable || !self.n.is_power_of_two() || n < 2 {
            return None;
        }
        Params::new(u8::try_from(self.n.trailing_zeros()).ok()?, self.r, self.p).ok()
    }
}

#[derive(Serialize, Deserialize)]
struct KeyFileJson {
    /// Who made the key, and when: restic always says it, rustic need not.
    #[serde(default)]
    created: Option<Timestamp>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    hostname: Option<String>,
    kdf: String,
    #[serde(rename = "N")]
    n: u32,
    r: u32,
    p: u32,
    salt: String,
    data: String,
}

/// What a key file says of itself without a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) user: String,
    pub(crate) host: String,
    pub(crate) created: Timestamp,
}

/// The label of a key file.
pub(crate) fn label(id: Id, content: &[u8]) -> Result<Label, Error> {
    let file: KeyFileJson = parse(id, content)?;
    Ok(Label {
        user: file.username.unwrap_or_default(),
        host: file.hostname.unwrap_or_default(),
        created: file.created.unwrap_or(Timestamp::UNIX_EPOCH),
    })
}

fn parse(id: Id, content: &[u8]) -> Result<KeyFileJson, Error> {
    serde_json::from_slice(content).map_err(|e| Error::damaged_file(File::Named(FileKind::Key, id), e))
}

/// The sealed part of a key file.
#[derive(Serialize, Deserialize)]
struct MasterKeyJson {
    mac: MacJson,
    encrypt: String,
}

#[derive(Serialize, Deserialize)]
struct MacJson {
    k: String,
    r: String,
}

impl Drop for MasterKeyJson {
    fn drop(&mut self) {
        self.encrypt.zeroize();
        self.mac.k.zeroize();
        self.mac.r.zeroize();
    }
}

/// A new key file for this master key and password: its content. CPU-bound, see [`KdfParams`].
pub(crate) fn create(master: &KeyBytes, password: &Password, kdf: KdfParams, label: Label) -> Result<Vec<u8>, Error> {
    let params = kdf.checked().ok_or_else(|| Error::Unsupported { what: format!("scrypt cost {kdf:?}") })?;
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt)?;
    let json = MasterKeyJson {
        mac: MacJson { k: base64::encode(&*master.mac_k), r: base64::encode(&*master.mac_r) },
        encrypt: base64::encode(&*master.encrypt),
    };
    let json = Zeroizing::new(serde_json::to_vec(&json).expect("a struct of texts serialises"));
    let file = KeyFileJson {
        created: Some(label.created),
        username: Some(label.user),
        hostname: Some(label.host),
        kdf: "scrypt".to_owned(),
        n: kdf.n,
        r: kdf.r,
        p: kdf.p,
        salt: base64::encode(&salt),
        data: base64::encode(&derive(password, &salt, params).seal(&json)?),
    };
    Ok(serde_json::to_vec(&file).expect("a struct of texts and numbers serialises"))
}

/// How a key file is sealed.
struct Parsed {
    params: Params,
    salt: Vec<u8>,
    sealed: Vec<u8>,
}

fn examine(id: Id, content: &[u8]) -> Result<Parsed, Error> {
    let damaged = |what: &str| Error::damaged_file(File::Named(FileKind::Key, id), what);
    let file = parse(id, content)?;
    if file.kdf != "scrypt" {
        return Err(Error::Unsupported { what: format!("key derivation {:?}", file.kdf) });
    }
    let kdf = KdfParams { n: file.n, r: file.r, p: file.p };
    let params = kdf.checked().ok_or_else(|| damaged("its scrypt parameters are out of bounds"))?;
    let salt = base64::decode(&file.salt).ok_or_else(|| damaged("its salt is not base64"))?;
    let sealed = base64::decode(&file.data).ok_or_else(|| damaged("its data is not base64"))?;
    Ok(Parsed { params, salt, sealed })
}

/// Whether this is a key file as far as can be said without its password.
pub(crate) fn inspect(id: Id, content: &[u8]) -> Result<(), Error> {
    examine(id, content).map(drop)
}

/// The master key in a key file, or `None` when it is for another password. CPU-bound, see [`KdfParams`].
pub(crate) fn open(id: Id, content: &[u8], password: &Password) -> Result<Option<KeyBytes>, Error> {
    let Parsed { params, salt, sealed } = examine(id, content)?;
    let Ok(json) = derive(password, &salt, params).open(&sealed).map(Zeroizing::new) else {
        return Ok(None);
    };
    master_key(id, &json).map(Some)
}

/// The master key in the opened part of a key file.
pub(crate) fn master_key(id: Id, json: &[u8]) -> Result<KeyBytes, Error> {
    let damaged = |what: &str| Error::damaged_file(File::Named(FileKind::Key, id), what);
    let master: MasterKeyJson = serde_json::from_slice(json).map_err(|_| damaged("its master key is not JSON"))?;
    Ok(KeyBytes {
        encrypt: fixed(&master.encrypt).ok_or_else(|| damaged("its master key has a wrong length"))?,
        mac_k: fixed(&master.mac.k).ok_or_else(|| damaged("its master key has a wrong length"))?,
        mac_r: fixed(&master.mac.r).ok_or_else(|| damaged("its master key has a wrong length"))?,
    })
}

fn derive(password: &Password, salt: &[u8], params: Params) -> Key {
    let mut derived = Zeroizing::new([0; 64]);
    scrypt::scrypt(password.as_bytes(), salt, &params, &mut *derived).expect("64 bytes are a length scrypt can give");
    Key::new(&KeyBytes::from_bytes(&derived))
}

fn fixed<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    Zeroizing::new(base64::decode(text)?).as_slice().try_into().ok().map(Zeroizing::new)
}

/// Standard base64 with padding.
mod base64 {
    use ::base64::Engine;
    use ::base64::engine::general_purpose::STANDARD;

    pub(super) fn encode(bytes: &[u8]) -> String {
        STANDARD.encode(bytes)
    }

    pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
        STANDARD.decode(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: KdfParams = KdfParams { n: 2, r: 1, p: 1 };

    fn epoch() -> Label {
        Label { user: "u".into(), host: "h".into(), created: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn a_key_file_opens_with_its_password_only() {
        let master = KeyBytes::random().unwrap();
        let content = create(&master, &Password::new("right"), CHEAP, epoch()).unwrap();
        let id = Id::of(&content);
        let opened = open(id, &content, &Password::new("right")).unwrap().unwrap();
        assert_eq!((opened.encrypt, opened.mac_k, opened.mac_r), (master.encrypt, master.mac_k, master.mac_r));
        assert!(open(id, &content, &Password::new("wrong")).unwrap().is_none());
        assert_eq!(label(id, &content).unwrap(), epoch());
    }

    #[test]
    fn unaffordable_parameters_are_damage_not_an_allocation() {
        let content = create(&KeyBytes::random().unwrap(), &Password::new("x"), CHEAP, epoch()).unwrap();
        let content = String::from_utf8(content).unwrap();
        for (from, to) in [
            ("\"N\":2", "\"N\":2147483648"),
            ("\"N\":2", "\"N\":3"),
            ("\"N\":2", "\"N\":0"),
            ("\"N\":2", "\"N\":1"),
            ("\"r\":1", "\"r\":4294967295"),
            ("\"r\":1", "\"r\":0"),
            ("\"p\":1", "\"p\":4294967295"),
            ("\"p\":1", "\"p\":0"),
            ("\"salt\":\"", "\"salt\":\"*"),
            ("\"data\":\"", "\"data\":\"*"),
        ] {
            let odd = content.replace(from, to);
            assert_ne!(odd, content, "{from}");
            let refused = open(Id::of(b""), odd.as_bytes(), &Password::new("x"));
            assert!(matches!(refused, Err(Error::Damaged { .. })), "{to}");
        }
    }
}
