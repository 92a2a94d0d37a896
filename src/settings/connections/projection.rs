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
use crate::settings::customers::event::CustomersEvent;
use crate::settings::oauth_apps::event::OauthAppsEvent;
use crate::settings::places::Places;
use crate::settings::roles::permission::Permission;
use crate::settings::secrets::value::Scope;

/// The connections of an organization.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Connections {
    connections: RedBlackTreeMapSync<ConnectionId, Connection>,
    places: Places<ConnectionId>,
    links: RedBlackTreeMapSync<Commitment, ConnectionId>,
    /// Those of each of the organization's apps.
    apps: RedBlackTreeMapSync<(OauthAppId, ConnectionId), ()>,
    /// How much of them is sealed.
    sealed_bytes: usize,
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

    /// The connections that follow an id, by id.
    pub fn after(&self, after: Option<ConnectionId>) -> impl Iterator<Item = &Connection> {
        let rest = self.connections.range(after.unwrap_or_else(ConnectionId::min)..);
        rest.map(|(_, connection)| connection).filter(move |connection| Some(connection.id) != after)
    }

    /// The connection of this name in a scope.
    pub fn find(&self, scope: Scope, name: &str) -> Option<&Connection> {
        self.places.named(scope, name).and_then(|id| self.get(id))
    }

    /// A customer's connections, in whichever environment, by id.
    pub fn of_customer(&self, customer: CustomerId) -> impl Iterator<Item = &Connection> {
        self.of_customer_after(customer, None)
    }

    /// The same, those that follow an id.
    pub fn of_customer_after(
        &self,
        customer: CustomerId,
        after: Option<ConnectionId>,
    ) -> impl Iterator<Item = &Connection> {
        self.places.of_customer(Some(customer), after).filter_map(|id| self.get(id))
    }

    /// The connections in an environment, its customers' included, that follow an id, by id.
    pub fn in_environment_after(
        &self,
        environment: EnvironmentId,
        after: Option<ConnectionId>,
    ) -> impl Iterator<Item = &Connection> {
        self.places.in_environment(environment, after).filter_map(|id| self.get(id))
    }

    /// The connections of a scope, by name.
    pub fn in_scope(&self, scope: Scope) -> impl Iterator<Item = &Connection> {
        self.places.in_scope(scope).filter_map(|id| self.get(id))
    }

    /// How many a scope has.
    pub fn count(&self, scope: Scope) -> usize {
        self.places.count(scope)
    }

    /// How many there are in all.
    pub fn total(&self) -> usize {
        self.connections.size()
    }

    /// How many bytes of them are sealed.
    pub fn sealed_bytes(&self) -> usize {
        self.sealed_bytes
    }

    /// Whether an environment has any, of whomever.
    pub fn has_any_in(&self, environment: EnvironmentId) -> bool {
        self.in_environment_after(environment, None).next().is_some()
    }

    /// Whether people were asked for any of them as an app of the organization's.
    pub fn use_app(&self, app: OauthAppId) -> bool {
        self.of_app(app).next().is_some()
    }

    fn of_app(&self, app: OauthAppId) -> impl Iterator<Item = ConnectionId> {
        let range = self.apps.range((app, ConnectionId::min())..=(app, ConnectionId::max()));
        range.map(|((_, id), ())| *id)
    }

    /// The stream version of the last change to what programs read in a scope; 0 before the first.
    pub fn changed(&self, scope: Scope) -> Version {
        self.places.changed(scope)
    }

    fn meant(&self, focus: &Focus) -> Vec<&Connection> {
        let whole = match focus {
            Focus::Resource(id) => id,
            Focus::All | Focus::Actions(_) | Focus::Named(..) => "",
        };
        if let Ok(environment) = whole.parse::<EnvironmentId>() {
            return self.in_environment_after(environment, None).collect();
        }
        match whole.parse::<CustomerId>() {
            Ok(customer) => self.of_customer(customer).collect(),
            Err(_) => focus.among(self.iter(), |id| self.get(id)),
        }
    }

    /// Changes a connection that is there, as somebody sees it.
    fn change(&mut self, id: ConnectionId, recorded: &Recorded, change: impl FnOnce(&mut Connection)) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (old, old_link) = (connection.name.clone(), link_of(connection));
        let old_bytes = connection.sealed_bytes();
        change(connection);
        connection.updated_at = recorded.at;
        connection.version = recorded.version;
        let (scope, new, new_link) = (connection.scope, connection.name.clone(), link_of(connection));
        self.sealed_bytes = self.sealed_bytes + connection.sealed_bytes() - old_bytes;
        self.linked(id, old_link, new_link);
        self.places.called(scope, id, Some(&old), Some(&new), recorded.version);
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
            refreshed_at: None,
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
        self.insert(connection, recorded.version);
    }

    fn insert(&mut self, connection: Connection, changed: Version) {
        let (id, scope) = (connection.id, connection.scope);
        self.linked(id, None, link_of(&connection));
        if let Some(app) = connection.own_app() {
            self.apps.insert_mut((app, id), ());
        }
        self.sealed_bytes += connection.sealed_bytes();
        self.places.add(scope, id);
        self.places.called(scope, id, None, Some(&connection.name), changed);
        self.connections.insert_mut(id, connection);
    }

    fn revoke(&mut self, id: ConnectionId, recorded: &Recorded) {
        let Some(connection) = self.get(id).cloned() else { return };
        self.connections.remove_mut(&id);
        self.linked(id, link_of(&connection), None);
        if let Some(app) = connection.own_app() {
            self.apps.remove_mut(&(app, id));
        }
        self.sealed_bytes -= connection.sealed_bytes();
        self.places.called(connection.scope, id, Some(&connection.name), None, recorded.version);
        self.places.remove(connection.scope, id);
    }

    /// Whoever is erased has no connections any more.
    fn revoke_all_of(&mut self, customer: CustomerId, recorded: &Recorded) {
        let all: Vec<(ConnectionId, Scope)> =
            self.of_customer(customer).map(|connection| (connection.id, connection.scope)).collect();
        // A scope goes once nothing is left in it.
        all.iter().for_each(|(id, _)| self.revoke(*id, recorded));
        all.iter().for_each(|(_, scope)| self.places.forget(*scope));
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
        for id in self.of_app(app).collect::<Vec<_>>() {
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

/// The refresh that a record says has failed.
fn failed(recorded: &Recorded) -> Option<&Refused> {
    let Event::Refused(refused) = &recorded.event else { return None };
    (recorded.outcome == Outcome::Failure && refused.action == TOKEN_REFRESH).then_some(refused)
}

impl Fold for Connections {
    const NAME: &'static str = "connections";
    const PROJECTION: u32 = 2;

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
            return self.revoke_all_of(erased.customer, recorded);
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
                self.change(refreshed.connection, recorded, |connection| {
                    connection.hold(&refreshed.tokens);
                    if let Some(grant) = &mut connection.grant {
                        grant.refreshed_at = Some(recorded.at);
                    }
                });
            }
            // What comes of it is recorded when it is known.
            ConnectionsEvent::ConnectionRefreshAsked(_) => {}
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
            // So that a server which dies before it has done so does it at its next start.
            ConnectionsEvent::ConnectionRefreshAsked(asked) => {
                entries.push(due(asked.connection.to_string(), Some(recorded.at)));
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
            narrowed.insert(connection.clone(), self.changed(connection.scope));
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
