//! The command line: one file per subcommand. Only here is anything printed, and only here do errors lose their type.

use std::ffi::OsString;
use std::path::Path;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use rustix::fs::Mode;

use crate::cli::exit::Exit;
use crate::config::file::{ConfigError, File};
use crate::config::{Config, LogFormat, LogLevel};
use crate::logging;

pub mod clock;
pub mod completions;
pub mod demo;
pub mod exit;
pub mod fsck;
pub mod key;
pub mod log;
mod older_keys;
pub mod organizations;
pub mod output;
pub mod replay;
pub mod restore;
pub mod root_key;
pub mod run;
pub mod secrets;
pub mod serve;
pub mod snapshot;
pub mod socket;
pub mod target;
pub mod unopened;
pub mod verify;
pub mod witness;

/// An event-sourced settings store.
#[derive(Debug, Parser)]
#[command(name = "settled", version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a store over HTTP; made at the first start
    Serve(Box<Config>),
    /// Fold the log from its first event and show each stream's digest; of a running server, held against what it
    /// serves
    Replay(replay::Replay),
    /// Check every frame, version and link of the log, and list what is wrong
    Fsck(fsck::Fsck),
    /// Bring an organization's settings back to what they were, or show what that would come to
    Restore(restore::Restore),
    /// Take, list, verify and restore snapshots of the whole store
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    /// List the organizations of a store, and delete one for ever
    #[command(subcommand)]
    Organizations(organizations::Organizations),
    /// Run a command with an environment's configuration and secrets as its environment variables
    Run(run::Run),
    /// Take an environment's secrets in from a file, or out
    #[command(subcommand)]
    Secrets(secrets::Secrets),
    /// Check a bundle of events against a key that you trust, without a server
    Verify(verify::Verify),
    /// Look into the log
    #[command(subcommand)]
    Log(log::Log),
    /// Vouch for the wall clock after it jumped
    #[command(subcommand)]
    Clock(clock::Clock),
    /// Make and rotate the keys that everything sealed is wrapped by
    #[command(subcommand)]
    Key(key::Key),
    /// Print the script by which a shell completes this command line
    Completions(completions::Completions),
}

/// Parses a command line and runs it.
pub fn main(args: impl IntoIterator<Item = OsString>) -> Exit {
    match parse(args) {
        Ok(cli) => cli.run(),
        Err(ConfigError::Arguments(error)) => {
            let _closed = error.print();
            if error.use_stderr() { Exit::Usage } else { Exit::Fine }
        }
        Err(error) => {
            output::error(&error);
            Exit::Usage
        }
    }
}

/// A configuration file's values take the place of the defaults of `serve`, so that one parser checks them all.
fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, ConfigError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let mut command = Cli::command();
    let matches = command.clone().try_get_matches_from(&args)?;
    let Some(("serve", serve)) = matches.subcommand() else {
        return Ok(Cli::from_arg_matches(&matches)?);
    };
    let Some(file) = File::find(serve, Path::new("."))? else {
        let config = Config::from_matches(serve)?;
        return Ok(Cli { command: Command::Serve(Box::new(config)) });
    };
    let with_file = file.under(command.find_subcommand("serve").cloned().unwrap_or_default())?;
    command = command.mut_subcommand("serve", |_| with_file);
    let matches = command.try_get_matches_from(&args)?;
    let config = match matches.subcommand() {
        Some(("serve", serve)) => Config::from_matches(serve)?,
        _ => return Ok(Cli::from_arg_matches(&matches)?),
    };
    Ok(Cli { command: Command::Serve(Box::new(config)) })
}

impl Cli {
    fn run(self) -> Exit {
        // What the commands make is for its owner alone, also what sled makes, which asks for no mode of its own.
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        let (format, level) = match &self.command {
            Command::Serve(config) => (config.log_format, config.log_level),
            _ => (LogFormat::Human, LogLevel::Warn),
        };
        if let Err(error) = logging::start(format, level) {
            output::error(&error);
        }
        logging::panics_without_their_text();
        match self.command {
            Command::Serve(config) => serve::run(&config),
            Command::Replay(command) => command.run(),
            Command::Fsck(command) => command.run(),
            Command::Restore(command) => command.run(),
            Command::Snapshot(command) => command.run(),
            Command::Organizations(command) => command.run(),
            Command::Run(command) => command.run(),
            Command::Secrets(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Log(command) => command.run(),
            Command::Clock(command) => command.run(),
            Command::Key(command) => command.run(),
            Command::Completions(command) => command.run(),
        }
    }
}
