//! What of the mix is about connections: to accounts elsewhere, for everybody or for one customer. They lie in the
//! environments that everybody has, since no environment goes while it holds one.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use settled::actor::Actor;
use settled::clock::{DAY_SECONDS, Timestamp};
use settled::ids::{CustomerId, Fresh, OauthAppId};
use settled::seal::token::PlainToken;
use settled::seal::{Commitment, DataKey, Plain, Sealed};
use settled::settings::connections::command::{At, ConnectionsCommand, CreateConnection, Made};
use settled::settings::connections::event::ConnectLink;
use settled::settings::connections::granting::{Connect, HandedOut, NoteFailure, NoteRefresh};
use settled::settings::connections::value::{AppRef, Kind as ConnectionKind};
use settled::settings::connections::{ACCESS_TOKEN, CREDENTIAL, REFRESH_TOKEN, credential_field};
use settled::settings::environments::value::Slug;
use settled::settings::secrets::value::Scope;
use settled::store::{Store, Submission};

use super::{Company, ENVIRONMENTS_KEPT};
use crate::mix::{Kind, words};

/// How long a link is good: the next thing that happens may be days away.
const LINK_SECONDS: i64 = 30 * DAY_SECONDS;
/// How long an access token is, and when it is refreshed.
const TOKEN_SECONDS: i64 = 3_600;
const REFRESH_SECONDS: i64 = 3_000;

/// A connection of the model.
pub(super) struct Connected {
    at: At,
    key: Arc<DataKey>,
    app: Option<OauthAppId>,
    /// The link by which somebody is to come.
    link: Option<Commitment>,
    /// The number of its credential; 0 until somebody consented.
    number: u64,
}

impl Connected {
    /// Whether somebody is to consent.
    pub(super) fn waits(&self) -> bool {
        self.link.is_some()
    }

    /// Whether its provider hands out further tokens.
    pub(super) fn is_refreshed(&self) -> bool {
        self.app.is_some() && self.number > 0
    }

    /// Of a customer's, whose it is and the app that people were asked as.
    pub(super) fn customer_and_app(&self) -> Option<(CustomerId, OauthAppId)> {
        self.at.scope.customer().zip(self.app)
    }

    /// Whether it is a customer's.
    pub(super) fn is_of(&self, customer: CustomerId) -> bool {
        self.at.scope.customer() == Some(customer)
    }
}

impl Company {
    /// Whether people were asked for a connection as this app.
    pub(super) fn is_in_use(&self, app: OauthAppId) -> bool {
        self.connections.iter().any(|connection| connection.app == Some(app)) || self.apps_kept.contains(&app)
    }

    /// Where somebody has to consent, they do so next.
    pub(super) fn create_connection(
        &mut self,
        actor: Actor,
        store: &Store,
        now: Timestamp,
    ) -> Result<Submission> {
        let kept = self.environments.len().min(ENVIRONMENTS_KEPT);
        let environment = self.environments[self.dice.below(kept)].id;
        let of_customer = self.clientele.is_there() && self.dice.happens(700);
        let scope = if of_customer {
            let customer = self.clientele.at(self.dice.skewed_below(self.clientele.len()));
            Scope::Customer(environment, customer)
        } else {
            Scope::Environment(environment)
        };
        let at = At { connection: Fresh.id(), scope };
        let new = store.ring().mint(self.handle.stream())?;
        let (app, asks) = (self.dice.pick(&self.apps).map(|app| app.id), self.dice.happens(800));
        let app = app.filter(|_| asks);
        let (made, link) = match app {
            Some(app) => {
                let token = PlainToken::draw().hash();
                let link = ConnectLink { token, ends_at: now.plus_seconds(LINK_SECONDS) };
                let scopes = vec!["read".to_owned(), "write".to_owned()];
                self.ahead.push_front(Kind::Consent);
                (Made::Asked { app: AppRef::Own(app), scopes, link }, Some(token))
            }
            None => {
                let token = format!("tok_{:016x}{:016x}", self.dice.number(), self.dice.number());
                let credential = self.credential(at, new.key(), CREDENTIAL, &token);
                (Made::Held { kind: ConnectionKind::Token, credential }, None)
            }
        };
        // A number that no other connection ever had.
        let name = words::connection(self.connections_made);
        self.connections_made += 1;
        let number = u64::from(app.is_none());
        self.connections.push(Connected { at, key: Arc::clone(new.key()), app, link, number });
        let create = CreateConnection { at, name: Slug::try_from(name.as_str())?, key: new.id(), made };
        let mut submission = self.submit_change(ConnectionsCommand::Create(create), actor);
        submission.keys = vec![new];
        Ok(submission)
    }

