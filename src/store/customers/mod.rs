//! Customers found by what is sealed of them: the look-up of external ids, which the writer asks, and an index for whoever
//! searches. Both are in memory alone, and made by opening every customer once; after that the index follows the events
//! that came since, and the look-up the writer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use crate::event::{Event, Outcome, Recorded};
use crate::ids::{CustomerId, StreamId};
use crate::log::filter::{ActionPattern, Filter};
use crate::seal::keyring::KeyError;
use crate::settings::customers::profile::{Opener, Profile};
use crate::settings::customers::projection::Customer;
use crate::settings::general::event::GeneralEvent;
use crate::store::bounded::Bounded;
use crate::store::customers::index::{Index, PIECE_MAX, Words};
use crate::store::history::HistoryError;
use crate::store::lookup::{Claim, Lookup};
use crate::store::resident::{Handle, View};
use crate::store::writer::{Job, Learn};
use crate::store::{Refusal, Store};

pub mod index;

/// How much memory all indexes take, in bytes: of some 500,000 customers.
const BYTES: usize = 64 << 20;
/// After more changes than this an index is made anew: that takes no longer.
const FOLLOWED_MAX: usize = 20_000;
/// What changes what an index has of somebody.
const CHANGES: [&str; 4] = ["customer.create", "customer.update", "customer.delete", "customer.erase"];

/// What customers are found by, an index an organization that somebody searched in.
#[derive(Debug)]
pub struct Sought(Bounded<StreamId, Arc<Index>>, Mutex<()>);

impl Default for Sought {
    /// Nobody's.
    fn default() -> Self {
        Self(Bounded::new(BYTES), Mutex::default())
    }
}

/// Why customers could not be found by what is sealed of them.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// What is sealed of one did not open.
    #[error("a customer could not be opened")]
    Key(#[from] KeyError),
    /// What changed since could not be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The writer did not take the look-up.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Sought {
    /// Forgets who went now that these events are published, and everybody where the organization ends.
    pub(super) fn published<'a>(&self, stream: StreamId, events: impl Iterator<Item = &'a Recorded>) {
        let mut gone = Vec::new();
        for event in events {
            match &event.event {
                Event::Customers(event) => gone.extend(event.departed()),
                Event::General(GeneralEvent::OrganizationEnded(_)) => {
                    return self.forget(stream);
                }
                _ => {}
            }
        }
        if gone.is_empty() {
            return;
        }
        if let Some(index) = self.0.get(&stream) {
            let mut index = Index::clone(&index);
            gone.into_iter().for_each(|customer| index.forget(customer));
            self.keep(stream, index);
        }
    }

    fn forget(&self, stream: StreamId) {
        self.0.forget(stream..=stream, |_, _| false);
    }

    /// Whoever opens all customers of an organization does so alone: another who waits finds what they made.
    fn alone(&self) -> MutexGuard<'_, ()> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, stream: StreamId, index: Index) -> Arc<Index> {
        let (bytes, index) = (index.bytes(), Arc::new(index));
        self.0.put(stream, Arc::clone(&index), bytes);
        index
    }
}

impl Store {
    /// That a customer has an external id, or has it no more.
    pub fn external_id(&self, customer: CustomerId, external_id: &str) -> Claim {
        let key = self.hasher().external_id(external_id);
        Claim { key, group: None, owner: customer.to_string() }
    }

    /// The customer with an external id, by a look-up that is complete.
    pub fn by_external_id(&self, view: &View, external_id: &str) -> Option<CustomerId> {
        let owner = view.lookup.owner(self.hasher().external_id(external_id))?;
        owner.parse().ok().filter(|_| view.state.holds_a_value(owner))
    }

    /// Makes the look-up of external ids, unless it is there, and the index with it. Blocks.
    ///
    /// # Errors
    /// See [`SearchError`].
    pub fn know_customers(&self, handle: &Arc<Handle>) -> Result<(), SearchError> {
        if handle.view().lookup.is_complete() {
            return Ok(());
        }
        let alone = self.inner.sought.alone();
        if !handle.view().lookup.is_complete() {
            self.open_customers(handle)?;
        }
        drop(alone);
        // Whoever went meanwhile is not left in the index.
        self.customer_index(handle).map(drop)
    }

