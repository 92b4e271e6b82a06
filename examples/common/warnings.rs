//! Shows what the library warns of.

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Writes the library's warnings to stderr: of what a model folder says twice, or that is left out.
struct Warnings;

static WARNINGS: Warnings = Warnings;

impl Log for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn && metadata.target().starts_with("burn_vlm")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!("warning: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// From here on, unless the program has another logger.
pub(crate) fn show() {
    if log::set_logger(&WARNINGS).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}
