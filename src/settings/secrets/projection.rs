//! Secrets as a fold: which there are, where, and the newest value of each, sealed. Earlier values stay in the log alone;
//! what is kept of them is where.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::area::{Area, DirectoryEntry, Fold, Reads};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, ResourceType, Version};
use crate::history::description::{Description, Difference, Focus};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::{CustomerId, DataKeyId, EnvironmentId, SecretId};
use crate::organization::Organization;
use crate::seal::{Commitment, Sealed};
use crate::settings::customers::event::CustomersEvent;
use crate::settings::environments::event::{EnvironmentsEvent, Mode};
use crate::settings::places::Places;
use crate::settings::roles::permission::Permission;
use crate::settings::secrets::command::VALUES_MAX;
use crate::settings::secrets::described::Described;
use crate::settings::secrets::description::describe;
use crate::settings::secrets::due::due;
use crate::settings::secrets::event::{
    Origin, SecretCreated, SecretUpdated, SecretVersionDestroyed, SecretsEvent,
};
use crate::settings::secrets::restore::restore;
use crate::settings::secrets::value::Scope;

/// The secrets of an organization.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Secrets {
    secrets: RedBlackTreeMapSync<SecretId, Secret>,
    places: Places<SecretId>,
    /// How many are not deleted.
    live: usize,
}

/// A secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The secret.
    pub id: SecretId,
    /// Its name.
    pub name: String,
    /// Where it belongs.
    pub scope: Scope,
    /// The modes of the environments in which it is read, of one that is the whole organization's.
    pub modes: Vec<Mode>,
    /// What it is for.
    pub description: Option<Described>,
    /// When it is said to expire.
    pub expires_at: Option<Timestamp>,
    /// Whether that time has passed, and somebody was warned.
    pub expired: bool,
    /// The number of its newest value.
    pub value_version: u64,
    /// Its newest value; `None` once it was destroyed.
    pub value: Option<CurrentValue>,
    /// All of its values by number.
    pub versions: RedBlackTreeMapSync<u64, ValueVersion>,
    /// Since when it is deleted.
    pub deleted_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
}

/// A value that can be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentValue {
    /// As sealed.
    pub sealed: Arc<Sealed>,
    /// What history committed to of its key.
    pub commitment: Option<Commitment>,
}

/// One of a secret's values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueVersion {
    /// The stream version of the event that holds it.
    pub recorded: Version,
    /// When it was written.
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
    /// The key that it is sealed under.
    pub key: DataKeyId,
    /// Where it was copied from.
    pub copied_from: Option<Origin>,
    /// Whether its key was destroyed.
    pub destroyed: bool,
}

impl Secret {
    /// Where one of its values was first written: itself, unless it was copied.
    pub fn origin(&self, number: u64) -> Option<Origin> {
        let version = self.versions.get(&number)?;
        Some(version.copied_from.unwrap_or(Origin { resource: self.id, value_version: number }))
    }

    /// Where its newest value was first written; `None` once it was destroyed. Two secrets have the same value for sure
    /// where this is the same, and nobody is told of more.
    pub fn current_origin(&self) -> Option<Origin> {
        self.value.as_ref().and_then(|_| self.origin(self.value_version))
    }

    /// The keys of its values that were not destroyed.
    pub fn kept_keys(&self) -> impl Iterator<Item = DataKeyId> + '_ {
        self.versions.values().filter(|version| !version.destroyed).map(|version| version.key)
    }

    /// Whether it is deleted.
    pub fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }

    /// Whether programs read it in environments of this mode.
    pub fn reaches(&self, mode: Mode) -> bool {
        self.scope != Scope::Organization || self.modes.contains(&mode)
    }

    fn write(&mut self, number: u64, sealed: &Sealed, copied_from: Option<Origin>, recorded: &Recorded) {
        let commitment = recorded.keys.get(&sealed.key).copied();
        self.value = Some(CurrentValue { sealed: Arc::new(sealed.clone()), commitment });
        self.value_version = number;
        let version = ValueVersion {
            recorded: recorded.version,
            at: recorded.at,
            by: recorded.actor,
            key: sealed.key,
            copied_from,
            destroyed: false,
        };
        self.versions.insert_mut(number, version);
        // The oldest one gives way, which by then was destroyed.
        if self.versions.size() > VALUES_MAX
            && let Some(oldest) = self.versions.first().map(|(number, _)| *number)
        {
            self.versions.remove_mut(&oldest);
        }
    }
}

