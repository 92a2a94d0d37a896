//! The customers of an organization as a fold.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{Area, DirectoryEntry, Fold, Reads};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, ResourceType, Version};
use crate::history::description::{Description, Difference, Focus, Subject, fields};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::{CustomerId, DataKeyId};
use crate::organization::Organization;
use crate::seal::{Commitment, Sealed};
use crate::settings::customers::event::{CustomerCreated, CustomerUpdated, CustomersEvent, OPTIONAL};
use crate::settings::customers::restore::restore;
use crate::settings::roles::permission::Permission;

/// The customers of an organization.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Customers {
    customers: RedBlackTreeMapSync<CustomerId, Customer>,
    former: RedBlackTreeMapSync<CustomerId, Former>,
    /// The stream version at which the last one went.
    departed: Version,
    /// How many bytes all that is known of them takes, as sealed.
    sealed_bytes: usize,
}

/// What a customer is to the organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CustomerStatus)]
pub enum Status {
    /// Programs read for it.
    Active,
    /// Programs do not.
    Suspended,
}

/// A customer, all that is known of it sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// The customer.
    pub id: CustomerId,
    /// Its data key.
    pub key: DataKeyId,
    /// What the key is held against when it is unwrapped.
    pub commitment: Option<Commitment>,
    /// Its name.
    pub name: Sealed,
    /// The id that others know it by.
    pub external_id: Option<Sealed>,
    /// Its tags.
    pub tags: Option<Sealed>,
    /// What else is noted of it.
    pub metadata: Option<Sealed>,
    /// What it is to the organization.
    pub status: Status,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
}

/// Who is no customer any more: as little of it as is asked for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// Its data key, which is there still; `None` once it was erased.
    pub key: Option<KeptKey>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it went.
    pub updated_at: Timestamp,
    /// The stream version at which it went.
    pub version: Version,
}

/// A data key that opens what it sealed, though whom it belongs to is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptKey {
    /// The key.
    pub id: DataKeyId,
    /// What it is held against when it is unwrapped.
    pub commitment: Option<Commitment>,
}

impl Customer {
    /// The fields of [`OPTIONAL`], in their order.
    pub fn optional(&self) -> [&Option<Sealed>; 3] {
        [&self.external_id, &self.tags, &self.metadata]
    }

    /// How many bytes all that is known of it takes, as sealed.
    fn sealed_bytes(&self) -> usize {
        let all = self.optional().into_iter().flatten().chain([&self.name]);
        all.map(|sealed| sealed.data.0.len()).sum()
    }
}

impl Customers {
    /// A customer by id.
    pub fn get(&self, id: CustomerId) -> Option<&Customer> {
        self.customers.get(&id)
    }

    /// Who was a customer and is none any more.
    pub fn former(&self, id: CustomerId) -> Option<&Former> {
        self.former.get(&id)
    }

    /// Those who were, by id.
    pub fn all_former(&self) -> impl Iterator<Item = (CustomerId, &Former)> {
        self.former.iter().map(|(id, former)| (*id, former))
    }

    /// Whether somebody was a customer and is forgotten.
    pub fn is_erased(&self, id: CustomerId) -> bool {
        self.former(id).is_some_and(|former| former.key.is_none())
    }

