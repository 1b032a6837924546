//! Truncates untrusted text for the log.

/// The characters that are kept. Arbitrary; real names, subjects and URLs are shorter.
const MAX_CHARS: usize = 256;

/// Returns the first 256 characters of an untrusted text, so that no one can make a log line long.
#[must_use]
pub fn excerpt(text: &str) -> &str {
    text.char_indices().nth(MAX_CHARS).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_256_characters_are_kept() {
        for char in ["a", "\u{e4}", "\u{1f600}"] {
            for (length, expected) in [(0, 0), (1, 1), (255, 255), (256, 256), (257, 256), (100_000, 256)] {
                assert_eq!(excerpt(&char.repeat(length)), char.repeat(expected), "{length} times {char}");
            }
        }
    }
}
