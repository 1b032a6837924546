//! Lines that are not one per request.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

use super::Level;

/// Enables the lines that are not one per request: warnings of this crate, and the lines of libraries.
///
/// Libraries never log below info, because they print whole requests there, and log nothing unless a level below info is
/// asked for. (Release builds do not even have those lines.)
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
