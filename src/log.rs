//! The one line per request, and the settings of every other line.
//!
//! Tokens, passwords and bodies never come here: what is logged of a request is the fields of [`Entry`].

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Serializer, Value, json};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use uuid::Uuid;

use crate::problem::Code;
use crate::store::Call;

/// How much is logged, as Lambda names it.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Level {
    /// As `Debug`: there is nothing below it.
    Trace,
    /// What libraries say at info and above, too.
    Debug,
    /// One line per request.
    Info,
    /// Answers with a status of 500 and above.
    Warn,
    /// Errors of the invocation, and of the process.
    Error,
    /// Only why the process ends.
    Fatal,
}

impl Level {
    /// The level of this name, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "TRACE" => Self::Trace,
            "DEBUG" => Self::Debug,
            "INFO" => Self::Info,
            "WARN" => Self::Warn,
            "ERROR" => Self::Error,
            "FATAL" => Self::Fatal,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

/// Where lines go, and in which form.
pub struct Log {
    level: Level,
    json: bool,
    metrics: Option<Metrics>,
    output: Mutex<Box<dyn Write + Send>>,
}

/// What is known of a request by the time it is answered.
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
    /// The id in the path, once it is known to be one.
    pub distributor_id: Option<Uuid>,
    /// The node that a verified token names.
    pub node_id: Option<Uuid>,
    /// The `sub` of a verified token.
    pub subject: Option<String>,
    /// Whether this is the first request of the process.
    pub cold_start: bool,
    /// The call of the store, where one was made.
    pub call: Option<Call>,
    /// More than the code of the problem says, for the operator.
    pub reason: Option<String>,
}

impl Log {
    /// A log of lines at `level` and above, as JSON or as text, with embedded metrics where there is a namespace.
    #[must_use]
    pub fn new(level: Level, json: bool, metrics_namespace: Option<String>, output: Box<dyn Write + Send>) -> Self {
        let metrics = metrics_namespace.filter(|_| json).map(|namespace| Metrics::new(&namespace));
        Self { level, json, metrics, output: Mutex::new(output) }
    }

    /// Writes the line of a request that was answered with `problem`, or with 200.
    pub fn request(&self, entry: &Entry, problem: Option<Code>, duration: Duration) {
        let (code, status) = problem.map_or(("ok", 200), |code| (code.name(), code.status()));
        let call = entry.call.as_ref();
        let (duration, store) = (milliseconds(duration), call.map(|call| milliseconds(call.duration)));
        self.write(if status >= 500 { Level::Warn } else { Level::Info }, |line| {
            line.put("request_id", &entry.request_id);
            line.put("gateway_request_id", &entry.gateway_request_id);
            line.put("status", status);
            line.put("code", code);
            line.put("operation", entry.operation);
            line.put("distributor_id", entry.distributor_id);
            line.put("node_id", entry.node_id);
            line.put("subject", &entry.subject);
            line.put("reason", &entry.reason);
            line.put("xray_trace_id", &entry.xray_trace_id);
            line.put("duration_ms", duration);
            line.put("store_ms", store);
            line.put("store_attempts", call.map(|call| call.attempts));
            line.put("error_code", call.and_then(|call| call.error_code.as_ref()));
            line.put("error_status", call.and_then(|call| call.error_status));
            line.put("aws_request_id", call.and_then(|call| call.aws_request_id.as_ref()));
            line.put("cold_start", entry.cold_start);
            if let Some(metrics) = &self.metrics {
                line.put("Requests", 1);
                line.put("Duration", duration);
                line.put("StoreDuration", store);
                line.put("ColdStart", u8::from(entry.cold_start));
                line.put("_aws", metrics.directive(line.now, store.is_some()));
            }
        });
    }

    /// Writes the line of an event that is no request.
    pub fn invalid_event(&self, request_id: &str, message: &str) {
        self.write(Level::Error, |line| {
            line.put("request_id", request_id);
            line.put("message", message);
        });
    }

    /// Writes why something that should not happen has happened.
    pub fn error(&self, message: &str) {
        self.write(Level::Error, |line| line.put("message", message));
    }

    /// Writes why the process ends.
    pub fn fatal(&self, message: &str) {
        self.write(Level::Fatal, |line| line.put("message", message));
    }

    fn write(&self, level: Level, fill: impl FnOnce(&mut Line)) {
        if level >= self.level {
            let mut line = Line::new(level, self.json);
            fill(&mut line);
            let text = line.end();
            let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
            // A log that cannot be written cannot say so.
            let _ = output.write_all(&text).and_then(|()| output.flush());
        }
    }
}

/// What the embedded metric format says of the members of a line: which of them are metrics. It is the same for every
/// request, but for the metric that only a call of the store has.
struct Metrics {
    without_store: Box<RawValue>,
    with_store: Box<RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    timestamp: i64,
    cloud_watch_metrics: &'a RawValue,
}

impl Metrics {
    fn new(namespace: &str) -> Self {
        let metric = |name: &str, unit: &str| json!({"Name": name, "Unit": unit});
        let sets = |metrics: &[Value]| {
            to_raw_value(&json!([
                {"Namespace": namespace, "Dimensions": [["code"]], "Metrics": [metric("Requests", "Count")]},
                {"Namespace": namespace, "Dimensions": [[]], "Metrics": metrics},
            ]))
            .unwrap_or_default()
        };
        let (duration, cold_start) = (metric("Duration", "Milliseconds"), metric("ColdStart", "Count"));
        let store = metric("StoreDuration", "Milliseconds");
        Self {
            without_store: sets(&[duration.clone(), cold_start.clone()]),
            with_store: sets(&[duration, cold_start, store]),
        }
    }

