//! How a command ends.

use std::process::{ExitCode, Termination};

/// How a command ends, as its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: fine.
    Fine,
    /// 1: what was checked does not hold.
    DoesNotHold,
    /// 2: the command line or the configuration is wrong.
    Usage,
    /// 3: the store is in use, cannot be reached, or is corrupt.
    Store,
}

impl Exit {
    /// The code.
    pub fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::DoesNotHold => 1,
            Self::Usage => 2,
            Self::Store => 3,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}
