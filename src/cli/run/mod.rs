//! `settled run`: runs a command with an environment's configuration and secrets as its environment variables.
//!
//! Values are in memory and in the command's environment, nowhere else: not in an argument list, not on disk, not in
//! what is printed.

use std::ffi::OsString;
use std::future::pending;
use std::pin::Pin;

use clap::Args;
use rustix::process::Signal;

use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::run::child::{Child, NotStarted};
use crate::cli::run::signals::{OnChange, Signals, asks_to_end};
use crate::cli::run::variables::{NotVariables, Variables};
use crate::client::Ctx;
use crate::client::error::ClientError;
use crate::client::values::Values;
use crate::client::watch::Watch;
use crate::clock::Clock;
use crate::config::value::Span;
use crate::seal::core_dump::hide_memory;

pub mod child;
pub mod names;
pub mod signals;
pub mod variables;

/// `settled run`.
///
/// The server is the one that SETTLED_URL names, asked with the key in SETTLED_API_KEY. Ends with what the command
/// ends with, 128 and the number of the signal that ended it, or 125, 126 or 127 where it could not be started.
#[derive(Args, Debug)]
pub struct Run {
    /// The environment whose configuration and secrets the command gets, by slug or id
    #[arg(long, value_name = "ENV")]
    environment: String,
    /// A customer, whose own go before those of the environment
    #[arg(long, value_name = "CUSTOMER")]
    customer: Option<String>,
    /// What to do when they change: `restart` the command, or send it a signal, as `signal=HUP`
    #[arg(long, value_name = "restart|signal=NAME")]
    watch: Option<OnChange>,
    /// How long a command that is restarted may take to end before it is killed
    #[arg(long, value_name = "TIME", default_value = "10s")]
    stop_timeout: Span,
    /// Hand SETTLED_API_KEY on to the command, which may then ask the server itself
    #[arg(long)]
    keep_api_key: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Why a command is not run, or not any longer.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    NotVariables(#[from] NotVariables),
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    #[error("the system does not let processes be run")]
    System(#[from] std::io::Error),
}

impl Run {
    /// Runs it.
    pub fn run(&self) -> Exit {
        match self.to_its_end() {
            Ok(exit) => exit,
            Err(error) => {
                output::error(&error);
                if let RunError::NotStarted(error) = error { error.exit() } else { Exit::NotBegun }
            }
        }
    }

    fn to_its_end(&self) -> Result<Exit, RunError> {
        hide_memory()?;
        let mut ctx = Ctx::from_env(&self.environment)?;
        if let Some(customer) = &self.customer {
            ctx = ctx.of_customer(customer);
        }
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let mut signals = Signals::listen()?;
            tokio::select! {
                signal = signals.next() => Ok(Exit::of_signal(signal.as_raw())),
                values = ctx.fetch() => Running::start(self, ctx, &values?)?.wait(signals).await,
            }
        })
    }
}

/// A command under way.
struct Running<'a> {
    run: &'a Run,
    child: Child,
    /// Its variables; none where nobody watches whether they change.
    has: Option<Variables>,
    watch: Option<Watch>,
    clock: Clock,
    /// Whether it was asked to end, from without: then it is not started again.
    is_to_end: bool,
    /// What it is restarted with once it has ended.
    next: Option<Variables>,
    /// Ends when it has not ended in time.
    overdue: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl<'a> Running<'a> {
    fn start(run: &'a Run, ctx: Ctx, values: &Values) -> Result<Self, RunError> {
        let variables = variables(values)?;
        let child = Child::start(&run.command, &variables, run.keep_api_key)?;
        let (watch, has) = match run.watch {
            Some(_) => (Some(ctx.watch(values)), Some(variables)),
            None => (None, None),
        };
        let clock = Clock::system();
        Ok(Self { run, child, has, watch, clock, is_to_end: false, next: None, overdue: None })
    }

    /// Waits for its end, and for what happens to it until then.
    async fn wait(mut self, mut signals: Signals) -> Result<Exit, RunError> {
        loop {
            tokio::select! {
                ended = self.child.ended() => {
                    let exit = ended?;
                    let Some(variables) = self.next.take() else { return Ok(exit) };
                    self.overdue = None;
                    self.child = Child::start(&self.run.command, &variables, self.run.keep_api_key)?;
                    self.has = Some(variables);
                }
                signal = signals.next() => {
                    if asks_to_end(signal) {
                        // Whoever asks decides how long it may take.
                        (self.is_to_end, self.next, self.overdue) = (true, None, None);
                    }
                    self.child.pass_on(signal);
                }
                changed = next(&mut self.watch) => self.changed(changed),
                () = passed(&mut self.overdue) => {
                    output::note("settled: the command did not end in time and is killed");
                    self.overdue = None;
                    self.child.signal(Signal::KILL);
                }
            }
        }
    }

    /// Takes a change to the command. What cannot be taken leaves it as it is.
    fn changed(&mut self, changed: Result<Values, ClientError>) {
        let variables = match changed.map_err(RunError::from).and_then(|values| variables(&values)) {
            Ok(variables) => variables,
            Err(error) => return self.unchanged(&error),
        };
        let (Some(on_change), Some(has)) = (self.run.watch, &mut self.has) else { return };
        match on_change {
            OnChange::Restart if self.next.is_some() => self.next = Some(variables),
            OnChange::Restart if self.is_to_end => {}
            _ if *has == variables => {}
            OnChange::Restart => {
                output::note("settled: the settings changed, the command is restarted");
                self.next = Some(variables);
                self.overdue = Some(Box::pin(self.clock.sleep(self.run.stop_timeout.duration())));
                self.child.signal(Signal::TERM);
            }
            OnChange::Signal(signal) => {
                output::note("settled: the settings changed, the command is told by a signal");
                *has = variables;
                self.child.signal(signal);
            }
        }
    }

    fn unchanged(&mut self, why: &RunError) {
        output::error(why);
        output::note("settled: the command goes on with the variables it has");
        if let RunError::Client(_) = why {
            output::note("settled: whether they change is not watched any longer");
            self.watch = None;
        }
    }
}

fn variables(values: &Values) -> Result<Variables, RunError> {
    let variables = Variables::of(values)?;
    for name in &variables.clashes {
        output::note(format_args!(
            "settled: {name} is a secret and a configuration value; the secret is used"
        ));
    }
    Ok(variables)
}

async fn next(watch: &mut Option<Watch>) -> Result<Values, ClientError> {
    match watch {
        Some(watch) => watch.next().await,
        None => pending().await,
    }
}

async fn passed(time: &mut Option<Pin<Box<dyn Future<Output = ()>>>>) {
    match time {
        Some(time) => time.await,
        None => pending().await,
    }
}
