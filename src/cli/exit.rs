//! How a subcommand ends: the exit codes that scripts rely on.

use std::io::Write as _;
use std::process::{ExitCode, Termination};

use crate::config::file::ConfigError;

/// The exit codes of every subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is fine.
    Fine = 0,
    /// What was checked does not hold.
    DoesNotHold = 1,
    /// The command line, the environment or the configuration file was refused.
    Usage = 2,
    /// The store is in use by another process, missing, or corrupt.
    Store = 3,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// Says what was refused; asking for help or for the version is no refusal.
pub fn refuse(error: &ConfigError) -> Exit {
    if let ConfigError::Arguments(error) = error {
        // Standard output or error may be closed, and then nobody reads it.
        let _unread = error.print();
        return if error.use_stderr() { Exit::Usage } else { Exit::Fine };
    }
    fail(Exit::Usage, error)
}

/// Says why it ends, with every cause below, on standard error.
pub fn fail(exit: Exit, error: &dyn std::error::Error) -> Exit {
    let mut line = format!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        // A transparent or quoting error has said it already.
        if !line.ends_with(&said) {
            line.push_str(": ");
            line.push_str(&said);
        }
        source = cause.source();
    }
    let _unread = writeln!(std::io::stderr(), "{line}");
    exit
}
