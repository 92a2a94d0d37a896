//! Customers found by what is sealed of them: by external id, through a look-up that the writer asks, and by text, through
//! an index (`index.rs`). Both are in memory alone, and made by opening every customer once; after that the look-up
//! follows the writer, and the index the events that came since.

use std::sync::{Arc, mpsc};

use tokio::sync::MutexGuard;

use crate::event::{Event, Outcome, Recorded, Version};
use crate::ids::{CustomerId, StreamId};
use crate::log::filter::{ActionPattern, Filter};
use crate::organization::Organization;
use crate::seal::keyring::KeyError;
use crate::settings::customers::profile::{Opener, Profile};
use crate::settings::customers::projection::Customer;
use crate::settings::general::event::GeneralEvent;
use crate::store::bounded::Bounded;
use crate::store::customers::index::{Index, PIECE_MAX, Wanted, Words};
use crate::store::history::HistoryError;
use crate::store::lookup::{Claim, Lookup};
use crate::store::resident::{Handle, View};
use crate::store::writer::{Job, Learn};
use crate::store::{Refusal, Store};

pub mod index;
pub mod opening;
pub mod past;

/// How much memory all indexes take, in bytes.
const BYTES: usize = 64 << 20;
/// How much memory one index takes at most, in bytes: of some 250,000 customers with a name, an external id and a few tags.
pub const INDEX_BYTES_MAX: usize = 24 << 20;
/// What keeping one takes beside.
const KEPT_BYTES: usize = 256;
/// After more changes than this an index is made anew: that takes no longer.
pub const FOLLOWED_MAX: usize = 20_000;
/// What changes what an index has of somebody.
const CHANGES: [&str; 4] = ["customer.create", "customer.update", "customer.delete", "customer.erase"];

/// What customers are found by, an index an organization that somebody searched in.
#[derive(Debug)]
pub struct Sought(Bounded<StreamId, Kept>);

#[derive(Clone, Debug)]
enum Kept {
    Index(Arc<Index>),
    /// What so many customers are found by is more than an index may take.
    TooLarge(usize),
}

impl Default for Sought {
    /// Nobody's.
    fn default() -> Self {
        Self(Bounded::new(BYTES))
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

impl Kept {
    fn of(index: Index, customers: usize) -> Self {
        let fits = index.bytes() <= INDEX_BYTES_MAX;
        if fits { Self::Index(Arc::new(index)) } else { Self::TooLarge(customers) }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Index(index) => KEPT_BYTES + index.bytes(),
            Self::TooLarge(_) => KEPT_BYTES,
        }
    }
}

impl Sought {
    /// Forgets who went now that these events are published, and everybody where the organization ends.
    pub(super) fn published<'a>(&self, stream: StreamId, events: impl Iterator<Item = &'a Recorded>) {
        let mut gone = Vec::new();
        for event in events {
            match &event.event {
                Event::Customers(event) => gone.extend(event.departed()),
                Event::General(GeneralEvent::OrganizationEnded(_)) => return self.forget(stream),
                _ => {}
            }
        }
        if gone.is_empty() {
            return;
        }
        if let Some(Kept::Index(index)) = self.0.get(&stream) {
            let mut index = Index::clone(&index);
            gone.into_iter().for_each(|customer| index.forget(customer));
            self.keep(stream, Kept::Index(Arc::new(index)));
        }
    }

    fn forget(&self, stream: StreamId) {
        self.0.forget(stream..=stream, |_, _| false);
    }

    fn keep(&self, stream: StreamId, kept: Kept) {
        let bytes = kept.bytes();
        self.0.put(stream, kept, bytes);
    }
}

