//! `settled clock accept`: an operator vouches for the wall clock after its jump stopped writes.

use clap::{Args, Subcommand};

use super::StoreArgs;

/// What to do about the clock.
#[derive(Clone, Debug, Subcommand)]
pub enum ClockCommand {
    /// Say that the wall clock is right, so that writes go on
    ///
    /// Talks to the running server over its socket.
    Accept(AcceptArgs),
}

/// The arguments of `settled clock accept`.
#[derive(Args, Clone, Debug)]
pub struct AcceptArgs {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
}
