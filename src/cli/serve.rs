//! `settled serve`: runs the server until it is told to stop.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::causes::with_causes;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::clock::Clock;
use crate::config::Config;
use crate::seal::core_dump::forbid_core_dumps;
use crate::server::{Server, StartError, Started};
use crate::store::Fatal;

/// Serves until SIGTERM or SIGINT.
pub fn run(config: &Config) -> Exit {
    if let Err(error) = forbid_core_dumps() {
        tracing::warn!(%error, "core dumps could not be forbidden; they would hold opened secrets");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(&error);
            return Exit::Store;
        }
    };
    match runtime.block_on(serve(config)) {
        Ok(exit) => exit,
        Err(error) => {
            output::error(&error);
            Exit::Store
        }
    }
}

async fn serve(config: &Config) -> Result<Exit, StartError> {
    // Before anything is opened: from here on a signal leads to a clean stop, also one that comes while the log is
    // read.
    let stop = Stop::listen();
    let server = Server::start(config, Clock::system(), fatal()).await?;
    greet(config, &server);
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
    let url = match &config.public_url {
        Some(url) => url.to_string(),
        None => format!("http://{address}"),
    };
    output::line(format_args!("Settled {} serves {url}", env!("CARGO_PKG_VERSION")));
    if let Some(token) = setup_token {
        let file = config.data_dir.join("setup-token");
        output::line(format_args!("\nSet it up once, at {url}/setup#token={}", token.expose()));
        output::line(format_args!("or paste this, with your own values:\n"));
        output::line(format_args!(
            "curl -sS {url}/v1/setup -H 'content-type: application/json' -d '{{\"setup_token\": \
             \"'$(cat {file})'\", \"organization\": {{\"name\": \"Acme\", \"timezone\": \"Europe/Paris\"}}, \
             \"person\": {{\"email\": \"ada@example.com\", \"name\": \"Ada\", \"password\": \
             \"a long walk by the sea\"}}}}'\n",
            file = file.display(),
        ));
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
