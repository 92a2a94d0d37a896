//! Asking DNS whether a domain has a TXT record. What DNS answers leaves this file as a yes or a no: it is never shown and
//! never logged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long one try at a server may take.
const TRY: Duration = Duration::from_secs(3);
/// How often each server is tried.
const TRIES: usize = 2;
/// How long it may take in all, whatever the servers do.
const LONGEST: Duration = Duration::from_secs(10);
/// The most questions that are open at once.
const AT_ONCE: usize = 16;

/// Asks DNS. Cheap to clone.
#[derive(Clone)]
pub struct Dns {
    /// The one server that is asked; without, those of the system.
    server: Option<SocketAddr>,
    turns: Arc<Semaphore>,
}

/// As many questions are open as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many questions to DNS are open")]
pub struct Busy;

impl Dns {
    /// Asks one server, or those of the system.
    pub fn new(server: Option<SocketAddr>) -> Self {
        Self { server, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Whether a name has a TXT record of exactly this text. No, too, where DNS does not answer.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn has_text(&self, name: &str, text: &str) -> Result<bool, Busy> {
        let _turn = self.turns.try_acquire().map_err(|_full| Busy)?;
        Ok(timeout(LONGEST, self.look_up(name, text)).await.unwrap_or(false))
    }

    /// As [`Dns::has_text`], in its turn.
    pub async fn has_text_in_turn(&self, name: &str, text: &str) -> bool {
        let Ok(_turn) = self.turns.acquire().await else { return false };
        timeout(LONGEST, self.look_up(name, text)).await.unwrap_or(false)
    }

    async fn look_up(&self, name: &str, text: &str) -> bool {
        // Made anew each time, which is seldom: what the system says of its servers may have changed.
        let Some(resolver) = self.resolver() else { return false };
        // With its last dot, so that no search domain of the system is tried.
        let Ok(found) = resolver.txt_lookup(format!("{name}.")).await else { return false };
        found.answers().iter().any(|record| match &record.data {
            // One text may come in several strings (RFC 1035 §3.3.14, RFC 7208 §3.3).
            RData::TXT(record) => record.txt_data.concat() == text.as_bytes(),
            _ => false,
        })
    }

    fn resolver(&self) -> Option<TokioResolver> {
        let mut builder = match self.server {
            None => TokioResolver::builder_tokio().ok()?,
            Some(server) => {
                let at = |mut connection: ConnectionConfig| {
                    connection.port = server.port();
                    connection
                };
                let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
                let server = NameServerConfig::new(server.ip(), true, connections);
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        bounds(builder.options_mut());
        builder.build().ok()
    }
}

fn bounds(options: &mut ResolverOpts) {
    options.timeout = TRY;
    options.attempts = TRIES;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
}
