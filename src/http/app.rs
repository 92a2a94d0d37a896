//! [`App`]: what every handler shares, and what of the configuration they need.

use std::path::PathBuf;
use std::sync::Arc;

use crate::dns::Dns;
use crate::http::page::Cursors;
use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimits;
use crate::http::streams::Streams;
use crate::http::throttle::Throttle;
use crate::mail::Mailer;
use crate::oauth::attempts::Attempts;
use crate::oauth::refresh::Refresher;
use crate::outgoing::Outgoing;
use crate::password::Passwords;
use crate::snapshot::operating::Snapshots;
use crate::store::Store;

/// What every handler shares. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The store.
    pub store: Store,
    /// Threads that hash passwords.
    pub passwords: Passwords,
    /// Slows down whoever guesses passwords.
    pub throttle: Arc<Throttle>,
    /// Slows down whoever has mails sent without being known.
    pub mail_throttle: Arc<Throttle>,
    /// Sends mail, where there is a way for it.
    pub mailer: Option<Mailer>,
    /// Asks DNS.
    pub dns: Dns,
    /// Asks OAuth providers.
    pub outgoing: Outgoing,
    /// Who is at one of them to consent.
    pub attempts: Attempts,
    /// Keeps alive what they handed out.
    pub refresher: Refresher,
    /// How often API keys may be used.
    pub rate_limits: Arc<RateLimits>,
    /// Makes and reads cursors.
    pub cursors: Cursors,
    /// Long answers: how many may be open, and their end at a stop.
    pub streams: Streams,
    /// The store's snapshots, for operators.
    pub snapshots: Snapshots,
    /// What of the configuration handlers need.
    pub policy: Arc<Policy>,
}

impl App {
    /// What sends mail.
    ///
    /// # Errors
    /// 503 `mail_unavailable` where mail has no way: the operator has to give it one.
    pub fn mailer(&self) -> Result<&Mailer, Problem> {
        self.mailer.as_ref().ok_or_else(|| Problem::unavailable("mail_unavailable", MAIL_AGAIN_SECONDS))
    }
}

/// When to ask again for what needs mail, in seconds: that takes an operator, and a start.
const MAIL_AGAIN_SECONDS: u64 = 3_600;

/// Asks for the bytes that may still be written to the store's disk.
pub type FreeBytes = Arc<dyn Fn() -> std::io::Result<u64> + Send + Sync>;

/// What of the configuration handlers need.
#[derive(Clone)]
pub struct Policy {
    /// Where the one-time token for the set-up lies until it is used.
    pub setup_token: PathBuf,
    /// Who may sign up.
    pub signup: SignupPolicy,
    /// Who may found organizations after the first.
    pub organizations: OrganizationsPolicy,
    /// The bytes that may still be written to the store's disk.
    pub free_bytes: FreeBytes,
    /// The host that users reach the server under, with its port where the URL has one: whose checkpoints they are.
    pub host: String,
    /// The URL that users reach the server under, without a slash at its end.
    pub public_url: String,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
}

/// Who may sign up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignupPolicy {
    /// Whoever has an address of an organization's domain; whoever is invited need not.
    #[default]
    InvitedOrDomain,
    /// Everybody.
    Open,
    /// Nobody.
    Off,
}

/// Who may found organizations after the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrganizationsPolicy {
    /// Only the operator.
    #[default]
    Operator,
    /// Everybody with an account.
    Open,
}
