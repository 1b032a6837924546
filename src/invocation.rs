//! The metadata of an invocation, from Lambda's headers.

use std::time::{Duration, SystemTime};

use lambda_http::http::{HeaderMap, HeaderValue};

/// The header with the id of the invocation.
pub const REQUEST_ID: &str = "lambda-runtime-aws-request-id";
const DEADLINE_MS: &str = "lambda-runtime-deadline-ms";
const TRACE_ID: &str = "lambda-runtime-trace-id";

/// Time of the invocation that is reserved for returning the response.
pub const RESPONSE_MARGIN: Duration = Duration::from_millis(300);

/// The longest duration that Lambda allows an invocation. A deadline further in the past is ignored: `cargo lambda watch`
/// and others send those.
const LONGEST_INVOCATION: Duration = Duration::from_mins(15);

/// An invocation.
pub struct Invocation {
    /// Its id, which the response and the log line carry.
    pub request_id: String,
    /// When Lambda stops waiting, if it said so.
    pub deadline: Option<SystemTime>,
    /// The root of its trace, if it is traced: `1-…`, without the other fields of the tracing header.
    pub trace_root: Option<String>,
}

impl Invocation {
    /// Reads the headers of an invocation, and accepts any value in each. Returns `None` if there is no id.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let milliseconds = headers.get(DEADLINE_MS).and_then(|value| value.to_str().ok()?.parse().ok());
        let since_epoch = milliseconds.map(Duration::from_millis);
        Some(Self {
            request_id: text(headers.get(REQUEST_ID)?),
            deadline: since_epoch.and_then(|since_epoch| SystemTime::UNIX_EPOCH.checked_add(since_epoch)),
            trace_root: headers.get(TRACE_ID).map(text).as_deref().and_then(trace_root).map(str::to_owned),
        })
    }

    /// Returns the time that is left at `now` until the response has to be ready.
    #[must_use]
    pub fn time_left(&self, now: SystemTime) -> Duration {
        let left = match self.deadline.map(|deadline| deadline.duration_since(now)) {
            Some(Ok(left)) => left,
            Some(Err(over)) if over.duration() <= LONGEST_INVOCATION => Duration::ZERO,
            Some(Err(_)) | None => LONGEST_INVOCATION,
        };
        left.min(LONGEST_INVOCATION).saturating_sub(RESPONSE_MARGIN)
    }
}

fn trace_root(header: &str) -> Option<&str> {
    let fields = header.split(';').map(str::trim);
    fields.filter_map(|field| field.strip_prefix("Root=")).find(|root| !root.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_is_missing_or_was_over_long_ago_is_ignored() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(24);
        let limit = LONGEST_INVOCATION.saturating_sub(RESPONSE_MARGIN);
        for (deadline, expected) in [
            (None, limit),
            (Some(SystemTime::UNIX_EPOCH), limit),
            (Some(now - Duration::from_secs(901)), limit),
            (Some(now - Duration::from_mins(15)), Duration::ZERO),
            (Some(now - Duration::from_millis(1)), Duration::ZERO),
            (Some(now), Duration::ZERO),
            (Some(now + Duration::from_millis(300)), Duration::ZERO),
            (Some(now + Duration::from_millis(301)), Duration::from_millis(1)),
            (Some(now + Duration::from_secs(3)), Duration::from_millis(2_700)),
            (Some(now + Duration::from_mins(15)), limit),
            (Some(now + Duration::from_hours(24)), limit),
            (SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(i64::MAX.unsigned_abs())), limit),
        ] {
            let invocation = Invocation { request_id: String::new(), deadline, trace_root: None };
            assert_eq!(invocation.time_left(now), expected, "{deadline:?}");
        }
    }

    #[test]
    fn the_root_of_a_trace_is_one_field_of_its_header() {
        for (header, expected) in [
            (
                "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
                Some("1-5759e988-bd862e3fe1be46a994272793"),
            ),
            ("Self=1-a-b; Root=1-c-d", Some("1-c-d")),
            ("Root=1-c-d", Some("1-c-d")),
            ("Root=;Sampled=0", None),
            ("Sampled=0", None),
            ("", None),
        ] {
            assert_eq!(trace_root(header), expected, "{header:?}");
        }
    }
}
