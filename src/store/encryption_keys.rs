//! Keys that wrap others, as far as history tells of them: that the root key or a stream's key was replaced by another.
//!
//! How that is done is in `store/rotation.rs`; what the keys are, in `seal/`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::area::{DirectoryEntry, Fold};
use crate::command::NewEvent;
use crate::event::{Event, Recorded, Resource, ResourceType, Version};
use crate::events;

events! {
    /// What happened to keys that wrap others.
    pub enum EncryptionKeysEvent {
        /// A key was replaced by another, and nothing is wrapped by the old one any more.
        "encryption_key.rotate", 1 => Rotated(KeyRotated);
    }
}

/// A key was replaced by another: one of the two is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRotated {
    /// The root key, in the platform's stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<RootKeyRotated>,
    /// The key of the stream that this stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamKeyRotated>,
}

/// Every stream's key is wrapped by another root key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RootKeyRotated {
    /// The fingerprint of the root key before.
    pub from: String,
    /// The fingerprint of the one after.
    pub to: String,
}

/// Every data key of the stream is wrapped by a further generation of its key, and the older one is gone: with it all
/// copies of data keys that were destroyed up to a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamKeyRotated {
    /// The generation that is left.
    pub generation: u32,
    /// Of data keys that were destroyed up to this version of the stream, no copy can be opened any more.
    pub through: Version,
    /// How many data keys were wrapped anew.
    pub data_keys: u64,
}

/// What a stream says of keys that wrap others.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EncryptionKeys {
    /// The fingerprint of the root key that the last rotation led to, where there was one.
    root: Option<String>,
}

/// Notes that a key was rotated.
#[derive(Clone, Debug)]
pub enum NoteRotation {
    /// The root key. Noted twice, as by whoever finishes a rotation that was cut off, it appends nothing.
    Root(RootKeyRotated),
    /// The stream's own key.
    Stream(StreamKeyRotated),
}

impl NoteRotation {
    /// Decides; nothing can be refused.
    pub fn decide(&self, state: &EncryptionKeys, stream: &str) -> Vec<NewEvent> {
        let (id, rotated) = match self {
            Self::Root(root) if state.root.as_ref() == Some(&root.to) => return Vec::new(),
            Self::Root(root) => ("root", KeyRotated { root: Some(root.clone()), stream: None }),
            Self::Stream(key) => (stream, KeyRotated { root: None, stream: Some(key.clone()) }),
        };
        let resource = Resource::new(ResourceType::EncryptionKey, id);
        vec![NewEvent::new(resource, EncryptionKeysEvent::Rotated(rotated))]
    }
}

impl Fold for EncryptionKeys {
    const NAME: &'static str = "encryption_keys";
    const PROJECTION: u32 = 1;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::EncryptionKeys(EncryptionKeysEvent::Rotated(rotated)) = &recorded.event else { return };
        if let Some(root) = &rotated.root {
            self.root = Some(root.to.clone());
        }
    }

    fn directory(recorded: &Recorded, entries: &mut Vec<DirectoryEntry>) {
        if !recorded.event.destroyed_keys().is_empty() {
            entries.push(DirectoryEntry::KeysDestroyed { version: recorded.version, at: recorded.at });
        }
        if let Event::EncryptionKeys(EncryptionKeysEvent::Rotated(rotated)) = &recorded.event
            && let Some(StreamKeyRotated { through, .. }) = rotated.stream
        {
            entries.push(DirectoryEntry::KeyRotated { through, at: recorded.at });
        }
    }

    fn items(&self) -> usize {
        usize::from(self.root.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::platform;

    fn rotated(to: &str) -> RootKeyRotated {
        RootKeyRotated { from: "before".to_owned(), to: to.to_owned() }
    }

    fn decide(given: Vec<Event>, note: &NoteRotation) -> Vec<Event> {
        let decided = note.decide(&platform(given).encryption_keys, "platform");
        decided.into_iter().map(|event| event.event).collect()
    }

    #[test]
    fn a_rotation_of_the_root_key_is_noted_once() {
        let note = NoteRotation::Root(rotated("after"));
        let noted = decide(Vec::new(), &note);
        let expected = KeyRotated { root: Some(rotated("after")), stream: None };
        assert_eq!(noted, [Event::EncryptionKeys(EncryptionKeysEvent::Rotated(expected))]);
        assert_eq!(decide(noted.clone(), &note), []);
        assert_eq!(decide(noted, &NoteRotation::Root(rotated("another"))).len(), 1);
    }

    #[test]
    fn each_rotation_of_a_streams_key_is_noted() {
        let key = StreamKeyRotated { generation: 2, through: 7, data_keys: 3 };
        let note = NoteRotation::Stream(key.clone());
        let noted = decide(Vec::new(), &note);
        let expected = KeyRotated { root: None, stream: Some(key) };
        assert_eq!(noted, [Event::EncryptionKeys(EncryptionKeysEvent::Rotated(expected))]);
        assert_eq!(decide(noted, &note).len(), 1);
    }
}
