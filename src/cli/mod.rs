//! The command line: what can be asked for, one file per subcommand, and what all of them share.
//!
//! Subcommands use the library as anybody could; a rule about the store has no place here. They answer with an
//! [`Exit`], print what was asked for to standard output, and everything else to standard error.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser};

use crate::config::Config;
use crate::config::file::{ConfigError, File};

pub mod clock;
pub mod exit;
pub mod fsck;
pub mod log;
pub mod output;
pub mod progress;
pub mod replay;

/// What `settled` was asked to do.
#[derive(Debug, Parser)]
#[command(name = "settled", version, about = "An event-sourced settings store", max_term_width = 100)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Subcommand,
}

/// The subcommands. One is registered here when its file can do what it says.
#[derive(Debug, clap::Subcommand)]
pub enum Subcommand {
    /// Serve the HTTP API over a store, which is made at the first start
    ///
    /// Every option is a flag, an environment variable and a key of settled.toml.
    Serve(Box<Config>),
}

/// What every subcommand that needs a store takes.
#[derive(Args, Clone, Debug)]
pub struct StoreArgs {
    /// The folder of the store
    #[arg(long, env = "SETTLED_DATA_DIR", value_name = "DIR", default_value = "./settled-data")]
    pub data_dir: PathBuf,
}

/// What every subcommand that prints a table takes.
#[derive(Args, Clone, Copy, Debug)]
pub struct OutputArgs {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

impl Cli {
    /// Reads a command line, the environment and, for `serve`, the configuration file that they name or that lies
    /// in `folder`.
    ///
    /// # Errors
    /// What was refused; see also [`exit::refuse`].
    pub fn parse_in(folder: &Path, args: Vec<OsString>) -> Result<Self, ConfigError> {
        let mut command = Self::command();
        let mut matches = command.clone().try_get_matches_from(&args)?;
        if let Some(("serve", serve)) = matches.subcommand()
            && let Some(file) = File::find(serve, folder)?
        {
            let options = command.find_subcommand("serve").cloned().unwrap_or_default();
            let options = file.under(options)?;
            command = command.mut_subcommand("serve", |_| options);
            matches = command.try_get_matches_from(&args)?;
        }
        let mut cli = Self::from_arg_matches(&matches)?;
        if let (Subcommand::Serve(config), Some(("serve", serve))) = (&mut cli.command, matches.subcommand()) {
            **config = Config::from_matches(serve)?;
        }
        Ok(cli)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(folder: &Path, args: &[&str]) -> Result<Cli, ConfigError> {
        Cli::parse_in(folder, args.iter().map(OsString::from).collect())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_reads_its_file_under_its_flags() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("settled.toml"), "log-level = 'debug'\nballast = '1MiB'").unwrap();
        let cli = parse(folder.path(), &["settled", "serve", "--ballast=2MiB"]).unwrap();
        let Subcommand::Serve(config) = cli.command;
        assert_eq!(config.ballast.bytes(), 2 << 20);
        assert_eq!(config.log_level, crate::config::LogLevel::Debug);
    }

    #[test]
    fn a_mistyped_key_of_the_file_stops_serve() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("settled.toml"), "balast = '1MiB'").unwrap();
        let error = parse(folder.path(), &["settled", "serve"]).unwrap_err();
        assert!(error.to_string().ends_with("line 1: `balast` is not an option (did you mean `ballast`?)"));
    }
}
