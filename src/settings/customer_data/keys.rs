//! From a document's key to what the document is found by, and back: the edge's part of what nobody reads in the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::ResourceType;
use crate::history::description::{Focus, Subject};
use crate::http::problem::Problem;
use crate::ids::{CustomerId, StreamId};
use crate::organization::Organization;
use crate::seal::keyring::KeyError;
use crate::seal::{DataKey, Plain, Sealed};
use crate::settings::customer_data::projection::{CustomerData, Document};
use crate::settings::customer_data::value::DataKeyName;
use crate::settings::customer_data::{LABEL, field, key_path, named, value_path};
use crate::store::Store;
use crate::store::customers::opening::Openings;
use crate::store::resident::Handle;

/// The keys of a customer's documents, whose data key is at hand.
pub struct Keys {
    stream: StreamId,
    customer: CustomerId,
    under: Arc<DataKey>,
}

impl Keys {
    /// Those of a customer, who may be deleted; `None` where there is no such customer, or it is erased, however lately.
    ///
    /// # Errors
    /// When the customer's data key is not to be had.
    pub fn of(store: &Store, handle: &Handle, customer: CustomerId) -> Result<Option<Self>, KeyError> {
        let under = store.key_of_customer(handle, customer)?;
        Ok(under.map(|under| Self { stream: handle.stream(), customer, under }))
    }

    /// What the document with a key is found by, whether or not there is one: by the key itself where one is there that was
    /// first written under schema 1.
    pub fn id_of(&self, documents: &CustomerData, key: &str) -> String {
        if self.is_clear(documents, key) { key.to_owned() } else { self.under.blind_id(LABEL, key) }
    }

    /// The same with the key as it is to be recorded.
    pub fn name_of(&self, documents: &CustomerData, key: &DataKeyName) -> (String, Option<Sealed>) {
        let key = key.as_str();
        if self.is_clear(documents, key) {
            return (key.to_owned(), None);
        }
        let name = named(self.stream, self.customer, &self.under, key);
        (name.id, Some(name.sealed))
    }

    fn is_clear(&self, documents: &CustomerData, key: &str) -> bool {
        documents.get(self.customer, key).is_some_and(|document| document.key.is_none())
    }

    /// All documents by their keys.
    ///
    /// # Errors
    /// 500 when one does not open.
    pub fn open_all<'a>(
        &self,
        documents: &'a CustomerData,
    ) -> Result<BTreeMap<String, &'a Document>, Problem> {
        let open = |(id, document): (&str, &'a Document)| {
            let Some(sealed) = &document.key else { return Ok((id.to_owned(), document)) };
            let key = self.open(&key_path(id), sealed)?;
            Ok((key.as_str().map_err(|_| Problem::internal())?.to_owned(), document))
        };
        documents.of(self.customer).map(open).collect()
    }

    /// Seals what a document says.
    pub fn seal_value(&self, id: &str, text: String) -> Sealed {
        let (place, path) = (self.customer.to_string(), value_path(id));
        self.under.seal(&field(self.stream, &place, &path), &Plain::from(text))
    }

    /// Opens what a document says.
    ///
    /// # Errors
    /// When it does not open.
    pub fn open_value(&self, id: &str, sealed: &Sealed) -> Result<Plain, KeyError> {
        self.open(&value_path(id), sealed)
    }

    fn open(&self, path: &str, sealed: &Sealed) -> Result<Plain, KeyError> {
        Ok(self.under.open(&field(self.stream, &self.customer.to_string(), path), sealed)?)
    }
}

/// What is meant where a document is named by its key: the same, by what the document is found by.
///
/// # Errors
/// When the customer's data key is not to be had.
pub fn found_by(store: &Store, handle: &Handle, focus: Focus) -> Result<Focus, KeyError> {
    let Focus::Named(id, key) = &focus else { return Ok(focus) };
    let Ok(customer) = id.parse() else { return Ok(focus) };
    let Some(keys) = Keys::of(store, handle, customer)? else { return Ok(focus) };
    let document = keys.id_of(&handle.view().organization().customer_data, key);
    Ok(Focus::Named(id.clone(), document))
}

/// What a document is called for people, of which one of two states has the key; all else stays as it is called.
pub fn call_by_key(
    openings: &mut Openings,
    states: [&Organization; 2],
    subject: &Subject,
    shown: &mut Option<String>,
) {
    let (ResourceType::CustomerData, Some(id)) = (subject.kind, &subject.name) else { return };
    let Ok(customer) = subject.id.parse() else { return };
    let document = states.into_iter().find_map(|state| state.customer_data.get(customer, id));
    if let Some(sealed) = document.and_then(|document| document.key.as_ref()) {
        let path = key_path(id);
        *shown = openings.open(customer, &field(openings.stream(), &subject.id, &path), sealed);
    }
}
