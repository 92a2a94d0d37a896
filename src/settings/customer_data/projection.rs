//! Which documents customers have, as a fold: by what each is found by, and where it was recorded, not what it says.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{Area, DirectoryEntry, Fold, Reads};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, ResourceType, Version};
use crate::history::description::{Description, Difference, Field, Focus, Subject, fields};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::CustomerId;
use crate::organization::Organization;
use crate::seal::Sealed;
use crate::settings::customer_data::event::{Content, CustomerDataEvent, DocumentSet};
use crate::settings::customer_data::restore::restore;
use crate::settings::roles::permission::Permission;

/// The documents of all customers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CustomerData {
    documents: RedBlackTreeMapSync<(CustomerId, String), Document>,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its key, under the customer's; `None` where it is found by the key itself.
    pub key: Option<Sealed>,
    /// The stream version of the event that has what it says.
    pub recorded: Version,
    /// When it was first written.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// The stream version at which it was first written.
    pub created_version: Version,
    /// The stream version of its last change.
    pub version: Version,
}

impl CustomerData {
    /// A customer's document by what it is found by.
    pub fn get(&self, customer: CustomerId, id: &str) -> Option<&Document> {
        self.documents.get(&(customer, id.to_owned()))
    }

    /// The documents of a customer, each with what it is found by.
    pub fn of(&self, customer: CustomerId) -> impl Iterator<Item = (&str, &Document)> {
        let from = self.documents.range((customer, String::new())..);
        let own = from.take_while(move |((of, _), _)| *of == customer);
        own.map(|((_, id), document)| (id.as_str(), document))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.documents.size()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    fn set(&mut self, set: &DocumentSet, recorded: &Recorded) {
        let before = self.get(set.customer, &set.document);
        let document = Document {
            key: set.key.clone(),
            recorded: match set.content {
                Content::Value(_) => recorded.version,
                Content::Recorded(version) => version,
            },
            created_at: before.map_or(recorded.at, |before| before.created_at),
            updated_at: recorded.at,
            created_version: before.map_or(recorded.version, |before| before.created_version),
            version: recorded.version,
        };
        self.documents.insert_mut((set.customer, set.document.clone()), document);
    }

    fn forget(&mut self, customer: CustomerId) {
        let ids: Vec<String> = self.of(customer).map(|(id, _)| id.to_owned()).collect();
        for id in ids {
            self.documents.remove_mut(&(customer, id));
        }
    }
}

impl Fold for CustomerData {
    const NAME: &'static str = "customer_data";
    const PROJECTION: u32 = 2;

    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::CustomerData(CustomerDataEvent::DocumentSet(set)) => self.set(set, recorded),
            Event::CustomerData(CustomerDataEvent::DocumentDeleted(deleted)) => {
                self.documents.remove_mut(&(deleted.customer, deleted.document.clone()));
            }
            Event::Customers(event) => {
                event.departed().into_iter().for_each(|customer| self.forget(customer))
            }
            _ => {}
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.documents.size()
    }
}

impl Area for CustomerData {
    const READS: &'static [&'static str] =
        &["customer_data.set", "customer_data.delete", "customer.delete", "customer.erase"];
    const CASCADES: &'static [&'static str] = &[];
    const RESTORABLE: bool = true;
    const KINDS: &'static [Reads] =
        &[Reads { kind: ResourceType::CustomerData, permission: Permission::CustomerDataRead }];

    fn of(organization: &Organization) -> &Self {
        &organization.customer_data
    }

    fn narrowed(&self, focus: &Focus) -> Self {
        let (Focus::Resource(id) | Focus::Named(id, _)) = focus else { return self.clone() };
        let mut narrowed = Self::default();
        let Ok(customer) = id.parse::<CustomerId>() else { return narrowed };
        for (document, held) in self.of(customer).filter(|(document, _)| focus.includes_named(id, document)) {
            narrowed.documents.insert_mut((customer, document.to_owned()), held.clone());
        }
        narrowed
    }

    fn describe(&self, focus: &Focus, into: &mut Description) {
        let tell = |into: &mut Description, customer: CustomerId, id: &str, document: &Document| {
            let told = fields([("value", Some(Field::Recorded(document.recorded)))]);
            into.insert(Subject::named(ResourceType::CustomerData, customer, id), told);
        };
        match focus {
            Focus::All | Focus::Actions(_) => {
                for ((customer, id), document) in self.documents.iter() {
                    tell(into, *customer, id, document);
                }
            }
            Focus::Resource(id) | Focus::Named(id, _) => {
                let Ok(customer) = id.parse::<CustomerId>() else { return };
                for (name, document) in self.of(customer).filter(|(name, _)| focus.includes_named(id, name)) {
                    tell(into, customer, name, document);
                }
            }
        }
    }

    fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
        restore(differences, outlook, plan);
    }
}
