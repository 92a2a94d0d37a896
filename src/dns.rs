//! Asking DNS whether a domain has a TXT record, and which addresses a name has. What DNS answers leaves this file as a yes, a
//! no, or addresses to connect to: it is never shown and never logged.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;

/// How long an answer may take in all, whatever the servers do: what resolvers wait by themselves (resolv.conf(5)).
const LONGEST: Duration = Duration::from_secs(5);
/// How often a server that says it has failed is asked.
const TRIES: usize = 2;
/// The most questions of people that are open at once.
const ASKED_MAX: usize = 8;
/// The most questions that are open at once of those that are asked again by themselves: they keep nobody from asking.
const AGAIN_MAX: usize = 8;
/// All servers of the system are asked at once: one that is silent keeps none of the others waiting.
const SERVERS_AT_ONCE: usize = 16;

/// Asks DNS. Cheap to clone.
#[derive(Clone)]
pub struct Dns {
    /// The one server that is asked; without, those of the system.
    server: Option<SocketAddr>,
    clock: Clock,
    asked: Arc<Semaphore>,
    again: Arc<Semaphore>,
}

/// As many questions are open as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many questions to DNS are open")]
pub struct Busy;

/// A turn at asking again.
pub struct Turn {
    _held: OwnedSemaphorePermit,
}

impl Dns {
    /// Asks one server, or those of the system.
    pub fn new(server: Option<SocketAddr>, clock: Clock) -> Self {
        let turns = |count| Arc::new(Semaphore::new(count));
        Self { server, clock, asked: turns(ASKED_MAX), again: turns(AGAIN_MAX) }
    }

    /// Whether a name has a TXT record of exactly this text. No, too, where DNS does not answer.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn has_text(&self, name: &str, text: &str) -> Result<bool, Busy> {
        let _turn = self.asked.try_acquire().map_err(|_full| Busy)?;
        Ok(self.ask(name, text).await)
    }

    /// A turn at asking again, once one is free.
    pub async fn turn(&self) -> Turn {
        let held = Arc::clone(&self.again).acquire_owned().await;
        Turn { _held: held.expect("nobody closes the semaphore") }
    }

    /// As [`Dns::has_text`], by a turn at asking again.
    pub async fn has_text_still(&self, _turn: Turn, name: &str, text: &str) -> bool {
        self.ask(name, text).await
    }

    /// The addresses of a name, of both kinds; none, too, where DNS does not answer. It can be given up at any time, and
    /// holds no thread meanwhile, as the system's own way of asking would.
    pub async fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let look_up = async {
            let resolver = self.resolver()?;
            let found = resolver.lookup_ip(absolute(name)).await.ok()?;
            Some(found.iter().collect())
        };
        self.clock.timeout(LONGEST, look_up).await.ok().flatten().unwrap_or_default()
    }

    async fn ask(&self, name: &str, text: &str) -> bool {
        self.clock.timeout(LONGEST, self.look_up(name, text)).await.unwrap_or(false)
    }

    async fn look_up(&self, name: &str, text: &str) -> bool {
        // Made anew each time, which is seldom: what the system says of its servers may have changed.
        let Some(resolver) = self.resolver() else { return false };
        let Ok(found) = resolver.txt_lookup(absolute(name)).await else { return false };
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

/// A name with its last dot, so that no search domain of the system is tried.
fn absolute(name: &str) -> String {
    format!("{name}.")
}

fn bounds(options: &mut ResolverOpts) {
    // The resolver's own time is not the clock's, so it ends nothing by itself.
    options.timeout = Duration::from_hours(1);
    options.attempts = TRIES;
    options.num_concurrent_reqs = SERVERS_AT_ONCE;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn whoever_asks_waits_for_nothing_that_is_asked_again_and_is_told_when_too_many_ask() {
        let (clock, _hands) = Clock::manual(crate::given::now());
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let dns = Dns::new(silent.local_addr().ok(), clock);
        let mut turns = Vec::new();
        while let Some(turn) = dns.turn().now_or_never() {
            turns.push(turn);
        }
        assert_eq!(turns.len(), AGAIN_MAX);
        let mut asking: Vec<_> = (0..ASKED_MAX).map(|_| Box::pin(dns.has_text("a.example", "b"))).collect();
        for asked in &mut asking {
            assert_eq!(asked.now_or_never(), None, "it waits for DNS");
        }
        assert_eq!(dns.has_text("a.example", "b").now_or_never(), Some(Err(Busy)));
        drop(turns.pop());
        assert!(dns.turn().now_or_never().is_some());
    }
}
