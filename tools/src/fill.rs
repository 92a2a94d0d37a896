//! `cargo xtask fill`: a data directory with a year of organizations' history, to try things on at size.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::bench::as_release;
use crate::bench::server::now;
use crate::mix::generate::{PASSWORD, Size, beginning, email, fill};
use crate::mix::store::OpenStore;
use crate::run::say;

/// The options of `cargo xtask fill`.
#[derive(clap::Args)]
pub struct Options {
    /// The data directory to make; there must be none yet
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// How many events there are to be, of all organizations together
    #[arg(long, value_name = "N", default_value = "1000000")]
    events: u64,
    /// How many organizations
    #[arg(long, value_name = "N", default_value = "1")]
    organizations: usize,
    /// Equal seeds give equal histories, but for ids, keys and what is sealed
    #[arg(long, value_name = "N", default_value = "9")]
    seed: u64,
}

/// Fills the directory, and says how to log in.
///
/// # Errors
/// When it is there already, or the store refuses anything.
pub fn run(options: &Options) -> Result<()> {
    if as_release(false)? {
        return Ok(());
    }
    ensure!(!options.data_dir.exists(), "{} is there already", options.data_dir.display());
    let end = now();
    let open = OpenStore::in_directory(&options.data_dir, beginning(end))?;
    let size = Size { events: options.events, organizations: options.organizations };
    let filled = fill(&open, size, options.seed, end)?;
    open.close()?;
    say(&format!("{} events of {} organizations", options.events, filled.len()));
    say(&format!("the Owner of the first logs in as {} with the password `{PASSWORD}`", email(0)));
    Ok(())
}
