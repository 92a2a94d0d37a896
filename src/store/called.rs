//! What people are called, opened and kept for whoever searches among them: to open ten thousand names and addresses takes
//! far longer than to compare them. Bounded, wiped when dropped, and in memory alone. Whoever is erased is forgotten as
//! soon as the writer has published that they are.

use std::sync::Arc;

use rpds::HashTrieMapSync;

use crate::event::{Event, Recorded, Version};
use crate::ids::{StreamId, UserId};
use crate::seal::Plain;
use crate::settings::general::event::GeneralEvent;
use crate::settings::people::event::PeopleEvent;
use crate::settings::people::projection::Person;
use crate::store::bounded::Bounded;
use crate::store::resident::{Handle, View};

/// How much memory they take, in bytes: of some 80,000 people.
const BYTES: usize = 16 << 20;
/// What keeping one person's takes beside name and address.
const OVERHEAD_BYTES: usize = 160;

/// The memory of it.
#[derive(Debug)]
pub struct Called(Bounded<StreamId, Names>);

impl Default for Called {
    /// Nobody's.
    fn default() -> Self {
        Self(Bounded::new(BYTES))
    }
}

/// Names and addresses of an organization's people, as far as somebody has searched: a value, which a search adds to.
#[derive(Clone, Debug, Default)]
pub struct Names {
    of: HashTrieMapSync<UserId, Arc<Name>>,
    bytes: usize,
    has_grown: bool,
}

#[derive(Debug)]
struct Name {
    /// The version of the person's last change: with another one, they may be called otherwise.
    version: Version,
    /// Name and address in lower case, with a zero between them, which neither has.
    lower: Plain,
}

impl Called {
    /// What is known of an organization's people.
    pub fn of(&self, stream: StreamId) -> Names {
        self.0.get(&stream).unwrap_or_default()
    }

    /// Keeps what a search has added to.
    pub fn keep(&self, handle: &Handle, mut names: Names) {
        if !std::mem::take(&mut names.has_grown) {
            return;
        }
        let erased = |view: &View, names: &Names| {
            let people = &view.organization().people;
            names.of.keys().copied().filter(|id| people.is_erased(*id)).collect::<Vec<_>>()
        };
        let bytes = names.bytes;
        self.0.put(handle.stream(), names.clone(), bytes);
        // After it is kept: of whoever is erased from here on, the writer finds it.
        let newest = handle.view();
        self.forget(handle.stream(), erased(&newest, &names));
        if newest.organization().general.is_over() {
            self.forget_all(handle.stream());
        }
    }

    /// Forgets who is erased now that these events are published, and everybody where the organization ends.
    pub(super) fn published<'a>(&self, stream: StreamId, events: impl Iterator<Item = &'a Recorded>) {
        let mut erased = Vec::new();
        for event in events {
            match &event.event {
                Event::People(PeopleEvent::PersonErased(person)) => erased.push(person.person),
                Event::General(GeneralEvent::OrganizationEnded(_)) => return self.forget_all(stream),
                _ => {}
            }
        }
        self.forget(stream, erased);
    }

    fn forget_all(&self, stream: StreamId) {
        self.0.forget(stream..=stream, |_, _| false);
    }

    fn forget(&self, stream: StreamId, people: Vec<UserId>) {
        if people.is_empty() {
            return;
        }
        let Some(mut names) = self.0.get(&stream) else { return };
        people.into_iter().for_each(|person| names.forget(person));
        let bytes = names.bytes;
        self.0.put(stream, names, bytes);
    }
}

impl Names {
    /// Whether a person's name or address has a text in it, which is in lower case; `None` where it is not known what they
    /// are called now.
    pub fn have(&self, person: &Person, text: &str) -> Option<bool> {
        let name = self.of.get(&person.id).filter(|name| name.version == person.version)?;
        let lower = name.lower.as_str().unwrap_or_default();
        Some(lower.split('\0').any(|part| part.contains(text)))
    }

    /// Learns what a person is called.
    pub fn learn(&mut self, person: &Person, name: &str, email: &str) {
        self.forget(person.id);
        let lower = Plain::from(format!("{}\0{}", name.to_lowercase(), email.to_lowercase()));
        self.bytes += lower.as_bytes().len() + OVERHEAD_BYTES;
        self.of.insert_mut(person.id, Arc::new(Name { version: person.version, lower }));
        self.has_grown = true;
    }

    fn forget(&mut self, person: UserId) {
        if let Some(name) = self.of.get(&person) {
            self.bytes -= name.lower.as_bytes().len() + OVERHEAD_BYTES;
            self.of.remove_mut(&person);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{founded, id, member, organization, recorded};
    use crate::given::{now, person as by};
    use crate::settings::people::event::PersonErased;

    const STREAM: StreamId = StreamId::Platform;

    fn kept(called: &Called, names: &Names) {
        called.0.put(STREAM, names.clone(), names.bytes);
    }

    #[test]
    fn a_person_is_found_by_what_they_are_called_now() {
        let state = organization(founded().into_iter().chain(member(2, None)));
        let person = state.people.get(id(2)).unwrap();
        let mut names = Names::default();
        assert_eq!(names.have(person, "ada"), None);
        names.learn(person, "Ada Ä", "A.Lovelace@example.com");
        for (text, found) in [("ada ä", true), ("lovelace@", true), ("äa", false), ("bob", false)] {
            assert_eq!(names.have(person, text), Some(found), "{text}");
        }
        let changed = Person { version: person.version + 1, ..person.clone() };
        assert_eq!(names.have(&changed, "ada"), None, "they may be called otherwise");
        let bytes = names.bytes;
        names.learn(&changed, "Ada Ä", "A.Lovelace@example.com");
        assert_eq!(names.bytes, bytes, "once");
    }

    #[test]
    fn who_is_erased_is_forgotten_and_nobody_else() {
        let people = member(2, None).into_iter().chain(member(3, None));
        let state = organization(founded().into_iter().chain(people));
        let of = |number| state.people.get(id(number)).unwrap();
        let (called, mut names) = (Called::default(), Names::default());
        names.learn(of(2), "Ada", "ada@example.com");
        names.learn(of(3), "Bob", "bob@example.com");
        kept(&called, &names);
        let erased = PersonErased { person: id(2), destroyed_keys: vec![id(2)] };
        let erased = Event::People(PeopleEvent::PersonErased(erased));
        called.published(STREAM, [recorded(STREAM, 9, now(), by(id(1)), erased)].iter());
        let known = called.of(STREAM);
        assert_eq!((known.have(of(2), "ada"), known.have(of(3), "bob")), (None, Some(true)));
        assert!(known.bytes < names.bytes);
    }
}
