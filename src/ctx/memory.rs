//! What was opened for programs, kept while it is current: values of secrets, and whole environments as they are answered.
//! Bounded, wiped when dropped, and forgotten as soon as the writer has published what made it old.
//!
//! Versions are kept beside them: they are no plaintext, and whoever only asks whether something changed opens nothing.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::ctx::access::Access;
use crate::ctx::seen::{self, Basis, Place, PlaceId, Readable};
use crate::event::{Event, Recorded};
use crate::http::page::json_bytes;
use crate::ids::{ConnectionId, CustomerId, EnvironmentId, SecretId, StreamId};
use crate::organization::Organization;
use crate::seal::keyring::{KeyError, KeyRing};
use crate::seal::{DataKey, Plain};
use crate::settings::connections::event::TOKEN_REFRESH;
use crate::settings::environments::event::EnvironmentsEvent;
use crate::settings::environments::projection::Environment;
use crate::settings::general::event::GeneralEvent;
use crate::settings::secrets::projection::{CurrentValue, Secret};
use crate::settings::secrets::value::Scope;
use crate::settings::secrets::value_field;
use crate::store::bounded::Bounded;
use crate::store::key_uses::reads::Values;
use crate::store::resident::{Handle, View};

/// How much memory opened values take, in bytes.
const VALUES_BYTES: usize = 16 << 20;
/// How much memory whole environments take, in bytes.
const WHOLES_BYTES: usize = 16 << 20;
/// The largest environment that is made in one piece and kept, in bytes of its secrets as sealed and its configuration.
pub const WHOLE_BYTES_MAX: usize = 1 << 20;
/// How much memory versions take, in bytes: of some ten thousand environments.
const VERSIONS_BYTES: usize = 4 << 20;
/// What keeping one takes beside.
const KEPT_OVERHEAD_BYTES: usize = 256;

/// The memory of it.
#[derive(Debug)]
pub struct Memory {
    values: Bounded<(StreamId, SecretId), Arc<Value>>,
    wholes: Bounded<(StreamId, PlaceId), Arc<Whole>>,
    versions: Bounded<(StreamId, PlaceId), Arc<Known>>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            values: Bounded::new(VALUES_BYTES),
            wholes: Bounded::new(WHOLES_BYTES),
            versions: Bounded::new(VERSIONS_BYTES),
        }
    }
}

/// A value of a secret, opened.
#[derive(Debug)]
pub struct Value {
    /// Its number.
    pub number: u64,
    /// The customer whose secret it is, if it is one's.
    pub customer: Option<CustomerId>,
    /// The value.
    pub plain: Plain,
}

/// The version of what is seen in an environment.
#[derive(Debug)]
pub struct Known {
    basis: Basis,
    /// The version.
    pub version: Arc<str>,
}

/// All that is seen in an environment, as it is answered.
#[derive(Debug)]
pub struct Whole {
    basis: Basis,
    /// The version of it.
    pub version: Arc<str>,
    /// The values in it.
    pub values: Values,
    json: Zeroizing<Vec<u8>>,
}

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}

impl Memory {
    /// The version of what is seen in a place, if it is known.
    pub fn version(&self, view: &View, place: Place<'_>) -> Option<Arc<str>> {
        let basis = Basis::of(view.organization(), place);
        let known = self.versions.get(&(view.stream, place.id())).filter(|known| known.basis == basis);
        known.map(|known| Arc::clone(&known.version))
    }

    /// The same, computed under the organization's key where it is not known.
    pub fn version_of(&self, under: &DataKey, view: &View, place: Place<'_>) -> Arc<str> {
        if let Some(known) = self.version(view, place) {
            return known;
        }
        let organization = view.organization();
        let secrets = seen::secrets(organization, place);
        let connections = seen::connections(organization, place);
        let version: Arc<str> = seen::version(under, place.environment, &secrets, &connections).into();
        let known = Known { basis: Basis::of(organization, place), version: Arc::clone(&version) };
        self.versions.put((view.stream, place.id()), Arc::new(known), KEPT_OVERHEAD_BYTES);
        version
    }

    /// All that is seen in a place, if it is kept.
    pub fn whole(&self, view: &View, place: Place<'_>) -> Option<Arc<Whole>> {
        let basis = Basis::of(view.organization(), place);
        self.wholes.get(&(view.stream, place.id())).filter(|whole| whole.basis == basis)
    }

