//! `settled clock accept`: an operator vouches for the wall clock.

use std::sync::Arc;

use clap::{Args, Subcommand};
use hyper::Method;

use crate::actor::Actor;
use crate::cli::exit::Exit;
use crate::cli::target::{Holder, Target, close, failed};
use crate::cli::{output, socket};
use crate::clock::Clock as Clocks;
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
    /// The file with the root key, needed where no server runs [default: root.key in the data folder]
    #[arg(long, env = "SETTLED_ROOT_KEY_FILE", value_name = "FILE")]
    root_key_file: Option<std::path::PathBuf>,
}

impl Clock {
    /// Runs it.
    pub fn run(&self) -> Exit {
        let Self::Accept(accept) = self;
        match accept.target.find(HeadPolicy::Require) {
            Err(error) => failed(&error),
            Ok(Holder::Server(path)) => {
                match socket::call(&path, Method::POST, "/v1/operator/clock/accept") {
                    Err(error) => failed(&error),
                    Ok(body) => {
                        output::line(String::from_utf8_lossy(&body));
                        Exit::Fine
                    }
                }
            }
            Ok(Holder::Us(opened)) => {
                let exit = match accept.append(&opened) {
                    Ok(wall) => {
                        output::line(format_args!("accepted {wall}"));
                        Exit::Fine
                    }
                    Err(error) => failed(&*error),
                };
                close(&opened, exit)
            }
        }
    }
}

impl Accept {
    fn append(&self, opened: &OpenDir) -> Result<crate::clock::Timestamp, Box<dyn std::error::Error>> {
        let source = match &self.root_key_file {
            Some(path) => RootKeySource::File(path.clone()),
            None => RootKeySource::MadeAtFirstStart(opened.dir.root_key()),
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
