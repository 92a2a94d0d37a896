//! `settled log export`: events exactly as recorded, a line of JSON each.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::StoreArgs;
use crate::ids::StreamId;

/// What to do with the log.
#[derive(Clone, Debug, Subcommand)]
pub enum LogCommand {
    /// Write the events exactly as recorded, one JSON object a line, sealed fields as ciphertext
    Export(ExportArgs),
}

/// The arguments of `settled log export`.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Only this stream: an organization's id, or `platform` [default: all streams]
    #[arg(long, value_name = "STREAM")]
    pub stream: Option<StreamId>,
    /// Write to this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
