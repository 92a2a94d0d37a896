//! What a server leaves of its memory when it dies of a fault: nothing, also where the system is asked to keep all of it.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::process::Start;

/// Starts a program in a folder, allowed to leave a core dump of any size.
fn start(program: &Command, folder: &Path) -> Child {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"ulimit -c unlimited && exec "$@""#, "sh"]);
    shell.arg(program.get_program()).args(program.get_args()).current_dir(folder);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.spawn().unwrap()
}

/// Waits for something of a child.
fn until(child: &Child, what: impl Fn(u32) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !what(child.id()) {
        assert!(Instant::now() < deadline, "it did not start");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Ends it as a fault does.
fn fault(mut child: Child) -> ExitStatus {
    kill_process(Pid::from_child(&child), Signal::ABORT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    status
}

#[test]
fn a_server_that_dies_of_a_fault_leaves_no_core_dump() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = Command::new("sleep");
    other.arg("60");
    let sleeps = start(&other, folder.path());
    let named = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    until(&sleeps, |pid| named(pid) == "sleep\n");
    assert!(fault(sleeps).core_dumped(), "another program leaves one: else this test shows nothing");

    let data = folder.path().join("data");
    let server = start(&Start::on(&data).command(), folder.path());
    until(&server, |_| data.join("server.json").exists());
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    assert!(!fault(server).core_dumped());
}