    /// All customers, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Customer> {
        self.customers.values()
    }

    /// Those behind an id, by id.
    pub fn after(&self, after: Option<CustomerId>) -> impl Iterator<Item = &Customer> {
        let from = after.unwrap_or_else(CustomerId::min);
        let rest = self.customers.range(from..).map(|(_, customer)| customer);
        rest.filter(move |customer| Some(customer.id) != after)
    }

    /// The data key of a customer, of one who was deleted as well.
    pub fn key_of(&self, id: CustomerId) -> Option<KeptKey> {
        let there =
            self.get(id).map(|customer| KeptKey { id: customer.key, commitment: customer.commitment });
        there.or_else(|| self.former(id)?.key)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.customers.size()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.customers.is_empty()
    }

    /// The stream version at which the last one was deleted or erased; 0 before the first.
    pub fn departed(&self) -> Version {
        self.departed
    }

    /// How many bytes all that is known of them takes, as sealed.
    pub fn sealed_bytes(&self) -> usize {
        self.sealed_bytes
    }

    fn create(&mut self, created: &CustomerCreated, recorded: &Recorded) {
        // One that comes back was made before, and its key is no new one.
        let former = self.former(created.customer);
        let known = former.and_then(|former| former.key?.commitment);
        let created_at = former.map_or(recorded.at, |former| former.created_at);
        let customer = Customer {
            id: created.customer,
            key: created.key,
            commitment: recorded.keys.get(&created.key).copied().or(known),
            name: created.name.clone(),
            external_id: created.external_id.clone(),
            tags: created.tags.clone(),
            metadata: created.metadata.clone(),
            status: if created.suspended { Status::Suspended } else { Status::Active },
            created_at,
            updated_at: recorded.at,
            version: recorded.version,
        };
        self.former.remove_mut(&created.customer);
        self.sealed_bytes += customer.sealed_bytes();
        self.customers.insert_mut(created.customer, customer);
    }

    fn update(&mut self, updated: &CustomerUpdated, recorded: &Recorded) {
        self.change(updated.customer, recorded, |customer| {
            if let Some(name) = &updated.name {
                customer.name = name.clone();
            }
            let old = [&mut customer.external_id, &mut customer.tags, &mut customer.metadata];
            for ((field, new), old) in OPTIONAL.into_iter().zip(updated.optional()).zip(old) {
                if new.is_some() || updated.clears(field) {
                    old.clone_from(new);
                }
            }
        });
    }

    fn change(&mut self, id: CustomerId, recorded: &Recorded, change: impl FnOnce(&mut Customer)) {
        if let Some(customer) = self.customers.get_mut(&id) {
            let before = customer.sealed_bytes();
            customer.updated_at = recorded.at;
            customer.version = recorded.version;
            change(customer);
            self.sealed_bytes = self.sealed_bytes + customer.sealed_bytes() - before;
        }
    }

    /// A customer is none any more, and its key is there still or is not.
    fn depart(&mut self, id: CustomerId, keeps_key: bool, recorded: &Recorded) {
        let (key, created_at) = match (self.get(id), self.former(id)) {
            (Some(Customer { key, commitment, created_at, .. }), _) => {
                (Some(KeptKey { id: *key, commitment: *commitment }), *created_at)
            }
            (None, Some(former)) => (former.key, former.created_at),
            (None, None) => (None, recorded.at),
        };
        let key = key.filter(|_| keeps_key);
        let former = Former { key, created_at, updated_at: recorded.at, version: recorded.version };
        self.sealed_bytes -= self.get(id).map_or(0, Customer::sealed_bytes);
        self.customers.remove_mut(&id);
        self.former.insert_mut(id, former);
        self.departed = recorded.version;
    }
}

impl Fold for Customers {
    const NAME: &'static str = "customers";
    const PROJECTION: u32 = 2;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::Customers(event) = &recorded.event else { return };
        match event {
            CustomersEvent::CustomerCreated(created) => self.create(created, recorded),
            CustomersEvent::CustomerUpdated(updated) => self.update(updated, recorded),
            CustomersEvent::CustomerSuspended(named) => {
                self.change(named.customer, recorded, |customer| customer.status = Status::Suspended);
            }
            CustomersEvent::CustomerReactivated(named) => {
                self.change(named.customer, recorded, |customer| customer.status = Status::Active);
            }
            CustomersEvent::CustomerDeleted(named) => self.depart(named.customer, true, recorded),
            CustomersEvent::CustomerErased(erased) => self.depart(erased.customer, false, recorded),
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.customers.size() + self.former.size()
    }
}

impl Area for Customers {
    const READS: &'static [&'static str] = &[
        "customer.create",
        "customer.update",
        "customer.suspend",
        "customer.reactivate",
        "customer.delete",
        "customer.erase",
    ];
    const CASCADES: &'static [&'static str] = &[];
    const RESTORABLE: bool = true;
    const KINDS: &'static [Reads] =
        &[Reads { kind: ResourceType::Customer, permission: Permission::CustomerRead }];

    fn of(organization: &Organization) -> &Self {
        &organization.customers
    }

    fn narrowed(&self, focus: &Focus) -> Self {
        let (Focus::Resource(id) | Focus::Named(id, _)) = focus else { return self.clone() };
        let mut narrowed = Self { departed: self.departed, ..Self::default() };
        let Ok(id) = id.parse::<CustomerId>() else { return narrowed };
        if let Some(customer) = self.get(id) {
            narrowed.sealed_bytes = customer.sealed_bytes();
            narrowed.customers.insert_mut(id, customer.clone());
        }
        if let Some(former) = self.former(id) {
            narrowed.former.insert_mut(id, *former);
        }
        narrowed
    }

    fn describe(&self, focus: &Focus, into: &mut Description) {
        for customer in focus.among(self.iter(), |id| self.get(id)) {
            let told = fields([
                ("name", Some((&customer.name).into())),
                ("external_id", customer.external_id.as_ref().map(Into::into)),
                ("tags", customer.tags.as_ref().map(Into::into)),
                ("metadata", customer.metadata.as_ref().map(Into::into)),
                ("suspended", Some((customer.status == Status::Suspended).into())),
            ]);
            into.insert(Subject::new(ResourceType::Customer, customer.id), told);
        }
    }

    fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
        restore(differences, outlook, plan);
    }
}
