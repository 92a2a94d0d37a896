//! Connections as a fold: which there are, where, and what is kept of each, sealed.

#![warn(clippy::wildcard_enum_match_arm)]

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{Area, DirectoryEntry, Fold, Reads};
use crate::clock::Timestamp;
use crate::event::{Event, Outcome, Recorded, Refused, ResourceType, Version};
use crate::history::description::{Description, Difference, Focus};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::{ConnectionId, CustomerId, EnvironmentId, OauthAppId};
use crate::organization::Organization;
use crate::seal::Commitment;
use crate::settings::connections::connection::{Connection, Credential, Grant};
use crate::settings::connections::event::{ConnectionCreated, ConnectionsEvent, TOKEN_REFRESH};
use crate::settings::connections::value::AppRef;
use crate::settings::customers::event::CustomersEvent;
use crate::settings::oauth_apps::event::OauthAppsEvent;
use crate::settings::roles::permission::Permission;
use crate::settings::secrets::value::Scope;

/// The connections of an organization.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Connections {
    connections: RedBlackTreeMapSync<ConnectionId, Connection>,
    scopes: RedBlackTreeMapSync<Scope, InScope>,
    links: RedBlackTreeMapSync<Commitment, ConnectionId>,
}

/// What belongs to one scope.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct InScope {
    names: RedBlackTreeMapSync<String, ConnectionId>,
    /// The stream version of the last change to what programs read.
    changed: Version,
}

