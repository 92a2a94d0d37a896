//! Opening what is sealed under customers' keys, many things of one customer for one answer: each key is looked up once, and
//! what is an erased customer's is told as that.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ids::{CustomerId, StreamId};
use crate::seal::keyring::KeyError;
use crate::seal::{DataKey, Sealed, SealedField};
use crate::settings::customers::ERASED;
use crate::store::Store;
use crate::store::resident::Handle;

/// How many keys are remembered at most: an answer may be about any number of customers.
const REMEMBERED_MAX: usize = 1_024;

/// A customer's key.
#[derive(Clone)]
enum Key {
    /// It is at hand.
    There(Arc<DataKey>),
    /// It was destroyed with what it sealed.
    Erased,
    /// It is not to be had, or nobody has it.
    None,
}

/// What opens things of customers, and remembers whose keys it has. Whoever is erased meanwhile is seen after a
/// [`Openings::forget`].
pub struct Openings {
    store: Store,
    handle: Arc<Handle>,
    keys: HashMap<CustomerId, Key>,
}

impl Openings {
    /// For the customers of an organization.
    pub fn new(store: &Store, handle: &Arc<Handle>) -> Self {
        Self { store: store.clone(), handle: Arc::clone(handle), keys: HashMap::new() }
    }

    /// The organization's stream.
    pub fn stream(&self) -> StreamId {
        self.handle.stream()
    }

    /// Looks all keys up anew from here on.
    pub fn forget(&mut self) {
        self.keys.clear();
    }

    /// A text that is sealed under a customer's key, as it is shown; `None` where it does not open.
    pub fn open(&mut self, customer: CustomerId, field: &SealedField<'_>, sealed: &Sealed) -> Option<String> {
        match self.key(customer) {
            Key::There(key) => key.open(field, sealed).ok()?.as_str().ok().map(ToOwned::to_owned),
            Key::Erased => Some(ERASED.to_owned()),
            Key::None => None,
        }
    }

    fn key(&mut self, customer: CustomerId) -> Key {
        if let Some(key) = self.keys.get(&customer) {
            return key.clone();
        }
        if self.keys.len() >= REMEMBERED_MAX {
            self.keys.clear();
        }
        let key = match self.store.key_of_customer(&self.handle, customer) {
            Ok(Some(key)) => Key::There(key),
            Ok(None) if self.handle.view().organization().customers.is_erased(customer) => Key::Erased,
            Ok(None) | Err(_) => Key::None,
        };
        self.keys.insert(customer, key.clone());
        key
    }
}

impl Store {
    /// The data key of a customer, of one who was deleted as well; `None` where there is and was no such customer, or it is
    /// erased, however lately.
    ///
    /// # Errors
    /// When the key of somebody who is not erased is not to be had.
    pub fn key_of_customer(
        &self,
        handle: &Handle,
        customer: CustomerId,
    ) -> Result<Option<Arc<DataKey>>, KeyError> {
        let Some(kept) = handle.view().organization().customers.key_of(customer) else { return Ok(None) };
        handle.open_of_customer(customer, || self.ring().data_key(handle.stream(), kept.id, kept.commitment))
    }
}