impl Secrets {
    /// A secret by id, deleted or not.
    pub fn get(&self, id: SecretId) -> Option<&Secret> {
        self.secrets.get(&id)
    }

    /// The secret of this name in a scope, unless it is deleted.
    pub fn find(&self, scope: Scope, name: &str) -> Option<&Secret> {
        self.places.named(scope, name).and_then(|id| self.secrets.get(&id))
    }

    /// The secrets of a scope that are not deleted, by name.
    pub fn in_scope(&self, scope: Scope) -> impl Iterator<Item = &Secret> {
        self.places.in_scope(scope).filter_map(|id| self.secrets.get(&id))
    }

    /// All secrets, by id, deleted ones included.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.secrets.values()
    }

    /// The secrets that follow an id, by id, deleted ones included.
    pub fn after(&self, after: Option<SecretId>) -> impl Iterator<Item = &Secret> {
        let rest = self.secrets.range(after.unwrap_or_else(SecretId::min)..);
        rest.map(|(_, secret)| secret).filter(move |secret| Some(secret.id) != after)
    }

    /// The secrets of a customer in all environments, by id, deleted ones included.
    pub fn of_customer(&self, customer: CustomerId) -> impl Iterator<Item = &Secret> {
        self.of_customer_after(Some(customer), None)
    }

    /// The secrets of a customer, or those that are no customer's, that follow an id, by id, deleted ones included.
    pub fn of_customer_after(
        &self,
        customer: Option<CustomerId>,
        after: Option<SecretId>,
    ) -> impl Iterator<Item = &Secret> {
        self.places.of_customer(customer, after).filter_map(|id| self.secrets.get(&id))
    }

    /// The secrets in an environment, its customers' included, that follow an id, by id, deleted ones included.
    pub fn in_environment_after(
        &self,
        environment: EnvironmentId,
        after: Option<SecretId>,
    ) -> impl Iterator<Item = &Secret> {
        self.places.in_environment(environment, after).filter_map(|id| self.secrets.get(&id))
    }

    /// How many secrets there are that are not deleted.
    pub fn live(&self) -> usize {
        self.live
    }

    /// The stream version of the last change to what programs read in a scope; 0 before the first.
    pub fn changed(&self, scope: Scope) -> Version {
        self.places.changed(scope)
    }

    /// How many secrets a scope has, deleted ones included.
    pub fn count(&self, scope: Scope) -> usize {
        self.places.count(scope)
    }

    /// The secrets that are meant: one, or those in an environment, or those of a customer.
    fn meant(&self, focus: &Focus) -> Vec<&Secret> {
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

    /// Changes a secret, and what follows from that.
    fn change(&mut self, id: SecretId, recorded: &Recorded, change: impl FnOnce(&mut Secret)) {
        let Some(secret) = self.secrets.get_mut(&id) else { return };
        let called = |secret: &Secret| (!secret.is_deleted()).then(|| secret.name.clone());
        let old = called(secret);
        change(secret);
        secret.updated_at = recorded.at;
        secret.version = recorded.version;
        let (was_live, is_live) = (old.is_some(), !secret.is_deleted());
        self.live = self.live + usize::from(is_live) - usize::from(was_live);
        let (scope, new) = (secret.scope, called(secret));
        self.places.called(scope, id, old.as_deref(), new.as_deref(), recorded.version);
    }

    fn create(&mut self, created: &SecretCreated, recorded: &Recorded) {
        let scope = created.scope();
        let mut secret = Secret {
            id: created.secret,
            name: created.name.clone(),
            scope,
            modes: created.modes.clone(),
            description: Described::of(created.description.as_ref(), created.sealed_description.as_ref()),
            expires_at: created.expires_at,
            expired: false,
            value_version: 0,
            value: None,
            versions: RedBlackTreeMapSync::new_sync(),
            deleted_at: None,
            created_at: recorded.at,
            updated_at: recorded.at,
            version: recorded.version,
        };
        secret.write(created.value_version, &created.value, created.copied_from, recorded);
        self.secrets.insert_mut(created.secret, secret);
        self.live += 1;
        self.places.add(scope, created.secret);
        self.places.called(scope, created.secret, None, Some(&created.name), recorded.version);
    }

    fn update(&mut self, updated: &SecretUpdated, recorded: &Recorded) {
        self.change(updated.secret, recorded, |secret| {
            let cleared = |field: &str| updated.cleared.iter().any(|cleared| cleared == field);
            if let Some(name) = &updated.name {
                secret.name.clone_from(name);
            }
            let described = Described::of(updated.description.as_ref(), updated.sealed_description.as_ref());
            if described.is_some() || cleared("description") {
                secret.description = described;
            }
            if updated.expires_at.is_some() || cleared("expires_at") {
                secret.expires_at = updated.expires_at;
                secret.expired = false;
            }
            if let (Some(number), Some(value)) = (updated.value_version, &updated.value) {
                secret.write(number, value, updated.copied_from, recorded);
            }
        });
    }

    fn destroy_version(&mut self, destroyed: &SecretVersionDestroyed, recorded: &Recorded) {
        self.change(destroyed.secret, recorded, |secret| {
            if let Some(version) = secret.versions.get_mut(&destroyed.value_version) {
                version.destroyed = true;
            }
            if secret.value_version == destroyed.value_version {
                secret.value = None;
            }
        });
    }

    fn destroy(&mut self, id: SecretId, recorded: &Recorded) {
        let Some(secret) = self.secrets.get(&id) else { return };
        let (scope, name) = (secret.scope, secret.name.clone());
        self.live -= usize::from(!secret.is_deleted());
        self.secrets.remove_mut(&id);
        self.places.called(scope, id, Some(&name), None, recorded.version);
        self.places.remove(scope, id);
    }

    /// Secrets are deleted with their environment.
    fn delete_within(&mut self, environment: EnvironmentId, recorded: &Recorded) {
        let live = self.in_environment_after(environment, None).filter(|secret| !secret.is_deleted());
        let ids = live.map(|secret| secret.id).collect();
        self.delete_all(ids, recorded);
    }

    /// Secrets are deleted with their customer.
    fn delete_of(&mut self, customer: CustomerId, recorded: &Recorded) {
        let live = self.of_customer(customer).filter(|secret| !secret.is_deleted());
        let ids = live.map(|secret| secret.id).collect();
        self.delete_all(ids, recorded);
    }

    fn delete_all(&mut self, ids: Vec<SecretId>, recorded: &Recorded) {
        for id in ids {
            self.change(id, recorded, |secret| secret.deleted_at = Some(recorded.at));
        }
    }

    /// Whoever is erased has no secrets any more.
    fn destroy_of(&mut self, customer: CustomerId, recorded: &Recorded) {
        let all: Vec<(SecretId, Scope)> =
            self.of_customer(customer).map(|secret| (secret.id, secret.scope)).collect();
        // A scope goes once nothing is left in it.
        all.iter().for_each(|(id, _)| self.destroy(*id, recorded));
        all.iter().for_each(|(_, scope)| self.places.forget(*scope));
    }
}

