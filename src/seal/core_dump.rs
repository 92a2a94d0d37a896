//! Core dumps: a process that holds keys or secrets writes none. Called once, at start.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Makes this process leave no core dump, and no other process of the same user able to read its memory.
///
/// # Errors
/// Those of `setrlimit` and `prctl`.
pub fn forbid_core_dumps() -> std::io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // The limit alone is not enough: a dump that is piped to a program does not heed it.
    hide_memory()
}

/// Makes this process leave no core dump, and its memory unreadable, without a say in what the programs that it starts
/// may leave.
///
/// # Errors
/// Those of `prctl`.
pub fn hide_memory() -> std::io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{dumpable_behavior, getrlimit};

    #[test]
    fn a_forbidden_dump_has_no_size_and_no_reader() {
        forbid_core_dumps().expect("both calls need no privilege");
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        // Other tests of this process may want to look at themselves under `/proc`.
        set_dumpable_behavior(DumpableBehavior::Dumpable).expect("allowed before, allowed again");
    }
}
