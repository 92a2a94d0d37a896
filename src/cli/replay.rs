//! `settled replay`: folds the log from zero beside the saved state and compares digests, stream by stream.

use clap::Args;

use super::{OutputArgs, StoreArgs};

/// The arguments of `settled replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
    /// How to print what was found.
    #[command(flatten)]
    pub output: OutputArgs,
}
