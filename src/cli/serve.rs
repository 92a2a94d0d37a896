//! `settled serve`: runs the server until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::allocator::give_back_large;
use crate::causes::with_causes;
use crate::cli::demo::Demo;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::clock::Clock;
use crate::config::Config;
use crate::demo::{DemoError, forbid_unannounced};
use crate::http::tls::Tls;
use crate::seal::core_dump::forbid_core_dumps;
use crate::server::{Server, StartError, Started};
use crate::store::Fatal;

/// Files of the store, listeners, connections that are just refused or leaving, and some to spare.
const FILES_BESIDE_CONNECTIONS: u64 = 256;

/// How long work that nobody waits for may go on after a stop.
const LEAVING: Duration = Duration::from_secs(2);

/// Serves until SIGTERM or SIGINT.
pub fn run(config: &Config) -> Exit {
    if let Err(error) = forbid_core_dumps() {
        tracing::warn!(%error, "core dumps could not be forbidden; they would hold opened secrets");
    }
    give_back_large();
    allow_open_files(config);
    let demo = match config.demo {
        true => Demo::prepare(config).map(Some),
        false => forbid_unannounced(&config.data_dir).map(|()| None),
    };
    let demo = match demo {
        Ok(demo) => demo,
        Err(error) => {
            output::error(&error);
            let is_usage = matches!(error, DemoError::OwnStore(_) | DemoError::Public { .. });
            return if is_usage { Exit::Usage } else { Exit::Store };
        }
    };
    let config = demo.as_ref().map_or(config, |demo| &demo.config);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(&error);
            return Exit::Store;
        }
    };
    let served = runtime.block_on(serve(config, demo.as_ref()));
    // The log is closed. A drill that is under way may take minutes yet, and what it leaves goes with the next one.
    runtime.shutdown_timeout(LEAVING);
    match served {
        Ok(exit) => exit,
        Err(error) => {
            output::error(&error);
            let is_usage = matches!(
                error,
                StartError::Tls(_)
                    | StartError::Mail(_)
                    | StartError::Sender(_)
                    | StartError::Bucket(_)
                    | StartError::OperatorToken(_)
                    | StartError::OperatorsInTheClear(_)
            );
            if is_usage { Exit::Usage } else { Exit::Store }
        }
    }
}

/// Each connection is an open file, and systems commonly allow 1,024 unless a program asks for more.
fn allow_open_files(config: &Config) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let needed = u64::from(config.max_connections) + FILES_BESIDE_CONNECTIONS;
    if let Some(allowed) = maximum.filter(|allowed| *allowed < needed) {
        tracing::warn!(allowed, needed, "the system allows fewer open files than max-connections needs");
    }
}

async fn serve(config: &Config, demo: Option<&Demo>) -> Result<Exit, StartError> {
    // Before anything is opened: from here on a signal leads to a clean stop, also one that comes while the log is
    // read.
    let stop = Stop::listen();
    let server = Server::start(config, Clock::system(), fatal()).await?;
    if let Some(tls) = server.tls() {
        look_on_hangup(tls.clone());
    }
    greet(config, &server);
    if let Some(demo) = demo {
        output::line(demo.greeting(&config.public_url(server.address())));
    }
    match server.run(stop.signalled()).await {
        Ok(()) => {
            tracing::info!("stopped cleanly");
            Ok(Exit::Fine)
        }
        Err(error) => {
            let error = with_causes(&error);
            tracing::error!(error, "the log could not be closed cleanly; the next start reads it anew");
            Ok(Exit::Store)
        }
    }
}

/// SIGHUP, by which whoever renews a certificate commonly says so, has its files looked at without delay.
fn look_on_hangup(tls: Tls) {
    match signal(SignalKind::hangup()) {
        Ok(mut hangup) => {
            tokio::spawn(async move {
                while hangup.recv().await.is_some() {
                    let tls = tls.clone();
                    let _panicked = tokio::task::spawn_blocking(move || tls.look()).await;
                }
            });
        }
        Err(error) => {
            tracing::warn!(%error, "SIGHUP cannot be waited for; a new certificate takes a few seconds")
        }
    }
}

/// After a failed write or sync nothing that is read can be trusted, and nothing may be acknowledged: the process
/// ends at once, without unwinding into code that would answer.
fn fatal() -> Fatal {
    Arc::new(|message| {
        tracing::error!(
            error = message,
            "a write to the log failed: nothing of that batch was acknowledged. Check the disk, then start again: \
             the start reads the log anew from the disk and keeps all that was acknowledged"
        );
        std::process::exit(i32::from(Exit::Store.code()));
    })
}

fn greet(config: &Config, server: &Server) {
    let Started { findings, root_key_made, setup_token } = &server.started;
    for finding in findings {
        tracing::warn!("{finding}");
    }
    if let Some(path) = root_key_made {
        output::line(format_args!(
            "Made the root key {}. Without it nothing that is sealed can be read: back it up, and move it away from \
             the data (then start with --root-key-file, --root-key-env or --root-key-command).",
            path.display()
        ));
    }
    let address = server.address();
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "serving");
    if server.app.mailer.is_none() {
        tracing::info!(
            "no mail is sent, so nobody can sign up or set a forgotten password: give smtp-url or mail-dir"
        );
    }
    let url = config.public_url(address);
    output::line(format_args!("Settled {} serves {url}", env!("CARGO_PKG_VERSION")));
    if let Some(token) = setup_token {
        let file = config.data_dir.join("setup-token");
        output::line("\nSet it up once: paste this, with your own values:\n");
        output::line(format_args!(
            "curl -sS {url}/v1/setup -H 'content-type: application/json' -d '{{\"setup_token\": \
             \"'$(cat {file})'\", \"organization\": {{\"name\": \"Acme\", \"timezone\": \"Europe/Paris\"}}, \
             \"person\": {{\"email\": \"ada@example.com\", \"name\": \"Ada\", \"password\": \
             \"a long walk by the sea\"}}}}'\n",
            file = file.display(),
        ));
        // There is no page yet, but whoever serves a console of their own in front gets here by it.
        let link = format!("{url}/setup#token={}", token.expose());
        output::line(format_args!("(A console, which is to come, will do it at {link})"));
    }
}

/// SIGTERM and SIGINT, listened for. `None` where the system does not let us.
struct Stop(Option<(Signal, Signal)>);

impl Stop {
    fn listen() -> Self {
        match signal(SignalKind::terminate())
            .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)))
        {
            Ok(signals) => Self(Some(signals)),
            Err(error) => {
                tracing::error!(%error, "signals cannot be waited for; only SIGKILL stops this server");
                Self(None)
            }
        }
    }

    async fn signalled(self) {
        let Some((mut terminate, mut interrupt)) = self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: open requests may finish");
    }
}
