//! The command that `settled run` runs, as a process.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;

use rustix::process::{Pid, Signal, getpgrp, kill_process, kill_process_group};
use rustix::termios::tcgetpgrp;
use tokio::process::{Child as Process, Command};

use crate::cli::exit::Exit;
use crate::cli::run::variables::Variables;
use crate::client::api::SETTLED_API_KEY;

/// A command that runs.
pub struct Child {
    process: Process,
    on_terminal: bool,
}

/// A command that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be run", command.display())]
pub struct NotStarted {
    command: OsString,
    #[source]
    source: io::Error,
}

impl NotStarted {
    /// How `settled run` ends then.
    pub fn exit(&self) -> Exit {
        if self.source.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::NotExecutable }
    }
}

impl Child {
    /// Starts a command: with this process's variables, over them those given, and without the API key unless that is
    /// to be kept.
    ///
    /// On a terminal it belongs to this process's group, as if it had been started in our place: the keys that
    /// interrupt or stop a job reach both, in a pipeline too. Elsewhere it begins a group of its own, so that a signal
    /// reaches what it started, as well.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        command: &[OsString],
        variables: &Variables,
        keep_api_key: bool,
    ) -> Result<Self, NotStarted> {
        let [program, arguments @ ..] = command else { unreachable!("clap asks for a command") };
        let on_terminal =
            io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal();
        let mut starting = Command::new(program);
        starting.args(arguments);
        if !keep_api_key {
            starting.env_remove(SETTLED_API_KEY);
        }
        starting.envs(variables.iter());
        if !on_terminal {
            starting.process_group(0);
        }
        let process = starting.spawn().map_err(|source| NotStarted { command: program.clone(), source })?;
        Ok(Self { process, on_terminal })
    }

    /// Waits until it ends: with its exit code, or 128 and the number of the signal that ended it. Can be cancelled.
    ///
    /// # Errors
    /// When the system does not let us.
    pub async fn ended(&mut self) -> io::Result<Exit> {
        let status = self.process.wait().await?;
        Ok(match (status.code(), status.signal()) {
            (Some(code), _) => Exit::of_code(code),
            (None, signal) => Exit::of_signal(signal.unwrap_or_default()),
        })
    }

    /// Passes a signal on that came to this process, unless it came from the keyboard and reached the command already.
    pub fn pass_on(&self, signal: Signal) {
        let from_keyboard = matches!(signal, Signal::INT | Signal::QUIT) && in_foreground();
        if !(self.on_terminal && from_keyboard) {
            self.signal(signal);
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        // Without an id it has ended and was waited for.
        if let Some(id) = id {
            let _ended_meanwhile =
                if self.on_terminal { kill_process(id, signal) } else { kill_process_group(id, signal) };
        }
    }
}

/// Whether this process's group is the one that a terminal's keys reach.
fn in_foreground() -> bool {
    let own = Ok(getpgrp());
    tcgetpgrp(io::stdin()) == own || tcgetpgrp(io::stdout()) == own || tcgetpgrp(io::stderr()) == own
}
