//! What is known of a customer, sealed and opened: each field under the customer's key, in a place of its own.

use std::sync::Arc;

use crate::event::ResourceType;
use crate::ids::{CustomerId, StreamId};
use crate::seal::keyring::{KeyError, KeyRing};
use crate::seal::{DataKey, Plain, Sealed, SealedField};
use crate::settings::customers::projection::Customer;

/// The fields of a customer that are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Its name.
    Name,
    /// The id that others know it by.
    ExternalId,
    /// Its tags, as the text of one JSON object.
    Tags,
    /// What else is noted of it, as the text of one JSON object.
    Metadata,
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::ExternalId => "external_id",
            Self::Tags => "tags",
            Self::Metadata => "metadata",
        }
    }

    /// Where it is sealed.
    pub fn place(self, stream: StreamId, customer: &str) -> SealedField<'_> {
        let (resource_type, field) = (ResourceType::Customer, self.name());
        SealedField { stream, resource_type, resource_id: customer, field }
    }

    /// Seals it for a customer.
    pub fn seal(self, stream: StreamId, customer: CustomerId, under: &DataKey, text: &str) -> Sealed {
        under.seal(&self.place(stream, &customer.to_string()), &Plain::from(text))
    }
}

/// A customer whose key is at hand.
pub struct Opener<'a> {
    stream: StreamId,
    id: String,
    customer: &'a Customer,
    key: Arc<DataKey>,
}

/// All that is known of a customer.
pub struct Profile {
    /// Its name.
    pub name: Plain,
    /// The id that others know it by.
    pub external_id: Option<Plain>,
    /// Its tags, as the text of one JSON object.
    pub tags: Option<Plain>,
    /// What else is noted of it, as the text of one JSON object.
    pub metadata: Option<Plain>,
}

impl<'a> Opener<'a> {
    /// Of a customer of a stream.
    ///
    /// # Errors
    /// When its key is not to be had.
    pub fn of(stream: StreamId, customer: &'a Customer, ring: &KeyRing) -> Result<Self, KeyError> {
        Ok(Self::under(stream, customer, ring.data_key(stream, customer.key, customer.commitment)?))
    }

    /// Of a customer of a stream, whose key this is.
    pub fn under(stream: StreamId, customer: &'a Customer, key: Arc<DataKey>) -> Self {
        Self { stream, id: customer.id.to_string(), customer, key }
    }

    fn open(&self, field: Field, sealed: &Sealed) -> Result<Plain, KeyError> {
        Ok(self.key.open(&field.place(self.stream, &self.id), sealed)?)
    }

    fn open_if_set(&self, field: Field, sealed: Option<&Sealed>) -> Result<Option<Plain>, KeyError> {
        sealed.map(|sealed| self.open(field, sealed)).transpose()
    }

    /// Its name.
    ///
    /// # Errors
    /// When it does not open.
    pub fn name(&self) -> Result<Plain, KeyError> {
        self.open(Field::Name, &self.customer.name)
    }

    /// The id that others know it by.
    ///
    /// # Errors
    /// When it does not open.
    pub fn external_id(&self) -> Result<Option<Plain>, KeyError> {
        self.open_if_set(Field::ExternalId, self.customer.external_id.as_ref())
    }

    /// All that is known of it.
    ///
    /// # Errors
    /// When something of it does not open.
    pub fn profile(&self) -> Result<Profile, KeyError> {
        Ok(Profile {
            name: self.name()?,
            external_id: self.external_id()?,
            tags: self.open_if_set(Field::Tags, self.customer.tags.as_ref())?,
            metadata: self.open_if_set(Field::Metadata, self.customer.metadata.as_ref())?,
        })
    }
}
