//! Requests to servers that somebody else named: what an OAuth provider is asked. Whoever can set a URL must not reach,
//! through us, what only we can: the machine itself, its network, a cloud's metadata.
//!
//! A URL is checked by its form when it is set ([`endpoint`]); what its host's name means is asked only when it is
//! connected to, every address is checked then ([`address`]), and one of those is connected to, so that no second answer
//! can lead elsewhere ([`connect`]). There are no redirects, no proxies and no cookies here, and an answer has ten seconds
//! and 64 KiB. What a provider says leaves this module as bytes for whoever asked, and is never shown or logged.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_rustls::rustls::ClientConfig;

use crate::client::http::tls_trusting_the_system;
use crate::clock::Clock;
use crate::dns::Dns;
use crate::outgoing::connect::{Connect, Resolve, Stream, Tcp, connect};
use crate::outgoing::endpoint::{Endpoint, Scheme};
use crate::outgoing::exchange::{Answer, Form, exchange, secure};

pub mod address;
pub mod connect;
#[cfg(test)]
mod corpus_tests;
pub mod endpoint;
pub mod exchange;
#[cfg(test)]
mod exchange_tests;
#[cfg(test)]
mod reaching_tests;

/// How long a request may take in all: looking up the name, connecting, TLS and the answer's last byte.
pub const LONGEST: Duration = Duration::from_secs(10);

/// What may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Public addresses, by `https`.
    Public,
    /// Those, and this machine itself, by `http` as well: for development.
    PublicOrLoopback,
    /// Everything. Tests hold the others against it, with a connector that reaches nothing.
    #[cfg(test)]
    Nothing,
}

/// Why there is no answer. Nothing of what the other side said is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutgoingError {
    /// The host's name leads nowhere.
    #[error("the name of the host could not be resolved")]
    Unresolved,
    /// The host's name leads to an address that is not public.
    #[error("the host has an address that is not public")]
    NotPublic,
    /// Nobody answers there, or not in time.
    #[error("no connection could be made")]
    Unreachable,
    /// There is nothing to hold the other side's certificate against.
    #[error("the system's certificates cannot be used")]
    NoCertificates,
    /// The other side could not prove to be who it is.
    #[error("no secure connection could be made")]
    Insecure,
    /// What came back is not HTTP, or broke off.
    #[error("the answer is not one of HTTP")]
    Malformed,
    /// The answer has more than [`exchange::ANSWER_BYTES_MAX`], or more header fields than it may.
    #[error("the answer is too large")]
    TooLarge,
    /// The form was sent, and there was no whole answer within [`LONGEST`].
    #[error("there was no whole answer in time")]
    TimedOut,
}

/// Asks others. Cheap to clone.
#[derive(Clone)]
pub struct Outgoing {
    guard: Guard,
    clock: Clock,
    resolver: Arc<dyn Resolve>,
    connector: Arc<dyn Connect>,
    /// Made when it is first needed: reading the system's certificates takes a while, and there may be none. What failed is
    /// tried again.
    tls: Arc<OnceCell<Arc<ClientConfig>>>,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({:?})", self.guard)
    }
}

impl Outgoing {
    /// One that reaches what the guard lets it.
    pub fn new(guard: Guard, dns: Dns, clock: Clock) -> Self {
        Self::through(guard, clock, Arc::new(dns), Arc::new(Tcp))
    }

    /// The same, which looks names up and connects in a way of its own.
    pub fn through(
        guard: Guard,
        clock: Clock,
        resolver: Arc<dyn Resolve>,
        connector: Arc<dyn Connect>,
    ) -> Self {
        Self { guard, clock, resolver, connector, tls: Arc::default() }
    }

    /// What it reaches.
    pub fn guard(&self) -> Guard {
        self.guard
    }

    /// Posts a form.
    ///
    /// # Errors
    /// See [`OutgoingError`]. After [`OutgoingError::Malformed`], [`OutgoingError::TooLarge`] and
    /// [`OutgoingError::TimedOut`] the other side may have read the form; after the others it has not.
    pub async fn post(&self, endpoint: &Endpoint, form: Form) -> Result<Answer, OutgoingError> {
        let is_sent = AtomicBool::new(false);
        let asked = async {
            let stream = self.reach(endpoint).await?;
            is_sent.store(true, Ordering::Relaxed);
            exchange(stream, endpoint, form).await
        };
        let in_time = self.clock.timeout(LONGEST, asked).await;
        in_time.unwrap_or_else(|_late| match is_sent.load(Ordering::Relaxed) {
            true => Err(OutgoingError::TimedOut),
            false => Err(OutgoingError::Unreachable),
        })
    }

    /// A connection over which a form can be sent.
    async fn reach(&self, endpoint: &Endpoint) -> Result<Box<dyn Stream>, OutgoingError> {
        // First, so that nobody is connected to for nothing.
        let tls = match endpoint.scheme() {
            Scheme::Http => None,
            Scheme::Https => Some(self.tls().await?),
        };
        let stream = connect(self.guard, &self.clock, &*self.resolver, &*self.connector, endpoint).await?;
        match tls {
            None => Ok(stream),
            Some(tls) => secure(tls, endpoint, stream).await,
        }
    }

    async fn tls(&self) -> Result<Arc<ClientConfig>, OutgoingError> {
        let made = self.tls.get_or_try_init(|| async {
            // The panic that ends the thread has a log line of its own.
            let read = tokio::task::spawn_blocking(tls_trusting_the_system).await;
            let read = read.map_err(|_died| OutgoingError::NoCertificates)?;
            read.map(Arc::new).map_err(|error| {
                tracing::error!(%error, "the system's certificates cannot be used: no provider is reached");
                OutgoingError::NoCertificates
            })
        });
        made.await.cloned()
    }

    /// The same, which trusts what a test says.
    #[cfg(test)]
    fn trusting(self, tls: ClientConfig) -> Self {
        Self { tls: Arc::new(OnceCell::new_with(Some(Arc::new(tls)))), ..self }
    }
}
