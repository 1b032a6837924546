//! The one line per request, and the settings of every other line.
//!
//! Tokens, passwords and bodies never come here: what is logged of a request is the fields of [`Entry`].

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer as _};
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
    metrics_namespace: Option<String>,
    output: Mutex<Box<dyn Write + Send>>,
}

/// What is known of a request by the time it is answered.
#[derive(Debug, Default)]
pub struct Entry {
    /// The id of the invocation.
    pub request_id: String,
    /// The gateway's id of the request.
    pub gateway_request_id: Option<String>,
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
        Self { level, json, metrics_namespace, output: Mutex::new(output) }
    }

    /// Writes the line of a request that was answered with `problem`, or with 200.
    pub fn request(&self, entry: &Entry, problem: Option<Code>, duration: Duration) {
        let (code, status) = problem.map_or(("ok", 200), |code| (code.name(), code.status()));
        let level = if status >= 500 { Level::Warn } else { Level::Info };
        let call = entry.call.as_ref();
        let mut line = Line::new(level);
        line.put("request_id", &entry.request_id);
        line.put("gateway_request_id", &entry.gateway_request_id);
        line.put("status", status);
        line.put("code", code);
        line.put("operation", entry.operation);
        line.put("distributor_id", entry.distributor_id);
        line.put("node_id", entry.node_id);
        line.put("subject", &entry.subject);
        line.put("reason", &entry.reason);
        line.put("duration_ms", milliseconds(duration));
        line.put("store_ms", call.map(|call| milliseconds(call.duration)));
        line.put("store_attempts", call.map(|call| call.attempts));
        line.put("error_code", call.and_then(|call| call.error_code.as_ref()));
        line.put("error_status", call.and_then(|call| call.error_status));
        line.put("aws_request_id", call.and_then(|call| call.aws_request_id.as_ref()));
        line.put("cold_start", entry.cold_start);
        if self.json
            && let Some(namespace) = &self.metrics_namespace
        {
            line.put_metrics(namespace, entry, duration);
        }
        self.write(&line);
    }

    /// Writes the line of an event that is no request.
    pub fn invalid_event(&self, request_id: &str, message: &str) {
        let mut line = Line::new(Level::Error);
        line.put("request_id", request_id);
        line.put("message", message);
        self.write(&line);
    }

    /// Writes why something that should not happen has happened.
    pub fn error(&self, message: &str) {
        let mut line = Line::new(Level::Error);
        line.put("message", message);
        self.write(&line);
    }

    /// Writes why the process ends.
    pub fn fatal(&self, message: &str) {
        let mut line = Line::new(Level::Fatal);
        line.put("message", message);
        self.write(&line);
    }

    fn write(&self, line: &Line) {
        if line.level >= self.level {
            let text = if self.json { line.to_json() } else { line.to_text() };
            let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
            // A log that cannot be written cannot say so.
            let _ = output.write_all(&text).and_then(|()| output.flush());
        }
    }
}

/// Turns on the lines that are not one per request: warnings of this crate, and what libraries have to say.
///
/// Libraries are kept at info at most, since below it they print whole requests, and are silent unless a level below
/// info is asked for; only when the runtime cannot talk to Lambda is that said in any case.
pub fn enable_diagnostics(level: Level, json: bool) {
    let (ours, libraries, runtime) = match level {
        Level::Trace | Level::Debug => (LevelFilter::DEBUG, LevelFilter::INFO, LevelFilter::INFO),
        Level::Info => (LevelFilter::INFO, LevelFilter::OFF, LevelFilter::ERROR),
        Level::Warn => (LevelFilter::WARN, LevelFilter::OFF, LevelFilter::ERROR),
        Level::Error => (LevelFilter::ERROR, LevelFilter::OFF, LevelFilter::ERROR),
        Level::Fatal => (LevelFilter::OFF, LevelFilter::OFF, LevelFilter::OFF),
    };
    let targets = Targets::new()
        .with_default(libraries)
        .with_target("update_distributor", ours)
        .with_target("lambda_runtime", runtime)
        // Says again what our own line says of an invocation that failed.
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF);
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

