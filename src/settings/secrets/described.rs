//! What a secret is for, in the words of whoever wrote it. A customer's is sealed under the customer's key, as whatever is
//! written of a customer is, so that it goes when the customer is erased.

use serde::{Deserialize, Serialize};

use crate::event::ResourceType;
use crate::ids::StreamId;
use crate::seal::{DataKey, Plain, Sealed, SealedField};

/// What a secret is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Described {
    /// As it was written: of a secret that is no customer's, or a customer's in events of before.
    Open(String),
    /// Under the key of the customer whose secret it is.
    Sealed(Sealed),
}

impl Described {
    /// Of the two fields that events have for it.
    pub fn of(open: Option<&String>, sealed: Option<&Sealed>) -> Option<Self> {
        sealed.cloned().map(Self::Sealed).or_else(|| open.cloned().map(Self::Open))
    }

    /// As the two fields that events have for it.
    pub fn fields(this: Option<&Self>) -> (Option<String>, Option<Sealed>) {
        match this {
            Some(Self::Open(text)) => (Some(text.clone()), None),
            Some(Self::Sealed(sealed)) => (None, Some(sealed.clone())),
            None => (None, None),
        }
    }

    /// Seals it for a secret, under the key of the customer whose secret it is.
    pub fn seal(stream: StreamId, secret: &str, under: &DataKey, text: &str) -> Self {
        Self::Sealed(under.seal(&place(stream, secret), &Plain::from(text)))
    }
}

/// Where it is sealed.
pub(super) fn place(stream: StreamId, secret: &str) -> SealedField<'_> {
    let (resource_type, field) = (ResourceType::Secret, "sealed_description");
    SealedField { stream, resource_type, resource_id: secret, field }
}
