//! Log lines that do not belong to a request: events of `tracing`, and panics.

use std::fmt::{self, Write as _};
use std::panic;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, error};

use super::{Level, Writer};

/// Enables the lines that do not belong to a request: warnings of this crate, the places of panics, and the lines of
/// libraries.
///
/// Libraries never log below info, because they print whole requests there, and log nothing unless a level below info is
/// asked for. (Release builds do not even have those lines.)
pub fn enable_diagnostics(writer: Arc<Writer>) {
    let (ours, libraries) = match writer.level() {
        Level::Trace | Level::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
        Level::Info => (LevelFilter::INFO, LevelFilter::OFF),
        Level::Warn => (LevelFilter::WARN, LevelFilter::OFF),
        Level::Error => (LevelFilter::ERROR, LevelFilter::OFF),
        Level::Fatal => (LevelFilter::OFF, LevelFilter::OFF),
    };
    // Fails if a subscriber is set already (by a test), which then stays.
    let _ = tracing::subscriber::set_global_default(Diagnostics { writer, ours, libraries });
    // Only where it happened: its message may contain secrets.
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
        error!("panicked{}", place.unwrap_or_default());
    }));
}

/// Writes events as lines. There are no spans.
struct Diagnostics {
    writer: Arc<Writer>,
    ours: LevelFilter,
    libraries: LevelFilter,
}

impl Subscriber for Diagnostics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_ours = metadata.target().split("::").next() == Some(env!("CARGO_CRATE_NAME"));
        metadata.is_event() && *metadata.level() <= if is_ours { self.ours } else { self.libraries }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.ours.max(self.libraries))
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let level = match *event.metadata().level() {
            tracing::Level::TRACE => Level::Trace,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::INFO => Level::Info,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::ERROR => Level::Error,
        };
        self.writer.message(level, &message.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The text of an event, with the fields that libraries add to theirs.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let separator = if self.0.is_empty() { "" } else { " " };
        // Written to memory: that cannot fail.
        let _ = if field.name() == "message" {
            write!(self.0, "{separator}{value:?}")
        } else {
            write!(self.0, "{separator}{}={value:?}", field.name())
        };
    }
}
