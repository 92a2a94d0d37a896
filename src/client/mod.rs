//! [`Ctx`]: what a workflow in Rust reads at run time.
//!
//! A client asks the server at each [`Ctx::fetch`], and is told "as before" in a few bytes where nothing changed. While
//! the server is away it gives what it was told last, for a bounded time, and says so. Nothing is ever kept on disk,
//! and secrets live in memory that is wiped.
//!
//! `SETTLED_URL` and `SETTLED_API_KEY` say where the server is and who asks:
//!
//! ```no_run
#![doc = include_str!("../../examples/read_secret.rs")]
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderValue;

use crate::causes::with_causes;
use crate::client::api::{Api, Changed};
use crate::client::error::ClientError;
use crate::client::events::Events;
use crate::client::values::{Content, Secret, Values};
use crate::client::watch::Watch;
use crate::http::percent::encode;

pub mod api;
pub mod error;
mod events;
pub mod http;
#[cfg(feature = "s3")]
pub mod object_storage;
pub mod values;
pub mod watch;

/// How long what the server told last is given while it is away, unless [`Ctx::last_known_for`] says otherwise: longer
/// than a restart or a repair takes, shorter than a rotated secret may stay in use.
pub const LAST_KNOWN_MAX: Duration = Duration::from_secs(3_600);

/// A client that reads one environment. Clones share what they know.
#[derive(Clone)]
pub struct Ctx {
    api: Api,
    /// The environment, and the customer if one is meant, as a query.
    query: String,
    last_known_max: Duration,
    known: Arc<Mutex<Known>>,
}

/// What the server told last.
#[derive(Default)]
struct Known {
    /// How many times it was asked: of two answers that cross, the one to the later question counts.
    asked: u64,
    last: Option<Last>,
    /// Whether it was said that the server is away.
    away: bool,
}

#[derive(Clone)]
struct Last {
    asked: u64,
    tag: Option<HeaderValue>,
    content: Arc<Content>,
    /// When the server last said that it is so, in boot time.
    confirmed: Duration,
}

impl Ctx {
    /// A client of the server that `SETTLED_URL` names, with the key in `SETTLED_API_KEY`, that reads an environment by
    /// its slug or id.
    ///
    /// # Errors
    /// As [`Api::from_env`].
    pub fn from_env(environment: &str) -> Result<Self, ClientError> {
        Api::from_env().map(|api| Self::new(api, environment))
    }

    /// A client that reads an environment by its slug or id.
    pub fn new(api: Api, environment: &str) -> Self {
        let query = format!("environment={}", encode(environment));
        Self { api, query, last_known_max: LAST_KNOWN_MAX, known: Arc::default() }
    }

    /// The same for one customer: what the customer has goes before what the environment has.
    #[must_use]
    pub fn of_customer(self, customer: &str) -> Self {
        Self { query: format!("{}&customer={}", self.query, encode(customer)), known: Arc::default(), ..self }
    }

    /// The same, which gives what it was told last for another time while the server is away; not at all if that is
    /// zero.
    #[must_use]
    pub fn last_known_for(self, span: Duration) -> Self {
        Self { last_known_max: span, known: Arc::default(), ..self }
    }

    /// The values as they are now; or, while the server is away, as it last told them, which
    /// [`Values::unconfirmed_for`] says.
    ///
    /// # Errors
    /// When the server refuses, which also ends the use of what it told before; or when it is away, and was so for too
    /// long.
    pub async fn fetch(&self) -> Result<Values, ClientError> {
        match self.confirmed().await {
            Err(error) if error.is_passing() => self.known().while_away(self, error),
            answered => answered,
        }
    }

    /// One secret as it is now, without the others. It is not remembered.
    ///
    /// # Errors
    /// When the server refuses, has none of this name, or is away.
    pub async fn secret(&self, name: &str) -> Result<Secret, ClientError> {
        self.api.get(&format!("/v1/ctx/secrets/{}?{}", encode(name), self.query)).await
    }

    /// Waits for other values than these.
    pub fn watch(&self, known: &Values) -> Watch {
        Watch::new(self.clone(), known)
    }

    fn api(&self) -> &Api {
        &self.api
    }

    async fn events(&self) -> Result<Events, ClientError> {
        Events::open(&self.api, &format!("/v1/ctx/watch?{}", self.query)).await
    }

    /// The values, as the server says they are now.
    async fn confirmed(&self) -> Result<Values, ClientError> {
        let (asked, before) = self.known().question();
        let tag = before.as_ref().and_then(|before| before.tag.clone());
        let answer = self.api.get_unless(&format!("/v1/ctx?{}", self.query), tag).await;
        let confirmed = self.api.clock.boot_elapsed();
        let mut known = self.known();
        let last = match (answer, before) {
            (Ok(Changed::No), Some(before)) => Last { asked, confirmed, ..before },
            (Ok(Changed::To(content, tag)), _) => Last { asked, tag, content: Arc::new(content), confirmed },
            // Without a tag nothing can be as before.
            (Ok(Changed::No), None) => return Err(self.api.as_before_what()),
            (Err(error), _) => {
                if !error.is_passing() {
                    known.last = None;
                }
                return Err(error);
            }
        };
        let values = Values::new(Arc::clone(&last.content), None);
        known.learn(last);
        Ok(values)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The number of the next question, and what is known before it.
    fn question(&mut self) -> (u64, Option<Last>) {
        self.asked += 1;
        (self.asked, self.last.clone())
    }

    fn learn(&mut self, last: Last) {
        if std::mem::take(&mut self.away) {
            tracing::warn!("the server answers again");
        }
        if self.last.as_ref().is_none_or(|known| known.asked < last.asked) {
            self.last = Some(last);
        }
    }

    /// What was told last, if that is not too long ago.
    fn while_away(&mut self, ctx: &Ctx, error: ClientError) -> Result<Values, ClientError> {
        let now = ctx.api.clock.boot_elapsed();
        let Some(last) = &self.last else { return Err(error) };
        let age = now.saturating_sub(last.confirmed);
        if age >= ctx.last_known_max {
            self.last = None;
            return Err(error);
        }
        if !std::mem::replace(&mut self.away, true) {
            let error = with_causes(&error);
            tracing::warn!(error, "the server cannot be asked; what it told last is used for now");
        }
        Ok(Values::new(Arc::clone(&last.content), Some(age)))
    }
}

impl std::fmt::Debug for Ctx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ctx({}, {})", self.api.url(), self.query)
    }
}

#[cfg(test)]
mod tests;