impl Store {
    /// One at a time of those who change a customer at the same time.
    pub async fn changing(&self, customer: CustomerId) -> MutexGuard<'_, ()> {
        self.inner.changing.of(customer.uuid().into_bytes()).await
    }

    /// That a customer has an external id, or has it no more.
    pub fn external_id(&self, customer: CustomerId, external_id: &str) -> Claim {
        let key = self.hasher().external_id(external_id);
        Claim { key, group: None, owner: customer.to_string() }
    }

    /// The customer with an external id, by a look-up that is complete.
    pub fn by_external_id(&self, view: &View, external_id: &str) -> Option<CustomerId> {
        view.lookup.owner(self.hasher().external_id(external_id))?.parse().ok()
    }

    /// Makes the look-up of external ids, unless it is there. Of several who ask at once one makes it, and the others wait.
    /// Blocks.
    ///
    /// # Errors
    /// See [`SearchError`].
    pub fn know_external_ids(&self, handle: &Arc<Handle>) -> Result<(), SearchError> {
        if handle.view().lookup.is_complete() {
            return Ok(());
        }
        let _alone = handle.making_lookup();
        let view = handle.view();
        if view.lookup.is_complete() {
            return Ok(());
        }
        let mut lookup = Lookup::complete();
        for customer in view.organization().customers.iter().filter(|customer| customer.external_id.is_some())
        {
            let opened = self.opened(handle, customer, |opener| opener.external_id())?;
            if let Some(text) = opened.flatten().as_ref().and_then(|plain| plain.as_str().ok()) {
                lookup.grant(self.external_id(customer.id, text));
            }
        }
        let (taken, is_taken) = mpsc::channel();
        let learn = Learn { handle: Arc::clone(handle), lookup, version: view.version(), taken };
        self.enqueue(Job::Learn(learn))?;
        Ok(is_taken.recv().map_err(|_| Refusal::Stopped)?)
    }

    /// Whether a customer is among those that are wanted.
    ///
    /// # Errors
    /// When it does not open.
    pub fn is_wanted(&self, handle: &Handle, customer: &Customer, wanted: &Wanted) -> Result<bool, KeyError> {
        if wanted.is_nothing() {
            return Ok(true);
        }
        let words = self.words(handle, customer)?;
        Ok(words.is_some_and(|words| wanted.is_in(&words)))
    }

    /// Hands out the customers behind an id that are wanted, by id, with the newest state, until `take` has enough.
    /// Through the index; where that would be too large to be kept, by opening one after the other. Blocks.
    ///
    /// # Errors
    /// See [`SearchError`], and those of `take`.
    pub fn search_customers<E: From<SearchError>>(
        &self,
        handle: &Arc<Handle>,
        wanted: &Wanted,
        after: Option<CustomerId>,
        mut take: impl FnMut(&Customer) -> Result<bool, E>,
    ) -> Result<(), E> {
        let (view, index) = self.customer_index(handle)?;
        let customers = &view.organization().customers;
        let Some(index) = index else {
            for customer in customers.after(after) {
                let is_wanted = self.is_wanted(handle, customer, wanted).map_err(SearchError::from)?;
                if is_wanted && !take(customer)? {
                    break;
                }
            }
            return Ok(());
        };
        for customer in index.find(wanted, after).filter_map(|id| customers.get(id)) {
            if !take(customer)? {
                break;
            }
        }
        Ok(())
    }

    /// The index of an organization's customers, unless it would be too large, and the newest state that it is of. Blocks.
    ///
    /// # Errors
    /// See [`SearchError`].
    pub fn customer_index(
        &self,
        handle: &Arc<Handle>,
    ) -> Result<(Arc<View>, Option<Arc<Index>>), SearchError> {
        let (stream, sought) = (handle.stream(), &self.inner.sought);
        loop {
            // Of several who ask at once, one makes it.
            let kept = sought.0.get_or_make(stream, || {
                let kept = self.indexed(handle)?;
                let bytes = kept.bytes();
                Ok::<_, SearchError>((kept, bytes))
            })?;
            let view = handle.view();
            let index = match kept {
                Kept::TooLarge(many) if view.organization().customers.len() >= many / 2 => {
                    return Ok((view, None));
                }
                Kept::TooLarge(_) => {
                    sought.forget(stream);
                    continue;
                }
                Kept::Index(index) if index.version() >= view.version() => index,
                Kept::Index(index) => {
                    let followed = self.followed(handle, &view, &index)?;
                    match &followed {
                        Some(kept) => sought.keep(stream, kept.clone()),
                        None => sought.forget(stream),
                    }
                    match followed {
                        Some(Kept::Index(index)) => index,
                        Some(Kept::TooLarge(_)) | None => continue,
                    }
                }
            };
            // Of whoever goes from here on, the writer finds what is kept; who went before may have been put back by it.
            let newest = handle.view();
            if newest.organization().general.is_over() {
                sought.forget(stream);
            }
            if newest.organization().customers.departed() <= index.version() {
                return Ok((newest, Some(index)));
            }
        }
    }

    /// An index with what changed since; `None` where that is too much.
    fn followed(&self, handle: &Handle, view: &View, index: &Index) -> Result<Option<Kept>, SearchError> {
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
        let customers = &view.organization().customers;
        let mut index = index.clone();
        for id in changed {
            let words = customers.get(id).map(|customer| self.words(handle, customer)).transpose()?;
            match words.flatten() {
                Some(words) => index.learn(id, &words),
                None => index.forget(id),
            }
        }
        index.is_of(view.version());
        Ok(Some(Kept::of(index, customers.len())))
    }

    /// An index of everybody.
    fn indexed(&self, handle: &Handle) -> Result<Kept, SearchError> {
        let view = handle.view();
        let customers = &view.organization().customers;
        let (mut index, mut piece) = (Index::default(), Vec::new());
        for customer in customers.iter() {
            let Some(words) = self.words(handle, customer)? else { continue };
            piece.push((customer.id, words));
            if piece.len() == PIECE_MAX {
                index.add(&std::mem::take(&mut piece));
                if index.bytes() > INDEX_BYTES_MAX {
                    break;
                }
            }
        }
        index.add(&piece);
        index.is_of(view.version());
        Ok(Kept::of(index, customers.len()))
    }

    /// What a customer is found by; `None` of one that was erased meanwhile.
    fn words(&self, handle: &Handle, customer: &Customer) -> Result<Option<Words>, KeyError> {
        let profile: Option<Profile> = self.opened(handle, customer, |opener| opener.profile())?;
        Ok(profile.as_ref().map(Words::of))
    }

    /// Something that is known of a customer; `None` of one that was erased meanwhile.
    fn opened<T>(
        &self,
        handle: &Handle,
        customer: &Customer,
        open: impl FnOnce(&Opener<'_>) -> Result<T, KeyError>,
    ) -> Result<Option<T>, KeyError> {
        handle.open_of_customer(customer.id, || {
            let stream = handle.stream();
            // Of a hundred thousand none is asked for again soon.
            let key = self.ring().data_key_in_passing(stream, customer.key, customer.commitment)?;
            open(&Opener::under(stream, customer, key))
        })
    }
}

