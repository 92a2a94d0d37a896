//! `settled clock accept`: an operator vouches for the wall clock.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use hyper::Method;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::cli::exit::Exit;
use crate::cli::target::{Holder, Target, close, failed};
use crate::cli::{output, socket};
use crate::clock::{Clock as Clocks, Timestamp};
use crate::config::RootKeySource;
use crate::log::EventLog;
use crate::log::sled::open::HeadPolicy;
use crate::metrics::Metrics;
use crate::open::{OpenDir, root_key};
use crate::platform::operations::command::OperationsCommand;
use crate::seal::keyring::KeyRing;
use crate::store::{Parts, Store, Submission};

/// `settled clock`.
#[derive(Debug, Subcommand)]
pub enum Clock {
    /// Take the wall clock's present reading for right, so that writes go on
    Accept(Accept),
}

/// `settled clock accept`.
#[derive(Args, Debug)]
pub struct Accept {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    root_key: RootKeyOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Where the root key is, which is needed where no server runs.
#[derive(Args, Debug)]
#[group(multiple = false)]
struct RootKeyOptions {
    /// Read the root key from this file [default: root.key in the data folder]
    #[arg(long, env = "SETTLED_ROOT_KEY_FILE", value_name = "FILE")]
    root_key_file: Option<PathBuf>,
    /// Read the root key from the environment variable of this name
    #[arg(long, env = "SETTLED_ROOT_KEY_ENV", value_name = "NAME")]
    root_key_env: Option<String>,
    /// Read the root key from the output of this command, run without a shell
    #[arg(long, env = "SETTLED_ROOT_KEY_COMMAND", value_name = "COMMAND")]
    root_key_command: Option<String>,
}

/// What was accepted, as a server answers it and as it is printed.
#[derive(Debug, Serialize, Deserialize)]
struct Accepted {
    accepted: Timestamp,
}

impl Clock {
    /// Runs it.
    pub fn run(&self) -> Exit {
        let Self::Accept(accept) = self;
        match accept.target.find(HeadPolicy::Require) {
            Err(error) => failed(&error),
            Ok(Holder::Server(path)) => {
                let answer = socket::call(&path, Method::POST, "/v1/operator/clock/accept");
                match answer.map(|body| serde_json::from_slice::<Accepted>(&body)) {
                    Ok(Ok(accepted)) => accept.print(&accepted),
                    Ok(Err(error)) => failed(&error),
                    Err(error) => failed(&error),
                }
            }
            Ok(Holder::Us(opened)) => {
                let exit = match accept.append(&opened) {
                    Ok(accepted) => accept.print(&Accepted { accepted }),
                    Err(error) => failed(&*error),
                };
                close(&opened, exit)
            }
        }
    }
}

impl Accept {
    fn print(&self, accepted: &Accepted) -> Exit {
        if self.json {
            output::json(accepted);
        } else {
            output::line(format_args!("accepted {}", accepted.accepted));
        }
        Exit::Fine
    }

    fn append(&self, opened: &OpenDir) -> Result<Timestamp, Box<dyn Error>> {
        let RootKeyOptions { root_key_file, root_key_env, root_key_command } = &self.root_key;
        let source = match (root_key_file, root_key_env, root_key_command) {
            (Some(path), _, _) => RootKeySource::File(path.clone()),
            (_, Some(name), _) => RootKeySource::Environment(name.clone()),
            (_, _, Some(command)) => RootKeySource::Command(command.clone()),
            (None, None, None) => RootKeySource::MadeAtFirstStart(opened.dir.root_key()),
        };
        let root = root_key(&opened.dir, &source)?;
        let log: Arc<dyn EventLog> = Arc::clone(&opened.log) as Arc<dyn EventLog>;
        let ring = Arc::new(KeyRing::open(opened.store.keys(), root.key, Arc::clone(&log))?);
        let clock = Clocks::system();
        let wall = clock.accept();
        let store = Store::open(Parts {
            log,
            ring,
            clock,
            epoch: opened.epoch.as_str().to_owned(),
            queue_capacity: 1,
            disk: Arc::new(|| true),
            derived: Some((opened.derived.clone(), Arc::new(|| false))),
            directory: None,
            resident_streams: 1,
            metrics: Metrics::new(),
            fatal: Arc::new(|message| output::note(message)),
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let command = OperationsCommand::AcceptClock { wall, newest: store.newest() };
        let done =
            runtime.block_on(store.execute(store.platform(), Submission::new(command, Actor::OPERATOR)));
        store.stop();
        done?;
        Ok(wall)
    }
}