impl Connections {
    /// A connection by id.
    pub fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(&id)
    }

    /// The connection whose link's token has this SHA-256.
    pub fn by_link(&self, token: Commitment) -> Option<&Connection> {
        self.links.get(&token).and_then(|id| self.get(*id))
    }

    /// All connections, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.connections.values()
    }

    /// The connection of this name in a scope.
    pub fn find(&self, scope: Scope, name: &str) -> Option<&Connection> {
        self.scopes.get(&scope)?.names.get(name).and_then(|id| self.get(*id))
    }

    /// A customer's connections, in whichever environment.
    pub fn of_customer(&self, customer: CustomerId) -> impl Iterator<Item = &Connection> {
        self.iter().filter(move |connection| connection.scope.customer() == Some(customer))
    }

    /// The connections of a scope, by name.
    pub fn in_scope(&self, scope: Scope) -> impl Iterator<Item = &Connection> {
        let names = self.scopes.get(&scope).map(|within| &within.names);
        names.into_iter().flat_map(|names| names.values()).filter_map(|id| self.get(*id))
    }

    /// How many a scope has.
    pub fn count(&self, scope: Scope) -> usize {
        self.scopes.get(&scope).map_or(0, |within| within.names.size())
    }

    /// How many there are in all.
    pub fn total(&self) -> usize {
        self.connections.size()
    }

    /// Whether an environment has any, of whomever.
    pub fn has_any_in(&self, environment: EnvironmentId) -> bool {
        let within = self.scopes.iter().filter(|(scope, _)| scope.environment() == Some(environment));
        within.map(|(_, within)| within.names.size()).any(|size| size > 0)
    }

    /// Whether people were asked for any of them as an app of the organization's.
    pub fn use_app(&self, app: OauthAppId) -> bool {
        self.iter().any(|connection| is_of(connection, app))
    }

    /// The stream version of the last change to what programs read in a scope; 0 before the first.
    pub fn changed(&self, scope: Scope) -> Version {
        self.scopes.get(&scope).map_or(0, |within| within.changed)
    }

    fn meant(&self, focus: &Focus) -> Vec<&Connection> {
        let whole = match focus {
            Focus::Resource(id) => id,
            Focus::All | Focus::Actions(_) | Focus::Named(..) => "",
        };
        if let Ok(environment) = whole.parse::<EnvironmentId>() {
            let within = |connection: &&Connection| connection.scope.environment() == Some(environment);
            return self.iter().filter(within).collect();
        }
        match whole.parse::<CustomerId>() {
            Ok(customer) => self.of_customer(customer).collect(),
            Err(_) => focus.among(self.iter(), |id| self.get(id)),
        }
    }

    fn scope_mut(&mut self, scope: Scope) -> Option<&mut InScope> {
        if !self.scopes.contains_key(&scope) {
            self.scopes.insert_mut(scope, InScope::default());
        }
        self.scopes.get_mut(&scope)
    }

    /// Changes a connection that is there, as somebody sees it.
    fn change(&mut self, id: ConnectionId, recorded: &Recorded, change: impl FnOnce(&mut Connection)) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (old, old_link) = (connection.name.clone(), link_of(connection));
        change(connection);
        connection.updated_at = recorded.at;
        connection.version = recorded.version;
        let (scope, new, new_link) = (connection.scope, connection.name.clone(), link_of(connection));
        self.linked(id, old_link, new_link);
        let Some(within) = self.scope_mut(scope) else { return };
        within.changed = recorded.version;
        within.names.remove_mut(&old);
        within.names.insert_mut(new, id);
    }

    /// Notes by which link somebody comes now.
    fn linked(&mut self, id: ConnectionId, old: Option<Commitment>, new: Option<Commitment>) {
        if let Some(old) = old {
            self.links.remove_mut(&old);
        }
        if let Some(new) = new {
            self.links.insert_mut(new, id);
        }
    }

    fn create(&mut self, created: &ConnectionCreated, recorded: &Recorded) {
        let scope = created.scope();
        let credential = created.credential.as_ref().map(|sealed| Credential {
            number: 1,
            sealed: Arc::new(sealed.clone()),
            expires_at: None,
        });
        let grant = created.app().map(|app| Grant {
            app,
            scopes: created.scopes.clone(),
            granted: None,
            link: created.link,
            refresh_token: None,
            tries: 0,
            cause: None,
            is_over: false,
        });
        let connection = Connection {
            id: created.connection,
            kind: created.kind,
            name: created.name.clone(),
            scope,
            key: created.key,
            commitment: recorded.keys.get(&created.key).copied(),
            credential,
            grant,
            created_at: recorded.at,
            updated_at: recorded.at,
            version: recorded.version,
        };
        self.linked(created.connection, None, link_of(&connection));
        self.connections.insert_mut(created.connection, connection);
        if let Some(within) = self.scope_mut(scope) {
            within.names.insert_mut(created.name.clone(), created.connection);
            within.changed = recorded.version;
        }
    }

    fn revoke(&mut self, id: ConnectionId, recorded: &Recorded) {
        let Some(connection) = self.get(id) else { return };
        let (scope, name, link) = (connection.scope, connection.name.clone(), link_of(connection));
        self.connections.remove_mut(&id);
        self.linked(id, link, None);
        if let Some(within) = self.scope_mut(scope) {
            within.names.remove_mut(&name);
            within.changed = recorded.version;
        }
    }

    /// A refresh that failed.
    fn fail(&mut self, refused: &Refused, recorded: &Recorded) {
        let Ok(id) = recorded.resource.id.parse() else { return };
        let (cause, next_at) = (refused.data.cause.clone(), refused.data.next_at);
        self.change(id, recorded, |connection| {
            if let Some(grant) = &mut connection.grant {
                grant.tries += 1;
                grant.cause = cause;
                grant.is_over = next_at.is_none();
            }
        });
    }

    /// What was handed out for other URLs is sent nowhere any more.
    fn fail_all_of(&mut self, app: OauthAppId, recorded: &Recorded) {
        let of = self.iter().filter(|connection| is_of(connection, app)).map(|connection| connection.id);
        for id in of.collect::<Vec<_>>() {
            self.change(id, recorded, |connection| {
                if let Some(grant) = &mut connection.grant {
                    grant.link = None;
                    grant.is_over = connection.credential.is_some();
                }
            });
        }
    }
}

fn link_of(connection: &Connection) -> Option<Commitment> {
    connection.grant.as_ref().and_then(|grant| grant.link).map(|link| link.token)
}

fn is_of(connection: &Connection, app: OauthAppId) -> bool {
    connection.grant.as_ref().is_some_and(|grant| grant.app == AppRef::Own(app))
}

/// The refresh that a record says has failed.
fn failed(recorded: &Recorded) -> Option<&Refused> {
    let Event::Refused(refused) = &recorded.event else { return None };
    (recorded.outcome == Outcome::Failure && refused.action == TOKEN_REFRESH).then_some(refused)
}

impl Fold for Connections {
    const NAME: &'static str = "connections";
    const PROJECTION: u32 = 1;