/// The members of a line, in their order.
struct Line {
    level: Level,
    now: DateTime<Utc>,
    members: Vec<(&'static str, Value)>,
}

impl Line {
    fn new(level: Level) -> Self {
        let now = Utc::now();
        let mut line = Self { level, now, members: Vec::with_capacity(24) };
        line.put("timestamp", now.to_rfc3339_opts(SecondsFormat::Millis, true));
        line.put("level", level.name());
        line
    }

    /// Adds a member; one without a value is left out.
    fn put(&mut self, name: &'static str, value: impl Serialize) {
        // Strings, numbers and booleans: they always have a value.
        if let Ok(value) = serde_json::to_value(value)
            && !value.is_null()
        {
            self.members.push((name, value));
        }
    }

    /// CloudWatch embedded metric format: the members are the values, `_aws` says which of them are metrics.
    fn put_metrics(&mut self, namespace: &str, entry: &Entry, duration: Duration) {
        let call = entry.call.as_ref();
        let mut metrics =
            vec![json!({"Name": "Duration", "Unit": "Milliseconds"}), json!({"Name": "ColdStart", "Unit": "Count"})];
        if call.is_some() {
            metrics.push(json!({"Name": "StoreDuration", "Unit": "Milliseconds"}));
        }
        self.put("Requests", 1);
        self.put("Duration", milliseconds(duration));
        self.put("StoreDuration", call.map(|call| milliseconds(call.duration)));
        self.put("ColdStart", u8::from(entry.cold_start));
        self.put("_aws", json!({
            "Timestamp": self.now.timestamp_millis(),
            "CloudWatchMetrics": [
                {"Namespace": namespace, "Dimensions": [["code"]], "Metrics": [{"Name": "Requests", "Unit": "Count"}]},
                {"Namespace": namespace, "Dimensions": [[]], "Metrics": metrics},
            ],
        }));
    }

    fn to_json(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(1_024);
        let members = self.members.iter().map(|(name, value)| (name, value));
        // Writing to memory cannot fail.
        let _ = Serializer::with_formatter(&mut text, Ascii).collect_map(members);
        text.push(b'\n');
        text
    }

    fn to_text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(512);
        for (name, value) in &self.members {
            if !text.is_empty() {
                text.push(b' ');
            }
            let plain = value
                .as_str()
                .filter(|value| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'));
            match (*name, plain) {
                ("timestamp" | "level", Some(value)) => text.extend_from_slice(value.as_bytes()),
                ("message", _) => text.extend(ascii(value)),
                (name, Some(value)) => text.extend_from_slice(format!("{name}={value}").as_bytes()),
                (name, None) => {
                    text.extend_from_slice(format!("{name}=").as_bytes());
                    text.extend(ascii(value));
                }
            }
        }
        text.push(b'\n');
        text
    }
}

fn ascii(value: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    // Writing to memory cannot fail.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut text, Ascii));
    text
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

    #[test]
    fn no_value_can_break_a_line() {
        let mut line = Line::new(Level::Info);
        let text = "a\nb\r\u{1b}[31m\u{7f}\u{85}\u{9b}\u{2028}\"\\ä😀";
        line.put("subject", text);
        for rendered in [line.to_json(), line.to_text()] {
            let (end, inside) = rendered.split_last().unwrap();
            assert_eq!(*end, b'\n');
            assert!(inside.iter().all(|byte| matches!(byte, b' '..=b'~')), "{}", String::from_utf8_lossy(inside));
        }
        let read: Value = serde_json::from_slice(&line.to_json()).unwrap();
        assert_eq!(read["subject"], text);
    }

    #[test]
    fn text_lines() {
        let mut line = Line::new(Level::Warn);
        line.put("status", 500);
        line.put("code", "internal_error");
        line.put("subject", "a b=c");
        line.put("node_id", None::<Uuid>);
        let text = String::from_utf8(line.to_text()).unwrap();
        assert!(text.ends_with("Z WARN status=500 code=internal_error subject=\"a b=c\"\n"), "{text}");
    }
}
