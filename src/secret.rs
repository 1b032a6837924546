//! Text that must not leave the process by accident.

use std::fmt;

/// A password or token: `Debug` shows nothing of it, and there is no `Display`, `Serialize` or comparison.
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the store: the one place where it has to be told.
    #[must_use]
    pub fn into_exposed(self) -> String {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let debug = format!("{:?}", Some(Secret::new("hunter2".to_owned())));
        assert_eq!(debug, "Some([secret])");
    }
}