    fn apply(&mut self, recorded: &Recorded) {
        if let Some(refused) = failed(recorded) {
            return self.fail(refused, recorded);
        }
        if let Event::OauthApps(OauthAppsEvent::OauthAppUpdated(updated)) = &recorded.event
            && updated.urls.is_some()
        {
            return self.fail_all_of(updated.app, recorded);
        }
        if let Event::Customers(CustomersEvent::CustomerErased(erased)) = &recorded.event {
            let all = self.of_customer(erased.customer).map(|connection| connection.id);
            return all.collect::<Vec<_>>().into_iter().for_each(|id| self.revoke(id, recorded));
        }
        let Event::Connections(event) = &recorded.event else { return };
        match event {
            ConnectionsEvent::ConnectionCreated(created) => self.create(created, recorded),
            ConnectionsEvent::ConnectionConnected(connected) => {
                self.change(connected.connection, recorded, |connection| {
                    if let Some(grant) = &mut connection.grant {
                        grant.link = None;
                        grant.refresh_token = None;
                        grant.granted = None;
                    }
                    connection.hold(&connected.tokens);
                });
            }
            ConnectionsEvent::ConnectionUpdated(updated) => {
                self.change(updated.connection, recorded, |connection| {
                    if let Some(name) = &updated.name {
                        connection.name.clone_from(name);
                    }
                    if let (Some(number), Some(sealed)) = (updated.credential_version, &updated.credential) {
                        let sealed = Arc::new(sealed.clone());
                        connection.credential = Some(Credential { number, sealed, expires_at: None });
                    }
                });
            }
            ConnectionsEvent::ConnectionReconnected(reconnected) => {
                self.change(reconnected.connection, recorded, |connection| {
                    if let Some(grant) = &mut connection.grant {
                        grant.link = Some(reconnected.link);
                    }
                });
            }
            ConnectionsEvent::ConnectionRevoked(revoked) => self.revoke(revoked.connection, recorded),
            ConnectionsEvent::TokenRefreshed(refreshed) => {
                self.change(refreshed.connection, recorded, |connection| connection.hold(&refreshed.tokens));
            }
        }
    }

    fn directory(recorded: &Recorded, entries: &mut Vec<DirectoryEntry>) {
        let due = |connection: String, at: Option<Timestamp>| match at {
            Some(at) => DirectoryEntry::Due { resource: connection, at },
            None => DirectoryEntry::NotDue { resource: connection },
        };
        if let Some(refused) = failed(recorded) {
            entries.push(due(recorded.resource.id.clone(), refused.data.next_at));
            return;
        }
        let Event::Connections(event) = &recorded.event else { return };
        match event {
            ConnectionsEvent::ConnectionConnected(connected) => {
                entries.push(due(connected.connection.to_string(), connected.tokens.refresh_at));
            }
            ConnectionsEvent::TokenRefreshed(refreshed) => {
                entries.push(due(refreshed.connection.to_string(), refreshed.tokens.refresh_at));
            }
            ConnectionsEvent::ConnectionRevoked(revoked) => {
                entries.push(due(revoked.connection.to_string(), None));
            }
            ConnectionsEvent::ConnectionCreated(_)
            | ConnectionsEvent::ConnectionUpdated(_)
            | ConnectionsEvent::ConnectionReconnected(_) => {}
        }
    }

    fn items(&self) -> usize {
        self.connections.size()
    }
}

impl Area for Connections {
    const READS: &'static [&'static str] = &[
        "connection.create",
        "connection.connect",
        "connection.update",
        "connection.reconnect",
        "connection.revoke",
        TOKEN_REFRESH,
        "oauth_app.update",
        "customer.erase",
    ];
    const CASCADES: &'static [&'static str] = &["oauth_app.update", "customer.erase"];
    const NOTES: &'static [&'static str] = &[TOKEN_REFRESH];
    // What a person consented to is theirs to give again: nothing brings it back.
    const RESTORABLE: bool = false;
    const KINDS: &'static [Reads] =
        &[Reads { kind: ResourceType::Connection, permission: Permission::ConnectionRead }];

    fn of(organization: &Organization) -> &Self {
        &organization.connections
    }

    fn narrowed(&self, focus: &Focus) -> Self {
        if matches!(focus, Focus::All | Focus::Actions(_)) {
            return self.clone();
        }
        let mut narrowed = Self::default();
        for connection in self.meant(focus) {
            narrowed.connections.insert_mut(connection.id, connection.clone());
            narrowed.linked(connection.id, None, link_of(connection));
            let changed = self.changed(connection.scope);
            if let Some(within) = narrowed.scope_mut(connection.scope) {
                within.names.insert_mut(connection.name.clone(), connection.id);
                within.changed = changed;
            }
        }
        narrowed
    }

    fn describe(&self, focus: &Focus, into: &mut Description) {
        self.meant(focus).into_iter().for_each(|connection| connection.describe(into));
    }

    fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
        if !outlook.whole {
            differences.iter().for_each(|difference| plan.cannot(difference, "never_restored"));
        }
    }
}
