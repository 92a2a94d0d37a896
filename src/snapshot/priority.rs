//! The priority of the threads that pack and unpack: whoever serves requests goes first.

use rustix::process::setpriority_process;

/// The least priority that a thread can have.
const LEAST: i32 = 19;

/// Lets all others go first, as long as this thread runs. Where that is not possible, this only takes more of the machine.
pub(super) fn give_way() {
    // On Linux a priority is a thread's, whatever the call is named.
    let _ = setpriority_process(None, LEAST);
}
