//! What a node logs and where. Messages, names and keys are never logged; libraries below this one speak only when
//! something is wrong, since some of them print addresses.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use tracing_subscriber::EnvFilter;

use super::arguments::{Global, LogFormat};
use super::failure::{Class, Failure};

/// A log larger than this is set aside when a node starts; one earlier log is kept.
const LOG_BYTES_MAX: u64 = 8 << 20;

/// Starts logging to `file`, or to stderr.
///
/// # Errors
/// When the filter is not one, or the file cannot be opened.
pub fn start(global: &Global, file: Option<&Path>) -> Result<(), Failure> {
    let usual = match (global.quiet, global.verbose) {
        (true, _) => "warn",
        (false, 0) => "warn,silbo=info,silbo_node=info,silbo_transports=info,silbo_protocol=info",
        (false, 1) => "info,silbo=debug,silbo_node=debug,silbo_transports=debug,silbo_protocol=debug",
        (false, _) => "debug,silbo=trace,silbo_node=trace,silbo_transports=trace,silbo_protocol=trace",
    };
    let filter = EnvFilter::try_new(global.log.as_deref().unwrap_or(usual)).map_err(|error| {
        Failure::new(Class::InvalidParams, "the log filter cannot be used")
            .why(error.to_string())
            .hint("SILBO_LOG=silbo=debug")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_target(false);
    let json = global.log_format == LogFormat::Json;
    let started = match file {
        Some(path) => {
            let file = open(path).map_err(|error| {
                Failure::usage("the log cannot be written", "choose another --log-file")
                    .why(format!("{}: {error}", path.display()))
            })?;
            let builder = builder.with_writer(std::sync::Arc::new(file));
            if json { builder.json().try_init() } else { builder.try_init() }
        }
        None => {
            let builder = builder.with_writer(io::stderr);
            if json { builder.json().try_init() } else { builder.try_init() }
        }
    };
    started.map_err(|error| Failure::new(Class::Internal, "could not start logging").why(error.to_string()))
}

/// Opens a log for appending, readable by its owner alone.
///
/// # Errors
/// What the operating system says.
pub fn open(path: &Path) -> io::Result<std::fs::File> {
    if std::fs::metadata(path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_log_is_set_aside_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("silbo.log");
        std::fs::write(&path, vec![b'x'; LOG_BYTES_MAX as usize + 1]).expect("a large log");
        drop(open(&path).expect("a log"));
        assert_eq!(std::fs::metadata(&path).expect("the log").len(), 0);
        assert!(folder.path().join("silbo.log.1").is_file());
    }
}