    /// The same, made where it is not kept; `None` where it is too large for that. Blocks.
    ///
    /// # Errors
    /// When a key is not to be had, or a value does not open.
    pub fn whole_of(
        &self,
        ring: &KeyRing,
        under: &DataKey,
        handle: &Handle,
        view: &View,
        place: Place<'_>,
    ) -> Result<Option<Arc<Whole>>, KeyError> {
        let (organization, Place { environment, .. }) = (view.organization(), place);
        let secrets = seen::secrets(organization, place);
        let connections = seen::connections(organization, place);
        let sealed: usize = connections.values().map(|(_, credential)| credential.sealed.data.0.len()).sum();
        if size(environment, secrets.values()) + sealed > WHOLE_BYTES_MAX {
            return Ok(None);
        }
        let version = self.version_of(under, view, place);
        let opened = secrets.values().map(|secret| self.value_of(ring, handle, view, secret));
        let opened: Vec<Arc<Value>> = opened.collect::<Result<_, _>>()?;
        let named = secrets.keys().copied().zip(opened.iter().map(|value| &**value));
        let values = seen::values(&secrets, &connections);
        let access = connections
            .into_iter()
            .map(|(name, held)| Ok((name, Access::open(ring, view.stream, held)?)))
            .collect::<Result<Vec<_>, KeyError>>()?;
        let secrets_named = named.collect::<Vec<_>>();
        let told = Told { environment, version: &version, secrets: &secrets_named, connections: &access };
        let whole = Arc::new(Whole {
            basis: Basis::of(organization, place),
            version: Arc::clone(&version),
            values,
            json: json(&told),
        });
        let key = (view.stream, place.id());
        self.wholes.put(key, Arc::clone(&whole), KEPT_OVERHEAD_BYTES + whole.json.len());
        // What the writer has published meanwhile it has not found here.
        let newest = handle.view();
        self.wholes.forget(key..=key, |_, kept| is_current(newest.organization(), place.id(), kept.basis));
        Ok(Some(whole))
    }

    /// A secret's newest value, if it is kept.
    pub fn value(&self, view: &View, readable: &Readable<'_>) -> Option<Arc<Value>> {
        let (id, number) = readable.id();
        self.values.get(&(view.stream, id)).filter(|kept| kept.number == number)
    }

    /// The same, opened where it is not kept. Blocks.
    ///
    /// # Errors
    /// When its key is not to be had, or it does not open.
    pub fn value_of(
        &self,
        ring: &KeyRing,
        handle: &Handle,
        view: &View,
        readable: &Readable<'_>,
    ) -> Result<Arc<Value>, KeyError> {
        if let Some(kept) = self.value(view, readable) {
            return Ok(kept);
        }
        let ((id, number), CurrentValue { sealed, commitment }) = (readable.id(), readable.value);
        let key = ring.data_key(view.stream, sealed.key, *commitment)?;
        let plain = key.open(&value_field(view.stream, &id.to_string()), sealed)?;
        let customer = readable.secret.scope.customer();
        let value = Arc::new(Value { number, customer, plain });
        let (key, bytes) = ((view.stream, id), KEPT_OVERHEAD_BYTES + value.plain.as_bytes().len());
        self.values.put(key, Arc::clone(&value), bytes);
        let newest = handle.view();
        self.values.forget(key..=key, |_, kept| is_value(newest.organization(), id, kept));
        Ok(value)
    }

    /// Forgets what is old now that these events are published, with the state that they led to.
    pub fn published<'a>(&self, view: &View, events: impl Iterator<Item = &'a Recorded>) {
        if matches!(view.stream, StreamId::Platform) {
            return;
        }
        let stream = view.stream;
        let organization = view.organization();
        let (mut whole, mut places, mut values, mut gone) = (false, Vec::new(), Vec::new(), Vec::new());
        for event in events {
            let linked = || {
                let id = event.resource.id.parse::<ConnectionId>().ok();
                id.and_then(|id| organization.connections.get(id)).map(|connection| connection.scope)
            };
            match &event.event {
                Event::Secrets(_) => {
                    let Ok(id) = event.resource.id.parse::<SecretId>() else { continue };
                    values.push(id..=id);
                    let scope = organization.secrets.get(id).map(|secret| secret.scope);
                    changed_in(scope, &mut places, &mut whole);
                }
                Event::Environments(EnvironmentsEvent::EnvironmentDeleted(_))
                | Event::General(GeneralEvent::OrganizationEnded(_)) => {
                    whole = true;
                    values.push(SecretId::min()..=SecretId::max());
                }
                Event::Customers(event) => gone.extend(event.departed()),
                Event::Environments(_) | Event::OauthApps(_) => whole = true,
                Event::Connections(_) => changed_in(linked(), &mut places, &mut whole),
                Event::Refused(refused) if refused.action == TOKEN_REFRESH => {
                    changed_in(linked(), &mut places, &mut whole);
                }
                _ => {}
            }
        }
        if !gone.is_empty() {
            // What a customer had is gone with it, and what others have is as it was: nothing of that is looked up.
            let all = (stream, SecretId::min())..=(stream, SecretId::max());
            self.values
                .forget(all, |_, kept| !kept.customer.is_some_and(|customer| gone.contains(&customer)));
            let environments = organization.environments.iter().map(|environment| environment.id);
            places.extend(environments.flat_map(|id| gone.iter().map(move |customer| (id, Some(*customer)))));
        }
        for range in values {
            let (first, last) = range.into_inner();
            self.values
                .forget((stream, first)..=(stream, last), |(_, id), kept| is_value(organization, *id, kept));
        }
        let is_current = |(_, place): &(StreamId, PlaceId), kept: &Arc<Whole>| {
            is_current(organization, *place, kept.basis)
        };
        if whole {
            let last = (EnvironmentId::max(), Some(CustomerId::max()));
            self.wholes.forget((stream, (EnvironmentId::min(), None))..=(stream, last), is_current);
        } else {
            for place in places {
                self.wholes.forget((stream, place)..=(stream, place), is_current);
            }
        }
    }
}

