//! OAuth 2.0, with Settled as the client: which providers there are, and what is spoken with them. What an organization has
//! of it is in `settings/oauth_apps`.

use std::fmt;

pub mod http;
pub mod provider;

/// Where a provider sends people back to, by the app that they were sent there as: each has a path of its own, so that what
/// one provider says never passes for another's (RFC 9700 §4.4.2.2).
pub fn callback_url(public_url: &str, app: impl fmt::Display) -> String {
    format!("{public_url}/oauth/callback/{app}")
}
