//! `settled clock accept`: an operator vouches for the wall clock.

use std::error::Error;
use std::path::Path;

use clap::{Args, Subcommand};
use hyper::Method;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::cli::exit::Exit;
use crate::cli::root_key::RootKeyOptions;
use crate::cli::target::Target;
use crate::cli::{output, socket};
use crate::clock::{Clock as Clocks, Timestamp};
use crate::open::OpenDir;
use crate::platform::operations::command::OperationsCommand;
use crate::store::Submission;

/// `settled clock`.
#[derive(Debug, Subcommand)]
pub enum Clock {
    /// Take the wall clock's present reading for right, so that writes go on
    Accept(Accept),
}

/// `settled clock accept`.
#[derive(Args, Debug)]
pub struct Accept {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    root_key: RootKeyOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was accepted, as a server answers it and as it is printed.
#[derive(Debug, Serialize, Deserialize)]
struct Accepted {
    accepted: Timestamp,
}

impl Clock {
    /// Runs it.
    pub fn run(&self) -> Exit {
        let Self::Accept(accept) = self;
        let ask = |socket: &Path| socket::call(socket, Method::POST, "/v1/operator/clock/accept");
        let done = accept.target.have_done(ask, |opened| Ok(Accepted { accepted: accept.append(opened)? }));
        match done {
            Ok(accepted) => accept.print(&accepted),
            Err(exit) => exit,
        }
    }
}

impl Accept {
    fn print(&self, accepted: &Accepted) -> Exit {
        if self.json {
            output::json(accepted);
        } else {
            output::line(format_args!("accepted {}", accepted.accepted));
        }
        Exit::Fine
    }

    fn append(&self, opened: &OpenDir) -> Result<Timestamp, Box<dyn Error>> {
        let clock = Clocks::system();
        let wall = clock.accept();
        let store = self.root_key.open_store(opened, clock, None)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let command = OperationsCommand::AcceptClock { wall, newest: store.newest() };
        let done =
            runtime.block_on(store.execute(store.platform(), Submission::new(command, Actor::OPERATOR)));
        store.stop();
        done?;
        Ok(wall)
    }
}
