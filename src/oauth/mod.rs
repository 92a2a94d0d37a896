//! OAuth 2.0 with Settled as the client (RFC 6749, as RFC 9700 wants it spoken): which providers there are, the page on which
//! somebody consents, what is exchanged with a provider, and keeping what it handed out alive. What an organization has of it
//! is in `settings/oauth_apps` and `settings/connections`.

use std::fmt;

use crate::seal::token::PlainToken;

pub mod attempts;
pub mod browser;
pub mod client;
pub mod connect;
pub mod http;
pub mod pages;
pub mod provider;
pub mod refresh;
pub mod registration;
pub mod revocation;
pub mod turns;

/// Where a provider sends people back to, by the app that they were sent there as: each has a path of its own, so that what
/// one provider says never passes for another's (RFC 9700 §4.4.2.2).
pub fn callback_url(public_url: &str, app: impl fmt::Display) -> String {
    format!("{public_url}/oauth/callback/{app}")
}

/// The page on which somebody consents, by their link's token.
pub fn connect_url(public_url: &str, token: &PlainToken) -> String {
    format!("{public_url}/connect/{}", token.expose())
}
