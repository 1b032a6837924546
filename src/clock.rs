//! The wall clock.

use std::sync::Arc;
use std::time::SystemTime;

/// A source of wall-clock time: the system's, or one that a test sets.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// Returns the clock of the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self::new(SystemTime::now)
    }

    /// Returns a clock that reads `now`.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Returns the time of this clock, which may jump in either direction.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}
