//! Log lines: for people or as JSON, on standard error, from a level on; panics are such lines too.
//!
//! What a line may hold is decided where it is written: ids, never personal data and never a secret. Other crates
//! are held at `warn` whatever the level, for at their lower levels some print headers and bodies.

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, fmt, registry};

use crate::config::{LogFormat, LogLevel};

/// Sends the log lines of this process to standard error.
///
/// # Errors
/// When they are sent somewhere already.
pub fn start(format: LogFormat, level: LogLevel) -> Result<(), TryInitError> {
    subscriber(format, level, std::io::stderr).try_init()
}

/// Makes every panic of this process, sled's included, one log line that says where, never what: its text may quote a
/// secret.
pub fn panics_without_their_text() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        tracing::error!(target: "settled::panic", place, thread, "a panic; this is a bug");
    }));
}

fn subscriber<W>(format: LogFormat, level: LogLevel, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let targets = Targets::new().with_default(LevelFilter::WARN).with_target("settled", filter(level));
    let layer = fmt::layer().with_writer(writer);
    let layer = match format {
        LogFormat::Human => layer.with_ansi(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    Box::new(registry().with(layer.with_filter(targets)))
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: LogLevel) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        tracing::subscriber::with_default(subscriber(format, level, move || writer.clone()), || {
            tracing::info!(target: "settled::store", batch = 3, "committed");
            tracing::trace!(target: "settled::store", "settling");
            tracing::trace!(target: "hyper::proto", "a header");
            tracing::warn!(target: "hyper::proto", "a broken pipe");
        });
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn other_crates_never_log_below_warn() {
        let text = logged(LogFormat::Human, LogLevel::Trace);
        assert!(text.contains("settling") && text.contains("a broken pipe"), "{text}");
        assert!(!text.contains("a header"), "{text}");
    }

    #[test]
    fn a_level_hides_what_is_below_it() {
        let text = logged(LogFormat::Human, LogLevel::Info);
        assert!(text.contains("committed") && !text.contains("settling"), "{text}");
    }

    #[test]
    fn json_lines_hold_one_object_each_with_the_fields_at_its_top() {
        let text = logged(LogFormat::Json, LogLevel::Info);
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["batch"], 3);
        assert_eq!(first["message"], "committed");
        assert_eq!(first["level"], "INFO");
    }
}
