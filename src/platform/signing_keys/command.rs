//! Making signing keys.

use crate::command::NewEvent;
use crate::event::{Resource, ResourceType};
use crate::platform::signing_keys::event::{NewSigningKey, SigningKeysEvent};
use crate::platform::signing_keys::projection::SigningKeys;

/// A command to signing keys.
#[derive(Clone, Copy, Debug)]
pub enum SigningKeysCommand {
    /// Makes the first key; where there is one, it appends nothing, for two may need the first one at once.
    Create(NewSigningKey),
    /// Replaces the current key by another; where there is none, it makes the first.
    Rotate(NewSigningKey),
}

impl SigningKeysCommand {
    /// Decides; nothing can be refused.
    pub fn decide(&self, state: &SigningKeys) -> Vec<NewEvent> {
        let event = |new: NewSigningKey, event: SigningKeysEvent| {
            NewEvent::new(Resource::new(ResourceType::SigningKey, new.key), event).using(new.key)
        };
        match (*self, state.current()) {
            (Self::Create(_), Some(_)) => Vec::new(),
            (Self::Create(new) | Self::Rotate(new), None) => vec![event(new, SigningKeysEvent::Created(new))],
            (Self::Rotate(new), Some(replaced)) => {
                vec![event(new, SigningKeysEvent::Rotated(new)).relating(replaced.key)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::given::{id, platform};
    use crate::seal::signing::PublicKey;

    fn key(number: u8) -> NewSigningKey {
        NewSigningKey { key: id(number.into()), public_key: PublicKey([number; 32]) }
    }

    fn decide(given: &[SigningKeysEvent], command: SigningKeysCommand) -> Vec<NewEvent> {
        command.decide(&platform(given.iter().cloned().map(Event::SigningKeys)).signing_keys)
    }

    #[test]
    fn the_first_key_is_made_once() {
        let [made] = &decide(&[], SigningKeysCommand::Create(key(1)))[..] else { panic!("one event") };
        assert_eq!(made.event, Event::SigningKeys(SigningKeysEvent::Created(key(1))));
        assert_eq!(made.uses, [key(1).key]);
        assert_eq!(decide(&[], SigningKeysCommand::Rotate(key(1))), std::slice::from_ref(made));
        let given = [SigningKeysEvent::Created(key(1))];
        assert_eq!(decide(&given, SigningKeysCommand::Create(key(2))), []);
    }

    #[test]
    fn a_rotation_names_the_key_that_it_replaces() {
        let given = [SigningKeysEvent::Created(key(1)), SigningKeysEvent::Rotated(key(2))];
        let [rotated] = &decide(&given, SigningKeysCommand::Rotate(key(3)))[..] else { panic!("one event") };
        assert_eq!(rotated.event, Event::SigningKeys(SigningKeysEvent::Rotated(key(3))));
        assert_eq!(rotated.related, [key(2).key.to_string()]);
        assert_eq!(rotated.uses, [key(3).key]);
    }

    #[test]
    fn all_keys_stay_listed_and_the_last_one_is_current() {
        let given = [SigningKeysEvent::Created(key(1)), SigningKeysEvent::Rotated(key(2))];
        let keys = platform(given.map(Event::SigningKeys)).signing_keys;
        assert_eq!(keys.current().unwrap().public_key, key(2).public_key);
        assert_eq!(keys.newest_first().map(|key| key.key).collect::<Vec<_>>(), [key(2).key, key(1).key]);
    }
}
