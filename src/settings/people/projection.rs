//! The people of an organization as a fold.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{Area, DirectoryEntry, Fold, Reads};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, ResourceType, Version};
use crate::history::description::{Description, Difference, Focus, Subject, fields};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::{DataKeyId, UserId};
use crate::organization::Organization;
use crate::seal::{Commitment, Sealed};
use crate::settings::people::event::PeopleEvent;
use crate::settings::roles::permission::Permission;

/// The people of an organization.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct People {
    members: RedBlackTreeMapSync<UserId, Person>,
    /// Those who were members: their names are still shown where they acted, unless they were erased.
    former: RedBlackTreeMapSync<UserId, Person>,
    /// What the keys of people to be are held against: those who were invited, or asked to join.
    expected: RedBlackTreeMapSync<DataKeyId, Commitment>,
}

/// What a person is to the organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PersonStatus)]
pub enum Status {
    /// A member.
    Active,
    /// A member who is kept out: they have no rights, and no sessions.
    Suspended,
    /// A member no more.
    Removed,
    /// A member no more, and forgotten: what they were called opens for nobody.
    Erased,
}

/// A person, name and address sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The person.
    pub id: UserId,
    /// Their data key in this stream.
    pub key: DataKeyId,
    /// What the key is held against when it is unwrapped.
    pub commitment: Option<Commitment>,
    /// Their name.
    pub name: Sealed,
    /// Their e-mail address.
    pub email: Sealed,
    /// The account's credential generation that the address came with; 0 where it is the one that they joined with.
    pub email_generation: u64,
    /// What they are to the organization.
    pub status: Status,
    /// When they joined.
    pub created_at: Timestamp,
    /// When they last changed.
    pub updated_at: Timestamp,
    /// The stream version of their last change.
    pub version: Version,
}

impl People {
    /// A member by id, suspended or not.
    pub fn get(&self, id: UserId) -> Option<&Person> {
        self.members.get(&id)
    }

    /// A member by id who is not suspended.
    pub fn active(&self, id: UserId) -> Option<&Person> {
        self.get(id).filter(|person| person.status == Status::Active)
    }

    /// Somebody who is a member or was one.
    pub fn ever(&self, id: UserId) -> Option<&Person> {
        self.members.get(&id).or_else(|| self.former.get(&id))
    }

    /// Whether somebody was a member and is forgotten.
    pub fn is_erased(&self, id: UserId) -> bool {
        self.former.get(&id).is_some_and(|person| person.status == Status::Erased)
    }

    /// How many members there are, suspended ones included.
    pub fn count(&self) -> usize {
        self.members.size()
    }

    /// All members, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Person> {
        self.members.values()
    }

    /// All who were members, by id.
    pub fn former(&self) -> impl Iterator<Item = &Person> {
        self.former.values()
    }

    /// What an event of somebody who is not there yet says of the key that would be theirs.
    fn expect(&mut self, recorded: &Recorded) {
        for (key, commitment) in &recorded.keys {
            self.expected.insert_mut(*key, *commitment);
        }
        for key in recorded.event.destroyed_keys() {
            self.expected.remove_mut(key);
        }
    }

    /// A member, to be changed by an event.
    fn change(&mut self, id: UserId, recorded: &Recorded, change: impl FnOnce(&mut Person)) {
        if let Some(person) = self.members.get_mut(&id) {
            person.touch(recorded);
            change(person);
        }
    }

    /// A member who is one no more, or somebody who was one.
    fn depart(&mut self, id: UserId, recorded: &Recorded, status: Status) {
        let Some(mut person) = self.ever(id).cloned() else { return };
        person.touch(recorded);
        person.status = status;
        self.members.remove_mut(&id);
        self.former.insert_mut(id, person);
    }
}

impl Person {
    fn touch(&mut self, recorded: &Recorded) {
        self.updated_at = recorded.at;
        self.version = recorded.version;
    }
}

impl Fold for People {
    const NAME: &'static str = "people";
    const PROJECTION: u32 = 3;

    fn apply(&mut self, recorded: &Recorded) {
        let event = match &recorded.event {
            Event::People(event) => event,
            Event::JoinRequests(_) | Event::Invitations(_) => return self.expect(recorded),
            _ => return,
        };
        match event {
            PeopleEvent::PersonJoined(joined) => {
                // A key that was minted for whoever was invited, or asked to join, is no new one.
                let commitment =
                    recorded.keys.get(&joined.key).or_else(|| self.expected.get(&joined.key)).copied();
                self.expected.remove_mut(&joined.key);
                let person = Person {
                    id: joined.person,
                    key: joined.key,
                    commitment,
                    name: joined.name.clone(),
                    email: joined.email.clone(),
                    email_generation: 0,
                    status: Status::Active,
                    created_at: recorded.at,
                    updated_at: recorded.at,
                    version: recorded.version,
                };
                self.members.insert_mut(joined.person, person);
            }
            PeopleEvent::PersonUpdated(updated) => {
                self.change(updated.person, recorded, |person| person.name = updated.name.clone());
            }
            PeopleEvent::PersonEmailChanged(changed) => self.change(changed.person, recorded, |person| {
                person.email = changed.email.clone();
                person.email_generation = changed.generation;
            }),
            PeopleEvent::PersonSuspended(named) => {
                self.change(named.person, recorded, |person| person.status = Status::Suspended);
            }
            PeopleEvent::PersonReactivated(named) => {
                self.change(named.person, recorded, |person| person.status = Status::Active);
            }
            PeopleEvent::PersonRemoved(removed) => self.depart(removed.person, recorded, Status::Removed),
            PeopleEvent::PersonErased(erased) => self.depart(erased.person, recorded, Status::Erased),
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.members.size() + self.former.size() + self.expected.size()
    }
}

impl Area for People {
    const READS: &'static [&'static str] = &[
        "person.join",
        "person.update",
        "person.change_email",
        "person.suspend",
        "person.reactivate",
        "person.remove",
        "person.erase",
        "invitation.create",
        "invitation.revoke",
        "invitation.decline",
        "invitation.expire",
        "join_request.create",
        "join_request.decline",
    ];
    const CASCADES: &'static [&'static str] = &[];
    const RESTORABLE: bool = false;
    const KINDS: &'static [Reads] =
        &[Reads { kind: ResourceType::Person, permission: Permission::PersonRead }];

    fn of(organization: &Organization) -> &Self {
        &organization.people
    }

    fn narrowed(&self, _focus: &Focus) -> Self {
        self.clone()
    }

    fn describe(&self, focus: &Focus, into: &mut Description) {
        for person in focus.among(self.iter(), |id| self.get(id)) {
            let suspended = (person.status == Status::Suspended).into();
            let told = fields([
                ("name", Some((&person.name).into())),
                ("email", Some((&person.email).into())),
                ("suspended", Some(suspended)),
            ]);
            into.insert(Subject::new(ResourceType::Person, person.id), told);
        }
    }

    /// Who belongs to the organization, who is kept out, and what they are called, is never brought back.
    fn restore(_differences: &[Difference], _outlook: &Outlook<'_>, _plan: &mut Plan) {}
}