    /// The index of an organization's customers, and the newest state that it is of. Blocks.
    ///
    /// # Errors
    /// See [`SearchError`].
    pub fn customer_index(&self, handle: &Arc<Handle>) -> Result<(Arc<View>, Arc<Index>), SearchError> {
        let stream = handle.stream();
        loop {
            let view = handle.view();
            let index = match self.inner.sought.0.get(&stream) {
                Some(index) if index.version() >= view.version() => index,
                Some(index) => match self.followed(handle, &view, &index)? {
                    Some(index) => self.inner.sought.keep(stream, index),
                    None => self.open_customers(handle)?,
                },
                None => self.first_index(handle)?,
            };
            // Of whoever goes from here on, the writer finds what is kept; who went before may have been put back by it.
            let newest = handle.view();
            if newest.organization().general.is_over() {
                self.inner.sought.forget(stream);
            }
            if newest.organization().customers.departed() <= index.version() {
                return Ok((newest, index));
            }
        }
    }

    /// The index where there was none: of several who ask at once, one makes it.
    fn first_index(&self, handle: &Arc<Handle>) -> Result<Arc<Index>, SearchError> {
        let _alone = self.inner.sought.alone();
        match self.inner.sought.0.get(&handle.stream()) {
            Some(index) if index.version() >= handle.view().version() => Ok(index),
            _ => self.open_customers(handle),
        }
    }

    /// An index with what changed since; `None` where that is too much.
    fn followed(&self, handle: &Handle, view: &View, index: &Index) -> Result<Option<Index>, SearchError> {
        let filter = Filter {
            actions: CHANGES.map(|action| ActionPattern::Exact(action.to_owned())).into(),
            outcomes: vec![Outcome::Success],
            ..Filter::default()
        };
        let changes = self.versions_after(handle, view, &filter, index.version(), FOLLOWED_MAX + 1)?;
        if changes.len() > FOLLOWED_MAX {
            return Ok(None);
        }
        let mut changed: Vec<CustomerId> = Vec::with_capacity(changes.len());
        for event in self.recorded(handle, view, &changes)? {
            changed.extend(event.resource.id.parse::<CustomerId>());
        }
        changed.sort_unstable();
        changed.dedup();
        let mut index = index.clone();
        for id in changed {
            match view.organization().customers.get(id) {
                None => index.forget(id),
                Some(customer) => match self.opened(handle, customer)? {
                    None => index.forget(id),
                    Some(profile) => index.learn(id, &Words::of(&profile)),
                },
            }
        }
        index.is_of(view.version());
        Ok(Some(index))
    }

    /// Opens every customer: the index, and the look-up where there is none.
    fn open_customers(&self, handle: &Arc<Handle>) -> Result<Arc<Index>, SearchError> {
        let view = handle.view();
        let (mut index, mut lookup, mut piece) = (Index::default(), Lookup::complete(), Vec::new());
        for customer in view.organization().customers.iter() {
            let Some(profile) = self.opened(handle, customer)? else { continue };
            let external_id = profile.external_id.as_ref().and_then(|plain| plain.as_str().ok());
            if let Some(external_id) = external_id {
                lookup.grant(self.external_id(customer.id, external_id));
            }
            piece.push((customer.id, Words::of(&profile)));
            if piece.len() == PIECE_MAX {
                index.add(&std::mem::take(&mut piece));
            }
        }
        index.add(&piece);
        index.is_of(view.version());
        if !view.lookup.is_complete() {
            // Nobody has been granted any since: who went meanwhile does not hold theirs.
            let (taken, is_taken) = mpsc::channel();
            self.enqueue(Job::Learn(Learn { handle: Arc::clone(handle), lookup, taken }))?;
            is_taken.recv().map_err(|_| Refusal::Stopped)?;
        }
        Ok(self.inner.sought.keep(handle.stream(), index))
    }

    /// All that is known of a customer; `None` of one that was erased meanwhile.
    fn opened(&self, handle: &Handle, customer: &Customer) -> Result<Option<Profile>, KeyError> {
        let open = || Opener::of(handle.stream(), customer, self.ring())?.profile();
        handle.open_of_customer(customer.id, open)
    }
}
