//! Text that must not leave the process by accident.

use std::fmt;

/// A password or token. `Debug` shows nothing of it, not even how long it is:
///
/// ```
/// # use update_distributor::secret::Secret;
/// assert_eq!(format!("{:?}", Some(Secret::new("hunter2".to_owned()))), "Some([secret])");
/// ```
///
/// Other ways to reveal it by accident do not compile: it has no `Display`, no `Serialize`, and no
/// comparison, which would take longer the more of a guess is right.
///
/// ```compile_fail,E0277
/// # let secret = update_distributor::secret::Secret::new(String::new());
/// println!("{secret}");
/// ```
///
/// ```compile_fail,E0277
/// # let secret = update_distributor::secret::Secret::new(String::new());
/// serde_json::to_string(&secret);
/// ```
///
/// ```compile_fail,E0369
/// # let secret = update_distributor::secret::Secret::new(String::new());
/// # let other = update_distributor::secret::Secret::new(String::new());
/// secret == other;
/// ```
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text itself, for the store.
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
