//! The one line per request, and the writer of every line.
//!
//! Only the fields of [`Entry`] are logged of a request: no token, password or body is among them.

mod diagnostics;
mod line;
mod metrics;

use std::sync::Arc;
use std::time::Duration;

use strum::{EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use crate::event::InvalidEvent;
use crate::excerpt::excerpt;
use crate::problem::Code;
use crate::store::StoreCalls;
pub use diagnostics::enable_diagnostics;
pub use line::Writer;
use metrics::Metrics;

/// The level of the log, as Lambda names it.
#[derive(Clone, Copy, Debug, EnumString, IntoStaticStr, PartialEq, PartialOrd, VariantArray)]
#[strum(ascii_case_insensitive, serialize_all = "UPPERCASE")]
pub enum Level {
    /// Same as `Debug`; nothing is logged below that level.
    Trace,
    /// Also the lines of libraries at info and above.
    Debug,
    /// One line per request.
    Info,
    /// Responses with a status of 500 and above.
    Warn,
    /// Errors of the invocation, and of the process.
    Error,
    /// Only why the process ends.
    Fatal,
}

/// The lines of invocations: requests, and events that are not HTTP.
pub struct Log {
    writer: Arc<Writer>,
    metrics: Option<Metrics>,
}

/// The known facts of a request at the time of its response.
#[derive(Debug, Default)]
pub struct Entry {
    /// The id of the invocation.
    pub request_id: String,
    /// The gateway's id of the request.
    pub gateway_request_id: Option<String>,
    /// The root of the trace, by which CloudWatch joins logs and traces.
    pub xray_trace_id: Option<String>,
    /// `set`, `remove` or `read`.
    pub operation: Option<&'static str>,
    /// The id in the path, if it is valid.
    pub distributor_id: Option<Uuid>,
    /// The node that a verified token names.
    pub node_id: Option<Uuid>,
    /// The `sub` of a verified token.
    pub subject: Option<String>,
    /// Whether this is the first request of the process.
    pub cold_start: bool,
    /// The calls of the store, if any was made.
    pub store_calls: Option<StoreCalls>,
    /// Detail for operators.
    pub reason: Option<String>,
}

impl Log {
    /// Creates a log with embedded metrics if its lines are JSON and it has a namespace for them.
    #[must_use]
    pub fn new(writer: Arc<Writer>, metrics_namespace: Option<&str>) -> Self {
        let metrics = metrics_namespace.filter(|_| writer.json()).map(Metrics::new);
        Self { writer, metrics }
    }

    /// Writes the line of a request whose response was `problem`, or 200.
    pub fn request(&self, entry: &Entry, problem: Option<Code>, duration: Duration) {
        let (code, status) = problem.map_or(("ok", 200), |code| (code.name(), code.status().as_u16()));
        let calls = entry.store_calls.as_ref();
        let (duration, store) = (milliseconds(duration), calls.map(|calls| milliseconds(calls.duration)));
        self.writer.line(if status >= 500 { Level::Warn } else { Level::Info }, |line| {
            line.field("request_id", excerpt(&entry.request_id));
            line.field("gateway_request_id", entry.gateway_request_id.as_deref().map(excerpt));
            line.field("status", status);
            line.field("code", code);
            line.field("operation", entry.operation);
            line.field("distributor_id", entry.distributor_id);
            line.field("node_id", entry.node_id);
            line.field("subject", entry.subject.as_deref().map(excerpt));
            line.field("reason", &entry.reason);
            line.field("xray_trace_id", entry.xray_trace_id.as_deref().map(excerpt));
            line.field("duration_ms", duration);
            line.field("store_ms", store);
            line.field("store_attempts", calls.map(|calls| calls.attempts));
            line.field("error_code", calls.and_then(|calls| calls.error_code.as_deref()).map(excerpt));
            line.field("error_status", calls.and_then(|calls| calls.error_status));
            line.field("aws_request_id", calls.and_then(|calls| calls.aws_request_id.as_deref()).map(excerpt));
            line.field("cold_start", entry.cold_start);
            if let Some(metrics) = &self.metrics {
                line.field("Requests", 1);
                line.field("Duration", duration);
                line.field("StoreDuration", store);
                line.field("ColdStart", u8::from(entry.cold_start));
                line.field("_aws", metrics.directive(line.now, store.is_some()));
            }
        });
    }

    /// Writes the line of an event that is not a request.
    pub fn invalid_event(&self, request_id: &str, error: &InvalidEvent) {
        self.writer.line(Level::Error, |line| {
            line.field("request_id", excerpt(request_id));
            line.field("message", error.to_string());
        });
    }
}

fn milliseconds(duration: Duration) -> f64 {
    let microseconds = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    f64::from(microseconds) / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_found_by_its_name() {
        let names: Vec<&str> = Level::VARIANTS.iter().map(|level| (*level).into()).collect();
        assert_eq!(names, ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]);
        for (name, level) in names.iter().zip(Level::VARIANTS) {
            assert_eq!(name.parse(), Ok(*level));
            assert_eq!(name.to_lowercase().parse(), Ok(*level));
        }
        assert!("OFF".parse::<Level>().is_err());
    }

    #[test]
    fn durations_are_in_milliseconds_with_three_decimals() {
        for (duration, expected) in [
            (Duration::ZERO, "0"),
            (Duration::from_nanos(1_234_999), "1.234"),
            (Duration::from_secs(2), "2000"),
            (Duration::MAX, "4294967.295"),
        ] {
            assert_eq!(milliseconds(duration).to_string(), expected);
        }
    }
}
