//! Which things belong where, secrets or connections: by scope and name, by customer, and by environment, so that whoever
//! asks for some of them walks no others.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::Version;
use crate::ids::{CustomerId, EnvironmentId, FreshId};
use crate::settings::secrets::value::Scope;

/// Where things belong, deleted ones included.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(serialize = "I: Serialize", deserialize = "I: Deserialize<'de>"))]
pub struct Places<I: Ord> {
    scopes: RedBlackTreeMapSync<Scope, InScope<I>>,
    /// Those of each customer, and of none.
    customers: RedBlackTreeMapSync<(Option<CustomerId>, I), ()>,
    /// Those in each environment, with its customers'.
    environments: RedBlackTreeMapSync<(EnvironmentId, I), ()>,
}

impl<I: Ord> Default for Places<I> {
    fn default() -> Self {
        Self {
            scopes: RedBlackTreeMapSync::default(),
            customers: RedBlackTreeMapSync::default(),
            environments: RedBlackTreeMapSync::default(),
        }
    }
}

/// What belongs to one scope.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct InScope<I> {
    /// Those that are not deleted, by name.
    names: RedBlackTreeMapSync<String, I>,
    /// How many there are, deleted ones included.
    count: usize,
    /// The stream version of the last change of any.
    changed: Version,
}

impl<I> Default for InScope<I> {
    fn default() -> Self {
        Self { names: RedBlackTreeMapSync::default(), count: 0, changed: 0 }
    }
}

impl<I: FreshId + Copy + Ord> Places<I> {
    /// The one of this name in a scope, unless it is deleted.
    pub fn named(&self, scope: Scope, name: &str) -> Option<I> {
        self.scopes.get(&scope)?.names.get(name).copied()
    }

    /// Those of a scope that are not deleted, by name.
    pub fn in_scope(&self, scope: Scope) -> impl Iterator<Item = I> + '_ {
        let names = self.scopes.get(&scope).map(|within| &within.names);
        names.into_iter().flat_map(|names| names.values()).copied()
    }

    /// Those of a customer, or of none, that follow an id, by id.
    pub fn of_customer(
        &self,
        customer: Option<CustomerId>,
        after: Option<I>,
    ) -> impl Iterator<Item = I> + '_ {
        let from = after.unwrap_or_else(first);
        let range = self.customers.range((customer, from)..=(customer, last()));
        range.map(|((_, id), ())| *id).filter(move |id| Some(*id) != after)
    }

    /// Those in an environment that follow an id, its customers' included, by id.
    pub fn in_environment(
        &self,
        environment: EnvironmentId,
        after: Option<I>,
    ) -> impl Iterator<Item = I> + '_ {
        let from = after.unwrap_or_else(first);
        let range = self.environments.range((environment, from)..=(environment, last()));
        range.map(|((_, id), ())| *id).filter(move |id| Some(*id) != after)
    }

    /// The stream version of the last change to what programs read in a scope; 0 before the first.
    pub fn changed(&self, scope: Scope) -> Version {
        self.scopes.get(&scope).map_or(0, |within| within.changed)
    }

    /// How many a scope has, deleted ones included.
    pub fn count(&self, scope: Scope) -> usize {
        self.scopes.get(&scope).map_or(0, |within| within.count)
    }

    /// One belongs to a scope from now on.
    pub fn add(&mut self, scope: Scope, id: I) {
        self.customers.insert_mut((scope.customer(), id), ());
        if let Some(environment) = scope.environment() {
            self.environments.insert_mut((environment, id), ());
        }
        if let Some(within) = self.scope_mut(scope) {
            within.count += 1;
        }
    }

    /// One is gone.
    pub fn remove(&mut self, scope: Scope, id: I) {
        self.customers.remove_mut(&(scope.customer(), id));
        if let Some(environment) = scope.environment() {
            self.environments.remove_mut(&(environment, id));
        }
        if let Some(within) = self.scope_mut(scope) {
            within.count -= 1;
        }
    }

    /// A scope is gone with all that belonged to it.
    pub fn forget(&mut self, scope: Scope) {
        self.scopes.remove_mut(&scope);
    }

    /// Notes what one is called now, and that something in its scope changed. A name is free once what had it has
    /// another, is deleted or gone; unless it is already another's: a restore lets two swap theirs.
    pub fn called(&mut self, scope: Scope, id: I, old: Option<&str>, new: Option<&str>, at: Version) {
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

    fn scope_mut(&mut self, scope: Scope) -> Option<&mut InScope<I>> {
        if !self.scopes.contains_key(&scope) {
            self.scopes.insert_mut(scope, InScope::default());
        }
        self.scopes.get_mut(&scope)
    }
}

/// Not greater than any id.
fn first<I: FreshId>() -> I {
    I::from_uuid(Uuid::nil())
}

/// Not less than any id.
fn last<I: FreshId>() -> I {
    I::from_uuid(Uuid::max())
}
