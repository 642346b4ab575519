//! restic's notation of where a repository lies, and how to get there.
//!
//! 1. [`Location::parse`] is pure; [`Location::connect`] builds a client and sends nothing.
//! 2. Accepted are restic's notations of a folder, `s3:`, `gs:`, `azure:`, `b2:` and `rest:`; the others are known by name and refused
//!    with what to use instead.
//! 3. Paths within a bucket are cleaned as restic cleans them, because both must find the same objects: `gs:bucket://a/../b/` is the
//!    prefix `b`.
//! 4. A password is never printed: `Display` leaves out the user part of a REST URL.

mod connect;
mod options;

use std::fmt;

use percent_encoding::percent_decode_str;

pub use options::{
    AzureOptions, B2Options, ConnectOptions, ContainerIdentity, GcsOptions, Patience, RestOptions, S3Client, S3Options,
    WebIdentity,
};

use crate::secret::Secret;

/// restic's schemes that this engine does not speak, and what reaches the same data.
const SCHEMES_UNSUPPORTED: [(&str, &str); 3] = [
    ("rclone", "let `rclone serve restic` serve it, and use rest:http://host:port/"),
    ("sftp", "mount the folder (sshfs, NFS), or let restic's rest-server serve it and use rest:https://host:port/"),
    ("swift", "use the S3 API of the same Swift, s3:https://host/container/prefix, with EC2 credentials of Keystone"),
];

/// Where a repository lies. `Display` gives restic's notation, without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder of this machine.
    Local {
        /// The folder, as it was given.
        path: String,
    },
    /// A bucket of S3 or of something compatible.
    S3 {
        /// `https` unless `http` was asked for.
        tls: bool,
        /// Host, and port if any.
        host: String,
        /// The bucket.
        bucket: String,
        /// Folder within the bucket, without slashes at its ends; may be empty.
        prefix: String,
    },
    /// A bucket of Google Cloud Storage.
    Gcs {
        /// The bucket.
        bucket: String,
        /// As for S3.
        prefix: String,
    },
    /// A container of Azure Blob Storage; the account is one of the [`AzureOptions`].
    Azure {
        /// The container.
        container: String,
        /// As for S3.
        prefix: String,
    },
    /// A bucket of Backblaze B2.
    B2 {
        /// The bucket.
        bucket: String,
        /// As for S3.
        prefix: String,
    },
    /// A path of a server that speaks restic's REST protocol.
    Rest {
        /// `https` or `http`.
        tls: bool,
        /// Host, and port if any.
        host: String,
        /// Path of the repository: begins and ends with a slash, percent-encoded as it was given.
        path: String,
        /// User and password of the URL, decoded.
        user: Option<(String, Secret)>,
    },
}

/// Why a text is not a location.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// The text is empty.
    #[error("the repository location is empty")]
    Empty,
    /// One of restic's schemes that this engine does not speak.
    #[error("repositories of kind {scheme:?} are not supported: {instead}")]
    Unsupported {
        /// The part before the colon.
        scheme: &'static str,
        /// What the user can do.
        instead: &'static str,
    },
    /// A part is missing.
    #[error("the location is written {notation}; this one has no {missing}")]
    Incomplete {
        /// How it is written.
        notation: &'static str,
        /// What it lacks.
        missing: &'static str,
    },
}

/// `s3:` in all its forms.
const S3_NOTATION: &str = "s3:host/bucket/prefix or s3:https://host:port/bucket/prefix";
/// `rest:`.
const REST_NOTATION: &str = "rest:https://host:port/path/ or rest:http://host:port/path/";

