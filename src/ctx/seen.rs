//! What a program sees in an environment, for a customer or for none, and the version of that. Pure, but for the key that
//! the version is made under.
//!
//! A customer's secret hides the environment's of the same name, and that the organization's, also where its own value was
//! destroyed: whoever destroys it does not mean another to be read in its place.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::event::Version;
use crate::ids::{CustomerId, EnvironmentId, SecretId};
use crate::organization::Organization;
use crate::seal::DataKey;
use crate::settings::connections::connection::{Connection, Credential};
use crate::settings::environments::projection::Environment;
use crate::settings::secrets::projection::{CurrentValue, Secret};
use crate::settings::secrets::value::Scope;
use crate::store::key_uses::reads::Values;

/// How many bytes of an HMAC a version has: enough that no two are ever the same.
const VERSION_BYTES: usize = 16;

/// Where a program reads: in an environment, for a customer or for none.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The environment.
    pub environment: &'a Environment,
    /// The customer.
    pub customer: Option<CustomerId>,
}

/// [`Place`] by its ids, which outlive a state.
pub type PlaceId = (EnvironmentId, Option<CustomerId>);

impl<'a> Place<'a> {
    /// The place with these ids; `None` where the environment or the customer is not there.
    pub fn find(organization: &'a Organization, (environment, customer): PlaceId) -> Option<Self> {
        let is_there = customer.is_none_or(|customer| organization.customers.get(customer).is_some());
        let environment = organization.environments.get(environment).filter(|_| is_there)?;
        Some(Self { environment, customer })
    }

    /// Its ids.
    pub fn id(&self) -> PlaceId {
        (self.environment.id, self.customer)
    }

    /// The scopes of what is seen there, what goes before all others last.
    fn scopes(&self) -> impl DoubleEndedIterator<Item = Scope> {
        let id = self.environment.id;
        let of_customer = self.customer.map(|customer| Scope::Customer(id, customer));
        [Scope::Organization, Scope::Environment(id)].into_iter().chain(of_customer)
    }
}

/// When what is seen in a place may have changed last, by whatever it is made of. While this is the same, so is
/// what is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Basis {
    environment: Version,
    config: Version,
    secrets: [Version; 3],
    connections: [Version; 3],
}

impl Basis {
    /// Of a place as it is.
    pub fn of(organization: &Organization, place: Place<'_>) -> Self {
        let (mut secrets, mut connections) = ([0; 3], [0; 3]);
        for (at, scope) in place.scopes().enumerate() {
            secrets[at] = organization.secrets.changed(scope);
            connections[at] = organization.connections.changed(scope);
        }
        let Place { environment, .. } = place;
        Self { environment: environment.version, config: environment.config_version, secrets, connections }
    }

    /// The stream version of the last change.
    pub fn newest(&self) -> Version {
        let changed = self.secrets.into_iter().chain(self.connections);
        changed.fold(self.environment.max(self.config), Version::max)
    }
}

/// A secret that has a value to be read.
#[derive(Clone, Copy, Debug)]
pub struct Readable<'a> {
    /// The secret.
    pub secret: &'a Secret,
    /// Its newest value.
    pub value: &'a CurrentValue,
}

impl<'a> Readable<'a> {
    fn of(secret: &'a Secret) -> Option<Self> {
        secret.value.as_ref().map(|value| Self { secret, value })
    }

    /// Which value it is.
    pub fn id(&self) -> (SecretId, u64) {
        (self.secret.id, self.secret.value_version)
    }
}

/// The secrets that a program reads in a place, by name.
pub fn secrets<'a>(organization: &'a Organization, place: Place<'_>) -> BTreeMap<&'a str, Readable<'a>> {
    let mode = place.environment.mode;
    let all = place.scopes().flat_map(|scope| organization.secrets.in_scope(scope));
    let all = all.filter(|secret| secret.reaches(mode));
    let seen: BTreeMap<_, _> = all.map(|secret| (secret.name.as_str(), secret)).collect();
    seen.into_iter().filter_map(|(name, secret)| Some((name, Readable::of(secret)?))).collect()
}

/// The connections that a program uses in a place, by name: those that can be used. A customer's goes before the
/// environment's of the same name, also where it cannot be used.
pub fn connections<'a>(
    organization: &'a Organization,
    place: Place<'_>,
) -> BTreeMap<&'a str, (&'a Connection, &'a Credential)> {
    let all = place.scopes().flat_map(|scope| organization.connections.in_scope(scope));
    let seen: BTreeMap<_, _> = all.map(|connection| (connection.name.as_str(), connection)).collect();
    seen.into_iter().filter_map(|(name, found)| Some((name, (found, found.usable()?)))).collect()
}

/// The values of what is seen.
pub fn values(
    secrets: &BTreeMap<&str, Readable<'_>>,
    connections: &BTreeMap<&str, (&Connection, &Credential)>,
) -> Values {
    let connections = connections.values().map(|(connection, credential)| (connection.id, credential.number));
    Values { secrets: secrets.values().map(Readable::id).collect(), connections: connections.collect() }
}

/// The secret of a name that a program reads in a place.
pub fn secret<'a>(organization: &'a Organization, place: Place<'_>, name: &str) -> Option<Readable<'a>> {
    let mode = place.environment.mode;
    let found = place.scopes().rev().filter_map(|scope| organization.secrets.find(scope, name));
    let mut found = found.filter(|secret| secret.reaches(mode));
    found.next().and_then(Readable::of)
}

/// The version of what is seen: opaque text that is another exactly when something of it is. Under a key of the
/// organization, since a plain hash would tell two organizations' equal configurations.
pub fn version(
    under: &DataKey,
    environment: &Environment,
    secrets: &BTreeMap<&str, Readable<'_>>,
    connections: &BTreeMap<&str, (&Connection, &Credential)>,
) -> String {
    let mut items = vec![environment.id.to_string(), environment.slug.clone()];
    for (name, value) in environment.config.iter() {
        items.extend(["config".to_owned(), name.clone(), value.value.to_string()]);
    }
    for (name, readable) in secrets {
        let (id, number) = readable.id();
        items.extend(["secret".to_owned(), (*name).to_owned(), id.to_string(), number.to_string()]);
    }
    for (name, (connection, credential)) in connections {
        let (id, number) = (connection.id.to_string(), credential.number.to_string());
        items.extend(["connection".to_owned(), (*name).to_owned(), id, number]);
    }
    let items: Vec<&[u8]> = items.iter().map(String::as_bytes).collect();
    URL_SAFE_NO_PAD.encode(&under.fingerprint("ctx-version", &items)[..VERSION_BYTES])
}
