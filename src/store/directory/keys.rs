//! The directory's API keys: by the SHA-256 of a value, whose key it is.
//!
//! There may be a hundred thousand of them, so an entry says no more than where to ask: whether a key is still accepted,
//! its organization's stream knows.

use std::collections::HashSet;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::{ApiKeyId, OrganizationId, StreamId};
use crate::seal::Commitment;
use crate::store::directory::encoding::timestamp;
use crate::varint::{self, Malformed, Reader};

/// How many values of before a rotation are kept in their grace, of all keys: some 40 MiB. Beyond it, those go first that
/// would end first.
const ENDING_MAX: usize = 262_144;
/// How many values of revoked keys are kept, so that whoever presents one is told why it is refused.
const REVOKED_MAX: usize = 65_536;

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
    ending: Going,
    revoked: Going,
}

/// Values by the time at which they go.
#[derive(Clone, Debug, Default)]
struct Going(RedBlackTreeMapSync<(Timestamp, [u8; 32]), ()>);

impl Going {
    /// Takes one in; gives one that goes at once where there are more than so many.
    fn add(&mut self, at: Timestamp, token: [u8; 32], most: usize) -> Option<[u8; 32]> {
        self.0.insert_mut((at, token), ());
        if self.0.size() > most { self.take_first(|_| true) } else { None }
    }

    /// Takes out the first that goes, if it is one of those.
    fn take_first(&mut self, goes: impl FnOnce(Timestamp) -> bool) -> Option<[u8; 32]> {
        let first = self.0.keys().next().copied().filter(|(at, _)| goes(*at))?;
        self.0.remove_mut(&first);
        Some(first.1)
    }

    fn has(&self, token: &[u8; 32]) -> bool {
        self.0.keys().any(|(_, going)| going == token)
    }