impl Location {
    /// Reads restic's notation.
    ///
    /// # Errors
    /// [`LocationError`]; a text that names no known scheme is a path.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Ok(Self::Local { path: text.to_owned() });
        };
        if let Some(&(scheme, instead)) = SCHEMES_UNSUPPORTED.iter().find(|(name, _)| *name == scheme) {
            return Err(LocationError::Unsupported { scheme, instead });
        }
        match scheme {
            "local" if rest.is_empty() => Err(LocationError::Empty),
            "local" => Ok(Self::Local { path: rest.to_owned() }),
            "s3" => parse_s3(rest),
            "gs" => container(rest, "gs:bucket:/prefix", "bucket").map(|(bucket, prefix)| Self::Gcs { bucket, prefix }),
            "azure" => container(rest, "azure:container:/prefix", "container")
                .map(|(container, prefix)| Self::Azure { container, prefix }),
            "b2" => parse_b2(rest),
            "rest" => parse_rest(rest),
            _ => Ok(Self::Local { path: text.to_owned() }),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A path that begins like another notation needs its own.
            Self::Local { path } if Self::parse(path).as_ref() == Ok(self) => f.write_str(path),
            Self::Local { path } => write!(f, "local:{path}"),
            Self::S3 { tls, host, bucket, prefix } => {
                let scheme = if *tls { "" } else { "http://" };
                let slash = if prefix.is_empty() { "" } else { "/" };
                write!(f, "s3:{scheme}{host}/{bucket}{slash}{prefix}")
            }
            Self::Gcs { bucket, prefix } => write!(f, "gs:{bucket}:/{prefix}"),
            Self::Azure { container, prefix } => write!(f, "azure:{container}:/{prefix}"),
            Self::B2 { bucket, prefix } => write!(f, "b2:{bucket}:/{prefix}"),
            Self::Rest { tls, host, path, .. } => write!(f, "rest:{}://{host}{path}", scheme(*tls)),
        }
    }
}

fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

fn parse_s3(rest: &str) -> Result<Location, LocationError> {
    let missing = |missing| LocationError::Incomplete { notation: S3_NOTATION, missing };
    let (tls, rest) = match rest.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some((_, rest)) => (true, rest),
        None => (true, rest.strip_prefix("//").unwrap_or(rest)),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let bucket = parts.next();
    match (host, bucket) {
        ("", _) => Err(missing("host")),
        (_, None) => Err(missing("bucket")),
        (host, Some(bucket)) => Ok(Location::S3 {
            tls,
            host: host.to_owned(),
            bucket: bucket.to_owned(),
            prefix: parts.collect::<Vec<_>>().join("/"),
        }),
    }
}

/// `name:/prefix`.
fn container(rest: &str, notation: &'static str, name: &'static str) -> Result<(String, String), LocationError> {
    match rest.split_once(':') {
        Some(("", _)) => Err(LocationError::Incomplete { notation, missing: name }),
        Some((name, path)) => Ok((name.to_owned(), clean(path))),
        None => Err(LocationError::Incomplete { notation, missing: "colon after the name" }),
    }
}

/// `bucket`, `bucket:prefix` or `bucket:/prefix`.
fn parse_b2(rest: &str) -> Result<Location, LocationError> {
    let with_path = if rest.contains(':') { rest.to_owned() } else { format!("{rest}:") };
    let (bucket, prefix) = container(&with_path, "b2:bucket:/prefix", "bucket")?;
    Ok(Location::B2 { bucket, prefix })
}

fn parse_rest(rest: &str) -> Result<Location, LocationError> {
    let missing = |missing| LocationError::Incomplete { notation: REST_NOTATION, missing };
    let (tls, rest) = match rest.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        _ => return Err(missing("http:// or https://")),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user_of(user)), host),
        None => (None, authority),
    };
    if host.is_empty() {
        return Err(missing("host"));
    }
    let slash = if path.is_empty() || path.ends_with('/') { "" } else { "/" };
    Ok(Location::Rest { tls, host: host.to_owned(), path: format!("/{path}{slash}"), user })
}

/// `user:password`, percent-decoded.
fn user_of(text: &str) -> (String, Secret) {
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    (decoded(user), Secret::new(decoded(password)))
}

