//! What a program sees in an environment, and the version of that. Pure, but for the key that the version is made under.
//!
//! An environment's secret hides the organization's of the same name, also where its own value was destroyed: whoever
//! destroys it does not mean another to be read in its place.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::event::Version;
use crate::ids::SecretId;
use crate::organization::Organization;
use crate::seal::DataKey;
use crate::settings::environments::projection::Environment;
use crate::settings::secrets::projection::{CurrentValue, Secret};
use crate::settings::secrets::value::Scope;

/// How many bytes of an HMAC a version has: enough that no two are ever the same.
const VERSION_BYTES: usize = 16;

/// When what is seen in an environment may have changed last, by whatever it is made of. While this is the same, so is
/// what is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Basis {
    environment: Version,
    config: Version,
    organization: Version,
    own: Version,
}

impl Basis {
    /// Of an environment as it is.
    pub fn of(organization: &Organization, environment: &Environment) -> Self {
        let secrets = &organization.secrets;
        Self {
            environment: environment.version,
            config: environment.config_version,
            organization: secrets.changed(Scope::Organization),
            own: secrets.changed(Scope::Environment(environment.id)),
        }
    }

    /// The stream version of the last change.
    pub fn newest(&self) -> Version {
        self.environment.max(self.config).max(self.organization).max(self.own)
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

/// The secrets that a program reads in an environment, by name.
pub fn secrets<'a>(
    organization: &'a Organization,
    environment: &Environment,
) -> BTreeMap<&'a str, Readable<'a>> {
    let whole = organization.secrets.in_scope(Scope::Organization);
    let whole = whole.filter(|secret| secret.reaches(environment.mode));
    let own = organization.secrets.in_scope(Scope::Environment(environment.id));
    let seen: BTreeMap<_, _> = whole.chain(own).map(|secret| (secret.name.as_str(), secret)).collect();
    seen.into_iter().filter_map(|(name, secret)| Some((name, Readable::of(secret)?))).collect()
}

/// The secret of a name that a program reads in an environment.
pub fn secret<'a>(
    organization: &'a Organization,
    environment: &Environment,
    name: &str,
) -> Option<Readable<'a>> {
    let find = |scope| organization.secrets.find(scope, name);
    let own = find(Scope::Environment(environment.id));
    let whole = || find(Scope::Organization).filter(|secret| secret.reaches(environment.mode));
    own.or_else(whole).and_then(Readable::of)
}

/// The version of what is seen: opaque text that is another exactly when something of it is. Under a key of the
/// organization, since a plain hash would tell two organizations' equal configurations.
pub fn version(under: &DataKey, environment: &Environment, secrets: &BTreeMap<&str, Readable<'_>>) -> String {
    let mut items = vec![environment.id.to_string(), environment.slug.clone()];
    for (name, value) in environment.config.iter() {
        items.extend(["config".to_owned(), name.clone(), value.value.to_string()]);
    }
    for (name, readable) in secrets {
        let (id, number) = readable.id();
        items.extend(["secret".to_owned(), (*name).to_owned(), id.to_string(), number.to_string()]);
    }
    let items: Vec<&[u8]> = items.iter().map(String::as_bytes).collect();
    URL_SAFE_NO_PAD.encode(&under.fingerprint("ctx-version", &items)[..VERSION_BYTES])
}