    fn directive(&self, now: DateTime<Utc>, with_store: bool) -> Directive<'_> {
        let cloud_watch_metrics = if with_store { &self.with_store } else { &self.without_store };
        Directive { timestamp: now.timestamp_millis(), cloud_watch_metrics }
    }
}

/// Turns on the lines that are not one per request: warnings of this crate, and what libraries have to say.
///
/// Libraries are kept at info at most, since below it they print whole requests, and are silent unless a level below
/// info is asked for.
pub fn enable_diagnostics(level: Level, json: bool) {
    let (ours, libraries) = match level {
        Level::Trace | Level::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
        Level::Info => (LevelFilter::INFO, LevelFilter::OFF),
        Level::Warn => (LevelFilter::WARN, LevelFilter::OFF),
        Level::Error => (LevelFilter::ERROR, LevelFilter::OFF),
        Level::Fatal => (LevelFilter::OFF, LevelFilter::OFF),
    };
    let targets = Targets::new().with_default(libraries).with_target("update_distributor", ours);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false);
    let registry = tracing_subscriber::registry().with(targets);
    // It fails where a process has set one before, which then is the one that was wanted.
    let _ = if json {
        tracing::subscriber::set_global_default(
            registry.with(lines.json().flatten_event(true).with_current_span(false).with_span_list(false)),
        )
    } else {
        tracing::subscriber::set_global_default(registry.with(lines))
    };
}

/// A line as it is written, member by member.
struct Line {
    now: DateTime<Utc>,
    json: bool,
    text: Vec<u8>,
}

impl Line {
    fn new(level: Level, json: bool) -> Self {
        let now = Utc::now();
        let mut line = Self { now, json, text: Vec::with_capacity(1_024) };
        let timestamp = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        if json {
            line.put("timestamp", timestamp);
            line.put("level", level.name());
        } else {
            line.text.extend_from_slice(format!("{timestamp} {}", level.name()).as_bytes());
        }
        line
    }

    /// Adds a member; one without a value is left out.
    fn put(&mut self, name: &'static str, value: impl Serialize) {
        let start = self.text.len();
        if self.json {
            self.text.extend_from_slice(if start == 0 { b"{\"" } else { b",\"" });
            self.text.extend_from_slice(name.as_bytes());
            self.text.extend_from_slice(b"\":");
        } else {
            self.text.push(b' ');
            // What there is to say needs no name.
            if name != "message" {
                self.text.extend_from_slice(name.as_bytes());
                self.text.push(b'=');
            }
        }
        let value_start = self.text.len();
        // Strings, numbers and booleans, written to memory: that cannot fail.
        let _ = value.serialize(&mut Serializer::with_formatter(&mut self.text, Ascii));
        match self.text.get(value_start..) {
            Some(b"null") => self.text.truncate(start),
            Some([b'"', inside @ .., b'"'])
                if !self.json && name != "message" && !inside.is_empty() && inside.iter().copied().all(is_plain) =>
            {
                self.text.pop();
                self.text.remove(value_start);
            }
            _ => {}
        }
    }

    fn end(mut self) -> Vec<u8> {
        if self.json {
            self.text.push(b'}');
        }
        self.text.push(b'\n');
        self.text
    }
}

/// Whether a string of this needs no quotes in a line of text.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')
}

/// JSON of printable ASCII only: there are readers that end a line at U+0085 or U+2028, and terminals that obey U+009B.
struct Ascii;

impl serde_json::ser::Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for part in fragment.split_inclusive(|char| !matches!(char, ' '..='~')) {
            let plain = part.trim_end_matches(|char| !matches!(char, ' '..='~'));
            writer.write_all(plain.as_bytes())?;
            for unit in part.strip_prefix(plain).unwrap_or_default().encode_utf16() {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

fn milliseconds(duration: Duration) -> f64 {
    let microseconds = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    f64::from(microseconds) / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: Level, json: bool, fill: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::new(level, json);
        fill(&mut line);
        String::from_utf8(line.end()).unwrap()
    }

    #[test]
    fn no_value_can_break_a_line() {
        let text = "a\nb\r\u{1b}[31m\u{7f}\u{85}\u{9b}\u{2028}\"\\ä😀";
        for json in [true, false] {
            let line = line(Level::Info, json, |line| line.put("subject", text));
            let inside = line.strip_suffix('\n').unwrap();
            assert!(inside.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
            if json {
                assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["subject"], text);
            }
        }
    }

    #[test]
    fn text_lines() {
        for (value, expected) in [
            ("internal_error", "x=internal_error"),
            ("a=b", "x=a=b"),
            ("", "x=\"\""),
            ("a b", "x=\"a b\""),
            ("a\\b", "x=\"a\\\\b\""),
            ("\"a\"", "x=\"\\\"a\\\"\""),
        ] {
            let line = line(Level::Warn, false, |line| {
                line.put("status", 500);
                line.put("node_id", None::<Uuid>);
                line.put("x", value);
            });
            assert!(line.ends_with(&format!("Z WARN status=500 {expected}\n")), "{line}");
        }
        let line = line(Level::Fatal, false, |line| line.put("message", "TABLE_NAME is not set"));
        assert!(line.ends_with("Z FATAL \"TABLE_NAME is not set\"\n"), "{line}");
    }

    #[test]
    fn members_without_a_value_are_left_out() {
        let line = line(Level::Info, true, |line| {
            line.put("a", None::<String>);
            line.put("b", "null");
            line.put("c", false);
        });
        let read: serde_json::Map<String, Value> = serde_json::from_str(&line).unwrap();
        assert_eq!(read.keys().collect::<Vec<_>>(), ["b", "c", "level", "timestamp"]);
    }
}