/// A path within a bucket as restic cleans it: without empty parts, `.` and `..`, and without slashes at its ends.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(tls: bool, host: &str, bucket: &str, prefix: &str) -> Location {
        Location::S3 { tls, host: host.into(), bucket: bucket.into(), prefix: prefix.into() }
    }

    fn gcs(bucket: &str, prefix: &str) -> Location {
        Location::Gcs { bucket: bucket.into(), prefix: prefix.into() }
    }

    fn b2(bucket: &str, prefix: &str) -> Location {
        Location::B2 { bucket: bucket.into(), prefix: prefix.into() }
    }

    fn rest(tls: bool, host: &str, path: &str) -> Location {
        Location::Rest { tls, host: host.into(), path: path.into(), user: None }
    }

    #[test]
    fn restic_notation_is_read() {
        let local = |path: &str| Location::Local { path: path.into() };
        for (text, expected) in [
            ("/srv/repo", local("/srv/repo")),
            ("repo", local("repo")),
            ("../a:b/c", local("../a:b/c")),
            ("local:/srv/repo", local("/srv/repo")),
            ("local:local:x", local("local:x")),
            ("local:s3:x", local("s3:x")),
            ("s3:s3.amazonaws.com/bucket", s3(true, "s3.amazonaws.com", "bucket", "")),
            ("s3:https://minio.demo.svc/bucket/p", s3(true, "minio.demo.svc", "bucket", "p")),
            ("s3:http://127.0.0.1:9000/bucket//a/b/", s3(false, "127.0.0.1:9000", "bucket", "a/b")),
            ("s3://host:1/bucket", s3(true, "host:1", "bucket", "")),
            ("gs:bucket:/", gcs("bucket", "")),
            ("gs:bucket:/a/b", gcs("bucket", "a/b")),
            ("gs:stash-testing://manifests/cluster", gcs("stash-testing", "manifests/cluster")),
            ("gs:bucket:a/./x/../b/", gcs("bucket", "a/b")),
            ("azure:box:/a", Location::Azure { container: "box".into(), prefix: "a".into() }),
            ("b2:bucket", b2("bucket", "")),
            ("b2:bucket:a/b", b2("bucket", "a/b")),
            ("b2:bucket:/a/b", b2("bucket", "a/b")),
            ("rest:http://host:8000", rest(false, "host:8000", "/")),
            ("rest:https://host/a/b", rest(true, "host", "/a/b/")),
            ("rest:https://[::1]:8000/a/", rest(true, "[::1]:8000", "/a/")),
        ] {
            assert_eq!(Location::parse(text).as_ref(), Ok(&expected), "{text}");
            assert_eq!(Location::parse(&expected.to_string()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn the_user_of_a_rest_url_is_decoded_and_never_printed() {
        let location = Location::parse("rest:https://us%40er:p%2Fss:word@host:1/path").unwrap();
        let Location::Rest { user: Some((user, password)), .. } = &location else { panic!("{location:?}") };
        assert_eq!((user.as_str(), password.expose()), ("us@er", "p/ss:word"));
        assert_eq!(location.to_string(), "rest:https://host:1/path/");
        assert!(!format!("{location:?}").contains("word"));
    }

    #[test]
    fn what_cannot_be_reached_is_refused_by_name_with_what_to_use_instead() {
        for (scheme, way) in [("sftp", "rest-server"), ("rclone", "rclone serve restic"), ("swift", "s3:https://")] {
            let refused = Location::parse(&format!("{scheme}:somewhere:/x")).unwrap_err().to_string();
            assert!(refused.contains(scheme) && refused.contains(way), "{refused}");
        }
    }

    #[test]
    fn a_missing_part_is_named() {
        assert_eq!(Location::parse(""), Err(LocationError::Empty));
        for (text, part) in [
            ("s3:host", "bucket"),
            ("s3:http:///bucket", "host"),
            ("gs:bucket", "colon after the name"),
            ("gs::/prefix", "bucket"),
            ("azure::/prefix", "container"),
            ("b2:", "bucket"),
            ("rest:host/path", "http:// or https://"),
            ("rest:http://user:password@/path", "host"),
        ] {
            let refused = Location::parse(text).unwrap_err();
            assert!(
                matches!(refused, LocationError::Incomplete { missing, .. } if missing == part),
                "{text}: {refused}"
            );
        }
    }
}
