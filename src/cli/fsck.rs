//! `settled fsck`: verifies all that a store consists of, and lists what is wrong instead of skipping it.

use clap::Args;

use super::{OutputArgs, StoreArgs};

/// The arguments of `settled fsck`.
#[derive(Args, Clone, Debug)]
pub struct FsckArgs {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
    /// How to print what was found.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Take the log as it is for all there was, where the head file is missing or names a frame that the log lacks.
    /// Says what is accepted as lost; there is no way back but a snapshot
    #[arg(long)]
    pub accept_head: bool,
}
