//! The writer of every line of the log, as JSON or as text.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Serializer;

use super::Level;

/// The length of a line in bytes. CloudWatch cuts long events, and loses the metrics of those that it has cut; 16 KB is
/// far below its limit of 256 KB.
const MAX_LINE: usize = 16_384;
/// What is kept of [`MAX_LINE`] for names, numbers and metrics, which are never cut.
const RESERVE: usize = 3_072;

/// Writes lines at a level and above.
pub struct Writer {
    level: Level,
    json: bool,
    output: Mutex<Box<dyn Write + Send>>,
}

impl Writer {
    /// Creates a writer of lines in JSON or in plain text.
    #[must_use]
    pub fn new(level: Level, json: bool, output: Box<dyn Write + Send>) -> Self {
        Self { level, json, output: Mutex::new(output) }
    }

    /// The level below which nothing is written.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether lines are JSON.
    #[must_use]
    pub fn json(&self) -> bool {
        self.json
    }

    /// Writes a line of a message.
    pub fn message(&self, level: Level, message: &str) {
        self.line(level, |line| line.field("message", message));
    }

    /// Writes a line with the members that `fill` adds.
    pub(super) fn line(&self, level: Level, fill: impl FnOnce(&mut Line)) {
        if level >= self.level {
            let mut line = Line::new(level, self.json);
            fill(&mut line);
            let text = line.finish();
            let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
            // There is nowhere to report a failed write.
            let _ = output.write_all(&text).and_then(|()| output.flush());
        }
    }
}

/// A line as it is written, member by member.
pub(super) struct Line {
    /// The time in its `timestamp`.
    pub now: DateTime<Utc>,
    json: bool,
    text: Vec<u8>,
}

impl Line {
    /// Starts a line with the time and the level.
    fn new(level: Level, json: bool) -> Self {
        let now = Utc::now();
        let mut line = Self { now, json, text: Vec::with_capacity(1_024) };
        let timestamp = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        if json {
            line.field("timestamp", timestamp);
            line.field("level", <&str>::from(level));
        } else {
            line.text.extend_from_slice(format!("{timestamp} {}", <&str>::from(level)).as_bytes());
        }
        line
    }

    /// Adds a member; one without a value is left out. A string is cut where the line would become too long.
    pub fn field(&mut self, name: &'static str, value: impl Serialize) {
        let start = self.text.len();
        if self.json {
            self.text.extend_from_slice(if start == 0 { b"{\"" } else { b",\"" });
            self.text.extend_from_slice(name.as_bytes());
            self.text.extend_from_slice(b"\":");
        } else {
            self.text.push(b' ');
            // The message needs no key.
            if name != "message" {
                self.text.extend_from_slice(name.as_bytes());
                self.text.push(b'=');
            }
        }
        let value_start = self.text.len();
        // Strings, numbers and booleans, written to memory: that cannot fail.
        let _ = value.serialize(&mut Serializer::with_formatter(&mut self.text, Ascii));
        self.cut_string(value_start);
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

    /// Cuts the string that ends the line so far, between two of its characters. Of one that starts too late, nothing is left.
    fn cut_string(&mut self, start: usize) {
        let end = MAX_LINE - RESERVE;
        let Some([b'"', inside @ ..]) = self.text.get(start..) else { return };
        if self.text.len() <= end {
            return;
        }
        // An escape has two bytes, six where it starts with `\u`, and twelve where that is half of a surrogate pair.
        let (mut kept, mut rest) = (start + 1, inside);
        loop {
            let length = match rest {
                [b'\\', b'u', b'd', b'8'..=b'b', ..] => 12,
                [b'\\', b'u', ..] => 6,
                [b'\\', ..] => 2,
                _ => 1,
            };
            if kept + length + 1 > end {
                break;
            }
            kept += length;
            rest = rest.get(length..).unwrap_or_default();
        }
        self.text.truncate(kept);
        self.text.push(b'"');
    }

    /// Returns the line with its end.
    fn finish(mut self) -> Vec<u8> {
        if self.json {
            self.text.push(b'}');
        }
        self.text.push(b'\n');
        self.text
    }
}

/// Returns whether a string of such bytes needs no quotes in a line of text.
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

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn no_line_is_too_long() {
        for char in ["a", "\"", "\\", "\u{e4}", "\u{1f600}", "\n"] {
            for length in [13_000, 13_290, 13_296, 13_300, 30_000] {
                for json in [true, false] {
                    let text = char.repeat(length);
                    let line = line(Level::Info, json, |line| {
                        line.field("subject", &text);
                        line.field("reason", &text);
                        line.field("message", &text);
                        line.field("status", 200);
                    });
                    assert!(line.len() <= MAX_LINE, "{char} {length} times: {}", line.len());
                    if json {
                        let read: Value = serde_json::from_str(&line).unwrap();
                        assert_eq!(read["status"], 200, "{char} {length} times");
                        assert!(text.starts_with(read["subject"].as_str().unwrap()), "{char} {length} times");
                    } else {
                        assert!(line.ends_with(" status=200\n"), "{char} {length} times");
                    }
                }
            }
        }
    }

    #[test]
    fn a_string_is_cut_after_the_last_character_that_fits() {
        for (char, escape) in [("a", 1), ("\"", 2), ("\u{e4}", 6), ("\u{1f600}", 12)] {
            let mut line = Line::new(Level::Info, true);
            line.field("message", char.repeat(MAX_LINE));
            let free = (MAX_LINE - RESERVE).checked_sub(line.text.len());
            assert!(free.is_some_and(|free| free < escape), "{char}: {free:?}");
        }
    }

    fn line(level: Level, json: bool, fill: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::new(level, json);
        fill(&mut line);
        String::from_utf8(line.finish()).unwrap()
    }

    #[test]
    fn no_value_can_break_a_line() {
        let text = "a\nb\r\u{1b}[31m\u{7f}\u{85}\u{9b}31m\u{2028}\"\\ä😀";
        for json in [true, false] {
            let line = line(Level::Info, json, |line| line.field("subject", text));
            let inside = line.strip_suffix('\n').unwrap();
            assert!(inside.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
            if json {
                assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["subject"], text);
            }
        }
    }

    #[test]
    fn text_values_are_quoted_where_they_must_be() {
        for (value, expected) in [
            ("internal_error", "x=internal_error"),
            ("a=b", "x=a=b"),
            ("", "x=\"\""),
            ("a b", "x=\"a b\""),
            ("a\\b", "x=\"a\\\\b\""),
            ("\"a\"", "x=\"\\\"a\\\"\""),
        ] {
            let line = line(Level::Warn, false, |line| {
                line.field("status", 500);
                line.field("node_id", None::<Uuid>);
                line.field("x", value);
            });
            assert!(line.ends_with(&format!("Z WARN status=500 {expected}\n")), "{line}");
        }
        let line = line(Level::Fatal, false, |line| line.field("message", "TABLE_NAME is not set"));
        assert!(line.ends_with("Z FATAL \"TABLE_NAME is not set\"\n"), "{line}");
    }

    #[test]
    fn members_without_a_value_are_left_out() {
        let line = line(Level::Info, true, |line| {
            line.field("a", None::<String>);
            line.field("b", "null");
            line.field("c", false);
        });
        let read: serde_json::Map<String, Value> = serde_json::from_str(&line).unwrap();
        assert_eq!(read.keys().collect::<Vec<_>>(), ["b", "c", "level", "timestamp"]);
    }
}
