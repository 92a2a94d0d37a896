//! How a command ends.

use std::process::{ExitCode, Termination};

/// How a command ends, as its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: fine.
    Fine,
    /// 1: what was checked does not hold, or the server refused what was asked.
    DoesNotHold,
    /// 2: the command line, the configuration or an input file is wrong.
    Usage,
    /// 3: the store is in use, cannot be reached, or is corrupt.
    Store,
    /// 125: `run` failed before its command began. This and the next two are what `env` and `timeout` end with, apart
    /// from what commands commonly do.
    NotBegun,
    /// 126: the command of `run` cannot be executed.
    NotExecutable,
    /// 127: the command of `run` is not found.
    NotFound,
    /// What the command of `run` ended with; 128 and its number where a signal ended it.
    Commands(u8),
}

impl Exit {
    /// That the command of `run` ended with an exit code.
    pub fn of_code(code: i32) -> Self {
        Self::Commands(u8::try_from(code).unwrap_or(u8::MAX))
    }

    /// That a signal ended it.
    pub fn of_signal(number: i32) -> Self {
        Self::of_code(128 + number)
    }

    /// The code.
    pub fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::DoesNotHold => 1,
            Self::Usage => 2,
            Self::Store => 3,
            Self::NotBegun => 125,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
            Self::Commands(code) => code,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}
