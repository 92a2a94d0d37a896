//! Which secrets belong where: by scope and name, by customer, and by environment, so that whoever asks for some of them
//! walks no others.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::event::Version;
use crate::ids::{CustomerId, EnvironmentId, SecretId};
use crate::settings::secrets::value::Scope;

/// Where secrets belong, deleted ones included.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Places {
    scopes: RedBlackTreeMapSync<Scope, InScope>,
    /// Those of each customer, and of none.
    customers: RedBlackTreeMapSync<(Option<CustomerId>, SecretId), ()>,
    /// Those in each environment, with its customers'.
    environments: RedBlackTreeMapSync<(EnvironmentId, SecretId), ()>,
}

/// What belongs to one scope.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct InScope {
    /// The secrets that are not deleted, by name.
    names: RedBlackTreeMapSync<String, SecretId>,
    /// How many there are, deleted ones included.
    count: usize,
    /// The stream version of the last change of any.
    changed: Version,
}

impl Places {
    /// The secret of this name in a scope, unless it is deleted.
    pub(super) fn named(&self, scope: Scope, name: &str) -> Option<SecretId> {
        self.scopes.get(&scope)?.names.get(name).copied()
    }

    /// The secrets of a scope that are not deleted, by name.
    pub(super) fn in_scope(&self, scope: Scope) -> impl Iterator<Item = SecretId> + '_ {
        let names = self.scopes.get(&scope).map(|within| &within.names);
        names.into_iter().flat_map(|names| names.values()).copied()
    }

    /// The secrets of a customer, or of none, that follow an id, by id.
    pub(super) fn of_customer(
        &self,
        customer: Option<CustomerId>,
        after: Option<SecretId>,
    ) -> impl Iterator<Item = SecretId> + '_ {
        let from = after.unwrap_or_else(SecretId::min);
        let range = self.customers.range((customer, from)..=(customer, SecretId::max()));
        range.map(|((_, id), ())| *id).filter(move |id| Some(*id) != after)
    }

    /// The secrets in an environment that follow an id, those of its customers included, by id.
    pub(super) fn in_environment(
        &self,
        environment: EnvironmentId,
        after: Option<SecretId>,
    ) -> impl Iterator<Item = SecretId> + '_ {
        let from = after.unwrap_or_else(SecretId::min);
        let range = self.environments.range((environment, from)..=(environment, SecretId::max()));
        range.map(|((_, id), ())| *id).filter(move |id| Some(*id) != after)
    }

    /// The stream version of the last change to what programs read in a scope; 0 before the first.
    pub(super) fn changed(&self, scope: Scope) -> Version {
        self.scopes.get(&scope).map_or(0, |within| within.changed)
    }

    /// How many secrets a scope has, deleted ones included.
    pub(super) fn count(&self, scope: Scope) -> usize {
        self.scopes.get(&scope).map_or(0, |within| within.count)
    }

    /// A secret belongs to a scope from now on.
    pub(super) fn add(&mut self, scope: Scope, id: SecretId) {
        self.customers.insert_mut((scope.customer(), id), ());
        if let Some(environment) = scope.environment() {
            self.environments.insert_mut((environment, id), ());
        }
        if let Some(within) = self.scope_mut(scope) {
            within.count += 1;
        }
    }

    /// A secret is gone.
    pub(super) fn remove(&mut self, scope: Scope, id: SecretId) {
        self.customers.remove_mut(&(scope.customer(), id));
        if let Some(environment) = scope.environment() {
            self.environments.remove_mut(&(environment, id));
        }
        if let Some(within) = self.scope_mut(scope) {
            within.count -= 1;
        }
    }

    /// A scope is gone with all that belonged to it.
    pub(super) fn forget(&mut self, scope: Scope) {
        self.scopes.remove_mut(&scope);
    }

    /// Notes what a secret is called now, and that something in its scope changed. A name is free once its secret has
    /// another, is deleted or gone; unless it is already another's: a restore lets two swap theirs.
    pub(super) fn called(
        &mut self,
        scope: Scope,
        id: SecretId,
        old: Option<&str>,
        new: Option<&str>,
        at: Version,
    ) {
        let Some(within) = self.scope_mut(scope) else { return };
        within.changed = at;
        if let Some(old) = old
            && within.names.get(old) == Some(&id)
        {
            within.names.remove_mut(old);
        }
        if let Some(new) = new {
            within.names.insert_mut(new.to_owned(), id);
        }
    }

    fn scope_mut(&mut self, scope: Scope) -> Option<&mut InScope> {
        if !self.scopes.contains_key(&scope) {
            self.scopes.insert_mut(scope, InScope::default());
        }
        self.scopes.get_mut(&scope)
    }
}
