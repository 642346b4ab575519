//! The `config` file: format version, repository id, chunker polynomial. Sealed, never compressed, written once.

use serde::{Deserialize, Serialize};

use crate::backend::File;
use crate::error::Error;
use crate::id::Id;
use crate::polynomial::Polynomial;

/// Degrees for which the chunker's tables fit 64 bits.
const DEGREES: std::ops::RangeInclusive<u32> = 8..=55;

/// The version of the repository format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// Without compression; the only one that restic before 0.14 reads.
    V1,
    /// With compression.
    #[default]
    V2,
}

/// The content of the `config` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) version: Version,
    pub(crate) id: String,
    pub(crate) polynomial: Polynomial,
}

#[derive(Serialize, Deserialize)]
struct ConfigJson {
    version: u32,
    id: String,
    chunker_polynomial: String,
}

impl Config {
    /// The config of a new repository, with a random id and polynomial.
    pub(crate) fn new(version: Version) -> Result<Self, Error> {
        let mut id = [0; 32];
        getrandom::fill(&mut id)?;
        Ok(Self { version, id: Id::from_bytes(id).to_string(), polynomial: Polynomial::random()? })
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        let json = ConfigJson {
            version: match self.version {
                Version::V1 => 1,
                Version::V2 => 2,
            },
            id: self.id.clone(),
            chunker_polynomial: format!("{:x}", self.polynomial.0),
        };
        serde_json::to_vec(&json).expect("a struct of texts and a number serialises")
    }

    pub(crate) fn from_json(json: &[u8]) -> Result<Self, Error> {
        let json: ConfigJson = serde_json::from_slice(json).map_err(|e| Error::damaged_file(File::Config, e))?;
        let version = match json.version {
            1 => Version::V1,
            2 => Version::V2,
            other => {
                return Err(Error::Unsupported { what: format!("format version {other}") });
            }
        };
        let polynomial = u64::from_str_radix(&json.chunker_polynomial, 16).map(Polynomial);
        let polynomial = polynomial.ok().filter(|p| DEGREES.contains(&p.degree()) && p.is_irreducible());
        let polynomial =
            polynomial.ok_or_else(|| Error::damaged_file(File::Config, "its chunker polynomial is none"))?;
        Ok(Self { version, id: json.id, polynomial })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_survives_its_json() {
        for version in [Version::V1, Version::V2] {
            let config = Config::new(version).unwrap();
            assert_eq!(Config::from_json(&config.to_json()).unwrap(), config);
        }
    }

    #[test]
    fn odd_configs_are_refused() {
        let refused = |json: &str| Config::from_json(json.as_bytes()).unwrap_err();
        assert!(matches!(refused("{}"), Error::Damaged { .. }));
        let odd = r#"{"version":3,"id":"x","chunker_polynomial":"3da3358b4dc173"}"#;
        assert!(matches!(refused(odd), Error::Unsupported { .. }));
        for polynomial in ["", "xyz", "0", "3", "3da3358b4dc172", "ffffffffffffffff"] {
            let odd = format!(r#"{{"version":2,"id":"x","chunker_polynomial":"{polynomial}"}}"#);
            assert!(matches!(refused(&odd), Error::Damaged { .. }), "{polynomial}");
        }
    }
}
