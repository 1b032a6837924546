//! `updated_at`, the version of an item: RFC 3339 in UTC with microseconds, `YYYY-MM-DDTHH:MM:SS.ffffffZ`. In this form
//! the order of the texts is the order of the times.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// The distance by which a version may be ahead of the clock without a warning. Arbitrary; far more than clocks differ.
const MAX_AHEAD: Duration = Duration::from_hours(24);

/// Returns the version of a write at `now`.
#[must_use]
pub fn at(now: SystemTime) -> String {
    format(now.into())
}

/// Returns the first version after `version`, or `None` if that is not in our form or the form has no later time.
#[must_use]
pub fn after(version: &str) -> Option<String> {
    let later = parse(version)?.checked_add_signed(TimeDelta::microseconds(1))?;
    Some(format(later)).filter(|later| later.len() == version.len())
}

/// Returns whether `version` is more than a day ahead of `now`.
#[must_use]
pub fn is_far_ahead(version: &str, now: SystemTime) -> bool {
    parse(version).is_some_and(|time| SystemTime::from(time) > now + MAX_AHEAD)
}

/// Parses a version in our form: exactly the text that [`at`] would write for its time.
fn parse(version: &str) -> Option<DateTime<Utc>> {
    let parsed = DateTime::parse_from_rfc3339(version).ok()?;
    // Through the timestamp: `chrono` keeps a leap second apart, a timestamp cannot.
    let time = DateTime::from_timestamp_micros(parsed.timestamp_micros())?;
    (format(time) == version).then_some(time)
}

fn format(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_form_has_a_successor() {
        for (version, expected) in [
            ("2025-12-23T23:16:10.419732Z", Some("2025-12-23T23:16:10.419733Z")),
            ("2025-12-31T23:59:59.999999Z", Some("2026-01-01T00:00:00.000000Z")),
            ("2024-02-29T23:59:59.999999Z", Some("2024-03-01T00:00:00.000000Z")),
            ("9999-12-31T23:59:59.999998Z", Some("9999-12-31T23:59:59.999999Z")),
            ("0000-01-01T00:00:00.000000Z", Some("0000-01-01T00:00:00.000001Z")),
            ("9999-12-31T23:59:59.999999Z", None),
            ("2016-12-31T23:59:60.000000Z", None),
            ("2025-02-29T00:00:00.000000Z", None),
            ("2025-12-23T24:00:00.000000Z", None),
            ("2025-12-23T23:16:10.41973Z", None),
            ("2025-12-23T23:16:10.4197320Z", None),
            ("2025-12-23T23:16:10Z", None),
            ("2025-12-23T23:16:10.419732+00:00", None),
            ("2025-12-23T23:16:10.419732z", None),
            ("2025-12-23t23:16:10.419732Z", None),
            ("2025-12-23 23:16:10.419732Z", None),
            (" 2025-12-23T23:16:10.419732Z", None),
            ("+10000-01-01T00:00:00.000000Z", None),
            ("1766531770", None),
            ("latest", None),
            ("", None),
        ] {
            assert_eq!(after(version).as_deref(), expected, "{version:?}");
        }
    }

    #[test]
    fn the_warning_starts_after_a_day() {
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(at(now), "1970-01-01T00:00:00.000000Z");
        assert!(!is_far_ahead("1970-01-02T00:00:00.000000Z", now));
        assert!(is_far_ahead("1970-01-02T00:00:00.000001Z", now));
        assert!(!is_far_ahead("9", now));
    }
}
