//! The values of secrets, checked, and where a secret belongs.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::ids::{CustomerId, EnvironmentId};
use crate::seal::Plain;

/// The longest value, in bytes of UTF-8.
pub const SECRET_VALUE_MAX_BYTES: usize = 64 << 10;

/// The value of a secret: text of 1 byte to 64 KiB, wiped when dropped and shown by nothing.
pub struct SecretValue(Plain);

/// The text is no value of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecretValue {
    /// It is empty.
    #[error("too short: must not be empty")]
    Empty,
    /// It is longer than [`SECRET_VALUE_MAX_BYTES`].
    #[error("too long: must have at most {SECRET_VALUE_MAX_BYTES} bytes")]
    TooLong,
}

impl TryFrom<Plain> for SecretValue {
    type Error = InvalidSecretValue;

    fn try_from(plain: Plain) -> Result<Self, InvalidSecretValue> {
        match plain.as_bytes().len() {
            0 => Err(InvalidSecretValue::Empty),
            1..=SECRET_VALUE_MAX_BYTES => Ok(Self(plain)),
            _ => Err(InvalidSecretValue::TooLong),
        }
    }
}

impl SecretValue {
    /// The text.
    pub fn plain(&self) -> &Plain {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SecretValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(Plain::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl PartialSchema for SecretValue {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(SECRET_VALUE_MAX_BYTES))
            .write_only(true)
            .into()
    }
}

impl ToSchema for SecretValue {}

/// Where a secret belongs. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// To the whole organization.
    Organization,
    /// To an environment.
    Environment(EnvironmentId),
    /// To a customer, in an environment.
    Customer(EnvironmentId, CustomerId),
}

impl Scope {
    /// The environment that it lies in.
    pub fn environment(self) -> Option<EnvironmentId> {
        match self {
            Self::Organization => None,
            Self::Environment(environment) | Self::Customer(environment, _) => Some(environment),
        }
    }

    /// The customer that it is limited to.
    pub fn customer(self) -> Option<CustomerId> {
        match self {
            Self::Organization | Self::Environment(_) => None,
            Self::Customer(_, customer) => Some(customer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_a_byte_and_at_most_64_kib() {
        let checked = |text: String| SecretValue::try_from(Plain::from(text)).map(|_| ());
        assert_eq!(checked(String::new()), Err(InvalidSecretValue::Empty));
        assert_eq!(checked(" ".to_owned()), Ok(()), "nothing is trimmed");
        assert_eq!(checked("x".repeat(65_536)), Ok(()));
        assert_eq!(checked("é".repeat(32_769)), Err(InvalidSecretValue::TooLong));
    }
}
