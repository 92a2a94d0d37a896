//! `settled secrets`: an environment's secrets, taken in from a file and out again, with an API key.

use clap::{Subcommand, ValueEnum};

use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::target::failed;
use crate::client::api::Api;
use crate::client::error::ClientError;
use crate::seal::core_dump::hide_memory;

pub mod dotenv;
pub mod entries;
pub mod export;
pub mod import;
pub mod json;

/// `settled secrets`. The server is the one that SETTLED_URL names, asked with the key in SETTLED_API_KEY.
#[derive(Debug, Subcommand)]
pub enum Secrets {
    /// Write the secrets that a file holds into an environment, all or none
    Import(import::Import),
    /// Print the secrets of an environment; each is recorded as revealed
    Export(export::Export),
}

/// The form of a file of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines of `NAME='value'`
    Dotenv,
    /// One object, `{"NAME": "value"}`
    Json,
}

impl Secrets {
    /// Runs it.
    pub fn run(&self) -> Exit {
        if let Err(error) = hide_memory() {
            return failed(&error);
        }
        match self {
            Self::Import(command) => command.run(),
            Self::Export(command) => command.run(),
        }
    }
}

/// Asks the server, and prints why where it does not answer.
fn ask<T>(questions: impl AsyncFnOnce(&Api) -> Result<T, ClientError>) -> Result<T, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    let answer = Api::from_env().and_then(|api| runtime.block_on(questions(&api)));
    answer.map_err(|error| {
        output::error(&error);
        match error {
            ClientError::Refused(_) if !error.is_passing() => Exit::DoesNotHold,
            ClientError::NotSet(_) | ClientError::InvalidUrl | ClientError::InvalidKey => Exit::Usage,
            _ => Exit::Store,
        }
    })
}