    /// The provider hands out tokens.
    pub(super) fn consent(&mut self, now: Timestamp) -> Result<Submission> {
        let which = self.connections.iter().position(Connected::waits).context("somebody is asked")?;
        let connected = &mut self.connections[which];
        let link = connected.link.take().context("they have a link")?;
        connected.number = 1;
        let (connection, app) = (connected.at.connection, connected.app);
        let credentials = self.apps.iter().find(|known| Some(known.id) == app);
        let credentials_version = credentials.map(|app| app.credentials_version);
        let handed_out = self.handed_out(which, now);
        let connect = Connect { connection, link, credentials_version, handed_out };
        Ok(self.submit(ConnectionsCommand::Connect(connect), Actor::SYSTEM))
    }

    pub(super) fn refresh_token(&mut self, now: Timestamp) -> Result<Submission> {
        let which = self.one_refreshed()?;
        let connected = &mut self.connections[which];
        let (connection, from) = (connected.at.connection, connected.number);
        connected.number += 1;
        let handed_out = self.handed_out(which, now);
        let note = NoteRefresh { connection, from, handed_out };
        Ok(self.submit(ConnectionsCommand::NoteRefresh(note), Actor::SYSTEM))
    }

    pub(super) fn fail_refresh(&mut self, now: Timestamp) -> Result<Submission> {
        let which = self.one_refreshed()?;
        let Connected { at, number, .. } = &self.connections[which];
        let (connection, from, next_at) = (at.connection, *number, Some(now.plus_seconds(30)));
        let note = NoteFailure { connection, from, cause: "unavailable", next_at };
        Ok(self.submit(ConnectionsCommand::NoteFailure(note), Actor::SYSTEM))
    }

    pub(super) fn revoke_connection(&mut self, actor: Actor) -> Submission {
        let connected = self.connections.remove(self.dice.below(self.connections.len()));
        self.submit_change(ConnectionsCommand::Revoke(connected.at), actor)
    }

    fn one_refreshed(&mut self) -> Result<usize> {
        let are = (0..self.connections.len()).filter(|which| self.connections[*which].is_refreshed());
        let are: Vec<usize> = are.collect();
        self.dice.pick(&are).copied().context("one is refreshed")
    }

    fn handed_out(&mut self, which: usize, now: Timestamp) -> HandedOut {
        let mut draw =
            || format!("{:016x}{:016x}{:016x}", self.dice.number(), self.dice.number(), self.dice.number());
        let (access, refresh) = (draw(), draw());
        let Connected { at, key, .. } = &self.connections[which];
        HandedOut {
            access_token: self.credential(*at, key, ACCESS_TOKEN, &access),
            refresh_token: Some(self.credential(*at, key, REFRESH_TOKEN, &refresh)),
            expires_at: Some(now.plus_seconds(TOKEN_SECONDS)),
            refresh_at: Some(now.plus_seconds(REFRESH_SECONDS)),
            scopes: None,
        }
    }

    fn credential(&self, at: At, key: &DataKey, field: &str, text: &str) -> Sealed {
        let place = at.connection.to_string();
        key.seal(&credential_field(self.handle.stream(), &place, field), &Plain::from(text))
    }
}