impl Fold for Secrets {
    const NAME: &'static str = "secrets";
    const PROJECTION: u32 = 4;

    fn apply(&mut self, recorded: &Recorded) {
        let event = match &recorded.event {
            Event::Secrets(event) => event,
            Event::Environments(EnvironmentsEvent::EnvironmentDeleted(deleted)) => {
                return self.delete_within(deleted.environment, recorded);
            }
            Event::Customers(CustomersEvent::CustomerDeleted(deleted)) => {
                return self.delete_of(deleted.customer, recorded);
            }
            Event::Customers(CustomersEvent::CustomerErased(erased)) => {
                return self.destroy_of(erased.customer, recorded);
            }
            Event::General(_)
            | Event::ApiKeys(_)
            | Event::Environments(_)
            | Event::People(_)
            | Event::Teams(_)
            | Event::Roles(_)
            | Event::Sessions(_)
            | Event::Accounts(_)
            | Event::Foundings(_)
            | Event::Deletions(_)
            | Event::Invitations(_)
            | Event::JoinRequests(_)
            | Event::Memberships(_)
            | Event::Operations(_)
            | Event::Exports(_)
            | Event::EncryptionKeys(_)
            | Event::Customers(_)
            | Event::CustomerData(_)
            | Event::Executions(_)
            | Event::OauthApps(_)
            | Event::Connections(_)
            | Event::ManagedApps(_)
            | Event::SigningKeys(_)
            | Event::Billing(_)
            | Event::Plans(_)
            | Event::Refused(_) => return,
        };
        match event {
            SecretsEvent::SecretCreated(created) => self.create(created, recorded),
            SecretsEvent::SecretUpdated(updated) => self.update(updated, recorded),
            SecretsEvent::SecretDeleted(deleted) => {
                self.change(deleted.secret, recorded, |secret| secret.deleted_at = Some(recorded.at));
            }
            SecretsEvent::SecretUndeleted(undeleted) => {
                self.change(undeleted.secret, recorded, |secret| secret.deleted_at = None);
            }
            SecretsEvent::SecretRolledBack(back) => self.change(back.secret, recorded, |secret| {
                secret.write(back.value_version, &back.value, Some(back.copied_from), recorded);
            }),
            SecretsEvent::SecretVersionDestroyed(destroyed) => self.destroy_version(destroyed, recorded),
            SecretsEvent::SecretDestroyed(destroyed) => self.destroy(destroyed.secret, recorded),
            SecretsEvent::SecretExpired(expired) => {
                // A warning changes nothing of the secret that somebody could have set.
                if let Some(secret) = self.secrets.get_mut(&expired.secret) {
                    secret.expired = true;
                }
            }
            SecretsEvent::SecretRevealed(_) => {}
        }
    }