/// Where something of a scope is seen that has changed. What a customer has is seen in one place; of thousands of customers, the
/// others' stay.
fn changed_in(scope: Option<Scope>, places: &mut Vec<PlaceId>, whole: &mut bool) {
    match scope {
        Some(Scope::Customer(environment, customer)) => places.push((environment, Some(customer))),
        Some(Scope::Organization | Scope::Environment(_)) | None => *whole = true,
    }
}

/// Whether a value is the one that a secret has.
fn is_value(organization: &Organization, secret: SecretId, kept: &Value) -> bool {
    let is = |secret: &Secret| {
        secret.value.is_some() && secret.value_version == kept.number && !secret.is_deleted()
    };
    !organization.general.is_over() && organization.secrets.get(secret).is_some_and(is)
}

fn is_current(organization: &Organization, place: PlaceId, basis: Basis) -> bool {
    let place = Place::find(organization, place).filter(|_| !organization.general.is_over());
    place.is_some_and(|place| Basis::of(organization, place) == basis)
}

/// What of an environment has to be held to answer with all of it, in bytes: not less than the values have.
fn size<'a>(environment: &Environment, secrets: impl Iterator<Item = &'a Readable<'a>>) -> usize {
    let config: usize = environment.config.iter().map(|(name, value)| name.len() + value.value.len()).sum();
    config + secrets.map(|secret| secret.value.sealed.data.0.len()).sum::<usize>()
}

/// An environment with values, as it is answered.
pub struct Told<'a> {
    /// The environment.
    pub environment: &'a Environment,
    /// The version of what is seen in it.
    pub version: &'a str,
    /// Secrets by name.
    pub secrets: &'a [(&'a str, &'a Value)],
    /// Access to others' services, by name.
    pub connections: &'a [(&'a str, Access)],
}

impl Serialize for Told<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("environment", &self.environment.slug)?;
        map.serialize_entry("version", self.version)?;
        map.serialize_entry("config", &Config(self.environment))?;
        map.serialize_entry("secrets", &Named(self.secrets))?;
        map.serialize_entry("connections", &Accesses(self.connections))?;
        map.end()
    }
}

struct Accesses<'a>(&'a [(&'a str, Access)]);

impl Serialize for Accesses<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, access)| (name, access)))
    }
}

struct Config<'a>(&'a Environment);

impl Serialize for Config<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values = self.0.config.iter().map(|(name, value)| {
            // Only canonical JSON text is ever recorded as a value.
            serde_json::from_str::<&RawValue>(&value.value).map(|raw| (name, raw))
        });
        let values: Vec<_> = values.collect::<Result<_, _>>().map_err(serde::ser::Error::custom)?;
        serializer.collect_map(values)
    }
}

struct Named<'a>(&'a [(&'a str, &'a Value)]);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, value.plain.as_str().map_err(serde::ser::Error::custom)?)?;
        }
        map.end()
    }
}

/// A value as JSON, in a buffer of just its size: one that grows would leave copies behind that nobody wipes.
pub fn json<T: Serialize>(value: &T) -> Zeroizing<Vec<u8>> {
    let mut json = Zeroizing::new(Vec::with_capacity(json_bytes(value)));
    serde_json::to_writer(&mut *json, value).expect("what is told is text under text");
    json
}
