//! The directory's API keys: by the SHA-256 of a value, whose key it is.
//!
//! There may be a hundred thousand of them, so an entry says no more than where to ask: whether a key is still accepted,
//! its organization's stream knows.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::{ApiKeyId, OrganizationId, StreamId};
use crate::seal::Commitment;
use crate::store::directory::encoding::timestamp;
use crate::varint::{self, Malformed, Reader};

/// How many values are kept that end at some time: of revoked keys, and of before a rotation. Beyond it, those go first
/// that would end first.
const ENDING_MAX: usize = 65_536;

/// Whose key a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// The organization.
    pub organization: OrganizationId,
    /// The key.
    pub key: ApiKeyId,
}

/// Into how many groups values are divided, by their first bits: a thousand, so that adding one to a million moves some
/// KiB, and a save holds all of them by a thousand pointers.
const GROUPS: usize = 1 << 10;
/// How many places a group grows by: doubled vectors would be a third empty.
const GROWTH: usize = 4;

/// Some values with whose they are, in order.
type Group = Vec<([u8; 32], KnownKey)>;

/// API keys of the whole server. A value: cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// A group that somebody shares is copied before it changes.
    groups: Vec<Arc<Group>>,
    ending: RedBlackTreeMapSync<(Timestamp, [u8; 32]), ()>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { groups: vec![Arc::default(); GROUPS], ending: RedBlackTreeMapSync::new_sync() }
    }
}

/// The group of a value; SHA-256 divides them evenly.
fn group_of(token: &[u8; 32]) -> usize {
    usize::from(u16::from_be_bytes([token[0], token[1]]) >> 6)
}

impl Keys {
    pub(super) fn get(&self, token: Commitment) -> Option<KnownKey> {
        let group = &self.groups[group_of(&token.0)];
        let at = group.binary_search_by(|(known, _)| known.cmp(&token.0)).ok()?;
        Some(group[at].1)
    }

    pub(super) fn open(&mut self, stream: StreamId, token: Commitment, key: ApiKeyId) {
        if let StreamId::Organization(organization) = stream {
            self.insert(token.0, KnownKey { organization, key });
        }
    }

    fn insert(&mut self, token: [u8; 32], known: KnownKey) {
        let group = Arc::make_mut(&mut self.groups[group_of(&token)]);
        match group.binary_search_by(|(other, _)| other.cmp(&token)) {
            Ok(at) => group[at].1 = known,
            Err(at) => {
                if group.len() == group.capacity() {
                    group.reserve_exact(GROWTH);
                }
                group.insert(at, (token, known));
            }
        }
    }

    fn remove(&mut self, token: &[u8; 32]) {
        let group = Arc::make_mut(&mut self.groups[group_of(token)]);
        if let Ok(at) = group.binary_search_by(|(known, _)| known.cmp(token)) {
            group.remove(at);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &([u8; 32], KnownKey)> {
        self.groups.iter().flat_map(|group| group.iter())
    }

    pub(super) fn end(&mut self, token: Commitment, at: Timestamp) {
        self.ending.insert_mut((at, token.0), ());
        if self.ending.size() > ENDING_MAX {
            self.drop_first();
        }
    }

    /// Drops the values that have ended.
    pub(super) fn drop_ended(&mut self, now: Timestamp) {
        while self.ending.first().is_some_and(|((at, _), ())| *at <= now) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(first) = self.ending.first().map(|(first, ())| *first) {
            self.ending.remove_mut(&first);
            self.remove(&first.1);
        }
    }

    /// Whether this has what another has: but for values that end, which either may have dropped already.
    pub(super) fn has_all_of(&self, other: &Self) -> bool {
        let ends = |token: &[u8; 32]| {
            [self, other].iter().any(|keys| keys.ending.keys().any(|(_, ending)| ending == token))
        };
        other.iter().all(|(token, known)| match self.get(Commitment(*token)) {
            Some(own) => own == *known,
            None => ends(token),
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let count = self.groups.iter().map(|group| group.len()).sum::<usize>();
        let mut out = Vec::with_capacity(count * 64);
        varint::write(count as u64, &mut out);
        for (token, known) in self.iter() {
            out.extend_from_slice(token);
            out.extend_from_slice(known.organization.uuid().as_bytes());
            out.extend_from_slice(known.key.uuid().as_bytes());
        }
        for ((at, token), ()) in &self.ending {
            varint::write(at.micros().unsigned_abs(), &mut out);
            out.extend_from_slice(token);
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let mut keys = Self::default();
        for _ in 0..reader.varint()? {
            let token = reader.array()?;
            let organization = OrganizationId::from_uuid(Uuid::from_bytes(reader.array()?));
            let key = ApiKeyId::from_uuid(Uuid::from_bytes(reader.array()?));
            keys.insert(token, KnownKey { organization, key });
        }
        while !reader.0.is_empty() {
            let at = timestamp(&mut reader)?;
            keys.ending.insert_mut((at, reader.array()?), ());
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{id, now};

    fn opened(tokens: &[u8]) -> Keys {
        let mut keys = Keys::default();
        for token in tokens {
            keys.open(StreamId::Organization(id(1)), Commitment([*token; 32]), id(u128::from(*token)));
        }
        keys
    }

    #[test]
    fn a_value_is_found_until_it_ends() {
        let mut keys = opened(&[1, 2]);
        keys.end(Commitment([1; 32]), now());
        keys.drop_ended(now().plus_seconds(-1));
        assert_eq!(keys.get(Commitment([1; 32])), Some(KnownKey { organization: id(1), key: id(1) }));
        keys.drop_ended(now());
        assert_eq!(keys.get(Commitment([1; 32])), None);
        assert!(keys.get(Commitment([2; 32])).is_some());
    }

    #[test]
    fn so_many_values_that_end_are_kept_and_no_more() {
        let mut keys = Keys::default();
        let token = |number: usize| {
            let mut token = [0; 32];
            token[..8].copy_from_slice(&number.reverse_bits().to_be_bytes());
            Commitment(token)
        };
        for number in 0..=ENDING_MAX {
            keys.open(StreamId::Organization(id(1)), token(number), id(1));
            keys.end(token(number), now().plus_seconds(number as i64));
        }
        assert!(keys.get(token(0)).is_none() && keys.get(token(1)).is_some());
        assert_eq!(keys.iter().count(), ENDING_MAX);
    }

    #[test]
    fn what_was_saved_is_read_back() {
        let mut keys = opened(&[1, 2, 3]);
        keys.end(Commitment([2; 32]), now());
        let mut read = Keys::decode(&keys.encode()).unwrap();
        assert!(read.has_all_of(&keys) && keys.has_all_of(&read));
        read.drop_ended(now());
        assert!(read.has_all_of(&keys) && keys.has_all_of(&read), "it has ended");
        assert!(!read.has_all_of(&opened(&[1, 2, 3, 4])) && !opened(&[1]).has_all_of(&read));
        let bytes = keys.encode();
        assert!(Keys::decode(&bytes[..bytes.len() - 1]).is_err());
    }
}
