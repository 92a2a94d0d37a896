//! One connection as it is known: its credential, a person's consent, and how it is at a time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::event::{ResourceType, Version};
use crate::history::description::{Description, Field, Subject, fields};
use crate::ids::{ConnectionId, DataKeyId, OauthAppId};
use crate::seal::{Commitment, Sealed};
use crate::settings::connections::event::{ConnectLink, Tokens};
use crate::settings::connections::value::{AppRef, Kind, Status};
use crate::settings::secrets::value::Scope;

/// The cause of a failed refresh that says that the consent is no more (RFC 6749 §5.2).
pub const INVALID_GRANT: &str = "invalid_grant";

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The connection.
    pub id: ConnectionId,
    /// What is kept of it.
    pub kind: Kind,
    /// The name that programs find it by.
    pub name: String,
    /// Where it belongs.
    pub scope: Scope,
    /// The key that all of it is sealed under.
    pub key: DataKeyId,
    /// What history committed to of that key.
    pub commitment: Option<Commitment>,
    /// What programs use; `None` until somebody consented.
    pub credential: Option<Credential>,
    /// What there is beside, where a provider hands out tokens.
    pub grant: Option<Grant>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
}

/// What programs use of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Its number.
    pub number: u64,
    /// As sealed.
    pub sealed: Arc<Sealed>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// What is known of a person's consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// As whom people are asked.
    pub app: AppRef,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Which of that was granted, where the provider has said so.
    pub granted: Option<Vec<String>>,
    /// The link by which somebody comes to consent, until one has.
    pub link: Option<ConnectLink>,
    /// What another access token is had for.
    pub refresh_token: Option<Arc<Sealed>>,
    /// When it was last refreshed.
    pub refreshed_at: Option<Timestamp>,
    /// How often in a row it could not be refreshed.
    pub tries: u64,
    /// Why not, the last time: a fixed word.
    pub cause: Option<String>,
    /// Whether nothing helps but that somebody consents again.
    pub is_over: bool,
}

impl Connection {
    /// How it is, at a time.
    pub fn status(&self, now: Timestamp) -> Status {
        let Some(credential) = &self.credential else { return Status::Pending };
        let Some(grant) = &self.grant else { return Status::Connected };
        let has_ended = credential.expires_at.is_some_and(|at| at <= now);
        let can_refresh = grant.refresh_token.is_some();
        match (&grant.cause, has_ended) {
            (Some(cause), _) if grant.is_over && cause == INVALID_GRANT => Status::Revoked,
            _ if grant.is_over => Status::Failed,
            (Some(_), true) => Status::Failed,
            (None, true) if !can_refresh => Status::Failed,
            (Some(_), false) => Status::Expiring,
            (None, _) if credential.expires_at.is_some() && !can_refresh => Status::Expiring,
            (None, _) => Status::Connected,
        }
    }

    /// What programs may use of it: not what a provider does not accept any more.
    pub fn usable(&self) -> Option<&Credential> {
        let is_over = self.grant.as_ref().is_some_and(|grant| grant.is_over);
        self.credential.as_ref().filter(|_| !is_over)
    }

    /// Whether another access token can be had for it without anybody's consent.
    pub fn is_refreshable(&self) -> bool {
        self.grant.as_ref().is_some_and(|grant| grant.refresh_token.is_some() && !grant.is_over)
    }

    /// The organization's app that people are asked as.
    pub fn own_app(&self) -> Option<OauthAppId> {
        match &self.grant.as_ref()?.app {
            AppRef::Own(app) => Some(*app),
            AppRef::Managed(_) => None,
        }
    }

    /// How many bytes of it are sealed.
    pub(super) fn sealed_bytes(&self) -> usize {
        let credential = self.credential.as_ref().map(|credential| &credential.sealed);
        let refresh_token = self.grant.as_ref().and_then(|grant| grant.refresh_token.as_ref());
        credential.into_iter().chain(refresh_token).map(|sealed| sealed.data.0.len()).sum()
    }

    pub(super) fn describe(&self, into: &mut Description) {
        let text = |value: &dyn ToString| Field::from(value.to_string().as_str());
        let environment = self.scope.environment();
        let grant = self.grant.as_ref();
        let scopes = grant.filter(|grant| !grant.scopes.is_empty());
        let told = fields([
            ("kind", Some(self.kind.name().into())),
            ("name", Some(self.name.as_str().into())),
            ("environment", environment.map(|environment| text(&environment))),
            ("customer", self.scope.customer().map(|customer| text(&customer))),
            ("app", grant.map(|grant| text(&grant.app))),
            ("scopes", scopes.map(|grant| Field::Open(grant.scopes.clone().into()))),
            ("is_connected", Some(self.usable().is_some().into())),
            // A provider's tokens come and go by themselves.
            (
                "credential",
                self.credential.as_ref().filter(|_| grant.is_none()).map(|held| (&*held.sealed).into()),
            ),
        ]);
        into.insert(Subject::new(ResourceType::Connection, self.id).within(environment), told);
    }

    /// Takes over what a provider handed out.
    pub(super) fn hold(&mut self, tokens: &Tokens) {
        self.credential = Some(Credential {
            number: tokens.credential_version,
            sealed: Arc::new(tokens.access_token.clone()),
            expires_at: tokens.expires_at,
        });
        let Some(grant) = &mut self.grant else { return };
        if let Some(refresh_token) = &tokens.refresh_token {
            grant.refresh_token = Some(Arc::new(refresh_token.clone()));
        }
        if tokens.scopes.is_some() {
            grant.granted.clone_from(&tokens.scopes);
        }
        grant.tries = 0;
        grant.cause = None;
        grant.is_over = false;
    }
}
