//! One line of the log, as JSON or as text.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Serializer;

use super::Level;

/// A line as it is written, member by member.
pub struct Line {
    /// The time in its `timestamp`.
    pub now: DateTime<Utc>,
    json: bool,
    text: Vec<u8>,
}

impl Line {
    /// Starts a line with the time and the level.
    pub fn new(level: Level, json: bool) -> Self {
        let now = Utc::now();
        let mut line = Self { now, json, text: Vec::with_capacity(1_024) };
        let timestamp = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        if json {
            line.field("timestamp", timestamp);
            line.field("level", level.name());
        } else {
            line.text.extend_from_slice(format!("{timestamp} {}", level.name()).as_bytes());
        }
        line
    }

    /// Adds a member; one without a value is left out.
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

    /// Returns the line with its end.
    pub fn finish(mut self) -> Vec<u8> {
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

    fn line(level: Level, json: bool, fill: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::new(level, json);
        fill(&mut line);
        String::from_utf8(line.finish()).unwrap()
    }

    #[test]
    fn no_value_can_break_a_line() {
        let text = "a\nb\r\u{1b}[31m\u{7f}\u{85}\u{9b}\u{2028}\"\\ä😀";
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