    fn directory(recorded: &Recorded, entries: &mut Vec<DirectoryEntry>) {
        let Event::Secrets(event) = &recorded.event else { return };
        entries.extend(due(event));
    }

    fn items(&self) -> usize {
        self.iter().map(|secret| 1 + secret.versions.size()).sum()
    }
}

impl Area for Secrets {
    const READS: &'static [&'static str] = &[
        "secret.create",
        "secret.update",
        "secret.delete",
        "secret.undelete",
        "secret.rollback",
        "secret.destroy_version",
        "secret.destroy",
        "secret.expire",
        "environment.delete",
        "customer.delete",
        "customer.erase",
    ];
    const CASCADES: &'static [&'static str] = &["environment.delete", "customer.delete", "customer.erase"];
    const NOTES: &'static [&'static str] = &["secret.expire"];
    const RESTORABLE: bool = true;
    const KINDS: &'static [Reads] =
        &[Reads { kind: ResourceType::Secret, permission: Permission::SecretRead }];

    fn of(organization: &Organization) -> &Self {
        &organization.secrets
    }

    fn narrowed(&self, focus: &Focus) -> Self {
        if matches!(focus, Focus::All | Focus::Actions(_)) {
            return self.clone();
        }
        let mut narrowed = Self::default();
        for secret in self.meant(focus) {
            narrowed.secrets.insert_mut(secret.id, secret.clone());
            narrowed.live += usize::from(!secret.is_deleted());
            let changed = self.changed(secret.scope);
            // Amid a restore two secrets can have one name; whose it is then, only this map knows.
            let name = self.find(secret.scope, &secret.name).filter(|found| found.id == secret.id);
            let name = name.map(|secret| secret.name.as_str());
            narrowed.places.add(secret.scope, secret.id);
            narrowed.places.called(secret.scope, secret.id, None, name, changed);
        }
        narrowed
    }

    fn describe(&self, focus: &Focus, into: &mut Description) {
        let meant = self.meant(focus).into_iter().filter(|secret| !secret.is_deleted());
        meant.for_each(|secret| describe(secret, into));
    }

    fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
        restore(differences, outlook, plan);
    }
}