    fn remove(&mut self, token: &[u8; 32]) {
        while let Some(going) = self.0.keys().find(|(_, going)| going == token).copied() {
            self.0.remove_mut(&going);
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        varint::write(self.0.size() as u64, out);
        for (at, token) in self.0.keys() {
            varint::write(at.micros().unsigned_abs(), out);
            out.extend_from_slice(token);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut going = Self::default();
        for _ in 0..reader.varint()? {
            let at = timestamp(reader)?;
            going.0.insert_mut((at, reader.array()?), ());
        }
        Ok(going)
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self { groups: vec![Arc::default(); GROUPS], ending: Going::default(), revoked: Going::default() }
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
            // A value that was replaced, and is its key's again.
            if self.get(token).is_some() {
                self.ending.remove(&token.0);
            }
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

    pub(super) fn iter(&self) -> impl Iterator<Item = &([u8; 32], KnownKey)> {
        self.groups.iter().flat_map(|group| group.iter())
    }

    /// No value is a key of the organization any more.
    pub(super) fn close(&mut self, stream: StreamId) {
        let is_of_it = |known: &KnownKey| StreamId::Organization(known.organization) == stream;
        for group in self.groups.iter_mut().filter(|group| group.iter().any(|(_, known)| is_of_it(known))) {
            Arc::make_mut(group).retain(|(_, known)| !is_of_it(known));
        }
    }

    /// The values that are their keys' without end, in order: neither those of revoked keys nor those of before a rotation.
    pub(super) fn accepted(&self) -> Vec<[u8; 32]> {
        let going: HashSet<[u8; 32]> = [&self.ending, &self.revoked]
            .iter()
            .flat_map(|going| going.0.keys())
            .map(|(_, token)| *token)
            .collect();
        self.iter().map(|(token, _)| *token).filter(|token| !going.contains(token)).collect()
    }

    /// A value is its key's no longer from a time on.
    pub(super) fn end(&mut self, token: Commitment, at: Timestamp) {
        if let Some(gone) = self.ending.add(at, token.0, ENDING_MAX) {
            self.remove(&gone);
        }
    }

    /// A value is that of a revoked key, which is remembered until a time.
    pub(super) fn revoke(&mut self, token: Commitment, known_until: Timestamp) {
        if let Some(gone) = self.revoked.add(known_until, token.0, REVOKED_MAX) {
            self.remove(&gone);
        }
    }

    /// Drops the values that have ended.
    pub(super) fn drop_ended(&mut self, now: Timestamp) {
        while let Some(gone) = self.ending.take_first(|at| at <= now) {
            self.remove(&gone);
        }
        while let Some(gone) = self.revoked.take_first(|at| at <= now) {
            self.remove(&gone);
        }
    }

    /// Whether this has what another has: but for values that end, which either may have dropped already.
    pub(super) fn has_all_of(&self, other: &Self) -> bool {
        let ends = |token: &[u8; 32]| {
            [self, other].iter().any(|keys| keys.ending.has(token) || keys.revoked.has(token))
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
        self.ending.encode(&mut out);
        self.revoked.encode(&mut out);
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
        keys.ending = Going::decode(&mut reader)?;
        keys.revoked = Going::decode(&mut reader)?;
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
    fn a_value_that_is_its_keys_again_does_not_end() {
        let mut keys = opened(&[1, 2]);
        for token in [1, 2] {
            keys.end(Commitment([token; 32]), now());
        }
        keys.end(Commitment([1; 32]), now().plus_seconds(1));
        keys.open(StreamId::Organization(id(1)), Commitment([1; 32]), id(1));
        assert_eq!(keys.accepted(), [[1; 32]]);
        keys.drop_ended(now().plus_seconds(1));
        assert!(keys.get(Commitment([1; 32])).is_some() && keys.get(Commitment([2; 32])).is_none());
    }

    #[test]
    fn so_many_values_that_end_are_kept_and_no_more() {
        let token = |number: usize| {
            let mut token = [0; 32];
            token[..8].copy_from_slice(&number.reverse_bits().to_be_bytes());
            Commitment(token)
        };
        let fill = |most: usize, end: &dyn Fn(&mut Keys, Commitment, Timestamp)| {
            let mut keys = Keys::default();
            for number in 0..=most {
                keys.open(StreamId::Organization(id(1)), token(number), id(1));
                end(&mut keys, token(number), now().plus_seconds(i64::try_from(number).unwrap()));
            }
            assert!(keys.get(token(0)).is_none() && keys.get(token(1)).is_some());
            assert_eq!(keys.iter().count(), most);
        };
        fill(ENDING_MAX, &Keys::end);
        fill(REVOKED_MAX, &Keys::revoke);
    }

    #[test]
    fn a_value_in_its_grace_makes_no_room_for_one_that_was_revoked() {
        let mut keys = opened(&[1, 2]);
        keys.end(Commitment([1; 32]), now());
        let tokens = (0..=REVOKED_MAX).map(|number| {
            let mut token = [9; 32];
            token[..8].copy_from_slice(&number.to_be_bytes());
            Commitment(token)
        });
        for token in tokens {
            keys.revoke(token, now().plus_seconds(1));
        }
        assert!(keys.get(Commitment([1; 32])).is_some());
    }

    #[test]
    fn what_was_saved_is_read_back() {
        let mut keys = opened(&[1, 2, 3, 4]);
        keys.end(Commitment([2; 32]), now());
        keys.revoke(Commitment([3; 32]), now());
        let mut read = Keys::decode(&keys.encode()).unwrap();
        assert!(read.has_all_of(&keys) && keys.has_all_of(&read));
        read.drop_ended(now());
        assert!(read.has_all_of(&keys) && keys.has_all_of(&read), "it has ended");
        assert!(!read.has_all_of(&opened(&[1, 2, 3, 4, 5])) && !opened(&[1]).has_all_of(&read));
        let bytes = keys.encode();
        assert!(Keys::decode(&bytes[..bytes.len() - 1]).is_err());
    }
}
