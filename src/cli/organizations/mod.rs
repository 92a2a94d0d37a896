//! `settled organizations`: lists the organizations of a store, and deletes one.

use clap::Subcommand;

use crate::cli::exit::Exit;

mod delete;
mod list;

/// `settled organizations`.
#[derive(Debug, Subcommand)]
pub enum Organizations {
    /// List the organizations, by id
    List(list::List),
    /// Delete an organization for ever: nobody is let in any more, and its keys are destroyed, so that what it sealed opens with
    /// nothing. Its history stays, as ciphertext
    Delete(delete::Delete),
}

impl Organizations {
    /// Runs it.
    pub fn run(&self) -> Exit {
        match self {
            Self::List(command) => command.run(),
            Self::Delete(command) => command.run(),
        }
    }
}

/// Where a server's socket has them.
const PATH: &str = "/v1/operator/organizations";