/// Takes from a look-up what whoever went held, now that an event is in the state.
pub(super) fn give_up(lookup: &mut Lookup, event: &Event) {
    if let Event::Customers(event) = event
        && let Some(customer) = event.departed()
    {
        lookup.release_all_of(&customer.to_string());
    }
}

/// Takes from a look-up of a version what those held who went since.
pub(super) fn give_up_since(lookup: &mut Lookup, version: Version, now: &Organization) {
    if now.customers.departed() > version {
        lookup.retain(|owner| owner.parse().is_ok_and(|customer| now.customers.get(customer).is_some()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::given::{founded, has_customer, id, now, organization, recorded};
    use crate::ids::OrganizationId;
    use crate::seal::Plain;
    use crate::settings::customers::event::{CustomerErased, CustomerNamed, CustomersEvent};
    use crate::settings::general::event::OrganizationEnded;

    fn stream() -> StreamId {
        StreamId::Organization(id::<OrganizationId>(1))
    }

    fn said(event: impl Into<Event>) -> Recorded {
        recorded(stream(), 9, now(), Actor::SYSTEM, event.into())
    }

    fn words(name: &str) -> Words {
        Words::of(&Profile { name: Plain::from(name), external_id: None, tags: None, metadata: None })
    }

    #[test]
    fn who_goes_is_not_left_in_an_index_that_is_kept() {
        let sought = Sought::default();
        let mut index = Index::default();
        (1..=3).for_each(|number| index.learn(id(number), &words("Acme")));
        sought.keep(stream(), Kept::of(index, 3));
        let kept = || match sought.0.get(&stream()) {
            Some(Kept::Index(index)) => index.find(&Wanted::default(), None).collect::<Vec<CustomerId>>(),
            Some(Kept::TooLarge(_)) | None => Vec::new(),
        };
        let erased = CustomerErased { customer: id(1), destroyed_keys: Vec::new() };
        let gone = [
            said(CustomersEvent::CustomerErased(erased)),
            said(CustomersEvent::CustomerDeleted(CustomerNamed { customer: id(2) })),
            said(CustomersEvent::CustomerSuspended(CustomerNamed { customer: id(3) })),
        ];
        sought.published(stream(), gone.iter());
        assert_eq!(kept(), [id(3)]);
        let ended = [said(GeneralEvent::OrganizationEnded(OrganizationEnded {}))];
        sought.published(stream(), ended.iter());
        assert!(kept().is_empty());
    }

    #[test]
    fn an_index_that_is_too_large_is_not_kept() {
        let mut index = Index::default();
        let name = "x".repeat(INDEX_BYTES_MAX / 8);
        (0..7).for_each(|number| index.add(&[(id(number), words(&name))]));
        assert!(matches!(Kept::of(index.clone(), 7), Kept::Index(_)));
        index.add(&[(id(7), words(&name))]);
        let kept = Kept::of(index, 8);
        assert!(matches!(kept, Kept::TooLarge(8)) && kept.bytes() == KEPT_BYTES);
    }

    #[test]
    fn a_look_up_that_was_made_meanwhile_lacks_who_went() {
        let hasher = crate::store::lookup::Hasher::new();
        let claim = |number: u128| Claim {
            key: hasher.external_id(&number.to_string()),
            group: None,
            owner: id::<CustomerId>(number).to_string(),
        };
        let deleted = CustomersEvent::CustomerDeleted(CustomerNamed { customer: id(1) });
        let now =
            organization(founded().into_iter().chain([has_customer(1), has_customer(2), deleted.into()]));
        let departed = now.customers.departed();
        for (version, left) in [(departed, [true, true]), (departed - 1, [false, true])] {
            let mut lookup = Lookup::complete();
            [1, 2].map(claim).into_iter().for_each(|claim| lookup.grant(claim));
            give_up_since(&mut lookup, version, &now);
            assert_eq!([1, 2].map(|number| lookup.owner(claim(number).key).is_some()), left);
        }
    }
}
