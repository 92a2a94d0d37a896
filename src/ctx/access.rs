//! Access to others' services, opened for a program: what of a connection leaves. Refresh tokens never do.

use serde::Deserialize;
use serde::ser::{Error as _, Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::ids::StreamId;
use crate::seal::Plain;
use crate::seal::keyring::{KeyError, KeyRing};
use crate::settings::connections::connection::{Connection, Credential};
use crate::settings::connections::value::Kind;
use crate::settings::connections::{ACCESS_TOKEN, CREDENTIAL, credential_field};

/// What a program is told of a connection.
pub struct Access {
    kind: Kind,
    plain: Plain,
    expires_at: Option<Timestamp>,
}

/// A name and a password, as they were sealed.
#[derive(Deserialize)]
struct Pair<'a> {
    #[serde(borrow)]
    username: &'a RawValue,
    #[serde(borrow)]
    password: &'a RawValue,
}

impl Access {
    /// Opens a connection's credential. Blocks where its key is not in memory.
    ///
    /// # Errors
    /// When its key is not to be had, or it does not open.
    pub fn open(
        ring: &KeyRing,
        stream: StreamId,
        (connection, credential): (&Connection, &Credential),
    ) -> Result<Self, KeyError> {
        let key = ring.data_key(stream, connection.key, connection.commitment)?;
        let field = if connection.kind == Kind::Oauth { ACCESS_TOKEN } else { CREDENTIAL };
        let id = connection.id.to_string();
        let plain = key.open(&credential_field(stream, &id, field), &credential.sealed)?;
        Ok(Self { kind: connection.kind, plain, expires_at: credential.expires_at })
    }
}

impl Serialize for Access {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.plain.as_str().map_err(S::Error::custom)?;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", &self.kind)?;
        match self.kind {
            Kind::Oauth => {
                map.serialize_entry("access_token", text)?;
                map.serialize_entry("expires_at", &self.expires_at)?;
            }
            Kind::Token => map.serialize_entry("token", text)?,
            Kind::Basic => {
                let Pair { username, password } = serde_json::from_str(text).map_err(S::Error::custom)?;
                map.serialize_entry("username", username)?;
                map.serialize_entry("password", password)?;
            }
        }
        map.end()
    }
}
