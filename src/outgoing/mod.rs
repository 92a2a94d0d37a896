//! Requests to servers that somebody else named: what an OAuth provider is asked. Whoever can set a URL must not reach,
//! through us, what only we can: the machine itself, its network, a cloud's metadata.
//!
//! A URL is checked by its form when it is set ([`endpoint`]); what its host's name means is asked only when it is
//! connected to, every address is checked then ([`address`]), and one of those is connected to, so that no second answer
//! can lead elsewhere ([`connect`]). There are no redirects, no proxies and no cookies here, and an answer has ten seconds
//! and 64 KiB. What a provider says leaves this module as bytes for whoever asked, and is never shown or logged.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_rustls::rustls::ClientConfig;

use crate::client::http::tls_trusting_the_system;
use crate::clock::Clock;
use crate::outgoing::connect::{Connect, Resolve, System, connect};
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
    /// Nobody answers there.
    #[error("no connection could be made")]
    Unreachable,
    /// The other side could not prove to be who it is.
    #[error("no secure connection could be made")]
    Insecure,
    /// What came back is not HTTP, or broke off.
    #[error("the answer is not one of HTTP")]
    Malformed,
    /// The answer has more than [`exchange::ANSWER_BYTES_MAX`], or more header fields than it may.
    #[error("the answer is too large")]
    TooLarge,
    /// There was no whole answer within [`LONGEST`].
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
    /// Made when it is first needed: reading the system's certificates takes a while, and there may be none.
    tls: Arc<OnceLock<Option<Arc<ClientConfig>>>>,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({:?})", self.guard)
    }
}

impl Outgoing {
    /// One that reaches what the guard lets it.
    pub fn new(guard: Guard, clock: Clock) -> Self {
        Self::through(guard, clock, Arc::new(System), Arc::new(System))
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
    /// See [`OutgoingError`]. Whether the other side has read the form is then unknown, but for
    /// [`OutgoingError::Unresolved`], [`OutgoingError::NotPublic`], [`OutgoingError::Unreachable`] and
    /// [`OutgoingError::Insecure`], where it has not.
    pub async fn post(&self, endpoint: &Endpoint, form: Form) -> Result<Answer, OutgoingError> {
        let asked = self.ask(endpoint, form);
        self.clock.timeout(LONGEST, asked).await.map_err(|_late| OutgoingError::TimedOut)?
    }

    async fn ask(&self, endpoint: &Endpoint, form: Form) -> Result<Answer, OutgoingError> {
        let stream = connect(self.guard, &*self.resolver, &*self.connector, endpoint).await?;
        match endpoint.scheme() {
            Scheme::Http => exchange(stream, endpoint, form).await,
            Scheme::Https => {
                let tls = self.tls().ok_or(OutgoingError::Insecure)?;
                exchange(secure(tls, endpoint, stream).await?, endpoint, form).await
            }
        }
    }

    fn tls(&self) -> Option<Arc<ClientConfig>> {
        let made = self.tls.get_or_init(|| match tls_trusting_the_system() {
            Ok(config) => Some(Arc::new(config)),
            Err(error) => {
                tracing::error!(%error, "the system's certificates cannot be used: no provider is reached");
                None
            }
        });
        made.clone()
    }
}
